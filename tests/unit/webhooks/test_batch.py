"""Batches cover a window once, in order, within their limits."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pyroaring import BitMap

from hub.scope.feed import FeedEntry
from hub.webhooks.batch import (
    MOST_BYTES,
    MOST_CHANGES,
    ORDER,
    Cut,
    Envelope,
    Place,
    cut,
    following,
    window,
)
from transforms.catalogue import CATALOGUE

ENTITIES = [e.name for e in CATALOGUE.entities]
ENVELOPE = Envelope(
    UUID(int=1), UUID(int=2), UUID(int=3), 4, 9, datetime(2026, 9, 1, 7, 30, tzinfo=UTC), "https://hub.example"
)


class AllIds(dict[int, str]):
    """A sourcedId for every rid, as long as real ones."""

    def get(self, rid: int, default: Any = None) -> Any:
        return str(UUID(int=rid))


IDS: Mapping[str, Mapping[int, str]] = {entity: AllIds() for entity in ENTITIES}


def walk(merged: Mapping[str, FeedEntry], ids: Mapping[str, Mapping[int, str]] = IDS) -> list[Cut]:
    """All batches of a window, one after the other."""
    made: list[Cut] = []
    place: Place | None = None
    while True:
        changes = following(merged, place, MOST_CHANGES + 1)
        through = len(changes) <= MOST_CHANGES
        made.append(cut(ENVELOPE, changes[:MOST_CHANGES], ids, through=through))
        place = made[-1].place
        if place is None:
            return made


def changes_of(batch: Cut) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = orjson.loads(batch.body)["data"]["changes"]
    return found


rids = st.integers(0, 2**31 - 1)
states = st.sampled_from(["entered", "updated", "left"])


@st.composite
def windows(draw: st.DrawFn) -> dict[str, FeedEntry]:
    merged = {}
    for entity in draw(st.lists(st.sampled_from(ENTITIES), unique=True)):
        fate = draw(st.dictionaries(rids, states, min_size=1, max_size=30))
        start, count = draw(rids), draw(st.integers(0, 1500))
        members = {name: BitMap([r for r, s in fate.items() if s == name]) for name in ("entered", "updated", "left")}
        crowd = BitMap(range(start, min(start + count, 2**31))) - members["updated"] - members["left"]
        merged[entity] = FeedEntry(entity, members["entered"] | crowd, members["updated"], members["left"])
    return merged


@given(windows())
@settings(max_examples=60, deadline=None)
def test_every_change_is_sent_once_in_order_and_within_the_limits(merged: dict[str, FeedEntry]) -> None:
    batches = walk(merged)
    sent = [change for batch in batches for change in changes_of(batch)]
    keys = [(c["entity"], c["sourcedId"], c["operation"]) for c in sent]
    expected = {
        (entity, str(UUID(int=rid)), operation)
        for entity, entry in merged.items()
        for operation in ("entered", "updated", "left")
        for rid in getattr(entry, operation)
    }
    assert len(keys) == len(set(keys))
    assert set(keys) == expected
    place = [
        (ORDER.index(("left" if c["operation"] == "left" else "present", c["entity"])), UUID(c["sourcedId"]).int)
        for c in sent
    ]
    assert place == sorted(place)
    for number, batch in enumerate(batches, 1):
        assert len(batch.body) <= MOST_BYTES
        assert batch.changes == len(changes_of(batch)) <= MOST_CHANGES
        assert orjson.loads(batch.body)["data"]["more"] is (number < len(batches))
        assert batch.changes or len(batches) == 1


def test_entities_come_after_what_they_refer_to_and_leave_before_it() -> None:
    order = [entity for group, entity in ORDER if group == "present"]
    for entity in CATALOGUE.entities:
        targets = {f.target for f in entity.references if f.target in order}
        assert all(order.index(str(t)) <= order.index(entity.name) for t in targets if t != entity.name), entity.name
    assert [entity for group, entity in ORDER if group == "left"] == order[::-1]
    assert [group for group, _ in ORDER] == ["present"] * len(order) + ["left"] * len(order)


@pytest.mark.threat("T37")
def test_the_body_is_exactly_this_and_holds_no_personal_data() -> None:
    merged = {
        "users": FeedEntry("users", BitMap([1]), BitMap([2]), BitMap([3])),
        "orgs": FeedEntry("orgs", BitMap(), BitMap([7]), BitMap()),
    }
    (batch,) = walk(merged)
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
                {"entity": "orgs", "operation": "updated", "sourcedId": "00000000-0000-0000-0000-000000000007",
                 "href": f"{base}/orgs/00000000-0000-0000-0000-000000000007"},
                {"entity": "users", "operation": "entered", "sourcedId": "00000000-0000-0000-0000-000000000001",
                 "href": f"{base}/users/00000000-0000-0000-0000-000000000001"},
                {"entity": "users", "operation": "updated", "sourcedId": "00000000-0000-0000-0000-000000000002",
                 "href": f"{base}/users/00000000-0000-0000-0000-000000000002"},
                {"entity": "users", "operation": "left", "sourcedId": "00000000-0000-0000-0000-000000000003"},
            ],
        },
    }  # fmt: skip


def test_a_window_is_the_net_effect_of_its_entries() -> None:
    merged = window([
        FeedEntry("users", BitMap([1, 2]), BitMap([3]), BitMap([4])),
        FeedEntry("orgs", BitMap([1]), BitMap(), BitMap()),
        FeedEntry("users", BitMap([4]), BitMap([1]), BitMap([2, 3])),
        FeedEntry("orgs", BitMap(), BitMap(), BitMap([1])),
    ])  # fmt: skip
    assert merged == {"users": FeedEntry("users", BitMap([1]), BitMap([4]), BitMap([3]))}


def test_purged_records_are_left_out_and_the_window_still_ends() -> None:
    merged = {"users": FeedEntry("users", BitMap(range(2000)), BitMap(), BitMap())}
    ids = {"users": {rid: str(UUID(int=rid)) for rid in (0, 1999)}}
    sent = [change["sourcedId"] for batch in walk(merged, ids) for change in changes_of(batch)]
    assert sent == [str(UUID(int=0)), str(UUID(int=1999))]


def test_one_change_always_fits() -> None:
    far = Envelope(*[UUID(int=1)] * 3, 1, 2, ENVELOPE.at, "https://" + "h" * 50_000)
    merged = {"users": FeedEntry("users", BitMap([1, 2]), BitMap(), BitMap())}
    made = cut(far, following(merged, None, 501), IDS, through=True)
    assert (made.changes, made.place) == (1, Place("present", "users", 1))


@given(st.sampled_from(ORDER), rids)
def test_a_place_is_stored_and_read(order: tuple[Any, str], rid: int) -> None:
    place = Place(*order, rid)
    assert Place.from_json(orjson.loads(orjson.dumps(place.as_json()))) == place
    assert Place.from_json(None) is None
