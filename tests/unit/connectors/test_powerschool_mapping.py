"""Rows of PowerSchool as OneRoster's: every rule that the connector's README states, and where it does not hold."""

from __future__ import annotations

from datetime import date
from typing import Any

import polars as pl
import pytest

from connectors.powerschool import mapping, queries
from connectors.powerschool.client import frame, moment
from connectors.powerschool.config import PowerSchoolConfig
from connectors.powerschool.mapping import Mapped, Scope
from connectors.powerschool.queries import Query


def scope(**config: Any) -> Scope:
    given = {"url": "https://sis.example", "client_id": "a", **config}
    return Scope(PowerSchoolConfig.model_validate(given), "0149")


def rows(query: Query, *records: dict[str, Any]) -> pl.DataFrame:
    return frame(query, records)


def said(mapped: Mapped | pl.DataFrame, file: str = "") -> list[dict[str, Any]]:
    """The rows of a file, without blank cells."""
    made = mapped if isinstance(mapped, pl.DataFrame) else mapped.rows[file]
    return [{name: value for name, value in row.items() if value is not None} for row in made.to_dicts()]


def one(mapped: Mapped, file: str) -> dict[str, Any]:
    (row,) = said(mapped, file)
    return row


def student(**more: Any) -> dict[str, Any]:
    return {"dcid": 12, "id": 5, "student_number": "900", "first_name": "Ann", "last_name": "Ash", "grade_level": 3,
            "enroll_status": 0, "schoolid": 100, "student_web_id": "ann"} | more  # fmt: skip


def pupils(*records: dict[str, Any], email: str | None = None, **config: Any) -> Mapped:
    return mapping.students(rows(queries.students(email), *records), scope(**config))


def test_rows_are_read_whatever_form_their_values_and_names_have() -> None:
    flat = {
        "_name": "students",
        "DCID": "12",
        "id": 5.0,
        "student_number": " 900 ",
        "first_name": "",
        "grade_level": -1,
    }
    nested = {"id": 9, "name": "students", "tables": {"students": {"dcid": 12, "id": "5", "grade_level": True}}}
    read = rows(queries.students(None), flat, nested).select(
        "dcid", "id", "student_number", "first_name", "grade_level"
    )
    assert read.rows() == [("12", "5", "900", None, "-1"), ("12", "5", None, None, "1")]


@pytest.mark.parametrize(("level", "told"), [
    (-5, "IT"), (-3, "IT"), (-2, "PK"), (-1, "PK"), (0, "KG"), (1, "01"), (9, "09"), (12, "12"), (13, "13"), (14, "PS"),
    (99, "PS"), (None, None), ("x", None), ("3.0", "03"),
])  # fmt: skip
def test_grades_of_students_and_of_classes_are_ceds_codes(level: object, told: str | None) -> None:
    assert one(pupils(student(grade_level=level)), "users").get("grades") == told
    section = rows(queries.SECTIONS, {"id": 7, "grade_level": level})
    assert one(mapping.sections(section, scope()), "classes").get("grades") == told


def test_students_are_users_with_a_role_at_their_school() -> None:
    mapped = pupils(student(email="a@b.example"), email="students.email")
    assert one(mapped, "users") == {
        "sourcedId": "S12", "enabledUser": "true", "username": "ann", "userIds": "{PowerSchool:5}", "givenName": "Ann",
        "familyName": "Ash", "identifier": "900", "email": "a@b.example", "grades": "03", "primaryOrgSourcedId": "100",
    }  # fmt: skip
    assert one(mapped, "roles") == {
        "sourcedId": "S12-100", "userSourcedId": "S12", "roleType": "primary", "role": "student", "orgSourcedId": "100",
    }  # fmt: skip
    assert one(pupils(student(schoolid=0)), "roles")["orgSourcedId"] == "0149"  # school 0 is the district


