"""The records that changes are about, as the app may see them now, and what they said before.

An object is the one that the app would read from the API at this moment. ``previous`` looks at the record as it was at
an earlier step through the grant as it is defined now: a member that is hidden is in neither, so whatever happens to it
shows nowhere, and one that is masked shows masked in both.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final
from uuid import UUID

import orjson
from pyroaring import BitMap

from hub.behaviour import Behaviour
from hub.changes.window import Change
from hub.identifiers import Identifiers
from hub.objects import rendering
from hub.objects.bases import addressed, bases_at
from hub.objects.looking import Lens, Looking
from hub.scope.feed import FeedEntry, merge
from hub.scope.grants import GrantDefinition
from hub.scope.projection import Projection
from hub.scope.sets import unpack
from hub.scope.stamps import Stamps, cut
from hub.scope.view import EntityView, View
from hub.store import asof, districts, feed, grants
from hub.store.asof import Former
from hub.store.database import Transaction
from hub.store.feed import Entry
from hub.store.gate import ClosedError, Gate, Sender
from hub.store.grants import Grant
from transforms.catalogue import BASE_NAMES, CATALOGUE, Entity

#: Records that one statement reads.
MOST: Final = 2_500
#: A sync may move the view while it is read: then all begins again.
_ATTEMPTS = 5
Rids = Mapping[str, Sequence[int]]


@dataclass(frozen=True, slots=True)
class Told:
    """A record as JSON, and (as a JSON object) what those of its members said before that say something else now.

    A member that was not there before is null. ``previous`` is None where it was not asked for, or is not known.
    """

    record: bytes
    previous: bytes | None = None


@dataclass(frozen=True, slots=True)
class Records:
    """The records of one grant. ``root``: where the app finds OneRoster, see hub.objects.bases."""

    grant_id: UUID
    identifiers: Identifiers
    behaviour: Behaviour
    root: str

    async def members(self, tx: Transaction, changes: Iterable[Change], *, after: int) -> dict[tuple[str, int], bytes]:
        """What stands in changes beside their references, by (entity, rid): ``record`` and, of updates, ``previous``.

        As hub.changes.message.item takes it: each member with a comma before it. ``after``, and what is raised, as in
        ``told``.
        """
        rids: dict[str, list[int]] = {}
        updated: dict[str, list[int]] = {}
        for change in changes:
            if change.operation in {"created", "updated"}:
                rids.setdefault(change.entity, []).append(change.rid)
            if change.operation == "updated":
                updated.setdefault(change.entity, []).append(change.rid)
        told = await self.told(tx, rids, after=after, updated=updated)
        return {key: _members(one) for key, one in told.items()}

    async def told(
        self, tx: Transaction, rids: Rids, *, after: int, updated: Mapping[str, Collection[int]] | None = None
    ) -> dict[tuple[str, int], Told]:
        """Records by (entity, rid); those that are not in the view any more are left out.

        ``after``: the step of the feed from which on changes are told; ``updated``: of which records what they said at
        that step is wanted too. Raises ClosedError when grant or district is not active, or changes too fast.
        """
        for _ in range(_ATTEMPTS):
            grant = await grants.get(tx, self.grant_id)
            if grant.state != "active":
                break
            try:
                return await self._told(tx, grant, rids, after, updated or {})
            except ClosedError:
                continue
        raise ClosedError

    async def _told(
        self, tx: Transaction, grant: Grant, rids: Rids, after: int, updated: Mapping[str, Collection[int]]
    ) -> dict[tuple[str, int], Told]:
        looking = await self._looking(tx, grant, rids, after)
        past = await _past(looking, grant, after) if any(updated.values()) else None
        out: dict[tuple[str, int], Told] = {}
        for name in rids:
            entity, asked = CATALOGUE[name], BitMap(updated.get(name, ()))
            for some in _pieces(BitMap(rids[name]) & looking.of(name).present):
                texts = rendering.in_style(looking, entity, await rendering.objects(looking, entity, some, None))
                objects = dict(zip(some, await asyncio.to_thread(self._addressed, entity, texts), strict=True))
                wanted = [rid for rid in some if rid in asked]
                before = await self._before(looking, past, entity, wanted) if past and wanted else {}
                for rid, text in objects.items():
                    out[name, rid] = Told(text, _differing(before[rid], text) if rid in before else None)
        return out

    async def _looking(self, tx: Transaction, grant: Grant, rids: Rids, after: int) -> Looking:
        sets = await grants.views(tx, grant.grant_id)
        entities = {}
        for name in (e.name for e in CATALOGUE.entities):
            own = sets.get(name)
            present, gone, trimmed = map(unpack, (own.present, own.gone, own.trimmed)) if own else _NOTHING
            known = BitMap(rids.get(name, ())) & present
            stamps = await _stamps(tx, grant.grant_id, name, known, after) if known else Stamps()
            entities[name] = EntityView(present, gone, trimmed, stamps)
        view = View(grant.grant_id, grant.position, GrantDefinition.model_validate(grant.definition), entities)
        gate = Gate(grant.grant_id, grant.position, grant.changed_at, Sender())
        return Looking(tx, gate, Lens(view, self.behaviour, identifiers=self.identifiers))

    async def _before(self, looking: Looking, past: _Past, entity: Entity, rids: list[int]) -> dict[int, bytes]:
        """The objects as they were, with dates that mean nothing; those of which that is not known are left out."""
        projection = looking.view.projections[entity.name]
        rows = await asof.former(looking.tx, looking.gate, entity, past.before, rids, projection.references)
        if await districts.history_from(looking.tx) >= past.before:  # looked at last: a purge tells before it deletes
            return {}
        rows = [row for row in rows if row.active and past.sees(entity.name, row.rid)]
        texts = await asyncio.to_thread(lambda: [_rendered(projection, row, past) for row in rows])
        named = rendering.in_style(looking, entity, await looking.named(entity, texts))
        return dict(zip([r.rid for r in rows], await asyncio.to_thread(self._addressed, entity, named), strict=True))

    def _addressed(self, entity: Entity, texts: Sequence[str]) -> list[bytes]:
        bases = bases_at(self.root, entity, "1.2")
        return [addressed(text.encode(), bases) for text in texts]


@dataclass(frozen=True)
class _Past:
    """What a view showed earlier. ``before``: records are as they were before this position of the district.

    ``since``: by entity, what happened in the view from there on.
    """

    before: int
    view: View
    since: Mapping[str, FeedEntry]
    _present: dict[str, BitMap] = field(default_factory=dict)

    def sees(self, entity: str, rid: int) -> bool:
        """Whether a record was present."""
        if entity not in self._present:
            net = self.since.get(entity, FeedEntry(entity))
            self._present[entity] = (self.view.entities[entity].present - net.entered) | net.left
        return rid in self._present[entity]


async def _past(looking: Looking, grant: Grant, after: int) -> _Past | None:
    """The view after a step, or after the grant's last edit where that came later. None where nothing happened since.

    What an app could not see before an edit it is not told afterwards either.
    """
    first = await feed.position_after(looking.tx, grant.grant_id, after)
    if first is None:
        return None
    before = max(first, grant.defined_at + 1)
    entries: dict[str, list[FeedEntry]] = {}
    for entry in await feed.entries(looking.tx, grant.grant_id, after=before - 1, to=grant.position):
        entries.setdefault(entry.entity, []).append(_sets(entry))
    return _Past(before, looking.view, {name: merge(found) for name, found in entries.items()})


async def _stamps(tx: Transaction, grant_id: UUID, name: str, wanted: BitMap, after: int) -> Stamps:
    """The stamps of some present records: mostly of such as changed after a step, so that no more need be read."""
    entries = await feed.of_entity(tx, grant_id, name, after=after)
    newest = await feed.newest(tx, grant_id, name, to=after)
    if wanted - BitMap.union(BitMap(), *(_sets(entry).touched for entry in entries)):
        entries, newest = await feed.of_entity(tx, grant_id, name, after=0), None
    found = []
    for entry in entries:
        newest = max(cut(entry.at), newest) if newest else cut(entry.at)
        found.append((newest, FeedEntry(name, updated=_sets(entry).touched & wanted)))
    return Stamps.of_feed(found)


def _sets(entry: Entry) -> FeedEntry:
    return FeedEntry(entry.entity, *map(unpack, (entry.entered, entry.updated, entry.departed)))


def _pieces(rids: BitMap) -> Iterator[list[int]]:
    for start in range(0, len(rids), MOST):
        yield list(rids[start : start + MOST])


def _rendered(projection: Projection, row: Former, past: _Past) -> str:
    refs = row.references if projection.references else None
    return projection.render(row.sourced_id, "", row.doc, row.doc_private, refs=refs, sees=past.sees)


def _members(one: Told) -> bytes:
    previous = b"" if one.previous is None else b',"previous":' + one.previous
    return b',"record":' + one.record + previous


def _differing(before: bytes, now: bytes) -> bytes:
    """The members of ``before`` that ``now`` has otherwise, and null for those that only ``now`` has."""
    then: dict[str, Any] = orjson.loads(before)
    has: dict[str, Any] = orjson.loads(now)
    former = {name: value for name, value in then.items() if name not in BASE_NAMES and has.get(name) != value}
    return orjson.dumps(former | {name: None for name in has if name not in then})


_NOTHING = (BitMap(), BitMap(), BitMap())
