"""Cutting batches from a stretch of a grant's feed. Pure.

A batch covers part of a window: the feed's entries in ``(from, to]``, merged so that each record stands in it once,
in its latest state. Inside a window, records that are there (entered or updated) come first, in the order in which
entities refer to each other, then those that left, in the reverse order; within an entity by rid. So a place inside a
window is (group, entity, rid), and a receiver never hears of an enrollment before its user or loses a user before its
enrollments.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal, Self
from urllib.parse import quote
from uuid import UUID

import orjson
from pyroaring import BitMap

from hub.scope.feed import FeedEntry, merge
from hub.scope.sets import rids
from transforms.catalogue import CATALOGUE

EVENT_TYPE = "roster.changes"
#: Limits of one batch. Standard Webhooks advises to stay under 20 kB; ``_ENVELOPE`` is room for all but the changes.
MOST_CHANGES = 500
MOST_BYTES = 20_000
_ENVELOPE = 600

Group = Literal["present", "left"]
Operation = Literal["entered", "updated", "left"]
_ENTITIES = tuple(e.name for e in CATALOGUE.entities)
#: The order of a window: (group, entity).
ORDER: tuple[tuple[Group, str], ...] = (
    *(("present", name) for name in _ENTITIES),
    *(("left", name) for name in reversed(_ENTITIES)),
)


@dataclass(frozen=True, slots=True)
class Place:
    """The last record of a window that was dealt with."""

    group: Group
    entity: str
    rid: int

    def as_json(self) -> dict[str, Any]:
        """The form that is stored."""
        return {"group": self.group, "entity": self.entity, "rid": self.rid}

    @classmethod
    def from_json(cls, stored: Mapping[str, Any] | None) -> Self | None:
        """The inverse of ``as_json``; None stays None (nothing of the window was dealt with)."""
        return cls(stored["group"], stored["entity"], stored["rid"]) if stored else None


@dataclass(frozen=True, slots=True)
class Change:
    """One record of a window and what happened to it."""

    operation: Operation
    entity: str
    rid: int

    @property
    def place(self) -> Place:
        """Where the change stands in its window."""
        return Place("left" if self.operation == "left" else "present", self.entity, self.rid)


@dataclass(frozen=True, slots=True)
class Envelope:
    """What a batch's body says beside its changes. ``base_url``: the hub's public address, without a slash."""

    subscription_id: UUID
    district_id: UUID
    grant_id: UUID
    after: int
    to: int
    at: datetime
    base_url: str


@dataclass(frozen=True, slots=True)
class Cut:
    """A finished body. ``place``: where the window stands after it; None when the window is through."""

    body: bytes
    changes: int
    place: Place | None


def window(entries: Iterable[FeedEntry]) -> dict[str, FeedEntry]:
    """The net effect of feed entries in the order of their positions, by entity; entities without one are left out."""
    by_entity: dict[str, list[FeedEntry]] = {}
    for entry in entries:
        by_entity.setdefault(entry.entity, []).append(entry)
    merged = {entity: merge(list_) for entity, list_ in by_entity.items()}
    return {entity: entry for entity, entry in merged.items() if entry}


def following(merged: Mapping[str, FeedEntry], place: Place | None, limit: int) -> list[Change]:
    """The first ``limit`` changes of a window after ``place`` (None: from its beginning)."""
    start = ORDER.index((place.group, place.entity)) if place else 0
    changes: list[Change] = []
    for index in range(start, len(ORDER)):
        group, entity = ORDER[index]
        entry = merged.get(entity)
        if entry is None:
            continue
        after = place.rid if place and index == start else None
        changes += _changes(entry, group, after, limit - len(changes))
        if len(changes) == limit:
            break
    return changes


def _changes(entry: FeedEntry, group: Group, after: int | None, limit: int) -> list[Change]:
    members: BitMap = entry.left if group == "left" else entry.entered | entry.updated
    first = 0 if after is None else members.rank(after)
    chosen = rids(members[first : first + limit]).tolist()
    if group == "left":
        return [Change("left", entry.entity, rid) for rid in chosen]
    return [Change("entered" if rid in entry.entered else "updated", entry.entity, rid) for rid in chosen]


def cut(
    envelope: Envelope, changes: Sequence[Change], sourced_ids: Mapping[str, Mapping[int, str]], *, through: bool
) -> Cut:
    """The next body of a window from ``changes`` (of ``following``), as many as fit, one at least.

    ``sourced_ids``: entity to rid to sourcedId; a record that is not there any more was purged and is left out.
    ``through``: nothing of the window follows ``changes``.
    """
    items: list[tuple[int, str, orjson.Fragment]] = []
    room = MOST_BYTES - _ENVELOPE
    place: Place | None = None
    for change in changes:
        sourced_id = sourced_ids.get(change.entity, {}).get(change.rid)
        if sourced_id is not None:
            item = _item(envelope, change, sourced_id)
            room -= len(item) + 1
            if room < 0 and items:
                through = False
                break
            items.append((ORDER.index((change.place.group, change.entity)), sourced_id, orjson.Fragment(item)))
        place = change.place
    if through:
        place = None
    # Of one entity by id: which record has which number is the hub's to know, and the same for all apps.
    written = [item for *_, item in sorted(items, key=lambda each: each[:2])]
    return Cut(_body(envelope, written, more=not through), len(items), place)


def _item(envelope: Envelope, change: Change, sourced_id: str) -> bytes:
    item = {"entity": change.entity, "operation": change.operation, "sourcedId": sourced_id}
    if change.operation != "left":
        service = f"/d/{envelope.district_id}/ims/oneroster/{CATALOGUE[change.entity].service}/v1p2"
        item["href"] = f"{envelope.base_url}{service}/{change.entity}/{quote(sourced_id, safe='')}"
    return orjson.dumps(item)


def _body(envelope: Envelope, items: list[orjson.Fragment], *, more: bool) -> bytes:
    at = envelope.at.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    data = {
        "subscription": str(envelope.subscription_id),
        "district": str(envelope.district_id),
        "grant": str(envelope.grant_id),
        "from": envelope.after,
        "to": envelope.to,
        "more": more,
        "changes": items,
    }
    return orjson.dumps({"type": EVENT_TYPE, "timestamp": at, "data": data})
