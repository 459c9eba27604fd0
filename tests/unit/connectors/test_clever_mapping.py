"""What Clever's objects become in OneRoster: every documented rule, and every quirk."""

from __future__ import annotations

import asyncio
from datetime import date
from typing import Any

import polars as pl
import pytest

from connectors.clever import SPEC, mapping, values
from connectors.clever.people import people
from tests.contract.test_clever import context
from tests.fakes import rosters
from tests.fakes.clever_district import DISTRICT, district, key
from tests.fakes.clever_server import Server, running

Rows = dict[str, dict[str, Any]]


@pytest.fixture(scope="module")
def pulled(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, pl.DataFrame], pl.DataFrame]:
    """All rows of a district's whole pull, and the findings."""
    with running(Server(district())) as server:
        package = asyncio.run(SPEC.open(context(server, tmp_path_factory.mktemp("clever"))).pull(None)).package
    frames = {file: pl.concat([b.frame for b in package.batches(file)]) for file in package.mode}
    found = package.issues
    package.close()
    return frames, found


def rows(pulled: tuple[dict[str, pl.DataFrame], pl.DataFrame], file: str) -> Rows:
    return {row["sourcedId"]: {n: v for n, v in row.items() if v is not None} for row in pulled[0][file].to_dicts()}


def test_the_whole_district_is_sound_for_the_hub(pulled: tuple[dict[str, pl.DataFrame], pl.DataFrame]) -> None:
    """Nothing is kept out, and all that there is to say is what the connector told of Clever's own ways."""
    found = rosters.run("1.2", pulled[0])
    assert not {name: keys for name, keys in found.quarantined.items() if keys}
    assert {n: len(found.keys(n)) for n in ("orgs", "users", "classes", "courses", "academicSessions")} == {
        "orgs": 3, "users": 24 + 3 + 2 + 8, "classes": 4, "courses": 2 + 1, "academicSessions": 2 + 1,
    }  # fmt: skip
    assert set(found.issues["code"]) <= {"NAME-007", "ENR-008", "ORG-005", "PHN-001", "NAME-009", "ENR-004"}
    told = {row["code"]: (row["file"], row["cause"]) for row in pulled[1].to_dicts()}
    assert told == {
        "CLEVER-001": ("users.csv", "8"), "CLEVER-002": ("courses.csv", "1"), "CLEVER-003": ("classes.csv", "1"),
        "CLEVER-005": ("users.csv", "22"),
    }  # fmt: skip


def test_orgs_and_sessions(pulled: tuple[dict[str, pl.DataFrame], pl.DataFrame]) -> None:
    orgs, sessions = rows(pulled, "orgs"), rows(pulled, "academicSessions")
    assert orgs[DISTRICT] == {"sourcedId": DISTRICT, "name": "Demo District", "type": "district",
                              "identifier": "0600001", "line": 2}  # fmt: skip
    first, second = orgs[key("4", 0)], orgs[key("4", 1)]
    assert (first["type"], first["parentSourcedId"], first["identifier"]) == ("school", DISTRICT, "060000100001")
    # Without an id of the federal list the state's is the school's.
    assert (second["identifier"], second["metadata.clever.sisId"]) == ("S1", "SCH-1")

    fall, spring, year = sessions[key("7", 0)], sessions[key("7", 1)], sessions[f"{DISTRICT}.2026"]
    assert (fall["type"], spring["type"], year["type"]) == ("semester", "term", "schoolYear")
    # The last day belongs to a term at Clever, and does not in OneRoster.
    assert (fall["startDate"], fall["endDate"]) == ("2025-08-18", "2025-12-20")
    assert (spring["startDate"], spring["endDate"], spring["schoolYear"]) == ("2026-01-05", "2026-06-06", "2026")
    assert {fall["parentSourcedId"], spring["parentSourcedId"]} == {year["sourcedId"]}
    assert (year["startDate"], year["endDate"], year["title"]) == ("2025-07-01", "2026-07-01", "2025-2026")


