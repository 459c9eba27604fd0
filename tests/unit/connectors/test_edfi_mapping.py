"""What the rows of an Ed-Fi ODS become in OneRoster: every documented rule, and what sites do otherwise."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from connectors.edfi import SPEC, keys, schools, tables
from connectors.edfi.descriptors import Descriptors
from connectors.edfi.schools import Places, Years
from tests.contract.test_edfi import context
from tests.fakes import rosters
from tests.fakes.edfi_district import FIRST_SCHOOL, ods, uri
from tests.fakes.edfi_server import Quirks, Server, running

Frames = dict[str, pl.DataFrame]
Rows = dict[str, dict[str, Any]]
SCHOOL, OTHER = str(FIRST_SCHOOL), str(FIRST_SCHOOL + 1)


def pull(server: Server, folder: Path, **more: Any) -> tuple[Frames, pl.DataFrame]:
    package = asyncio.run(SPEC.open(context(server, folder, **more)).pull(None)).package
    frames = {file: pl.concat([b.frame for b in package.batches(file)]) for file in package.mode}
    found = package.issues
    package.close()
    return frames, found


@pytest.fixture(scope="module")
def pulled(tmp_path_factory: pytest.TempPathFactory) -> tuple[Frames, pl.DataFrame]:
    """All rows of a district's whole pull, and the findings."""
    with running(Server(ods())) as server:
        return pull(server, tmp_path_factory.mktemp("edfi"))


def rows(frames: Frames, file: str) -> Rows:
    return {row["sourcedId"]: {n: v for n, v in row.items() if v is not None and n != "line"}
            for row in frames[file].to_dicts()}  # fmt: skip


def held(frames: Frames, user: str) -> set[tuple[str, ...]]:
    """Role, org, type, begin and end of a user's roles."""
    mine = (one for one in frames["roles"].to_dicts() if one["userSourcedId"] == user)
    names = ("role", "orgSourcedId", "roleType", "beginDate", "endDate")
    return {tuple(one[name] or "" for name in names) for one in mine}


def test_the_whole_district_is_sound_for_the_hub(pulled: tuple[Frames, pl.DataFrame]) -> None:
    found = rosters.run("1.2", pulled[0])
    assert not {name: some for name, some in found.quarantined.items() if some}
    counts = {"orgs": 3, "academicSessions": 5, "courses": 2, "classes": 4, "users": 24 + 3 + 8, "enrollments": 24 + 6}
    assert {entity: len(found.keys(entity)) for entity in counts} == counts
    assert set(found.issues["code"]) == {"NAME-009"}
    told = {(row["code"], row["field"] or row["file"], row["cause"]) for row in pulled[1].to_dicts()}
    # A value that nobody knows is told with its namespace, and never with a person.
    wizard = "uri://gbisd.example/StaffClassificationDescriptor#Wizard"
    assert told == {
        ("EDFI-001", "StaffClassificationDescriptor", wizard), ("EDFI-003", "users.csv", "1"),
        ("EDFI-005", "users.csv", "20"),
    }  # fmt: skip


def test_orgs_sessions_and_courses(pulled: tuple[Frames, pl.DataFrame]) -> None:
    orgs, sessions, courses = (rows(pulled[0], file) for file in ("orgs", "academicSessions", "courses"))
    assert orgs[SCHOOL] == {"sourcedId": SCHOOL, "name": "School 0", "type": "school", "identifier": "TX0",
                            "parentSourcedId": "255901"}  # fmt: skip
    assert (orgs["255901"]["type"], orgs["255901"]["identifier"]) == ("district", "4800001")
    fall, year = sessions[f"{SCHOOL}-2026-fall"], sessions["255901-2026"]
    assert (fall["title"], fall["type"], fall["parentSourcedId"]) == ("Fall", "semester", "255901-2026")
    assert (fall["startDate"], fall["endDate"]) == ("2025-08-18", "2025-12-20")  # the last day belongs to it
    assert sessions[f"{SCHOOL}-2026-spring"]["type"] == "term"
    # Holidays and days without pupils make no school year.
    assert (year["type"], year["startDate"], year["endDate"]) == ("schoolYear", "2025-08-18", "2026-06-06")
    assert courses["255901-c1"] == {"sourcedId": "255901-c1", "title": "Algebra 1", "courseCode": "C1",
                                    "orgSourcedId": "255901", "subjects": "Mathematics"}  # fmt: skip


