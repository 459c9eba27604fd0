"""Pulls of changes from Aeries: what they bring comes to the same as a pull of everything, or everything is pulled."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest

from connectors.aeries import SPEC
from connectors.aeries.changes import Since
from connectors.protocol import Pull
from tests.contract.test_aeries import context
from tests.fakes.aeries_district import ELEMENTARY, FLEX, HIGH, district
from tests.fakes.aeries_server import Quirks, Server, running
from tests.fakes.package_states import State, applied

HOUR = timedelta(hours=1)


@pytest.fixture
def aeries() -> Iterator[Server]:
    with running(Server(district())) as server:
        yield server


def pull(aeries: Server, folder: Path, cursor: Any = None, **more: Any) -> Pull:
    aeries.asked.clear()
    return asyncio.run(SPEC.open(context(aeries, folder, **more)).pull(json.loads(json.dumps(cursor))))


def steps(aeries: Server) -> dict[str, tuple[Callable[[], None], set[str]]]:
    """What happens in a district, in this order, and the files of changes that come of it; none: everything comes."""

    def student(key: int, **members: Any) -> Callable[[], None]:
        return lambda: aeries.put("students", {"StudentID": key}, **members)

    people = {"users", "roles", "demographics"}
    nothing = {"Birthdate": None, "Gender": "", "EthnicityCode": "", "RaceCode1": "", "RaceCode2": ""}

    def at(school: int, key: int, number: int, **members: Any) -> Callable[[], None]:
        one = {"StudentID": key, "SchoolCode": school, "StudentNumber": number}
        return lambda: aeries.put("students", one, **members)

    return {
        "a student is renamed": (student(99400001, FirstName="Zebulon", RaceCode1=""), people),
        "one at two schools gets another phone": (student(99400004, HomePhone="1"), people),
        "one says nothing of themselves any more": (
            student(99400006, **nothing), people),
        "one says nothing at the first of two schools": (at(HIGH, 99400004, 4, **nothing), people),
        "and nothing at the other one": (at(FLEX, 99400004, 900, **nothing), people),
        "and all of it again": (at(HIGH, 99400004, 4, Birthdate="2010-04-11T00:00:00", Gender="M"), people),
        "a student has a second record at the school": (
            at(HIGH, 99400005, 801, FirstName="Second", SchoolEnterDate="2025-09-01T00:00:00"), people),
        "that says more than the first one": (at(HIGH, 99400005, 801, Gender="X", Grade=12), people),
        "a pupil has a second record with another teacher": (
            at(ELEMENTARY, 99000003, 802, FirstName="Two", LastName="Seats", HomeRoomTeacherNumber=421, Grade=2),
            {*people, "enrollments"}),
        "and the first of them is inactive": (
            at(ELEMENTARY, 99000003, 3, InactiveStatusCode="T"), {*people, "enrollments"}),
        "and the second in place of it": (
            lambda: (at(ELEMENTARY, 99000003, 3, InactiveStatusCode="")(),
                     at(ELEMENTARY, 99000003, 802, InactiveStatusCode="T")())[0], {*people, "enrollments"}),
        "a pupil goes to another teacher": (student(99000001, HomeRoomTeacherNumber=421), {*people, "enrollments"}),
        "and to none": (student(99000001, HomeRoomTeacherNumber=0), {*people, "enrollments"}),
        "a contact is renamed": (
            lambda: aeries.put("contacts", {"StudentID": 99400001, "SequenceNumber": 1}, FirstName="Ma"), people),
        "a contact comes": (
            lambda: aeries.put("contacts", {"StudentID": 99400002, "SequenceNumber": 1, "SchoolCode": HIGH},
                               FirstName="New", LastName="Comer"), people),
        "a student leaves": (student(99400007, InactiveStatusCode="T"), set()),
        "a class gets a student": (
            lambda: aeries.put("classes", {"StudentID": 99400008, "SchoolCode": HIGH, "SequenceNumber": 9},
                               SectionNumber=101), set()),
        "a section moves": (
            lambda: aeries.put("sections", {"SchoolCode": HIGH, "SectionNumber": 101}, Room="Z1"), set()),
        "a course is renamed": (lambda: aeries.put("courses", {"ID": "031A"}, LongDescription="Algebra"), set()),
        "somebody of the staff is renamed": (lambda: aeries.put("staff", {"ID": 990421}, LastName="Marr"), set()),
        "a school has another name": (
            lambda: aeries.put("schools", {"SchoolCode": ELEMENTARY}, Name="Hawk Elementary"), set()),
    }  # fmt: skip


def test_changes_come_to_the_same_as_everything(aeries: Server, tmp_path: Path) -> None:
    first = pull(aeries, tmp_path)
    state: State = applied({}, first)
    cursor, bare = first.cursor, False
    for name, (happen, files) in steps(aeries).items():
        aeries.now += HOUR
        happen()
        aeries.now += HOUR
        aeries.quirks.bare = bare = not bare  # lists of changes name students in one way or the other
        found = pull(aeries, tmp_path, cursor)
        modes = {file for file, mode in found.package.mode.items() if mode == "delta"}
        assert modes == files, name
        assert bool(files) == (len(found.package.mode) < 8), name
        state, cursor = applied(state, found), found.cursor
        whole = applied({}, pull(aeries, tmp_path, page_rows=500))
        assert {f: k for f, k in state.items() if k != whole[f]} == {}, name


def test_nothing_new_costs_a_request_for_each_list_of_changes(aeries: Server, tmp_path: Path) -> None:
    first = pull(aeries, tmp_path)
    first.package.close()
    aeries.now += HOUR
    found = pull(aeries, tmp_path, first.cursor)
    assert (dict(found.package.mode), len(aeries.asked)) == ({}, 2 + 8)
    found.package.close()
    assert found.cursor is not None
    assert found.cursor["clock"] > first.cursor["clock"]  # type: ignore[index]
    # Without contacts nobody asks for their changes; without classes nobody asks for theirs.
    some = {"contacts": False, "entities": ("orgs", "users")}
    pull(aeries, tmp_path, found.cursor, **some).package.close()
    assert {one.path.partition("/2026")[0] for one in aeries.asked} == {
        "systeminfo", "schools", "StudentDataChanges/student", "StudentDataChanges/enrollment", "StaffDataChanges",
    }  # fmt: skip


@pytest.mark.parametrize("quirks", [
    Quirks(off={"SectionDataChanges"}), Quirks(missing={"StudentDataChanges/student"}),
    Quirks(forbidden={"StaffDataChanges"}), Quirks(system=False),
])  # fmt: skip
def test_who_does_not_say_what_changed_is_pulled_whole(aeries: Server, tmp_path: Path, quirks: Quirks) -> None:
    before = pull(aeries, tmp_path)
    aeries.quirks = quirks
    first = pull(aeries, tmp_path, before.cursor)
    assert (first.cursor, len(first.package.mode)) == (None, 8)
    assert "AERIES-005" in first.package.issues["code"].to_list()
    second = pull(aeries, tmp_path)
    assert second.package.digest == first.package.digest == before.package.digest
    for one in (before, first, second):
        one.package.close()


def test_many_students_and_another_year_are_pulled_whole(aeries: Server, tmp_path: Path) -> None:
    first = pull(aeries, tmp_path)
    first.package.close()
    assert first.cursor is not None
    for cursor in ({**first.cursor, "year": "2024-2025"}, {**first.cursor, "schools": "other"}):
        found = pull(aeries, tmp_path, cursor)
        assert set(found.package.mode.values()) == {"bulk"}
        found.package.close()
    for number in range(301):
        aeries.happened.append(("StudentDataChanges/student", aeries.local(), {"StudentID": number}))
    found = pull(aeries, tmp_path, first.cursor)
    assert set(found.package.mode.values()) == {"bulk"}
    found.package.close()


def test_a_clock_that_is_set_back_loses_no_change() -> None:
    """In autumn an edit at 01:20 standard time is later than a pull at 01:50 daylight time."""
    summer, winter = timezone(-7 * HOUR), timezone(-8 * HOUR)
    since = Since(datetime(2026, 11, 1, 1, 50, 30, tzinfo=summer), None, "")
    assert since.minute(datetime(2026, 11, 1, 2, 0, tzinfo=winter)) == datetime.fromisoformat("2026-11-01T00:48")
    assert since.minute(datetime(2026, 11, 1, 1, 55, tzinfo=summer)) == datetime.fromisoformat("2026-11-01T01:48")
    spring = Since(datetime(2026, 3, 8, 1, 50, tzinfo=winter), None, "")
    assert spring.minute(datetime(2026, 3, 8, 3, 5, tzinfo=summer)) == datetime.fromisoformat("2026-03-08T01:48")
    assert since.clock.astimezone(UTC).hour == 8