def test_statuses_decide_who_is_pulled_and_who_may_log_in() -> None:
    everybody = [student(dcid=n, enroll_status=status) for n, status in enumerate((0, -1, 1, 2, 3, 4, None))]
    mapped = pupils(*everybody)
    assert [row["sourcedId"] for row in said(mapped, "users")] == ["S0", "S1"]
    assert mapped.ended.to_list() == ["S2", "S3", "S4", "S5", "S6"]
    more = said(pupils(*everybody, enroll_status=[0, 2]), "users")
    assert [(row["sourcedId"], row["enabledUser"]) for row in more] == [("S0", "true"), ("S3", "false")]


def placed(person: int, school: int, **more: Any) -> dict[str, Any]:
    return {"dcid": 3000 + 10 * person + school // 100, "users_dcid": person, "schoolid": school, "status": 1,
            "staffstatus": 1, "homeschoolid": 200, "first_name": "Tea", "last_name": "Cher", "loginid": "login",
            "teachernumber": "N1", "email": "t@staff.example"} | more  # fmt: skip


def test_a_person_of_several_schools_is_one_user_with_the_home_school_first() -> None:
    mapped = mapping.staff(rows(queries.STAFF, placed(7, 100), placed(7, 200), placed(7, 0, staffstatus=2)), scope())
    assert one(mapped, "users") == {
        "sourcedId": "T7", "enabledUser": "true", "username": "login", "givenName": "Tea", "familyName": "Cher",
        "identifier": "N1", "email": "t@staff.example", "primaryOrgSourcedId": "200",
    }  # fmt: skip
    roles = [(r["sourcedId"], r["roleType"], r["role"], r["orgSourcedId"]) for r in said(mapped, "roles")]
    assert roles == [
        ("T7-200", "primary", "teacher", "200"), ("T7-0149", "secondary", "aide", "0149"),
        ("T7-100", "secondary", "teacher", "100"),
    ]  # fmt: skip


def test_staff_without_an_active_place_or_a_role_are_no_users() -> None:
    everybody = [
        placed(1, 100, status=2), placed(2, 100, staffstatus=0), placed(3, 100, staffstatus=3),
        placed(4, 100, staffstatus=4),
        placed(5, 200, status=2), placed(5, 100, teacherloginid="teach"), placed(6, 200, users_dcid=None),
    ]  # fmt: skip
    mapped = mapping.staff(rows(queries.STAFF, *everybody), scope())
    assert [(r["sourcedId"], r["username"], r["primaryOrgSourcedId"]) for r in said(mapped, "users")] == [
        ("T4", "login", "100"), ("T5", "teach", "100"),
    ]  # fmt: skip
    assert sorted(mapped.ended) == ["T1", "T2", "T3"]
    more = mapping.staff(rows(queries.STAFF, *everybody), scope(staff_roles={"3": "proctor"}))
    assert one(more, "roles")["role"] == "proctor"


def enrolled(**more: Any) -> dict[str, Any]:
    return {"dcid": 44, "sectionid": 7, "schoolid": 100, "termid": 3500, "dateenrolled": "2025-08-20",
            "dateleft": "2026-06-11", "student_dcid": 12, "enroll_status": 0} | more  # fmt: skip


def test_enrollments_end_the_day_before_the_exit_date() -> None:
    mapped = mapping.enrollments(rows(queries.ENROLLMENTS, enrolled(dateleft="2026-03-01")), scope())
    assert one(mapped, "enrollments") == {
        "sourcedId": "S44", "classSourcedId": "7", "schoolSourcedId": "100", "userSourcedId": "S12", "role": "student",
        "beginDate": "2025-08-20", "endDate": "2026-02-28",
    }  # fmt: skip
    open_end = mapping.enrollments(rows(queries.ENROLLMENTS, enrolled(dateleft=None)), scope())
    assert "endDate" not in one(open_end, "enrollments")