def test_a_school_year_is_that_of_most_schools() -> None:
    places = Places()
    places.take_districts([{"localEducationAgencyId": 1, "nameOfInstitution": "D"}])
    above = {"localEducationAgencyReference": {"localEducationAgencyId": 1}}
    places.take_schools([{"schoolId": n, **above} for n in (11, 12, 13)] + [{"schoolId": 99}])
    years = Years("2026", Descriptors({}))

    def day(school: int, at: str, event: str = "Instructional day", year: int = 2026) -> dict[str, Any]:
        return {"calendarReference": {"schoolId": school, "schoolYear": year}, "date": at,
                "calendarEvents": [{"calendarEventDescriptor": uri("CalendarEvent", event)}]}  # fmt: skip

    years.take([
        day(11, "2025-08-18"), day(11, "2026-06-05"), day(12, "2025-08-18"), day(12, "2026-06-12"),
        day(13, "2025-08-11"), day(13, "2026-06-12"), day(13, "2025-07-01", "Holiday"),
        day(13, "2024-08-01", year=2025),
    ])  # fmt: skip
    session = {"schoolReference": {"schoolId": 99}, "schoolYearTypeReference": {"schoolYear": 2026},
               "sessionName": "All", "beginDate": "2025-09-01", "endDate": "2026-05-31",
               "termDescriptor": uri("Term", "Moon")}  # fmt: skip
    frame, untold = schools.sessions([session, {**session, "schoolYearTypeReference": {"schoolYear": 2025}}], "2026",
                                     places, years)  # fmt: skip
    found = {row["sourcedId"]: (row["type"], row["startDate"], row["endDate"]) for row in frame.to_dicts()}
    assert found == {
        "1-2026": ("schoolYear", "2025-08-18", "2026-06-13"),
        # Without calendars the year is as long as its sessions; a school without a district has its own.
        "99-2026": ("schoolYear", "2025-09-01", "2026-06-01"), "99-2026-all": ("term", "2025-09-01", "2026-06-01"),
    }  # fmt: skip
    assert untold == 1
    assert set(years.descriptors.unknown) == {("TermDescriptor", "uri://ed-fi.org/TermDescriptor#Moon")}


def test_classes_and_enrollments(pulled: tuple[Frames, pl.DataFrame]) -> None:
    classes, enrolled = rows(pulled[0], "classes"), rows(pulled[0], "enrollments")
    early = f"alg-0-{OTHER}-2026-s0-spring"
    assert classes[early] == {
        "sourcedId": early, "title": "Algebra, early", "grades": "09", "courseSourcedId": "255901-c1",
        "classCode": "ALG-0", "classType": "scheduled", "location": "R1", "schoolSourcedId": OTHER,
        "termSourcedIds": f"{OTHER}-2026-spring", "subjects": "Mathematics", "periods": "P1,P5",
        "metadata.edfi.sectionIdentifier": "S0",
    }  # fmt: skip
    # The same section identifier at another school is another class; titles come from the offering, then the course.
    assert classes[f"alg-0-{SCHOOL}-2026-s0-fall"]["title"] == "Local algebra 0"
    assert classes[f"alg-1-{OTHER}-2026-s1-spring"]["title"] == "Algebra 1"
    assert classes[f"alg-1-{SCHOOL}-2026-s1-fall"]["classType"] == "homeroom"

    assert enrolled[f"stu-1006-{early}-2026-01-05"] == {
        "sourcedId": f"stu-1006-{early}-2026-01-05", "classSourcedId": early, "schoolSourcedId": OTHER,
        "userSourcedId": "stu-1006", "role": "student", "beginDate": "2026-01-05", "endDate": "2026-06-06",
    }  # fmt: skip
    lead, support = (enrolled[f"sta-t{n}-{early}-2026-01-05"] for n in (1, 2))
    assert (lead["primary"], support["primary"], lead["role"]) == ("true", "false", "teacher")
    assert "endDate" not in lead


def test_students(pulled: tuple[Frames, pl.DataFrame]) -> None:
    frames = pulled[0]
    users = rows(frames, "users")
    assert users["stu-1000"] == {
        "sourcedId": "stu-1000", "enabledUser": "true", "username": "1000", "identifier": "1000",
        "userIds": "{studentUniqueId:1000},{State:ST0000000}", "givenName": "First0", "familyName": "Last0",
        "middleName": "M", "agentSourcedIds": "con-p0", "grades": "01", "primaryOrgSourcedId": SCHOOL,
    }  # fmt: skip
    # Addresses that must not be published are not there, whatever else there is.
    assert [users[f"stu-{1000 + n}"].get("email") for n in (0, 1, 2, 4, 8)] == [
        None, "stu1@school.example", "stu2@school.example", "home4@example.com", "home8@example.com",
    ]  # fmt: skip
    assert users["stu-1001"]["username"] == "login1"
    assert held(frames, "stu-1000") == {
        ("student", SCHOOL, "primary", "2025-08-18", ""), ("student", OTHER, "secondary", "2025-08-01", "2025-08-17"),
    }  # fmt: skip
    assert not any("SSN" in user.get("userIds", "") for user in users.values())


