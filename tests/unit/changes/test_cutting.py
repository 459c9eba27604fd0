"""Bodies cut in columns are, to the byte, those that are cut change by change; stored packed they come back."""

from __future__ import annotations

import random
from datetime import UTC, datetime
from uuid import UUID, uuid4

import numpy as np
import pytest
from pyroaring import BitMap

from hub.changes import message
from hub.changes.cutting import Piece, Told
from hub.changes.ids import Ids
from hub.changes.ids import Names as Known
from hub.changes.message import Envelope, Item, href, item
from hub.changes.types import SYNC_COMPLETED
from hub.changes.window import Entry, Place, Rows, Window
from hub.scope.feed import FeedEntry
from hub.store.packing import packable, unpacked

BASE = "https://hub.example"
DISTRICT = UUID("7d9f1f0a-5f0e-4d0e-8a53-1f0c9b2f6a11")
AT = datetime(2026, 3, 1, 12, tzinfo=UTC)
ENVELOPE = Envelope(uuid4(), DISTRICT, uuid4(), 3, 9, AT, ("replay",))
Names = dict[str, dict[int, str]]


def some_window(chance: random.Random) -> Window:
    """Three steps, several collections, all operations, marks."""
    entries = []
    for step in (7, 8, 9):
        for entity in chance.sample(("orgs", "classes", "users", "enrollments", "results"), 3):
            sets = [BitMap(chance.sample(range(60), chance.randint(0, 25))) for _ in range(3)]
            entered, updated, left = sets[0], sets[1] - sets[0], sets[2] - sets[1] - sets[0]
            entries.append(Entry(step, AT, SYNC_COMPLETED, FeedEntry(entity, entered, updated, left)))
    return Window.of(entries)


def some_names(window: Window, chance: random.Random) -> Names:
    """Some were purged; ids ascend with rids or do not; those of some collections are no UUIDs and are escaped."""
    names: Names = {}
    for rows in (rows for rows in window.rows(None, 10_000) if rows.entity):
        odd, minted, purged = chance.random() < 0.3, chance.random() < 0.5, chance.choice((0, 0.1))
        for rid in rows.rids.tolist():
            if chance.random() >= purged:
                id_ = (rid << 96 if minted else 0) + chance.getrandbits(96 if minted else 128)
                found = f'ü/{rid} "{chance.randint(0, 99)}' if odd else str(UUID(int=id_))
                names.setdefault(rows.entity, {}).setdefault(rid, found)
    return names


def one_by_one(
    window: Window, names: Names, place: Place | None, limit: int, most_bytes: int
) -> list[tuple[bytes, int]]:
    """The bodies of a window to its end, as hub.changes.message cuts them."""
    bodies = []
    while True:
        changes = window.following(place, limit + 1)
        items: list[Item] = []
        for change in changes[:limit]:
            id_ = names.get(change.entity, {}).get(change.rid)
            there = id_ is not None and change.operation != "deleted"
            items.append(item(change, id_, href(BASE, DISTRICT, change.entity, id_) if there and id_ else None))
        made = message.cut(ENVELOPE, items, most_bytes=most_bytes, through=len(changes) <= limit)
        if made.changes or made.place is None:
            bodies.append((made.body, made.changes))
        if made.place is None:
            return bodies
        place = made.place


def in_columns(names: Names, chance: random.Random) -> Known:
    """The same as PostgreSQL tells it, in whatever order, where all ids are UUIDs."""
    found: dict[str, dict[int, str] | Ids] = {}
    for entity, known in names.items():
        if all(map(packable, ([id_] for id_ in known.values()))):
            told = chance.sample(list(known.items()), len(known))
            rids = b"".join(rid.to_bytes(4) for rid, _ in told)
            found[entity] = Ids.of(rids, b"".join(UUID(id_).bytes for _, id_ in told))
        else:
            found[entity] = known
    return found