def test_terms_without_days_and_districts_without_terms() -> None:
    """A school year is made of what there is: of the terms, or from July to July."""
    terms = [
        {"id": "t1", "name": None, "start_date": None, "end_date": "2026-06-01"},
        {"id": "t2", "name": "Summer Semester", "start_date": "2026-07-05", "end_date": "2026-08-10"},
        {"id": "t3", "start_date": "2026-05-01", "end_date": "2026-04-01"},
    ]
    found, undated = mapping.sessions("d", terms, None, date(2026, 3, 2))
    by_id = {one: place for place, one in enumerate(found["sourcedId"])}
    assert undated == 2
    assert [found["sourcedId"][n] for n in sorted(by_id.values())] == ["t1", "t2", "t3", "d.2026", "d.2027"]
    assert (found["title"][0], found["startDate"][0], found["endDate"][0]) == ("Term", "2025-07-01", "2026-07-01")
    assert (found["type"][1], found["schoolYear"][1]) == ("semester", "2027")
    assert (found["startDate"][by_id["d.2027"]], found["endDate"][by_id["d.2027"]]) == ("2026-07-05", "2026-08-11")
    none, _ = mapping.sessions("d", [], None, date(2026, 3, 2))
    assert none["sourcedId"] == []
    made, _ = mapping.sessions("d", [], 2026, date(2026, 3, 2))
    assert (made["sourcedId"], made["startDate"], made["endDate"]) == (["d.2026"], ["2025-07-01"], ["2026-07-01"])


def test_sections_become_classes_and_enrollments(pulled: tuple[dict[str, pl.DataFrame], pl.DataFrame]) -> None:
    classes, courses, enrolled = (rows(pulled, file) for file in ("classes", "courses", "enrollments"))
    assert classes[key("8", 0)] | {"line": 0} == {
        "sourcedId": key("8", 0), "title": "Section 0", "grades": "KG", "courseSourcedId": key("5", 0),
        "classCode": "C-0.1", "classType": "scheduled", "schoolSourcedId": key("4", 0), "termSourcedIds": key("7", 0),
        "subjects": "Math", "periods": "1", "metadata.clever.sisId": "SEC-0", "line": 0,
    }  # fmt: skip
    assert (classes[key("8", 1)]["classType"], classes[key("8", 1)]["subjects"]) == ("homeroom", "Homeroom/Advisory")
    # A section without a term belongs to the school year; one without a course has a course of its own.
    assert classes[key("8", 2)]["termSourcedIds"] == f"{DISTRICT}.2026"
    assert classes[key("8", 3)]["courseSourcedId"] == f"{key('8', 3)}.course"
    assert (courses[f"{key('8', 3)}.course"]["title"], courses[key("5", 0)]["courseCode"]) == ("Section 3", "C-0")

    lead, other = (enrolled[f"{key('8', 1)}.{key('2', n)}.teacher"] for n in (1, 2))
    assert (lead["primary"], other["primary"], lead["role"]) == ("true", "false", "teacher")
    student = enrolled[f"{key('8', 0)}.{key('1', 3)}.student"]
    assert (student["userSourcedId"], student["schoolSourcedId"]) == (key("1", 3), key("4", 0))
    assert "primary" not in student
    # Who is the primary teacher teaches, whether Clever lists them among the teachers or not; nobody comes twice.
    odd = {"id": "s", "school": "x", "teacher": "t", "teachers": [], "students": ["a", "a", None]}
    assert mapping.enrollments([odd])["sourcedId"] == ["s.t.teacher", "s.a.student"]
    lost = mapping.sections([odd | {"term_id": "gone"}], "d", frozenset({"t1"}), 2026)
    assert (lost.classes["termSourcedIds"], lost.no_term, lost.classes["title"]) == (["d.2026"], 1, ["s"])


def test_a_person_is_there_once_with_all_roles(pulled: tuple[dict[str, pl.DataFrame], pl.DataFrame]) -> None:
    users, roles = rows(pulled, "users"), rows(pulled, "roles")

    def held(user: str) -> set[tuple[str, str, str]]:
        mine = (one for one in roles.values() if one["userSourcedId"] == user)
        return {(one["role"], one["orgSourcedId"], one["roleType"]) for one in mine}

    several = users[key("2", 0)]
    assert held(key("2", 0)) == {
        ("teacher", key("4", 0), "primary"), ("siteAdministrator", key("4", 1), "primary"),
        ("parent", DISTRICT, "primary"),
    }  # fmt: skip
    assert several["userIds"] == (
        f"{{clever.teacher.legacyId:{key('b', 0)}}},{{sis.teacher:TSIS-0}},{{teacherNumber:T-0}},"
        f"{{clever.staff.legacyId:{'f' * 24}}},{{staffId:ST-0}},{{clever.contact.legacyId:{'e' * 24}}},"
        "{sis.contact:P-0}"
    )
    assert (several["identifier"], several["sms"], several["agentSourcedIds"]) == ("T-0", "+15550100", key("1", 1))
    assert key("2", 0) in users[key("1", 1)]["agentSourcedIds"]
    assert held(key("1", 0)) == {("student", key("4", 0), "primary"), ("student", key("4", 1), "secondary")}
    assert held(key("3", 0)) == {("ext:staff", key("4", 0), "primary"), ("ext:staff", key("4", 1), "primary")}
    assert held(key("3", 1)) == {("districtAdministrator", DISTRICT, "primary")}
    assert (held(key("6", 0)), held(key("6", 3))) == (
        {("guardian", DISTRICT, "primary")}, {("relative", DISTRICT, "primary")},
    )  # fmt: skip
    dated = next(one for one in roles.values() if one["userSourcedId"] == key("1", 1))
    assert (dated["beginDate"], dated["endDate"]) == ("2025-08-18", "2026-06-06")