def test_staff_and_contacts(pulled: tuple[Frames, pl.DataFrame]) -> None:
    frames = pulled[0]
    users = rows(frames, "users")
    assert held(frames, "sta-t0") == {
        ("districtAdministrator", "255901", "primary", "2024-08-01", ""), ("teacher", SCHOOL, "primary", "", ""),
        ("teacher", OTHER, "primary", "", ""),
    }  # fmt: skip
    assert held(frames, "sta-t1") == {("principal", OTHER, "primary", "2024-08-01", "2026-07-01")}
    # A classification that nobody knows makes no role; who teaches is a teacher.
    assert ("teacher", OTHER, "primary", "2024-08-01", "") in held(frames, "sta-t2")
    assert users["sta-t0"] == {
        "sourcedId": "sta-t0", "enabledUser": "true", "username": "teach0", "identifier": "T0",
        "userIds": "{staffUniqueId:T0},{District:D0}", "givenName": "Teach0", "familyName": "Er0",
        "email": "teach0@school.example", "phone": "+15555550000", "primaryOrgSourcedId": SCHOOL,
    }  # fmt: skip
    assert "sms" not in users["sta-t1"]  # not to be published
    assert "sta-t3" not in users  # nowhere
    roles = {
        user: {role[0] for role in held(frames, user)} for user in ("con-p0", "con-p1", "con-p2", "con-p3", "con-p6")
    }
    assert roles == {"con-p0": {"parent"}, "con-p1": {"guardian"}, "con-p2": {"relative"}, "con-p3": {"relative"},
                     "con-p6": {"guardian"}}  # fmt: skip
    assert (users["con-p2"]["agentSourcedIds"], users["stu-1006"]["agentSourcedIds"]) == ("stu-1006", "con-p2")
    assert "email" not in users["con-p1"]


def test_a_role_that_is_told_several_times_ends_with_the_last_of_them(tmp_path: Path) -> None:
    """Classifications that mean one role, entries that differ in letters alone: an end that is over is not the end."""
    name, schools_of = "staffEducationOrganizationAssignmentAssociations", "studentSchoolAssociations"
    server = Server(ods())
    (principal,) = (one for one in server.state.rows[name].values() if "Principal" in str(one))
    (entry,) = (one for one in server.state.rows[schools_of].values() if one["entryDate"] == "2025-08-01")
    assert entry["studentReference"] == {"studentUniqueId": "1000"}
    del server.state.rows[name][principal["id"]], server.state.rows[schools_of][entry["id"]]
    found = []
    with running(server):
        for ends in ((None, "2026-05-01"), ("2026-05-01", None), ("2026-04-01", "2026-05-01"),
                     ("2026-05-01", "2026-04-01")):  # fmt: skip
            for number, end in enumerate(ends):
                server.put(name, f"{name}-9{number}", **{**principal, "endDate": end, "id": f"{name}-9{number}"})
                server.put(schools_of, f"{schools_of}-9{number}", **{
                    **entry, "exitWithdrawDate": end, "id": f"{schools_of}-9{number}"})  # fmt: skip
            frames, _ = pull(server, tmp_path)
            found.append([next(role for role in held(frames, user) if role[1] == OTHER)[3:]
                          for user in ("sta-t1", "stu-1000")])  # fmt: skip
    begun = ("2024-08-01", "2025-08-01")
    ends_ = [("", ""), ("", ""), ("2026-05-02", "2026-05-01"), ("2026-05-02", "2026-05-01")]
    assert found == [[(begin, end) for begin, end in zip(begun, both, strict=True)] for both in ends_]


def test_demographics(pulled: tuple[Frames, pl.DataFrame]) -> None:
    found = rows(pulled[0], "demographics")
    assert found["stu-1001"] == {
        "sourcedId": "stu-1001", "birthDate": "2012-02-02", "sex": "female", "asian": "true", "white": "true",
        "demographicRaceTwoOrMoreRaces": "true", "hispanicOrLatinoEthnicity": "false", "cityOfBirth": "Austin",
    }  # fmt: skip
    assert (found["stu-1000"]["sex"], found["stu-1000"].get("white")) == ("male", None)


