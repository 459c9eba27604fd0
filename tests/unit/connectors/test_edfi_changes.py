"""Pulls of changes from an Ed-Fi host: they come to the same as a pull of everything, however rows move meanwhile."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from connectors.edfi import SPEC
from connectors.edfi.changes import Since
from connectors.protocol import ConnectorError, Intent, Pull
from tests.contract.test_edfi import context
from tests.fakes.edfi_district import DISTRICT, FIRST_SCHOOL, YEAR, ods, section, uri
from tests.fakes.edfi_server import Asked, Quirks, Server, running
from tests.fakes.package_states import State, applied

STUDENTS, STAFF = "studentSectionAssociations", "staffSectionAssociations"


@pytest.fixture(params=["7.3", "6.1"])
def host(request: pytest.FixtureRequest) -> Iterator[Server]:
    with running(Server(ods(), Quirks(version=request.param))) as server:
        yield server


@pytest.fixture
def new_host() -> Iterator[Server]:
    with running(Server(ods())) as server:
        yield server


def pull(host: Server, folder: Path, cursor: Any = None, **more: Any) -> Pull:
    host.asked.clear()
    kept = json.loads(json.dumps(cursor))
    return asyncio.run(SPEC.open(context(host, folder, **more)).pull(kept))


def seat(student: int, number: int, begin: str = "2026-01-05", **more: Any) -> dict[str, Any]:
    return {"sectionReference": section(number, 2), "studentReference": {"studentUniqueId": str(student)},
            "beginDate": begin, **more}  # fmt: skip


def steps(host: Server) -> dict[str, tuple[Callable[[], None], set[str]]]:
    """What happens at a host, in this order, and what has to be pulled for it."""
    first = host.row(STUDENTS, f"{STUDENTS}-0")
    moved = {**section(0, 2), "sectionIdentifier": "S7"}
    people = {"users bulk", "roles bulk"}
    return {
        "a student is renamed": (lambda: host.put("students", "students-4", firstName="Zebulon"),
                                 {*people, "demographics bulk"}),
        "a seat comes": (lambda: host.put(STUDENTS, f"{STUDENTS}-900", **seat(1001, 0)), {"enrollments delta"}),
        "a seat ends earlier": (lambda: host.put(STUDENTS, f"{STUDENTS}-1", endDate="2025-10-01"),
                                {"enrollments delta"}),
        "a seat goes": (lambda: host.drop(STUDENTS, f"{STUDENTS}-2"), {"enrollments delta"}),
        "and comes back": (lambda: host.put(STUDENTS, f"{STUDENTS}-901", **seat(1002, 0, "2025-08-18")),
                           {"enrollments delta"}),
        "a seat begins on another day": (lambda: host.rekey(STUDENTS, f"{STUDENTS}-0", beginDate="2025-09-01"),
                                         {"enrollments delta"}),
        "a seat is of another year": (lambda: host.put(STUDENTS, f"{STUDENTS}-902", **{
            **seat(1003, 0), "sectionReference": {**section(0, 2), "schoolYear": YEAR - 1}}), {"enrollments delta"}),
        "a teacher teaches elsewhere": (lambda: host.put(STAFF, f"{STAFF}-903", staffReference={"staffUniqueId": "T3"},
                                                         sectionReference=section(0, 2), beginDate="2026-02-01"),
                                        {"enrollments delta", *people}),
        "a section is called otherwise": (lambda: _rename(host, moved),
                                          {"classes bulk", "enrollments bulk", *people}),
        "a contact comes": (lambda: _contact(host), people),
        "a student leaves": (lambda: host.put("studentSchoolAssociations", "studentSchoolAssociations-5",
                                              exitWithdrawDate="2026-03-01"), {*people, "demographics bulk"}),
        "an offering has a title": (lambda: host.put("courseOfferings", "courseOfferings-0", localCourseTitle="Geo"),
                                    {"classes bulk"}),
        "a course goes": (lambda: host.put("courses", "courses-1", courseTitle="B"), {"courses bulk", "classes bulk"}),
        "a day is off": (lambda: host.drop("calendarDates", "calendarDates-1"), {"academicSessions bulk"}),
        "a school is renamed": (lambda: host.put("schools", "schools-1", nameOfInstitution="South"), {
            "orgs bulk", "academicSessions bulk", "courses bulk", "classes bulk", "enrollments bulk", *people,
            "demographics bulk"}),
        "nothing of the roster": (lambda: host.put("gradebooks", "gradebooks-1", x=first["id"]), set()),
    }  # fmt: skip


def _rename(host: Server, key: dict[str, Any]) -> None:
    """Another identifier for a section, which reaches all that refer to it."""
    old = section(0, 2)
    host.rekey("sections", "sections-0", sectionIdentifier=key["sectionIdentifier"])
    for resource in (STUDENTS, STAFF):
        for name, row in list(host.state.rows[resource].items()):
            if row["sectionReference"] == old:
                host.rekey(resource, name, sectionReference=key)


def _contact(host: Server) -> None:
    host.put("contacts", "contacts-900", contactUniqueId="P99", firstName="New", lastSurname="One")
    host.put("studentContactAssociations", "studentContactAssociations-900",
             contactReference={"contactUniqueId": "p99"}, studentReference={"studentUniqueId": "1001"},
             relationDescriptor=uri("Relation", "Mother"))  # fmt: skip


def test_changes_come_to_the_same_as_everything(host: Server, tmp_path: Path) -> None:
    host.state.rows["gradebooks"] = {}
    first = pull(host, tmp_path)
    state: State = applied({}, first)
    cursor = first.cursor
    for what, (step, expected) in steps(host).items():
        step()
        changes = pull(host, tmp_path, cursor)
        assert {f"{file} {mode}" for file, mode in changes.package.mode.items()} == expected, what
        state = applied(state, changes)
        assert state == applied({}, pull(host, tmp_path, page_rows=500)), what
        assert changes.cursor is not None
        # Nothing is under way at this host: what was read need not come once more.
        cursor = {**changes.cursor, "settled": changes.cursor["version"]}
    # Nothing changed: one request beside the API's description and the token.
    nothing = pull(host, tmp_path, cursor)
    assert ([one.resource for one in host.asked], dict(nothing.package.mode)) == (["availableChangeVersions"], {})
    assert nothing.cursor == cursor


def test_a_change_that_is_committed_behind_newer_ones_is_not_lost(host: Server, tmp_path: Path) -> None:
    host.state.rows["gradebooks"] = {}
    commit = host.begin("students", "students-5", firstName="Before")
    pulled = pull(host, tmp_path)
    state = applied({}, pulled)
    commit()

    def follow() -> set[str]:
        nonlocal state, pulled
        pulled = pull(host, tmp_path, pulled.cursor)
        files = {*pulled.package.mode}
        state = applied(state, pulled)
        return files

    host.now += timedelta(hours=1)
    host.put("gradebooks", "gradebooks-1")
    commit = host.begin("students", "students-4", firstName="Late")
    ended = host.begin(STUDENTS, f"{STUDENTS}-1", endDate="2025-10-01")
    host.put("courses", "courses-1", courseTitle="B")
    assert follow() == {"users", "roles", "demographics", "courses", "classes"}
    assert state == applied({}, pull(host, tmp_path))
    commit()
    ended()
    # Pulls within minutes of each other do not make an end of it, nor those that find nothing new.
    for minutes in (1, 1, 60):
        assert follow() == set()
        host.now += timedelta(minutes=minutes)
    host.put("gradebooks", "gradebooks-1")
    assert follow() == {"users", "roles", "demographics", "courses", "classes", "enrollments"}
    assert pulled.package.mode["enrollments"] == "delta"
    assert state == applied({}, pull(host, tmp_path))
    # What was read twice does not come again.
    host.now += timedelta(hours=1)
    host.put("gradebooks", "gradebooks-1")
    assert follow() == set()


def test_how_far_windows_overlap() -> None:
    at = datetime(2026, 3, 2, 6, tzinfo=UTC)
    since = Since(50_000, "2026", by_clock=False, at=at, settled=49_000)
    assert Since.of(since.cursor()) == since
    assert since.behind(0) == 49_000
    assert since.behind(49_500) == 49_499  # the host has forgotten what was before
    for newest, minutes, settled in ((50_001, 9, 49_000), (50_001, 10, 50_000), (40_000, 10, 0)):
        assert since.settled_at(newest, at + timedelta(minutes=minutes)) == settled
    # The first pull, and cursors from before times were noted, know of no earlier one.
    old = Since.of({"version": 50_000, "year": "2026", "by_clock": False})
    assert old is not None
    assert (old.behind(0), old.settled_at(50_001, at)) == (40_000, 0)


def test_many_changes_at_once(host: Server, tmp_path: Path) -> None:
    host.state.rows["gradebooks"] = {}
    first = pull(host, tmp_path)
    state = applied({}, first)
    for what, (step, _) in steps(host).items():
        if "school" not in what and "section" not in what:
            step()
    changes = pull(host, tmp_path, first.cursor, page_rows=2)
    assert changes.package.mode["enrollments"] == "delta"
    after = applied(state, changes)
    assert after == applied({}, pull(host, tmp_path))
    assert applied(after, pull(host, tmp_path, first.cursor)) == after


@pytest.mark.parametrize("part", ["changes", "whole"])
def test_rows_that_move_while_they_are_read_are_not_lost(host: Server, tmp_path: Path, part: str) -> None:
    """A row that changes again leaves the window, one that is deleted the resource: those behind it move up."""
    first = pull(host, tmp_path)
    state = applied({}, first)
    for name in list(host.state.rows[STUDENTS]):
        host.put(STUDENTS, name, endDate="2026-05-01")
    left = [f"{STUDENTS}-{n}" for n in range(6)]

    def meanwhile(asked: Asked) -> None:
        if asked.resource == STUDENTS and not asked.part and not asked.counts and left:
            name = left.pop(0)
            if part == "changes":
                host.put(STUDENTS, name, endDate="2026-05-02")
            else:
                host.drop(STUDENTS, name)

    host.before_page = meanwhile
    cursor = first.cursor if part == "changes" else None
    second = pull(host, tmp_path, cursor, page_rows=4)
    assert len(left) < 4
    assert sum(one.resource == STUDENTS and not one.counts and not one.part for one in host.asked) == 6  # one walk
    state = applied(state, second)
    host.before_page = lambda _: None
    assert second.cursor is not None
    state = applied(state, pull(host, tmp_path, second.cursor))
    assert state == applied({}, pull(host, tmp_path))


@pytest.mark.parametrize("why", ["no keys", "no keyChanges", "restored", "year", "many"])
def test_everything_is_read_where_the_host_says_too_little(
    new_host: Server, tmp_path: Path, why: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    host = new_host
    host.quirks.key_values = why != "no keys"
    if why == "no keyChanges":
        host.quirks.absent = frozenset({"keyChanges"})
    first = pull(host, tmp_path)
    state, cursor = applied({}, first), dict(first.cursor or {})
    host.drop(STUDENTS, f"{STUDENTS}-2")
    if why == "restored":
        cursor["version"] += 10_000
    elif why == "year":
        host.put("schoolYearTypes", "schoolYearTypes-1", currentSchoolYear=False)
        host.put("schoolYearTypes", "schoolYearTypes-0", currentSchoolYear=True)
    elif why == "many":
        host.put(STUDENTS, f"{STUDENTS}-1", endDate="2025-10-01")
        monkeypatch.setattr("connectors.edfi.pulling.MOST_CHANGED", 0)
    changes = pull(host, tmp_path, cursor)
    assert changes.package.mode["enrollments"] == "bulk"
    assert ("users" in changes.package.mode) == (why in {"restored", "year", "no keyChanges"})
    assert applied(state, changes) == applied({}, pull(host, tmp_path))


def test_a_host_without_changes_gives_the_same_digest_each_time(tmp_path: Path) -> None:
    with running(Server(ods(), Quirks(change_queries=False))) as host:
        first, second = pull(host, tmp_path), pull(host, tmp_path, page_rows=3)
        assert (first.cursor, second.cursor) == (None, None)
        assert first.package.digest == second.package.digest
        first.package.close()
        second.package.close()
        host.put("students", "students-0", firstName="Zebulon")
        third = pull(host, tmp_path)
        assert third.package.digest != first.package.digest
        third.package.close()


def test_a_snapshot_is_read_where_there_is_one(new_host: Server, tmp_path: Path) -> None:
    host = new_host
    without = pull(host, tmp_path, snapshot=True)
    assert "EDFI-008" in without.package.issues["code"].to_list()
    before = applied({}, without)
    host.quirks.snapshot = True
    host.take_snapshot()
    host.put("students", "students-0", firstName="Later")
    first = pull(host, tmp_path, snapshot=True)
    assert applied({}, first) == before
    assert all(one.headers.get("Use-Snapshot") == "true" for one in host.asked)
    host.take_snapshot()
    assert applied(before, pull(host, tmp_path, first.cursor, snapshot=True)) == applied({}, pull(host, tmp_path))


def test_where_the_addresses_lead(tmp_path: Path) -> None:
    quirks = Quirks(mode="Instance Year Specific", route="gb/2026")
    with running(Server(ods(), quirks)) as host:
        for template in ("", "{instanceIdFromRoute}/{schoolYearFromRoute}"):
            quirks.template = template
            pull(host, tmp_path, school_year=2026, instance="gb").package.close()
        for more in ({"school_year": 2026}, {"instance": "gb"}):
            with pytest.raises(ConnectorError, match="no_school_year"):
                pull(host, tmp_path, **more)
        quirks.elsewhere = True
        with pytest.raises(ConnectorError, match="moved"):
            pull(host, tmp_path)
        with pytest.raises(ConnectorError, match="not_edfi"):
            pull(host, tmp_path, url=host.url + "/data/v3/ed-fi/nothing")
    assert not list(tmp_path.iterdir())


def test_what_may_not_be_read_fails_the_pull_and_says_so(new_host: Server, tmp_path: Path) -> None:
    host = new_host
    host.forbidden = {"calendarDates", "schoolYearTypes"}  # the date and the sessions tell enough
    found = pull(host, tmp_path)
    assert {"EDFI-006"} < set(found.package.issues["code"])
    assert found.cursor is not None
    assert (found.cursor["by_clock"], found.cursor["year"]) == (True, "2026")
    found.package.close()
    for name in ("contacts", "students", STAFF):
        host.forbidden = {name}
        with pytest.raises(ConnectorError, match=name) as caught:
            pull(host, tmp_path)
        assert (caught.value.code, caught.value.intent) == ("not_permitted", Intent.ASK_HUMAN)
    host.forbidden = {"contacts"}
    pull(host, tmp_path, contacts=False).package.close()
    assert not list(tmp_path.iterdir())


def test_a_try_says_in_plain_words_what_works(new_host: Server, tmp_path: Path) -> None:
    host = new_host
    host.organizations = [{"education_organization_id": DISTRICT}]

    def tried(**more: Any) -> dict[str, tuple[str, str]]:
        found = asyncio.run(SPEC.open(context(host, tmp_path, **more)).probe())  # type: ignore[attr-defined]
        return {one.step: (one.outcome, one.text) for one in found}

    found = tried()
    assert {step for step, (outcome, _) in found.items() if outcome != "good"} == {"connection"}  # not encrypted
    assert "24 rows" in found["students"][1]
    assert "data standard 5.2.0" in found["api"][1]
    host.organizations = [{"education_organization_id": n} for n in (DISTRICT, FIRST_SCHOOL)]
    host.forbidden = {"students", "calendarDates"}
    host.quirks.change_queries = False
    host.state.rows["staffs"] = {}
    found = tried()
    assert {step: found[step][0] for step in ("organizations", "students", "calendarDates", "changes", "staffs")} == {
        "organizations": "warning", "students": "bad", "calendarDates": "warning", "changes": "warning",
        "staffs": "warning",
    }  # fmt: skip
    assert "claim set" in found["where to look"][1]
    assert "without /data/v3" in tried(url=f"{host.url}/data/v3")["api"][1]
    assert tried(url="http://127.0.0.1:9").keys() == {"connection"}
    found = tried(key="another")
    assert (found["login"][0], "Admin App" in found["where to look"][1]) == ("bad", True)
