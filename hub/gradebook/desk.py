"""What one write works on: a transaction under the district's lock, who writes, and what they see."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace
from datetime import datetime
from uuid import UUID

from hub.gradebook.held import Cache, Held, Living
from hub.gradebook.refusal import Reason, WriteRefusedError
from hub.gradebook.views import looked_at
from hub.identifiers import Identifiers
from hub.store import gate, shown_ids
from hub.store import gradebook as store
from hub.store.database import Transaction
from hub.store.gate import ClosedError, Gate
from hub.store.gradebook import Stored
from transforms.catalogue import Entity


@dataclass(frozen=True, slots=True)
class Author:
    """Who writes: an app in a district, by the credential and the grant that ``gate`` holds.

    ``identifiers``: the ids by which the app knows records, which a grant has for as long as it lives.
    """

    district_id: UUID
    app_id: UUID
    gate: Gate
    identifiers: Identifiers


@dataclass(frozen=True, slots=True)
class Desk:
    """Everything that a write asks and changes goes through it. ``grant`` is the author's, as it is under the lock."""

    tx: Transaction
    author: Author
    held: Held
    grant: Living
    identifiers: Identifiers
    at: datetime

    @classmethod
    async def open(cls, tx: Transaction, author: Author, entity: Entity, cache: Cache, at: datetime) -> Desk:
        """A desk for writing records of an entity. The caller holds the district's lock.

        Raises gate.ClosedError when the credential or the grant does not hold any more, WriteRefusedError when the
        grant lets the app write no such records.
        """
        held = await Held.load(tx, cache)
        grant = held.grants.get(author.gate.grant_id)
        if grant is None:
            raise ClosedError
        await gate.check(tx, author.gate._replace(position=grant.position, changed_at=grant.changed_at))
        if entity.name not in grant.definition.write:
            raise WriteRefusedError(Reason.NOT_GRANTED)
        identifiers = replace(author.identifiers, own=frozenset(store.WRITTEN))
        desk = cls(tx, author, held, grant, identifiers, at)
        await desk.want({*looked_at(entity.name), *(["enrollments"] if entity.name == "results" else [])})
        return desk

    async def want(self, entities: Collection[str]) -> None:
        """Makes the author's view of some entities ready."""
        await self.held.want(self.tx, [self.grant.grant_id], entities)

    def sees(self, entity: str, rid: int) -> bool:
        """Whether a record is present in the author's view. Raises KeyError for an entity that was not wanted."""
        return self.held.sees(self.grant.grant_id, entity, rid)

    def knows(self, entity: str, rid: int) -> bool:
        """Whether the author sees a record or has seen it: its tombstone is told."""
        return self.sees(entity, rid) or rid in self.held.sets(self.grant.grant_id, entity).gone

    async def find(self, entity: Entity, key: str) -> Stored | None:
        """The record that the author means by an id, in any state; None for what they can know nothing of."""
        found = (await self.identifiers.incoming(self.tx, [(entity.name, key)])).get((entity.name, key))
        stored = await store.find(self.tx, entity, UUID(found)) if found is not None else None
        if stored is None or not (self.owns(stored) or self.knows(entity.name, stored.rid)):
            return None
        return stored

    async def was_shown(self, entity: Entity, key: str) -> bool:
        """Whether an id is the one by which the author knew a record of the SIS, which may be out of view now."""
        grant_id = self.identifiers.by_source
        return grant_id is not None and bool(await shown_ids.meant(self.tx, grant_id, [(entity.name, key)]))

    def owns(self, stored: Stored) -> bool:
        """Whether the author's app created a record."""
        return stored.app_id == self.author.app_id