def test_dropped_classes_with_negative_ids_are_enrollments_that_ended() -> None:
    dropped = enrolled(sectionid=-7, termid=-3500, dateleft="2025-10-02")
    row = one(mapping.enrollments(rows(queries.ENROLLMENTS, dropped), scope()), "enrollments")
    assert (row["classSourcedId"], row["endDate"]) == ("7", "2025-10-01")


def test_who_never_took_part_or_is_not_pulled_is_in_no_class() -> None:
    never = [
        enrolled(dcid=1, dateleft="2025-08-20"), enrolled(dcid=2, termid=-3500, dateleft=None),
        enrolled(dcid=3, enroll_status=2), enrolled(dcid=4, student_dcid=None, enroll_status=None), enrolled(dcid=None),
    ]  # fmt: skip
    mapped = mapping.enrollments(rows(queries.ENROLLMENTS, *never, enrolled()), scope())
    assert one(mapped, "enrollments")["sourcedId"] == "S44"
    assert (mapped.ended.to_list(), mapped.never_there) == (["S1", "S2", "S3", "S4"], 2)


def teaching(**more: Any) -> dict[str, Any]:
    return {"id": 9, "sectionid": 7, "start_date": "2025-08-20", "end_date": "2026-06-10", "users_dcid": 301,
            "status": 1, "staffstatus": 1, "role": "Lead Teacher", "schoolid": 100} | more  # fmt: skip


@pytest.mark.parametrize(("name", "role", "primary"), [
    ("Lead Teacher", "teacher", "true"), ("LEAD TEACHER ", "teacher", "true"), ("Co-teacher", "teacher", "false"),
    ("ESL/SPED Teacher", "teacher", "false"), ("Teacher's Aide", "proctor", None), ("Student Teacher", "proctor", None),
    ("Principal", "administrator", None), ("Paraprofessional", "proctor", None), (None, "proctor", None),
])  # fmt: skip
def test_roles_of_teachers_come_from_the_names_of_their_definitions(name: str, role: str, primary: str | None) -> None:
    row = one(mapping.teachers(rows(queries.TEACHERS, teaching(role=name)), scope()), "enrollments")
    assert row.pop("primary", None) == primary
    assert row == {
        "sourcedId": "ST9-T301", "classSourcedId": "7", "schoolSourcedId": "100", "userSourcedId": "T301", "role": role,
        "beginDate": "2025-08-20", "endDate": "2026-06-10",
    }  # fmt: skip


def test_a_district_names_its_own_roles_and_inactive_staff_teach_nobody() -> None:
    own = scope(section_roles={"Mentor": "teacher"}, lead_role="Mentor")
    row = one(mapping.teachers(rows(queries.TEACHERS, teaching(role="mentor")), own), "enrollments")
    assert (row["role"], row["primary"]) == ("teacher", "true")
    gone = [
        teaching(id=1, status=2),
        teaching(id=2, staffstatus=0),
        teaching(id=3, status=None),
        teaching(users_dcid=None),
    ]
    mapped = mapping.teachers(rows(queries.TEACHERS, *gone), scope())
    assert (said(mapped, "enrollments"), mapped.ended.to_list()) == ([], ["ST1-T301", "ST2-T301", "ST3-T301"])


def test_classes_and_courses_have_their_own_ids_and_the_districts_org() -> None:
    section = {
        "id": 7, "section_number": "2", "course_number": "ENG,1", "schoolid": 100, "termid": 3501,
        "expression": "1(A,C)", "room": "R7", "grade_level": 0, "course_dcid": 501, "course_name": "English",
    }  # fmt: skip
    assert one(mapping.sections(rows(queries.SECTIONS, section), scope()), "classes") == {
        "sourcedId": "7", "title": "English - 2", "grades": "KG", "courseSourcedId": "501", "classCode": "ENG,1.2",
        "classType": "scheduled", "location": "R7", "schoolSourcedId": "100", "termSourcedIds": "100-3501",
        "periods": "1(A C)",
    }  # fmt: skip
    course = {"dcid": 501, "course_number": "ENG1", "course_name": "English", "schoolid": 0, "subject": "LA,RD"}
    assert one(mapping.courses(rows(queries.COURSES, course), scope()), "courses") == {
        "sourcedId": "501", "title": "English", "courseCode": "ENG1", "orgSourcedId": "0149", "subjects": "LA RD",
    }  # fmt: skip
    lone = one(
        mapping.sections(rows(queries.SECTIONS, {"id": 7, "section_number": "2", "schoolid": 100}), scope()), "classes"
    )
    assert (lone["title"], "termSourcedIds" in lone, "courseSourcedId" in lone) == ("2", False, False)


