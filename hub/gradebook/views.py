"""Moving the views of all grants to what a write made of the gradebook: set algebra over the records it touched.

A sync compiles each grant anew, because it may have changed anything. A write changes a few records of the gradebook.
For each grant these are asked whether they belong to it, by the rule that compiling uses (``hub.scope.closure``); where
one that was there before enters or leaves a view, those that refer to it are asked next: the results of a line item
whose school a grant does not see go with it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from uuid import UUID

from pyroaring import BitMap

from hub.gradebook.held import EntitySets, Held, Living
from hub.gradebook.rules import REFERRERS
from hub.scope.closure import inside
from hub.scope.feed import FeedEntry, Sets, diff_view, gone_after
from hub.scope.projection import Projection, Sees
from hub.store import gradebook
from hub.store import grants as store
from hub.store.database import Transaction
from hub.sync.changes import EntityChanges
from hub.sync.following import changed_fields, differing
from hub.sync.views import entry_of
from transforms.catalogue import CATALOGUE, Entity

#: More records than these at once are worked on in a thread.
MANY = 50


@dataclass(slots=True)
class Touched:
    """What a write did to records of one entity, and the references, by field, of those that are active now."""

    changes: EntityChanges = field(default_factory=EntityChanges)
    references: dict[int, Mapping[str, int | None]] = field(default_factory=dict)

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
    looked = {target for name in touched for target in looked_at(name)}
    await held.want(
        tx, [g for g, grant in held.grants.items() if touched.keys() & set(grant.definition.entities)], looked
    )
    moved: dict[tuple[UUID, str], EntitySets] = {}
    moves = []
    for grant_id, grant in held.grants.items():
        after = _After(tx, held, grant, touched)
        entries = await after.all()
        if after.sets:
            moves.append(store.Move(grant_id, {name: s.stored for name, s in after.sets.items()}, entries))
            moved |= {(grant_id, name): sets for name, sets in after.sets.items()}
    if moves:
        await store.move(tx, position, moves, at=at, run_id=None, cause="gradebook")
    return moved


def looked_at(entity: str) -> set[str]:
    """The entities whose sets decide how records of an entity stand in a view."""
    return {entity, *(f.target or "" for f in CATALOGUE[entity].references)}


class _After:
    """One view after a write. ``sets``: those that differ from before."""

    def __init__(self, tx: Transaction, held: Held, grant: Living, touched: Mapping[str, Touched]) -> None:
        self._tx, self._held, self._grant, self._touched = tx, held, grant, touched
        self._followers: dict[str, Followers] = {}
        self.sets: dict[str, EntitySets] = {}

    async def all(self) -> list[store.Entry]:
        """The feed entries of all entities, what is referred to before what refers to it."""
        entries = []
        for entity in CATALOGUE.of_service("gradebook"):
            known = entity.name in self._touched or entity.name in self._followers
            if known and entity.name in self._grant.definition.entities:
                entry = await self._one(entity, self._touched.get(entity.name, Touched()))
                if entry is not None:
                    entries.append(entry_of(entry))
        return entries

    def _sees(self, entity: str, rid: int) -> bool:
        return rid in self._present(entity)

    def _present(self, entity: str) -> BitMap:
        sets = self.sets.get(entity) or self._held.sets(self._grant.grant_id, entity)
        return sets.present

    async def _one(self, entity: Entity, touched: Touched) -> FeedEntry | None:
        projection, followers = self._grant.projection(entity.name), self._followers.get(entity.name, Followers())
        references, rids = followers.references | touched.references, BitMap(followers.references) | touched.rids
        before = self._held.sets(self._grant.grant_id, entity.name)

        def placed() -> Sets:
            present = BitMap(rid for rid, targets in references.items() if inside(entity, targets, self._sees))
            return Sets(present, BitMap(r for r in present if _trimmed(entity, projection, references[r], self._sees)))

        new = await asyncio.to_thread(placed) if len(references) > MANY else placed()
        old = Sets(before.present & rids, before.trimmed & rids)
        looking = followers.by(projection.references)
        diff = diff_view(projection, old, new, changed_fields(touched.changes), looking & old.present & new.present)
        seen = {target: self._present(target) for target in looked_at(entity.name)}
        entry = diff.settle(
            await differing(self._tx, diff, (projection, projection), (old, new), (seen, seen), touched.changes)
        )
        if not entry and new == old:
            return None
        self.sets[entity.name] = EntitySets(
            (before.present - rids) | new.present,
            gone_after(before.gone, entry),
            (before.trimmed - rids) | new.trimmed,
        )
        await self._follow(entity, (entry.entered | entry.left) - touched.changes.created - touched.changes.deleted)
        return entry or None

    async def _follow(self, entity: Entity, shifted: BitMap) -> None:
        """Notes the records that refer to some that entered or left the view.

        A deleted record has none left, and a record's own kind none to a record that shifts: those it refers to stay in
        their class while it does.
        """
        for name, by in REFERRERS[entity.name] if shifted else ():
            if name in self._grant.definition.entities and name != entity.name:
                found = await gradebook.followers(self._tx, name, by, list(shifted))
                self._followers.setdefault(name, Followers()).add(by, found)
                await self._held.want(self._tx, [self._grant.grant_id], looked_at(name))


@dataclass(slots=True)
class Followers:
    """Records that refer to others which entered or left a view: their references, and by which of them they do."""

    references: dict[int, Mapping[str, int | None]] = field(default_factory=dict)
    fields: dict[str, BitMap] = field(default_factory=dict)

    def add(self, name: str, found: Mapping[int, Mapping[str, int | None]]) -> None:
        """Adds the records that refer by one field."""
        self.references |= found
        self.fields[name] = self.fields.get(name, BitMap()) | BitMap(found)

    def by(self, names: Collection[str]) -> BitMap:
        """Those that refer by one of these fields."""
        return BitMap().union(*(rids for name, rids in self.fields.items() if name in names))


def _trimmed(entity: Entity, projection: Projection, references: Mapping[str, int | None], sees: Sees) -> bool:
    """Whether a record shows less than all of its references, which are single ones in the gradebook."""
    shown = ((entity[name], references.get(name)) for name in projection.references)
    return any(target is not None and not sees(field.target or "", target) for field, target in shown)