def cut(window: Window, names: Known, rows: int, limit: int, most_bytes: int) -> list[Piece]:
    """The same in columns, ``rows`` changes at a time."""
    place: Place | None = None
    found: list[Piece] = []
    while True:
        parts, through = window.rows(place, rows), not window.following(place, rows + 1)[rows:]
        told = Told.of(parts, names, {mark.step: mark for mark in window.marks}, BASE, DISTRICT)
        pieces, place = told.cut(ENVELOPE, limit=limit, most_bytes=most_bytes, through=through)
        found += pieces
        if place is None:
            return found


@pytest.mark.parametrize("seed", range(25))
def test_bodies_are_the_same_as_those_cut_change_by_change(seed: int) -> None:
    chance = random.Random(seed)
    window = some_window(chance)
    names = some_names(window, chance)
    limit, most_bytes = chance.choice((1, 7, 40, 500)), chance.choice((700, 2_000, 5_000, 20_000))
    expected = one_by_one(window, names, None, limit, most_bytes)
    whole = cut(window, names, 100_000, limit, most_bytes)
    assert [(piece.body, piece.changes) for piece in whole] == expected
    assert whole[-1].place is None
    columns = in_columns(names, chance)
    assert cut(window, columns, 100_000, limit, most_bytes) == whole
    for piece in whole:
        assert unpacked(piece.packed or piece.body) == piece.body
        assert (piece.sole is not None) <= (piece.changes == 1)
    odd = any("ü" in id_ for known in names.values() for id_ in known.values())
    assert odd or all(piece.packed for piece in whole if piece.changes)
    # In portions each change stands in one body, in the same order; the last body of a portion waits for the next one.
    parts = cut(window, names, chance.choice((3, 50, 90)), limit, most_bytes)
    assert sum(piece.changes for piece in parts) == sum(changes for _, changes in expected)
    assert all(len(piece.body) <= most_bytes or piece.changes == 1 for piece in parts)


def test_ids_in_columns_are_written_as_postgresql_writes_them() -> None:
    ids = {rid: str(UUID(int=random.Random(rid).getrandbits(128))) for rid in (70_000, 3, 9)}
    some = Ids.of(b"".join(rid.to_bytes(4) for rid in ids), b"".join(UUID(id_).bytes for id_ in ids.values()))
    assert some.texts(np.array([3, 9, 70_000])) == [ids[3], ids[9], ids[70_000]]
    assert some.texts(np.array([1, 3, 10, 80_000])) == ["", ids[3], "", ""]
    assert some.texts(np.array([], int)) == []
    assert Ids.of(b"", b"").texts(np.array([3, 4])) == ["", ""]


def test_a_body_of_usual_size_is_stored_in_a_tenth_of_its_bytes() -> None:
    window = Window.of([Entry(1, AT, None, FeedEntry("users", BitMap(), BitMap(range(500)), BitMap()))])
    names = {"users": {rid: str(UUID(int=random.Random(rid).getrandbits(128))) for rid in range(500)}}
    first, *_ = cut(window, names, 500, 500, 20_000)
    assert first.packed is not None
    assert len(first.body) > 18_000
    assert len(first.packed) < 2_000


@pytest.mark.parametrize(
    "ids",
    [
        ["7D9F1F0A-5f0e-4d0e-8a53-1f0c9b2f6a11"],  # it would come back in small letters
        ["7d9f1f0a5f0e-4d0e-8a53-1f0c9b2f6a11-"],
        ["7d9f1f0a-5f0e-4d0e-8a53-1f0c9b2f6a1 "],
        ["7d9f1f0a-5f0e-4d0e-8a53-1f0c9b2f6a1g"],
        ["7d9f1f0a-5f0e-4d0e-8a53", "-1f0c9b2f6a11"],
    ],
)
def test_ids_that_would_not_come_back_as_they_are_are_not_packed(ids: list[str]) -> None:
    assert not packable(ids)
    assert packable(["7d9f1f0a-5f0e-4d0e-8a53-1f0c9b2f6a11", ""])
    rows = Rows("present", "users", np.arange(len(ids)), [("created", 1)] * len(ids))
    told = Told.of([rows], {"users": dict(enumerate(ids))}, {}, BASE, DISTRICT)
    (piece,), _ = told.cut(ENVELOPE, limit=9, most_bytes=20_000, through=True)
    assert piece.packed is None
    assert piece.changes == len(ids)