def test_who_is_not_asked_for_is_not_there(tmp_path: Path) -> None:
    with running(Server(ods())) as server:
        frames, _ = pull(server, tmp_path, entities=["users"], contacts=False)
        assert set(frames) == {"users", "roles"}
        assert {user[:3] for user in rows(frames, "users")} == {"stu", "sta"}
        assert not {"contacts", "studentContactAssociations", "sections"} & {one.resource for one in server.asked}
        # Another district's key alone: nothing of this one.
        frames, found = pull(server, tmp_path, district=7)
        told = {row["code"]: row["cause"] for row in found.to_dicts()}
        assert (told["EDFI-002"], told["EDFI-003"], told["EDFI-004"]) == ("24", "4", "8")
        assert {file: frame.height for file, frame in frames.items()} == dict.fromkeys(frames, 0)


def test_an_old_host_says_the_same_in_its_own_words(pulled: tuple[Frames, pl.DataFrame], tmp_path: Path) -> None:
    """Parents instead of contacts, offsets instead of tokens, a year in the addresses, no changes."""
    quirks = Quirks(version="6.1", model="4.0.0", mode="Year Specific", route="2026", change_queries=False)
    with running(Server(ods(model=4), quirks)) as server:
        frames, found = pull(server, tmp_path, school_year=2026)
        assert "EDFI-007" in found["code"].to_list()
    for file, frame in pulled[0].items():
        left, right = (one.drop("line").sort("sourcedId") for one in (frame, frames[file]))
        if file == "users":
            left = left.with_columns(pl.col("userIds").str.replace("parentUniqueId", "contactUniqueId"))
        assert left.equals(right), file


def test_descriptors_of_a_site_get_their_meaning_from_the_configuration(tmp_path: Path) -> None:
    own = {"StaffClassificationDescriptor": {"Wizard": "counselor"},
           "TermDescriptor": {"uri://ed-fi.org/TermDescriptor#Quarter": "gradingPeriod"},
           "RaceDescriptor": {"White": "none"}}  # fmt: skip
    with running(Server(ods())) as server:
        frames, found = pull(server, tmp_path, descriptors=own)
    assert "EDFI-001" not in found["code"].to_list()
    assert ("counselor", OTHER, "primary", "2024-08-01", "") in held(frames, "sta-t2")
    assert rows(frames, "academicSessions")[f"{SCHOOL}-2026-spring"]["type"] == "gradingPeriod"
    assert frames["demographics"]["white"].null_count() == 24
    assert frames["demographics"]["demographicRaceTwoOrMoreRaces"].null_count() == 24


@pytest.mark.parametrize(("name", "code", "meaning"), [
    ("GradeLevelDescriptor", "Tenth grade", "10"), ("GradeLevelDescriptor", "Infant/toddler", "IT"),
    ("GradeLevelDescriptor", "Adult Education", "Other"), ("GradeLevelDescriptor", "Hogwarts", None),
    ("StaffClassificationDescriptor", "Superintendent", "districtAdministrator"),
    ("StaffClassificationDescriptor", "School Administrative Support Staff", "staff"),
    ("RelationDescriptor", "Father, step", "parent"), ("RaceDescriptor", "Choose Not to Respond", None),
    ("SexDescriptor", "Not Selected", "unspecified"), ("ClassroomPositionDescriptor", "Substitute Teacher", "false"),
])  # fmt: skip
def test_what_descriptors_mean(name: str, code: str, meaning: str | None) -> None:
    read = Descriptors({})
    assert read.meaning(name, f"uri://tea.example/{name}#{code}") == meaning
    assert bool(read.unknown) == (code == "Hogwarts")


def test_keys_that_are_too_long_or_incomplete() -> None:
    assert keys.key("A", None) is None
    long = keys.key("x" * 300)
    assert long is not None
    assert (len(long), long) == (42, keys.key("X" * 300))
    assert long != keys.key("x" * 301)


def test_emails() -> None:
    def mail(kind: str, address: str, **more: bool) -> dict[str, Any]:
        return {
            "electronicMailTypeDescriptor": uri("ElectronicMailType", kind),
            "electronicMailAddress": address,
            **more,
        }

    some = [mail("Home/Personal", "h"), mail("Work", "w"), mail("Other", "o", primaryEmailAddressIndicator=True)]
    assert tables.email({"electronicMails": some}, school=True) == "o"
    assert tables.email({"electronicMails": some[:2]}, school=True) == "w"
    assert tables.email({"electronicMails": some[:2]}, school=False) == "h"
    hidden = [mail("Work", "w", doNotPublishIndicator=True, primaryEmailAddressIndicator=True), mail("Other", "o")]
    assert tables.email({"electronicMails": hidden}, school=True) == "o"
    assert tables.email({"electronicMails": hidden[:1]}, school=True) is None