def term(
    number: int, name: str, portion: int, first: str, last: str, year: int = 35, school: int = 100
) -> dict[str, Any]:
    return {"dcid": 10_000 * school + 100 * year + number, "id": 100 * year + number, "schoolid": school,
            "yearid": year, "name": name, "portion": portion, "firstday": first, "lastday": last}  # fmt: skip


TERMS = (
    term(0, "Year", 1, "2025-08-20", "2026-06-10"), term(1, "S1", 2, "2025-08-20", "2026-01-15"),
    term(2, "S2", 2, "2026-01-16", "2026-06-10"), term(3, "Q3", 4, "2026-01-16", "2026-03-20"),
    term(4, "T2", 3, "2025-12-01", "2026-03-01"), term(5, "E5", 8, "2026-01-16", "2026-02-10"),
    term(0, "Year", 1, "2024-08-20", "2025-06-10", 34), term(0, "Year", 1, "2026-08-19", "2027-06-10", 36),
)  # fmt: skip


def test_sessions_hang_below_the_shortest_longer_one_that_holds_them() -> None:
    terms = rows(queries.TERMS, *TERMS)
    found = said(mapping.sessions(terms, mapping.years(terms, date(2026, 3, 2), 30)))
    assert [(s["sourcedId"], s["type"], s.get("parentSourcedId"), s["schoolYear"]) for s in found] == [
        ("100-3500", "schoolYear", None, "2026"), ("100-3501", "semester", "100-3500", "2026"),
        ("100-3502", "semester", "100-3500", "2026"), ("100-3503", "gradingPeriod", "100-3502", "2026"),
        ("100-3504", "term", "100-3500", "2026"), ("100-3505", "gradingPeriod", "100-3503", "2026"),
    ]  # fmt: skip
    assert found[3]["title"] == "Q3"
    assert (found[3]["startDate"], found[3]["endDate"]) == ("2026-01-16", "2026-03-20")


@pytest.mark.parametrize(("today", "days", "ids", "under_way", "until"), [
    ("2026-03-02", 30, (35,), True, "2026-07-11"), ("2026-07-10", 30, (35,), True, "2026-07-11"),
    ("2026-07-11", 30, (36,), False, "2026-07-20"), ("2026-07-20", 30, (36,), True, "2027-07-11"),
    ("2026-07-01", 60, (35, 36), True, "2026-08-10"), ("2026-07-01", 0, (36,), False, "2026-08-19"),
    ("2028-01-01", 30, (36,), False, "9999-12-31"), ("2020-01-01", 30, (34,), False, "2024-07-21"),
])  # fmt: skip
def test_years_are_those_under_way_else_the_next_or_the_last(
    today: str, days: int, ids: tuple[int, ...], under_way: bool, until: str
) -> None:
    years = mapping.years(rows(queries.TERMS, *TERMS), date.fromisoformat(today), days)
    assert (years.ids, years.under_way, years.until.isoformat()) == (ids, under_way, until)
    assert years.terms == {"firstterm": ids[0] * 100, "lastterm": ids[-1] * 100 + 99}


