"""A window is told once, in order, within the limits of its messages, whatever somebody wants of it."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pyroaring import BitMap

from hub.changes.message import Cut, Envelope, Item, cut, href, item
from hub.changes.types import ENTITIES, GRANT_UPDATED, SYNC_COMPLETED, TYPES, Wanted
from hub.changes.window import ORDER, Change, Entry, Place, Window
from hub.errors import HubError
from hub.scope.feed import FeedEntry
from transforms.catalogue import CATALOGUE

AT = datetime(2026, 9, 1, 7, 30, tzinfo=UTC)
ENVELOPE = Envelope(UUID(int=1), UUID(int=2), UUID(int=3), 4, 9, AT)
BASE = "https://hub.example"
MOST_CHANGES, MOST_BYTES = 500, 20_000


def told(changes: Sequence[Change], *, base: str = BASE, purged: frozenset[int] = frozenset()) -> list[Item]:
    """The changes with sourcedIds that are as long as real ones, in the order of rids."""
    out = []
    for change in changes:
        sourced_id = None if change.rid in purged else str(UUID(int=change.rid))
        there = sourced_id is not None and change.mark is None and change.operation != "deleted"
        out.append(item(change, sourced_id, href(base, UUID(int=2), change.entity, str(sourced_id)) if there else None))
    return out


def walk(window: Window, wanted: Wanted | None = None, purged: frozenset[int] = frozenset()) -> list[Cut]:
    """All messages of a window, one after the other."""
    made: list[Cut] = []
    place: Place | None = None
    while True:
        changes = window.following(place, MOST_CHANGES + 1, wanted or Wanted())
        items = told(changes[:MOST_CHANGES], purged=purged)
        made.append(cut(ENVELOPE, items, most_bytes=MOST_BYTES, through=len(changes) <= MOST_CHANGES))
        place = made[-1].place
        if place is None:
            return made


def changes_of(batch: Cut) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = orjson.loads(batch.body)["data"]["changes"]
    return found


rids = st.integers(0, 2**31 - 1)
states = st.sampled_from(["entered", "updated", "left"])


@st.composite
def windows(draw: st.DrawFn) -> Window:
    entries = []
    for step, entity in enumerate(draw(st.lists(st.sampled_from(ENTITIES), unique=True)), 5):
        fate = draw(st.dictionaries(rids, states, min_size=1, max_size=30))
        start, count = draw(rids), draw(st.integers(0, 1500))
        members = {name: BitMap([r for r, s in fate.items() if s == name]) for name in ("entered", "updated", "left")}
        crowd = BitMap(range(start, min(start + count, 2**31))) - members["updated"] - members["left"]
        sets = FeedEntry(entity, members["entered"] | crowd, members["updated"], members["left"])
        entries.append(Entry(step, AT, draw(st.sampled_from([None, SYNC_COMPLETED, GRANT_UPDATED])), sets))
    return Window.of(entries)


patterns = st.lists(
    st.sampled_from(["users.*", "*.deleted", "enrollments.created", "syncs.completed", "grants.*", "*.*"]), max_size=3
)


@given(windows(), patterns)
@settings(max_examples=60, deadline=None)
def test_every_wanted_change_is_told_once_in_order_and_within_the_limits(window: Window, asked: list[str]) -> None:
    wanted = Wanted.of(asked)
    batches = walk(window, wanted)
    sent = [change for batch in batches for change in changes_of(batch)]
    records = [(c["type"], c["sourcedId"]) for c in sent if "sourcedId" in c]
    names = {"entered": "created", "updated": "updated", "left": "deleted"}
    expected = {
        (f"{entity}.{named}", str(UUID(int=rid)))
        for entity, entry in window.merged.items()
        for name, named in names.items()
        for rid in getattr(entry, name)
        if f"{entity}.{named}" in wanted.types
    }
    assert len(records) == len(set(records))
    assert set(records) == expected
    marks = [(m.type, m.step) for m in window.marks if m.type in wanted.types]
    assert [(c["type"], c["version"]) for c in sent[len(records) :]] == marks
    place = []
    for kind, sourced_id in records:
        entity, operation = kind.split(".")
        group: Any = "left" if operation == "deleted" else "present"
        place.append((ORDER.index((group, entity)), UUID(sourced_id).int))
    assert place == sorted(place)
    for number, batch in enumerate(batches, 1):
        assert len(batch.body) <= MOST_BYTES
        assert batch.changes == len(changes_of(batch)) <= MOST_CHANGES
        assert orjson.loads(batch.body)["data"]["more"] is (number < len(batches))
        assert batch.changes or len(batches) == 1


@given(windows(), st.data())
@settings(max_examples=60, deadline=None)
def test_a_place_is_an_offset_and_back(window: Window, data: st.DataObject) -> None:
    offset = data.draw(st.integers(0, len(window)))
    place = window.place_at(offset)
    assert window.offset_of(place) == offset
    assert len(window.following(place, 10**6)) == len(window) - offset
    assert len(window.following(None, offset)) == offset
    with pytest.raises(ValueError, match="fewer"):
        window.place_at(len(window) + 1)


def test_entities_come_after_what_they_refer_to_and_leave_before_it() -> None:
    order = [entity for group, entity in ORDER if group == "present"]
    for entity in CATALOGUE.entities:
        targets = {f.target for f in entity.references if f.target in order}
        assert all(order.index(str(t)) <= order.index(entity.name) for t in targets if t != entity.name), entity.name
    assert [entity for group, entity in ORDER if group == "left"] == order[::-1]
    assert [group for group, _ in ORDER] == ["present"] * len(order) + ["left"] * len(order) + ["done"]


@pytest.mark.threat("T37")
def test_the_body_is_exactly_this_and_holds_no_personal_data() -> None:
    window = Window.of([
        Entry(5, AT - timedelta(hours=2), SYNC_COMPLETED, FeedEntry("users", BitMap([1, 4]), BitMap(), BitMap([3]))),
        Entry(6, AT - timedelta(hours=1), None, FeedEntry("users", BitMap(), BitMap([1]), BitMap([4]))),
        Entry(9, AT, GRANT_UPDATED, FeedEntry("orgs", BitMap(), BitMap([7]), BitMap())),
        Entry(9, AT, GRANT_UPDATED, FeedEntry("users", BitMap(), BitMap([2]), BitMap())),
    ])  # fmt: skip
    (batch,) = walk(window)
    base = "https://hub.example/d/00000000-0000-0000-0000-000000000002/ims/oneroster/rostering/v1p2"
    assert orjson.loads(batch.body) == {
        "type": "roster.changes",
        "timestamp": "2026-09-01T07:30:00.000Z",
        "data": {
            "subscription": "00000000-0000-0000-0000-000000000001",
            "district": "00000000-0000-0000-0000-000000000002",
            "grant": "00000000-0000-0000-0000-000000000003",
            "from": 4,
            "to": 9,
            "more": False,
            "changes": [
                {"type": "orgs.updated", "sourcedId": "00000000-0000-0000-0000-000000000007", "version": 9,
                 "href": f"{base}/orgs/00000000-0000-0000-0000-000000000007"},
                {"type": "users.created", "sourcedId": "00000000-0000-0000-0000-000000000001", "version": 6,
                 "href": f"{base}/users/00000000-0000-0000-0000-000000000001"},
                {"type": "users.updated", "sourcedId": "00000000-0000-0000-0000-000000000002", "version": 9,
                 "href": f"{base}/users/00000000-0000-0000-0000-000000000002"},
                {"type": "users.deleted", "sourcedId": "00000000-0000-0000-0000-000000000003", "version": 5},
                {"type": "users.deleted", "sourcedId": "00000000-0000-0000-0000-000000000004", "version": 6},
                {"type": "syncs.completed", "version": 5, "at": "2026-09-01T05:30:00.000Z",
                 "counts": {"users": {"created": 2, "updated": 0, "deleted": 1}}},
                {"type": "grants.updated", "version": 9, "at": "2026-09-01T07:30:00.000Z",
                 "counts": {"orgs": {"created": 0, "updated": 1, "deleted": 0},
                            "users": {"created": 0, "updated": 1, "deleted": 0}}},
            ],
        },
    }  # fmt: skip


def test_what_came_and_left_is_told_as_left_since_somebody_may_have_read_it() -> None:
    window = Window.of([
        Entry(1, AT, SYNC_COMPLETED, FeedEntry("orgs", BitMap([1]), BitMap(), BitMap())),
        Entry(2, AT, SYNC_COMPLETED, FeedEntry("orgs", BitMap(), BitMap(), BitMap([1]))),
    ])  # fmt: skip
    assert [(change.type, change.rid, change.version) for change in window.following(None, 9)] == [
        ("orgs.deleted", 1, 2), ("syncs.completed", 1, 1), ("syncs.completed", 2, 2)]  # fmt: skip


@given(st.lists(st.dictionaries(st.integers(0, 5), st.booleans(), min_size=1), min_size=1, max_size=6), st.data())
@settings(max_examples=100, deadline=None)
def test_whatever_somebody_knows_after_a_window_he_knows_what_is_there(
    steps: list[dict[int, bool]], data: st.DataObject
) -> None:
    """``steps``: what is present (True) or not of the records that each touches."""
    states, entries = [set[int]()], []
    for number, step in enumerate(steps, 1):
        before, after = states[-1], (states[-1] | {r for r in step if step[r]}) - {r for r in step if not step[r]}
        entries.append(Entry(number, AT, None, FeedEntry("users", BitMap(after - before),
                       BitMap(after & before & step.keys()), BitMap(before - after))))  # fmt: skip
        states.append(after)
    begun = data.draw(st.integers(0, len(steps)))
    window = Window.of(entries[begun:])
    # Of each record, what it was at some moment since the window's beginning: of what a reader may have put together.
    has = {rid for rid in range(6) if rid in states[data.draw(st.integers(begun, len(steps)))]}
    for change in window.following(None, 100):
        (has.discard if change.operation == "deleted" else has.add)(change.rid)
    assert has == states[-1]


def test_purged_records_are_left_out_and_the_window_still_ends() -> None:
    window = Window.of([Entry(1, AT, None, FeedEntry("users", BitMap(range(2000)), BitMap(), BitMap()))])
    batches = walk(window, purged=frozenset(range(1, 1999)))
    sent = [change["sourcedId"] for batch in batches for change in changes_of(batch)]
    assert sent == [str(UUID(int=0)), str(UUID(int=1999))]


def test_one_change_always_fits() -> None:
    window = Window.of([Entry(1, AT, None, FeedEntry("users", BitMap([1, 2]), BitMap(), BitMap()))])
    items = told(window.following(None, 501), base="https://" + "h" * 50_000)
    made = cut(ENVELOPE, items, most_bytes=MOST_BYTES, through=True)
    assert (made.changes, made.place) == (1, Place("present", "users", 1))


@given(st.sampled_from(ORDER), rids)
def test_a_place_is_stored_and_read(order: tuple[Any, str], rid: int) -> None:
    place = Place(*order, rid)
    assert Place.from_json(orjson.loads(orjson.dumps(place.as_json()))) == place
    assert Place.from_json(None) is None


def test_types_are_asked_for_by_name_and_by_pattern() -> None:
    assert Wanted.of([]).everything
    assert Wanted.of(["*.*"]).types == frozenset(TYPES)
    assert Wanted.of(["users.created", "enrollments.*"]).types == {
        "users.created", "enrollments.created", "enrollments.updated", "enrollments.deleted"}  # fmt: skip
    assert Wanted.of(["*.completed"]).types == {SYNC_COMPLETED}
    assert Wanted.of(["*.deleted"]).within(["users"]).types == {"users.deleted"}
    assert Wanted().within(["users"]).types == {"users.created", "users.updated", "users.deleted", *(
        SYNC_COMPLETED, GRANT_UPDATED)}  # fmt: skip
    for wrong in ("users", "users.", "user.created", "users.removed", ".", "", "*", "users.*.*"):
        with pytest.raises(HubError, match="fits no type"):
            Wanted.of([wrong])
