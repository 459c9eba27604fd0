"""Examples of rules with a function of their own: rows in which nothing is wrong, and what makes them wrong.

Rows are canonical ones, of which what is left out is null. A rule without a case here fails its tests.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from typing import Any

Row = dict[str, Any]
Rows = Mapping[str, list[Row]]
TODAY = date(2026, 11, 27)  # a Friday


@dataclass(frozen=True)
class Case:
    """``clean``: rows by entity in which the rule finds nothing. ``spoilt``: (entity, key) to the cells that change.

    ``found``: the keys of the rows that are found then, None for the file as a whole; ``cause``: what the findings say
    is to blame. Of a rule that looks at the past ``before`` has the columns as they were.
    """

    code: str
    clean: Rows
    spoilt: Mapping[tuple[str, str], Row]
    found: tuple[str | None, ...]
    cause: str | None = None
    field: str = ""
    before: Mapping[str, Row] | None = None
    delta: bool = False


def user(key: str, role: str = "student", *orgs: str, **more: Any) -> Row:
    """A user with one role in each org (s1)."""
    roles = [{"roleType": "primary", "role": role, "org": org} for org in orgs or ("s1",)]
    names = {"givenName": f"Given{key}", "familyName": f"Family{key}", "username": f"login{key}"}
    return {"key": key, "roles": roles, "email": f"{key}@pupils.school.org", **names, **more}


def born(key: str, year: int, month: int = 3, day: int = 5, **more: Any) -> Row:
    """Demographics."""
    return {"key": key, "birthDate": date(year, month, day), **more}


PUPILS = [user(f"u{i}") for i in range(1, 9)]
STAFF = [user("t1", "teacher"), user("t2", "teacher")]
SESSIONS: list[Row] = [
    {"key": "y", "type": "schoolYear", "startDate": date(2026, 8, 1), "endDate": date(2027, 7, 1)},
    {"key": "a", "type": "term", "parent": "y", "startDate": date(2026, 8, 10), "endDate": date(2027, 1, 15)},
    {"key": "b", "type": "term", "parent": "y", "startDate": date(2027, 1, 15), "endDate": date(2027, 6, 15)},
]
ORGS: list[Row] = [{"key": "d", "type": "district"}, {"key": "s1", "type": "school"}, {"key": "s2", "type": "school"}]
COURSES: list[Row] = [{"key": "c", "org": "d", "grades": ["09", "10"], "subjects": ["Algebra", "Geometry"]}]
CLASSES: list[Row] = [
    {"key": "k1", "course": "c", "school": "s1", "terms": ["a"], "periods": ["1"], "grades": ["09"],
     "subjects": ["algebra"]},
    {"key": "k2", "course": "c", "school": "s1", "terms": ["a"], "periods": ["2"]},
]  # fmt: skip
ENROLLMENTS: list[Row] = [
    {"key": f"e{user_}{class_}", "class": class_, "user": user_, "school": "s1",
     "role": "teacher" if user_.startswith("t") else "student"}
    for class_ in ("k1", "k2") for user_ in ("u1", "u2", "u3", "t1")
]  # fmt: skip
SCHOOL: Rows = {
    "orgs": ORGS, "academicSessions": SESSIONS, "courses": COURSES, "classes": CLASSES, "users": PUPILS + STAFF,
    "enrollments": ENROLLMENTS,
}  # fmt: skip
_AWAY = {"class": "k2", "role": "teacher"}
_BIRTHS: list[Row] = [born(f"u{i}", 2011, 1 + i % 12, 1 + i % 28) for i in range(30)]

CASES = (
    Case("NAME-002", {"users": [user("u1", givenName="TJ"), *PUPILS[1:]]}, {("users", "u2"): {"givenName": "JOHN"}},
         ("u2",), field="givenName"),
    Case("NAME-002", {"users": PUPILS}, {("users", "u2"): {"familyName": "van der berg"}}, ("u2",), field="familyName"),
    Case("NAME-004", {"users": PUPILS}, {("users", "u1"): {"givenName": "muñoz", "familyName": "Ana"}}, ("u1",),
         before={"u1": {"givenName": "Ana", "familyName": "Muñoz"}}),
    Case("NAME-005", {"users": [user("u1", givenName="Mary Jo"), *PUPILS[1:]]}, {
         ("users", "u2"): {"givenName": "Ana M."}}, ("u2",), field="givenName"),
    Case("NAME-005", {"users": PUPILS}, {("users", "u2"): {"familyName": "Lee, Jr."}}, ("u2",), field="familyName"),
    Case("NAME-006", {"users": [user("u1", givenName='Robert "Bob"', preferredFirstName="Bob"), *PUPILS[1:]]},
         {("users", "u2"): {"givenName": "Robert (Bob)"}}, ("u2",)),
    Case("GRD-003", {"users": [user("u1", grades=["05"]), user("u2", grades=["05"])]},
         {("users", "u1"): {"grades": ["07"]}, ("users", "u2"): {"grades": ["04"]}}, ("u1", "u2"),
         before={"u1": {"grades": ["05"]}, "u2": {"grades": ["05"]}}),
    Case("GRD-004", {"users": [user("u1", grades=["05"]), user("t1", "teacher", grades=["05", "06"])]},
         {("users", "u1"): {"grades": ["05", "06"]}}, ("u1",)),
    Case("EML-003", {"users": [*PUPILS, user("p1", "parent", email="u1@pupils.school.org")]},
         {("users", "u2"): {"email": "U1@pupils.school.org"}}, ("u1", "u2"), "users:u1"),
    Case("EML-004", {"users": [*STAFF, user("p1", "parent"), user("p2", "parent", email="p1@pupils.school.org")]},
         {("users", "p2"): {"email": "t1@pupils.school.org"}}, ("p2", "t1"), "users:p2"),
    Case("EML-005", {"users": [*PUPILS, *STAFF, user("p1", "parent", email="p@mail.example")]},
         {("users", "u1"): {"email": "ana@mail.example"}}, ("u1",)),
    Case("PHN-003", {"users": [user(f"p{i}", "parent", phone="+15552345678") for i in range(6)] + PUPILS},
         {("users", "u1"): {"sms": "+15552345678"}}, (*(f"p{i}" for i in range(6)), "u1"), "users:p0"),
    Case("USR-004", {"users": [*PUPILS, *STAFF]}, {("users", "t1"): {k: PUPILS[0][k] for k in (
         "givenName", "familyName", "email")}}, ("t1", "u1"), "users:t1"),
    Case("USR-005", {"users": [*PUPILS, user("p1", "parent", agents=["u1"])]},
         {("users", "u1"): {"agents": ["p1", "g2", "g3", "g4", "g5", "g6", "g7"]}}, ("u1",)),
    Case("USR-005", {"users": [user(f"u{i}", agents=["p1"]) for i in range(20)] + [user("p1", "parent")]},
         {("users", "u1"): {"agents": None}}, ("u1",)),
    Case("USR-005", {"users": [user("u1", agents=["p1", "p2"]), user("p1", "parent"), user("p2", "parent")]},
         {("users", "u1"): {"agents": ["p1"]}}, ("p2",)),
    Case("USR-006", {"users": PUPILS}, {("users", "u2"): {"username": "LoginU1"}}, ("u1", "u2"), "users:u1"),
    Case("USR-010", {"users": [user("u1", username="testa"), *PUPILS[1:]]},
         {("users", "u2"): {"username": "teststudent1"}}, ("u2",), field="username"),
    Case("USR-010", {"users": PUPILS}, {("users", "u2"): {"email": "demo@school.org"}}, ("u2",), field="email"),
    Case("USR-014", SCHOOL | {"users": [*PUPILS, user("t1", "teacher", "s1", "s2", primaryOrg="s1")]},
         {("users", "t1"): {"primaryOrg": None}}, ("t1",), "orgs:s1"),
    Case("DOB-003", {"users": PUPILS + STAFF, "demographics": [
         born("u1", 2011), born("u2", 2011), born("t1", 1980), born("p", 1970)]},
         {("demographics", "u1"): {"birthDate": date(1999, 1, 1)},
          ("demographics", "u2"): {"birthDate": date(2025, 6, 1)},
          ("demographics", "t1"): {"birthDate": date(2015, 1, 1)},
          ("demographics", "p"): {"birthDate": date(2026, 11, 28)}},
         ("p", "t1", "u1", "u2")),
    Case("DOB-004", {"users": [user("u1", grades=["05"])], "demographics": [born("u1", 2015)]},
         {("demographics", "u1"): {"birthDate": date(2005, 3, 5)}}, ("u1",)),
    Case("DOB-005", {"demographics": _BIRTHS}, {("demographics", f"u{i}"): {"birthDate": date(2010, 1, 1)}
         for i in range(21)}, (None,)),
    Case("DOB-006", {"demographics": [born("u1", 2010, 4, 3), born("u2", 2010, 3, 4)]},
         {("demographics", "u1"): {"birthDate": date(2008, 7, 3)}}, ("u1",),
         before={"u1": {"birthDate": date(2010, 3, 4)}, "u2": {"birthDate": date(2001, 3, 4)}}),
    Case("DEM-001", {"demographics": [born("u1", 2010, white=True), born("u2", 2010, white=True, asian=True,
         demographicRaceTwoOrMoreRaces=True)]}, {("demographics", "u1"): {"asian": True}}, ("u1",)),
    Case("DEM-002", {"demographics": [born("u1", 2010, metadata='{"raceCode":"White"}'), born("u2", 2010,
         metadata='{"race":"Hispanic"}', hispanicOrLatinoEthnicity=False)]},
         {("demographics", "u1"): {"metadata": '{"raceCode":"Hispanic or Latino"}'}}, ("u1",)),
    Case("DEM-004", {"demographics": [born("u1", 2010, countryOfBirthCode="US", stateOfBirthAbbreviation="NM")]},
         {("demographics", "u1"): {"countryOfBirthCode": "United States"}}, ("u1",), field="countryOfBirthCode"),
    Case("DEM-004", {"demographics": [born("u1", 2010, countryOfBirthCode="US", stateOfBirthAbbreviation="Sonora")]},
         {("demographics", "u1"): {"stateOfBirthAbbreviation": "nm"}}, ("u1",), field="stateOfBirthAbbreviation"),
    Case("TRM-001", SCHOOL, {("academicSessions", "a"): {"startDate": date(2025, 8, 1), "endDate": date(2026, 6, 1)}},
         ("k1", "k2"), "academicSessions:a"),
    Case("TRM-002", {"academicSessions": SESSIONS}, {("academicSessions", "b"): {"startDate": date(2026, 11, 1)}},
         ("b",), "academicSessions:y"),
    Case("TRM-002", {"academicSessions": SESSIONS}, {("academicSessions", "b"): {"startDate": date(2027, 4, 1)}},
         ("b",), "academicSessions:y"),
    Case("TRM-003", {"academicSessions": SESSIONS}, {
         ("academicSessions", "a"): {"startDate": date(2025, 8, 1), "endDate": date(2026, 1, 1)},
         ("academicSessions", "b"): {"startDate": date(2026, 1, 1), "endDate": date(2026, 6, 15)}}, (None,)),
    Case("DAT-003", {"orgs": [{"key": "s1", "dateLastModified": "2026-11-20T10:00:00Z"}]},
         {("orgs", "s1"): {"dateLastModified": "2026-11-20T10:00:00"}}, ("s1",), delta=True),
    Case("DAT-003", {"orgs": [{"key": "s1", "dateLastModified": "2026-11-20T10:00:00+02:00"}]},
         {("orgs", "s1"): {"dateLastModified": "2027-11-20T10:00:00Z"}}, ("s1",), delta=True),
    Case("CLS-001", SCHOOL, {("enrollments", "et1k1"): _AWAY}, ("k1",)),
    Case("CLS-002", SCHOOL, {("enrollments", f"eu{i}k1"): {"class": "k2"} for i in (1, 2, 3)}, ("k1",)),
    Case("CLS-004", SCHOOL, {("classes", "k2"): {"periods": ["1"]}}, ("k2",), "classes:k1"),
    Case("CLS-005", SCHOOL, {("enrollments", f"eu{i}k1"): {"school": "s2"} for i in (1, 2, 3)}, ("k1",)),
    Case("CRS-002", SCHOOL, {("courses", "c"): {"org": "s2"}}, ("k1", "k2"), "courses:c", field="school"),
    Case("CRS-002", SCHOOL, {("classes", "k1"): {"grades": ["12"]}}, ("k1",), "courses:c", field="grades"),
    Case("CRS-002", SCHOOL, {("classes", "k1"): {"subjects": ["Art"]}}, ("k1",), "courses:c", field="subjects"),
)  # fmt: skip
