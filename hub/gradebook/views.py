"""Moving the views of all grants to what a write made of the gradebook: set algebra over the records it touched.

A sync compiles each grant anew, because it may have changed anything. A write changes a few records of the gradebook,
and no other record's place in a view depends on these: an object that others refer to neither leaves its class nor is
deleted while they do (``hub.gradebook.rules``), or they are deleted with it. So for each grant only the touched records
are asked whether they belong to it, by the rule that compiling uses (``hub.scope.closure``).
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from uuid import UUID

from pyroaring import BitMap

from hub.gradebook.held import EntitySets, Held, Living
from hub.scope.closure import inside
from hub.scope.feed import FeedEntry, Sets, diff_view, gone_after
from hub.scope.projection import Projection, Sees
from hub.store import grants as store
from hub.store.database import Transaction
from hub.sync.changes import EntityChanges
from hub.sync.views import changed_fields, differing, entry_of
from transforms.catalogue import CATALOGUE, Entity

_UNMOVED = BitMap()
#: More records than these at once are worked on in a thread.
MANY = 50


@dataclass(slots=True)
class Touched:
    """What a write did to records of one entity, and the references, by field, of those that are active now."""

    changes: EntityChanges = field(default_factory=EntityChanges)
    references: dict[int, dict[str, int | None]] = field(default_factory=dict)

    @property
    def rids(self) -> BitMap:
        """All touched records."""
        return self.changes.created | self.changes.updated | self.changes.revived | self.changes.deleted


async def move(
    tx: Transaction, held: Held, position: int, at: datetime, touched: Mapping[str, Touched]
) -> dict[tuple[UUID, str], EntitySets]:
    """Stores what the views are now, with their feed entries, at a position; the sets that changed, to be kept.

    A grant to which nothing happened that it could see stays at its position.
    """
    granted = {
        grant_id: [e.name for e in CATALOGUE.entities if e.name in touched and e.name in grant.definition.entities]
        for grant_id, grant in held.grants.items()
    }
    looked = {target for names in granted.values() for name in names for target in looked_at(name)}
    await held.want(tx, [grant_id for grant_id, names in granted.items() if names], looked)
    moved: dict[tuple[UUID, str], EntitySets] = {}
    moves = []
    for grant_id, names in granted.items():
        grant = held.grants[grant_id]
        sets: dict[str, EntitySets] = {}
        entries = []
        for name in names:
            entry, after = await _following(tx, held, grant, name, touched[name])
            if entry:
                entries.append(entry_of(entry))
            if after is not None:
                sets[name] = moved[grant.grant_id, name] = after
        if sets:
            moves.append(store.Move(grant.grant_id, {name: s.stored for name, s in sets.items()}, entries))
    if moves:
        await store.move(tx, position, moves, at=at, run_id=None)
    return moved


def looked_at(entity: str) -> set[str]:
    """The entities whose sets decide how records of an entity stand in a view."""
    return {entity, *(f.target or "" for f in CATALOGUE[entity].references)}


async def _following(
    tx: Transaction, held: Held, grant: Living, name: str, touched: Touched
) -> tuple[FeedEntry | None, EntitySets | None]:
    """What happened to one entity of a view, and its sets afterwards where they differ."""
    entity, projection, rids = CATALOGUE[name], grant.projection(name), touched.rids
    before = held.sets(grant.grant_id, name)

    def sees(target: str, rid: int) -> bool:
        return held.sees(grant.grant_id, target, rid)

    def placed() -> Sets:
        present = BitMap(rid for rid, references in touched.references.items() if inside(entity, references, sees))
        return Sets(present, BitMap(r for r in present if _trimmed(entity, projection, touched.references[r], sees)))

    new = await asyncio.to_thread(placed) if len(touched.references) > MANY else placed()
    old = Sets(before.present & rids, before.trimmed & rids)
    diff = diff_view(projection, old, new, changed_fields(touched.changes), _UNMOVED)
    seen = {target: held.sets(grant.grant_id, target).present for target in looked_at(name)}
    entry = diff.settle(await differing(tx, diff, (projection, projection), (old, new), (seen, seen), touched.changes))
    if not entry and new == old:
        return None, None
    after = EntitySets(
        (before.present - rids) | new.present,
        gone_after(before.gone, entry),
        (before.trimmed - rids) | new.trimmed,
    )
    return entry or None, after


def _trimmed(entity: Entity, projection: Projection, references: Mapping[str, int | None], sees: Sees) -> bool:
    """Whether a record shows less than all of its references, which are single ones in the gradebook."""
    shown = ((entity[name], references.get(name)) for name in projection.references)
    return any(target is not None and not sees(field.target or "", target) for field, target in shown)
