"""Pulls of changes from Clever: what events say comes to the same as a pull of everything, or everything is pulled."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from connectors.clever import SPEC
from connectors.journal import Journal
from connectors.protocol import ConnectorError, Intent, Pull
from tests.contract.test_clever import context
from tests.fakes.clever_district import district, key
from tests.fakes.clever_server import TOKEN, Quirks, Server, running
from tests.fakes.package_states import State, applied

DAY = timedelta(days=1)
_PRIVATE = ("dob", "gender", "race", "hispanic_ethnicity")


@pytest.fixture
def clever() -> Iterator[Server]:
    with running(Server(district())) as server:
        yield server


def pull(clever: Server, folder: Path, cursor: Any = None, **more: Any) -> Pull:
    clever.asked.clear()
    kept = json.loads(json.dumps(cursor))
    return asyncio.run(SPEC.open(context(clever, folder, **more)).pull(kept))


def without_contacts(clever: Server) -> None:
    """A district that shares no contacts: users change one by one then."""
    for one in list(clever.objects["users"].values()):
        one["roles"].pop("contact", None)
        if not one["roles"]:
            del clever.objects["users"][one["id"]]


def section(clever: Server, number: int, **members: Any) -> Callable[[], None]:
    return lambda: clever.put("sections", key("8", number), **members)


def roles(clever: Server, user: str, name: str, **members: Any) -> dict[str, Any]:
    had = clever.objects["users"][user]["roles"]
    return {**had, name: {**had.get(name, {}), **members}}


def steps(clever: Server) -> dict[str, Callable[[], None]]:
    """What happens in a district, in this order; each builds on the ones before."""
    student, other, teacher = key("1", 4), key("1", 5), key("2", 1)
    sections = clever.objects["sections"]
    return {
        "a student is renamed": lambda: clever.put("users", student, name={"first": "Zebulon", "last": "Last4"}),
        "a student moves": lambda: clever.put(
            "users", student, roles=roles(clever, student, "student", school=key("4", 1), schools=[key("4", 1)])
        ),
        "a student leaves": lambda: (
            section(clever, 0, students=[one for one in sections[key("8", 0)]["students"] if one != other])(),
            clever.drop("users", other),
        )[0],
        "a student comes back": lambda: clever.put(
            "users", other, email=None, name={"first": "B", "last": "C"},
            roles={"student": {"school": key("4", 0), "grade": "3"}},
        ),
        "a student says nothing of themselves any more": lambda: clever.put(
            "users", student, roles=roles(clever, student, "student", **dict.fromkeys(_PRIVATE))
        ),
        "one who was a student is staff": lambda: clever.put(
            "users", key("1", 6), roles={"staff": {"title": "Coach", "schools": [key("4", 0)]}}
        ),
        "a teacher becomes an administrator too": lambda: clever.put(
            "users", teacher, roles=roles(clever, teacher, "district_admin", title="Director")
        ),
        "and is that no more": lambda: clever.put("users", teacher, roles={
            "teacher": clever.objects["users"][teacher]["roles"]["teacher"]}),
        "a class gets another teacher and students": section(
            clever, 1, teacher=key("2", 2), teachers=[key("2", 2)], students=[key("1", 1), key("1", 2)]
        ),
        "and has the first ones again": section(clever, 1, teacher=key("2", 1), students=[key("1", 9)]),
        "a class loses its course": section(clever, 1, course=None),
        "a class without a course gets one": section(clever, 3, course=key("5", 0)),
        "a class loses its term": section(clever, 0, term_id=None),
        "a class comes": section(clever, 9, name="New", school=key("4", 0), students=[key("1", 3)], teacher=key("2", 0),
                                 term_id="7" * 24, district="d" * 24),
        "and goes": lambda: clever.drop("sections", key("8", 9)),
        "a term is longer": lambda: clever.put("terms", key("7", 1), end_date="2026-06-12"),
        "a term comes": lambda: clever.put("terms", "7" * 24, name="Summer", start_date="2026-06-15",
                                           end_date="2026-06-30", district="d" * 24),
        "a course is renamed": lambda: clever.put("courses", key("5", 1), name="Geometry"),
        "a course comes and goes": lambda: (
            clever.put("courses", key("5", 9), name="Gone", number="G", district="d" * 24),
            clever.drop("courses", key("5", 9)),
        )[0],
        "a school is renamed": lambda: clever.put("schools", key("4", 1), name="South"),
    }  # fmt: skip


@pytest.mark.parametrize("contacts", [True, False])
def test_what_events_say_comes_to_the_same_as_everything(clever: Server, tmp_path: Path, contacts: bool) -> None:
    if not contacts:
        without_contacts(clever)
    first = pull(clever, tmp_path)
    state: State = applied({}, first)
    cursor = first.cursor
    told: set[str] = set()
    for what, step in steps(clever).items():
        step()
        changes = pull(clever, tmp_path, cursor)
        told |= {f"{file} {mode}" for file, mode in changes.package.mode.items()}
        users_whole = clever.count("users") > 0
        state = applied(state, changes)
        assert state == applied({}, pull(clever, tmp_path, page_rows=10_000)), what
        assert not users_whole or contacts, what
        cursor = changes.cursor
    assert {"classes delta", "enrollments delta", "courses delta", "academicSessions bulk", "orgs bulk"} <= told
    assert ("users delta" in told, "users bulk" in told) == (not contacts, contacts)

    # Nothing changed: one request for the district and one for the events.
    clever.now += DAY
    nothing = pull(clever, tmp_path, cursor)
    assert ([one.collection for one in clever.asked], dict(nothing.package.mode)) == (["districts", "events"], {})
    assert nothing.cursor is not None
    assert cursor is not None
    assert (nothing.cursor["event"], nothing.cursor["at"]) == (cursor["event"], clever.now.isoformat())


def test_all_events_at_once_are_read_page_by_page_and_may_come_again(clever: Server, tmp_path: Path) -> None:
    first = pull(clever, tmp_path)
    state = applied({}, first)
    for step in steps(clever).values():
        step()
    changes = pull(clever, tmp_path, first.cursor, page_rows=2)
    assert clever.count("events") > 5
    after = applied(state, changes)
    whole = pull(clever, tmp_path)
    assert after == applied({}, whole)
    # The same events once more change nothing.
    assert applied(after, pull(clever, tmp_path, first.cursor)) == after


def test_what_changes_while_everything_is_read_comes_with_the_next_pull(clever: Server, tmp_path: Path) -> None:
    seen: list[str] = []

    def meanwhile(asked: Any) -> None:
        if asked.collection == "users" and not seen:
            seen.append("section")
            clever.put("sections", key("8", 0), name="Renamed meanwhile")

    clever.before_page = meanwhile
    first = pull(clever, tmp_path)
    state = applied({}, first)
    assert state != applied({}, pull(clever, tmp_path))
    assert applied(state, pull(clever, tmp_path, first.cursor)) == applied({}, pull(clever, tmp_path))


@pytest.mark.parametrize("why", ["old", "unknown", "kind", "too many", "school year", "switched off"])
def test_everything_is_pulled_where_events_do_not_say_enough(
    clever: Server, tmp_path: Path, why: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = pull(clever, tmp_path)
    clever.put("courses", key("5", 1), name="Geometry")
    if why == "old":  # events were lost without a word meanwhile
        clever.now += 31 * DAY
    elif why == "unknown":
        clever.quirks.unknown = 400
        assert first.cursor is not None
        first.cursor["event"] = "f" * 24  # type: ignore[index]
    elif why == "kind":
        clever.objects["wands"] = {}
        clever.put("wands", "w", power=1)
    elif why == "too many":
        monkeypatch.setattr("connectors.clever.events.MOST_EVENTS", 0)
    elif why == "school year":
        clever.now = clever.now.replace(month=7)
        assert first.cursor is not None
        first.cursor["at"] = clever.now.isoformat()  # type: ignore[index]
    else:
        clever.quirks.events = False
    again = pull(clever, tmp_path, first.cursor)
    assert set(again.package.mode.values()) == {"bulk"}
    assert "users" in again.package.mode
    assert (again.cursor is None) == (why == "switched off")
    assert ("CLEVER-006" in again.package.issues["code"].to_list()) == (why == "switched off")
    first.package.close()
    assert applied({}, again) == applied({}, pull(clever, tmp_path))


def test_events_without_what_was_before_make_all_sections_be_read(clever: Server, tmp_path: Path) -> None:
    first = pull(clever, tmp_path)
    clever.quirks.previous = False
    clever.put("sections", key("8", 0), students=[key("1", 0)])
    changes = pull(clever, tmp_path, first.cursor)
    assert {name: mode for name, mode in changes.package.mode.items() if name != "academicSessions"} == {
        "classes": "bulk", "enrollments": "bulk", "courses": "bulk",
    }  # fmt: skip
    assert clever.count("users") == 0
    assert applied(applied({}, first), changes) == applied({}, pull(clever, tmp_path))


def test_the_last_event_is_found_where_clever_does_not_tell_it(clever: Server, tmp_path: Path) -> None:
    clever.put("courses", key("5", 1), name="Geometry")
    clever.quirks.last = "refused"
    first = pull(clever, tmp_path)
    first.package.close()
    assert first.cursor is not None
    assert first.cursor["event"] == clever.events[-1]["id"]


@pytest.mark.parametrize(("state", "code", "intent", "wait"), [
    ({"state": "paused", "pause_end": "2026-03-03T06:00:00.000Z"}, "district_paused", Intent.RETRY, 86_400),
    ({"state": "paused", "pause_end": None}, "district_paused", Intent.ASK_HUMAN, None),
    ({"state": "error", "error": "Ann Smith's row is broken"}, "district_failed", Intent.ASK_HUMAN, None),
    ({"state": "pending"}, "district_pending", Intent.ASK_HUMAN, None),
])  # fmt: skip
def test_a_district_that_stands_still_at_clever_stands_still_here(
    clever: Server, tmp_path: Path, state: dict[str, Any], code: str, intent: Intent, wait: float | None
) -> None:
    first = pull(clever, tmp_path)
    first.package.close()
    clever.district.update(state)
    for cursor in (None, first.cursor):
        with pytest.raises(ConnectorError) as caught:
            pull(clever, tmp_path, cursor)
        assert (caught.value.code, caught.value.intent, caught.value.wait_seconds) == (code, intent, wait)
        assert len(clever.asked) == 1
        assert "Ann" not in str(caught.value)

    # Who stops the district in the middle of a pull stops that pull.
    clever.district.update({"state": "success"})

    def meanwhile(asked: Any) -> None:
        if asked.collection == "users":
            clever.district.update(state)

    clever.before_page = meanwhile
    with pytest.raises(ConnectorError) as caught:
        pull(clever, tmp_path)
    assert caught.value.code == code
    assert not list(tmp_path.iterdir())


def test_the_state_of_a_district_is_asked_for_in_every_attempt(clever: Server, tmp_path: Path) -> None:
    (tmp_path / "work").mkdir()

    def attempt() -> list[str]:
        clever.asked.clear()
        with closing(Journal(tmp_path / "journal", bytes(32), time.time())) as journal:
            given = replace(context(clever, tmp_path / "work"), journal=journal)
            asyncio.run(SPEC.open(given).pull(None)).package.close()
        return [one.collection for one in clever.asked]

    success, paused = {"state": "success", "pause_end": None}, {"state": "paused", "pause_end": None}
    clever.district.update(paused, pause_end=(clever.now + timedelta(minutes=5)).isoformat())
    with pytest.raises(ConnectorError, match="district_paused") as caught:
        attempt()
    assert caught.value.wait_seconds == 300
    clever.district.update(success)
    assert attempt().count("districts") == 2
    # All else is known by now; that does not make a district go on that is paused meanwhile.
    clever.district.update(paused)
    with pytest.raises(ConnectorError, match="district_paused"):
        attempt()
    clever.district.update(success)
    assert attempt() == ["districts", "districts"]


def test_the_rate_is_obeyed_before_clever_has_to_refuse(clever: Server, tmp_path: Path) -> None:
    clever.quirks.rate = 10
    waits: list[float] = []
    given = context(clever, tmp_path, page_rows=4)

    async def wait(seconds: float) -> None:
        waits.append(seconds)
        clever.now += timedelta(seconds=seconds)

    refused: list[int] = []
    clever.before_page = lambda asked: refused.append(1) if _used(clever, asked.at) > 10 else None
    asyncio.run(SPEC.open(replace(given, sleep=wait)).pull(None)).package.close()
    assert waits
    assert all(0 < seconds <= 60 for seconds in waits)
    assert not refused

    # Others read with the same token: a refusal says when to come back, in Clever's own header.
    clever.before_page = lambda _: None
    waits.clear()
    left = [1]
    clever.fault = lambda asked: 429 if asked.collection == "users" and left and left.pop() else None
    asyncio.run(SPEC.open(replace(given, sleep=wait)).pull(None)).package.close()
    assert 0 < waits[0] <= 60


def _used(clever: Server, at: Any) -> int:
    return sum(int(one.at.timestamp()) // 60 == int(at.timestamp()) // 60 for one in clever.asked)


def test_pages_that_are_too_large_and_counts_that_are_odd(tmp_path: Path) -> None:
    with running(Server(district(), Quirks(largest_limit=1_000, counts="paging"))) as clever:
        whole = applied({}, pull(clever, tmp_path, page_rows=10_000))
        assert {one.query["limit"] for one in clever.asked if one.collection == "users"} == {"10000", "1000"}
        clever.quirks.counts = "none"
        assert applied({}, pull(clever, tmp_path, page_rows=10)) == whole
        assert clever.count("users") == 2 * 4  # what is not counted is read twice
        clever.quirks.counts = "high"
        with pytest.raises(ConnectorError, match="total_wrong"):
            pull(clever, tmp_path)
        clever.quirks.counts, clever.quirks.links = "right", "foreign"
        with pytest.raises(ConnectorError, match="moved"):
            pull(clever, tmp_path)
        clever.quirks.largest_limit = 50
        with pytest.raises(ConnectorError, match="query_refused"):
            pull(clever, tmp_path)
        clever.quirks.largest_limit = 10_000
        clever.fault = lambda asked: 501 if asked.collection == "terms" else None
        with pytest.raises(ConnectorError, match="not_found") as caught:
            pull(clever, tmp_path)
        assert caught.value.intent is Intent.ASK_HUMAN
    assert not list(tmp_path.iterdir())


def test_the_token_is_the_districts(clever: Server, tmp_path: Path) -> None:
    by_application = applied({}, pull(clever, tmp_path, application=True))
    assert by_application == applied({}, pull(clever, tmp_path))
    with pytest.raises(ConnectorError, match="no_district"):
        pull(clever, tmp_path, application=True, district="e" * 24)
    with pytest.raises(ConnectorError, match="no_district"):
        pull(clever, tmp_path, district="e" * 24)
    # A token that is revoked while it is used is fetched anew; one that was given out for good ends the pull.
    revoked = [True]
    clever.fault = lambda asked: (
        clever.tokens.clear() if asked.collection == "users" and revoked and revoked.pop() else None
    )
    assert applied({}, pull(clever, tmp_path, application=True)) == by_application
    revoked.append(True)
    clever.tokens.add(TOKEN)
    with pytest.raises(ConnectorError, match="login_refused"):
        pull(clever, tmp_path)


def test_a_try_says_in_plain_words_what_works(clever: Server, tmp_path: Path) -> None:
    def tried(**more: Any) -> dict[str, tuple[str, str]]:
        found = asyncio.run(SPEC.open(context(clever, tmp_path, **more)).probe())  # type: ignore[attr-defined]
        return {one.step: (one.outcome, one.text) for one in found}

    found = tried()
    assert {step for step, (outcome, _) in found.items() if outcome != "good"} == {"connection"}  # not encrypted
    assert "37 objects" in found["users"][1]
    clever.district["state"] = "pending"
    clever.quirks.events, clever.quirks.counts = False, "none"
    clever.objects["sections"].clear()
    clever.fault = lambda asked: 403 if asked.collection == "courses" else None
    found = tried()
    assert (found["district"][0], found["events"][0], found["users"][0]) == ("bad", "warning", "warning")
    assert (found["sections"][0], found["courses"][0], found["terms"][0]) == ("warning", "bad", "warning")
    assert "Applications > Requests" in found["where to look"][1]
    assert tried(url="http://127.0.0.1:9").keys() == {"connection"}
    clever.tokens.clear()
    found = tried()
    assert (found["login"][0], "district's Overview" in found["where to look"][1]) == ("bad", True)