def test_schools_are_below_the_district_whose_number_is_its_id() -> None:
    schools = rows(
        queries.SCHOOLS, {"dcid": 1, "school_number": 100, "name": "Oak"}, {"dcid": 2, "school_number": 0, "name": "x"}
    )
    assert said(mapping.orgs(schools, "0149", "Prairie")) == [
        {"sourcedId": "0149", "name": "Prairie", "type": "district", "identifier": "0149"},
        {"sourcedId": "100", "name": "Oak", "type": "school", "identifier": "100", "parentSourcedId": "0149"},
    ]


def test_guardians_name_their_students_and_students_their_guardians() -> None:
    links = rows(
        queries.LINKS, *(
            {"studentcontactassocid": n, "guardianid": guardian, "studentdcid": pupil, "schoolid": school}
            for n, (guardian, pupil, school) in enumerate(((10, 14, 200), (9, 14, 200), (9, 12, 100), (9, 12, 100)))
        ),
    )  # fmt: skip
    with_links = scope().beside({"guardian_links": links})
    people = rows(queries.GUARDIANS, *(
        {"guardianid": n, "firstname": "Gua", "lastname": "Dian", "username": f"p{n}", "enabled": int(n != 10)}
        for n in (9, 10, 11)
    ))  # fmt: skip
    mapped = mapping.guardians(people, with_links)
    users = {row["sourcedId"]: row for row in said(mapped, "users")}
    assert users["G9"] == {
        "sourcedId": "G9", "enabledUser": "true", "username": "p9", "givenName": "Gua", "familyName": "Dian",
        "agentSourcedIds": "S12,S14", "primaryOrgSourcedId": "100",
    }  # fmt: skip
    assert (users["G10"]["enabledUser"], users["G10"]["agentSourcedIds"]) == ("false", "S14")
    assert (users["G11"]["primaryOrgSourcedId"], "agentSourcedIds" in users["G11"]) == ("0149", False)
    assert [(r["sourcedId"], r["roleType"]) for r in said(mapped, "roles")] == [
        ("G9-100", "primary"), ("G9-200", "secondary"), ("G10-200", "primary"), ("G11-0149", "primary"),
    ]  # fmt: skip
    both = mapping.students(rows(queries.students(None), student(dcid=14), student(dcid=15)), with_links)
    assert [row.get("agentSourcedIds") for row in said(both, "users")] == ["G9,G10", None]


def test_demographics_count_a_race_that_stands_in_either_place() -> None:
    races = rows(
        queries.RACES, {"id": 1, "racecd": "A", "student_dcid": 12}, {"id": 2, "racecd": "B", "student_dcid": 12}
    )
    known = scope().beside({"races": races})
    pupil = {"dcid": 12, "enroll_status": 0, "dob": "2012-05-06", "gender": "f", "ethnicity": "W", "fedethnicity": 1}
    other = {"dcid": 13, "enroll_status": 0, "gender": "Q"}
    found = said(mapping.demographics(rows(queries.DEMOGRAPHICS, pupil, other), known), "demographics")
    assert {name for name, value in found[0].items() if value == "true"} == {
        "asian", "blackOrAfricanAmerican", "white", "hispanicOrLatinoEthnicity"
    }  # fmt: skip
    assert (found[0]["sourcedId"], found[0]["birthDate"], found[0]["sex"]) == ("S12", "2012-05-06", "female")
    assert ("sex" in found[1], "true" in found[1].values()) == (False, False)


SIX = "2026-03-02T06:00:00+00:00"


@pytest.mark.parametrize(("body", "told"), [
    ({"time": "2026-03-02T06:00:00+00:00"}, SIX), ({"time": 1772431200000}, SIX), ({"x": {"value": "1772431200"}}, SIX),
    (1772431200, SIX),
    ({"time": "2026-03-02T06:00:00"}, None), ("noon", None), ({}, None), (None, None), ({"time": 7}, None),
    ({"n": 10**30}, None),
])  # fmt: skip
def test_the_time_is_read_in_any_form_that_says_which_moment_is_meant(body: Any, told: str | None) -> None:
    found = moment(body)
    assert (None if found is None else found.isoformat()) == told
