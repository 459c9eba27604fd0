"""What one request reads through: a transaction, the gate, and the view that the gate stands for."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import numpy as np
import numpy.typing as npt
from pyroaring import BitMap

from hub.api.oneroster.filter import Clause
from hub.api.oneroster.query import Query
from hub.identifiers import ShownIds
from hub.objects.looking import Looking
from hub.scope.sets import Mask, bitmap, mask
from hub.scope.view import EntityView
from hub.store import conditions as sql
from hub.store import records
from hub.store.conditions import ALWAYS, Condition, Expression, Operator
from hub.store.schema import ROLE_COLUMNS
from transforms.catalogue import CATALOGUE, Entity, Field

_NOBODYS = UUID(int=0)
Rids = npt.NDArray[np.int32]


@dataclass(frozen=True, slots=True)
class Past:
    """An earlier step of the view's feed, as of which a walk over pages selects.

    ``step``: how many steps of the feed it knows; ``entities``: the sets of that step; ``before``: records are as they
    were before this position of the district changed them; ``changed``: entities that have such records.
    """

    step: int
    entities: Mapping[str, EntityView]
    before: int
    changed: frozenset[str]


@dataclass(frozen=True, slots=True)
class Reading(Looking):
    """What a question is answered from.

    Where there is a ``past``, records are selected as of it and shown as they are: one that left in the meantime shows
    as the tombstone that it is now.
    """

    past: Past | None = None

    def then(self, entity: str) -> EntityView:
        """The sets by which records of an entity are selected: those of the past, where there is one."""
        return (self.past or self.view).entities[entity]

    def rows(self, entity: str) -> EntityView:
        """Like ``then`` by rids, whatever the version makes of records: what PostgreSQL finds is cut to these."""
        return self.then(entity)

    def ever_shown(self) -> dict[str, BitMap]:
        """By role, the users that had ever shown it, beside the one by which they are known, at the step."""
        return self.view.ever_shown(None if self.past is None else self.past.before)

    async def matching(self, entity: Entity, condition: Condition) -> BitMap:
        """The present records that meet a condition on their columns."""
        packed = await records.matching(self.tx, self.gate, entity, condition, before=self.before(entity))
        return bitmap(unpacked(packed)) & self.rows(entity.name).present

    async def matching_ids(self, entity: Entity, condition: Condition) -> BitMap:
        """The listed records that meet a condition on their sourcedId, which tombstones show too."""
        return self.told(entity, bitmap(unpacked(await records.matching(self.tx, self.gate, entity, condition))))

    async def with_ids(self, entity: Entity, holds: Callable[[str], bool]) -> BitMap:
        """Like ``matching_ids``, by the id that the app knows, which PostgreSQL need not know."""
        shown = await self.shown_ids(entity)
        return self.told(entity, await asyncio.to_thread(shown.where, holds))

    async def shown_ids(self, entity: Entity) -> ShownIds:
        """All the district's records of an entity with the ids by which the app knows them."""
        packed = await records.ids(self.tx, self.gate, entity)
        return await self.lens.identifiers.shown(self.tx, entity, packed)

    def told(self, entity: Entity, found: BitMap) -> BitMap:
        """Those of some records that are listed."""
        return found & self.rows(entity.name).listed

    async def references(self, entity: Entity, condition: Condition, field: Field) -> tuple[Rids, Rids]:
        """Pairs of a present record that meets a condition and what its ``field`` refers to, inside the view or not."""
        packed = await records.references(
            self.tx, self.gate, entity, condition, field, before=self.before(entity)
        )  # fmt: skip
        pairs = unpacked(packed).reshape(-1, 2)
        pairs = pairs[mask_for(self.rows(entity.name).present, pairs[:, 0])[pairs[:, 0]]]
        return pairs[:, 0], pairs[:, 1]

    async def ordered(self, entity: Entity, by: Expression, *, descending: bool) -> Rids:
        """The district's records that have a value, in the order of an expression; the caller masks them.

        Equal ones are in the order of the hub, which pseudonyms would give away: theirs stands in for it.
        """
        if not self.pseudonymous:
            packed = await records.ordered(
                self.tx, self.gate, entity, by, descending=descending, before=self.before(entity)
            )
            return unpacked(packed)
        packed = await records.ranked(self.tx, self.gate, entity, by, before=self.before(entity))
        pairs = unpacked(packed).reshape(-1, 2)
        return await self.by_rank(entity, pairs[:, 0], -pairs[:, 1] if descending else pairs[:, 1])

    async def by_rank(self, entity: Entity, rids: Rids, ranks: npt.NDArray[np.integer]) -> Rids:
        """Records in the order of their ranks, equal ones in that of the ids by which the app knows them."""
        shown = await self.shown_ids(entity)
        return await asyncio.to_thread(lambda: rids[np.lexsort((shown.places(rids), ranks))])

    async def ordered_by_reference(self, entity: Entity, field: Field, *, descending: bool) -> tuple[Rids, Rids]:
        """The district's records with the targets of a reference, in the order of the targets' sourcedIds."""
        if self.lens.identifiers.renames:
            sources, targets = await Reading.references(self, entity, ALWAYS, field)
            places = (await self.shown_ids(CATALOGUE[field.target or ""])).places(targets)
            target_of = dict(zip(sources.tolist(), targets.tolist(), strict=True))
            sources = await self.by_rank(entity, sources, -places if descending else places)
            return sources, np.array([target_of[source] for source in sources.tolist()], dtype=np.int32)
        packed = await records.ordered_by_reference(
            self.tx, self.gate, entity, field, CATALOGUE[field.target or ""], descending=descending,
            before=self.before(entity),
        )  # fmt: skip
        pairs = unpacked(packed).reshape(-1, 2)
        return pairs[:, 0], pairs[:, 1]

    async def keys(self, entity: Entity, by: Expression, rids: Sequence[int]) -> dict[int, Any]:
        """What these records sort by, by rid; those without a value are left out."""
        return await records.keys(self.tx, self.gate, entity, by, rids, before=self.before(entity))

    async def identified(self, entity: Entity, text: str) -> UUID:
        """The canonical id of what the app names; nobody's where that can be none, so that the same look-up follows."""
        found = await self.lens.identifiers.incoming(self.tx, [(entity.name, text)])
        return UUID(found[entity.name, text]) if found else _NOBODYS

    def shown_id(self, entity: Entity) -> Expression:
        """The id by which the app knows a record, as text, where it is no pseudonym."""
        identifiers = self.lens.identifiers
        chosen = [sql.chosen_id(entity, identifiers.app_id)] if entity.name in identifiers.own else []
        source = [] if identifiers.by_source is None else [sql.source_id(identifiers.by_source)]
        return sql.first_of(*chosen, *source, sql.sourced_id())

    def tells_gone(self, entity: Entity, query: Query | None = None) -> bool:
        """Whether a collection with this query, or (None) a single read, shows tombstones.

        Those of the gradebook show only to who asks by status or date, unless the app wants them always.
        """
        if entity.service != "gradebook" or self.behaviour.deleted_gradebook == "listed":
            return True
        clauses = query.filter.clauses if query is not None and query.filter is not None else ()
        return any(clause.path[0] in {"status", "dateLastModified"} for clause in clauses)

    async def identify(self, entity: Entity, sourced_id: UUID, fits: Condition) -> tuple[int, bool] | None:
        """The rid of a record in the district, and whether it meets a condition."""
        return await records.identify(self.tx, self.gate, entity, sourced_id, fits, before=self.before(entity))

    # A version may have its own ways with what follows, see v1p1.reading.

    async def parent(self, entity: Entity, given: str, token: str | None, fits: Condition) -> tuple[int, bool] | None:
        """What a path names, and whether it may stand there: it is of the subset with this token, as ``fits`` says."""
        return await self.identify(entity, await self.identified(entity, given), fits)

    async def selected_by(self, entity: Entity, clauses: Sequence[Clause]) -> Condition | BitMap | None:
        """What clauses of a filter about one field select; None where it is what they usually do."""
        return None

    async def order(self, entity: Entity, path: tuple[str, ...], *, descending: bool) -> Rids | None:
        """The order by a field; None where it is the usual one."""
        return None

    async def sort_keys(self, entity: Entity, path: tuple[str, ...], rids: Sequence[int]) -> dict[int, Any] | None:
        """What records sort by; None where it is the usual value."""
        return None

    def column(self, entity: Entity, field: Field) -> Expression:
        """The value of a field as it shows."""
        return sql.column(field)

    def leads_to(self, entity: Entity, field: Field, target: int) -> Condition:
        """Whether a reference is to a record that was found before."""
        return sql.refers(entity[field.name], [target])

    async def with_role(self, role: str, org: int | None = None) -> BitMap:
        """The present users who show a role, at an org."""
        return await self.matching(CATALOGUE["users"], self.has_role(role, org))

    def has_role(self, role: str, org: int | None = None) -> Condition:
        """Whether a user shows a role, at an org."""
        at = [] if org is None else [sql.entry_refers("org", [org])]
        return self.shown_role(*at, sql.exactly(sql.item("role"), Operator.EQUAL, role))

    def shown_role(self, *conditions: Condition, more: Mapping[str, Expression] | None = None) -> Condition:
        """Users with a role entry that shows and meets the conditions on it; ``more`` as in ``any_entry``.

        An entry shows when its org is in the view and its role is one that the grant admits.
        """
        shown = [sql.entry_refers("org", list(self.then("orgs").present))]
        admitted = self.view.definition.admitted_roles
        if admitted is not None:
            shown.append(sql.one_of(sql.item("role"), sorted(admitted)))
        return sql.any_entry(ROLE_COLUMNS, sql.both(*shown, *conditions), more)

    @property
    def step(self) -> int:
        """How many steps of the view's feed the selection knows."""
        return self.view.step if self.past is None else self.past.step

    @property
    def key(self) -> tuple[object, ...]:
        """What selections stand for: sets and orders that were made for it stay true for it.

        Between two steps of a feed nothing changes that the app could see, so no more than the step is in it. Over all
        districts an app may know records by other ids than in one.
        """
        return self.gate.grant_id, self.gate.changed_at, self.step, self.variant, self.lens.identifiers.by_source

    @property
    def variant(self) -> object:
        """What a version adds to the key."""
        return None

    def present(self, entity: Entity) -> BitMap:
        """The present records of an entity."""
        return self.then(entity.name).present

    def before(self, entity: Entity) -> int | None:
        """The position of the district before which records of an entity are looked at; None for now."""
        return self.past.before if self.past is not None and entity.name in self.past.changed else None


def mask_for(members: BitMap, rids: Rids) -> Mask:
    """A mask of a set that can be looked up with these rids, those beyond the set's last among them."""
    return mask(members, max(int(rids.max(initial=-1)), members.max() if members else -1) + 1)


def unpacked(packed: bytes) -> Rids:
    """The rids that the store packed."""
    return np.frombuffer(packed, dtype=">i4").astype(np.int32)