def test_students_and_their_contacts(pulled: tuple[dict[str, pl.DataFrame], pl.DataFrame]) -> None:
    users = rows(pulled, "users")
    student = users[key("1", 0)]
    assert student | {"line": 0} == {
        "sourcedId": key("1", 0), "enabledUser": "true", "username": "student0@example.org",
        "userIds": f"{{clever.student.legacyId:{key('a', 0)}}},{{sis.student:SIS-0}},{{stateId:ST0000000}},"
                   "{studentNumber:1000}",
        "givenName": "First0", "familyName": "Last0", "middleName": "M", "identifier": "1000",
        "email": "student0@example.org", "agentSourcedIds": key("6", 0), "grades": "KG", "preferredGivenName": "Nick0",
        "primaryOrgSourcedId": key("4", 0), "line": 0,
    }  # fmt: skip
    assert users[key("1", 1)]["username"] == "stu1"
    # Clever has a contact's whole name in the last name, in either order.
    comma, blank = users[key("6", 0)], users[key("6", 1)]
    assert (comma["givenName"], comma["familyName"], comma["phone"]) == ("Maria", "Lopez0", "+15555550000")
    assert (blank["givenName"], blank["familyName"], blank["sms"]) == ("Maria", "Lopez1", "+15555550001")
    assert (comma["agentSourcedIds"], comma["username"]) == (key("1", 0), "CON-0")
    assert (values.names("Cher"), values.names("Cruz, ")) == ((None, "Cher"), (None, "Cruz"))
    # A student who is their own contact is nobody's agent.
    own = {"id": "a", "roles": {"contact": {"student_relationships": [{"student": "a", "relationship": "Self"}]}}}
    assert people([own], "d", "aide").agents.height == 0
    nobody = people([{"id": "n", "name": {}, "roles": None}], "d", "aide")
    assert (nobody.roles["sourcedId"], nobody.users["username"], nobody.unnamed) == ([], ["n"], 1)


def test_demographics(pulled: tuple[dict[str, pl.DataFrame], pl.DataFrame]) -> None:
    found = rows(pulled, "demographics")
    assert len(found) == 24
    assert found[key("1", 13)] | {"line": 0} == {
        "sourcedId": key("1", 13), "birthDate": "2012-02-14", "sex": "female", "asian": "true",
        "hispanicOrLatinoEthnicity": "false", "line": 0,
    }  # fmt: skip
    assert (found[key("1", 2)]["sex"], values.birth_date("2012-02-14"), values.birth_date(None)) == (
        "other", "2012-02-14", None,
    )  # fmt: skip


@pytest.mark.parametrize(("word", "code"), [
    ("InfantToddler", "IT"), ("Preschool", "PR"), ("PreKindergarten", "PK"), ("TransitionalKindergarten", "TK"),
    ("Kindergarten", "KG"), ("1", "01"), ("12", "12"), ("13", "13"), ("PostGraduate", "PS"), ("Ungraded", "UG"),
    ("Other", "Other"), ("", None), (None, None), ("Grade Nine", "Grade Nine"),
])  # fmt: skip
def test_grades(word: str | None, code: str | None) -> None:
    assert values.grade(word) == code


@pytest.mark.parametrize(("title", "role"), [
    ("Principal", "principal"), ("Vice Principal", "siteAdministrator"), ("Asst. Principal", "siteAdministrator"),
    ("School Counselor", "counselor"), ("Paraprofessional", "aide"), ("Teacher's Aide", "aide"),
    ("Raider Coach", "ext:staff"), (None, "ext:staff"),
])  # fmt: skip
def test_titles_of_staff(title: str | None, role: str) -> None:
    assert values.staff_role(title, "ext:staff") == role
