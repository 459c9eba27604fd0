"""Putting, posting and deleting: one transaction for each request, under the district's lock.

A write that was acknowledged is committed; one that is refused has changed nothing.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from uuid import UUID
from weakref import WeakValueDictionary

from hub.clock import Clock
from hub.crashpoints import crash_point
from hub.errors import Code, HubError, Intent
from hub.gradebook import rules
from hub.gradebook.apply import Applied, Plan, Put, apply, differs, rows_of
from hub.gradebook.desk import Author, Desk
from hub.gradebook.drafts import Draft, draft, look_up
from hub.gradebook.held import Cache
from hub.gradebook.refusal import Reason, WriteRefusedError
from hub.store import districts
from hub.store import gradebook as store
from hub.store.database import Database, LockTimeoutError, Transaction
from hub.store.gradebook import Stored, Target
from transforms.catalogue import Entity
from transforms.faults import FaultCode
from transforms.objects import Written

#: How long a write waits for the district's lock, and for its turn among those of this process before that.
LOCK_SECONDS = 2.0
TURN_SECONDS = 4.0
#: How long a repeated POST is given the ids of the first.
REPEATED = timedelta(hours=24)


@dataclass(frozen=True, slots=True)
class Place:
    """Where a POST goes to.

    ``operation``: its name. ``parents``: what the path names, as (member, entity, id): the member of the written
    objects that has to be the same, or "" for the session of their line item.
    """

    operation: str
    entity: Entity
    parents: tuple[tuple[str, str, str], ...]


@dataclass(frozen=True)
class Gradebook:
    """Carries out writes. ``announce`` is told of each district in which something was committed."""

    db: Database
    clock: Clock
    cache: Cache
    announce: Callable[[UUID], None]
    _turns: WeakValueDictionary[UUID, asyncio.Lock] = field(default_factory=WeakValueDictionary)

    async def put(self, author: Author, entity: Entity, key: str, written: Written) -> bool:
        """Creates or replaces the object that the app calls ``key``; whether it is there only since now.

        An object that says it is deleted is deleted, if it was there. Raises WriteRefusedError, gate.ClosedError,
        HubError(DISTRICT_BUSY | UNAVAILABLE).
        """
        async with self._writing(author, entity) as (desk, done):
            before = await desk.find(entity, key)
            if before is not None and not desk.owns(before):
                raise WriteRefusedError(Reason.FOREIGN)
            if before is None and await desk.was_shown(entity, key):
                raise WriteRefusedError(Reason.FOREIGN)  # it may come back: two objects would have one id
            if written.ended:
                if faults := [fault for fault in written.faults if fault.path.endswith(".sourcedId")]:
                    raise WriteRefusedError(Reason.INVALID, faults)
                if before is not None and before.active:
                    done.append(await apply(desk, await _deletion(desk, entity, before)))
                return False
            one = Draft(written, before.rid if before else None)
            await draft(desk, entity, [one])
            if before is not None and not written.faults and await _leaves_others(desk, entity, before, one):
                one.fault("class", FaultCode.CLASS_IN_USE)
            if written.faults:
                raise WriteRefusedError(Reason.INVALID, written.faults)
            (row,) = await rows_of(desk, entity, [(one, before)])
            if before is None or differs(row, before):
                done.append(await apply(desk, Plan(entity, [Put(one, row, before, key)])))
            return before is None or not before.active

    async def delete(self, author: Author, entity: Entity, key: str) -> None:
        """Deletes an object of the app, and what cannot be without it. Raises as ``put`` does."""
        async with self._writing(author, entity) as (desk, done):
            before = await desk.find(entity, key)
            if before is None or not desk.sees(entity.name, before.rid):
                raise WriteRefusedError(Reason.UNKNOWN)
            if not desk.owns(before):
                raise WriteRefusedError(Reason.FOREIGN)
            done.append(await apply(desk, await _deletion(desk, entity, before)))

    async def post(self, author: Author, place: Place, objects: Sequence[Written]) -> dict[str, str]:
        """Creates all objects or none: the ids that they came with, to the ids that they have.

        What the app posted to the same place within the last 24 hours under the same id is not created again. Raises
        as ``put`` does.
        """
        async with self._writing(author, place.entity) as (desk, done):
            parents = await _parents(desk, place)
            drafts = [Draft(written) for written in objects]
            supplied = _supplied(drafts)
            target = " ".join([place.operation, *(str(parent.rid) for parent in parents.values())])
            since = desk.at - REPEATED
            known = await store.answered(desk.tx, author.app_id, target, supplied, since)
            new = [one for one in drafts if one.written.sourced_id not in known]
            _fill(place, new)
            await draft(desk, place.entity, new)
            _check_parents(place, parents, new)
            faults = [fault for one in drafts for fault in one.written.faults]
            if faults:
                raise WriteRefusedError(Reason.INVALID, faults)
            if new:
                rows = await rows_of(desk, place.entity, [(one, None) for one in new])
                puts = [Put(one, row) for one, row in zip(new, rows, strict=True)]
                done.append(await apply(desk, Plan(place.entity, puts)))
                made = {str(put.draft.written.sourced_id): put.row.sourced_id for put in puts}
                await store.remember(desk.tx, author.app_id, target, made, desk.at, since)
                known |= made
            names = await desk.identifiers.names(desk.tx, known.values())
            return {supplied: names.get(sourced_id, sourced_id) for supplied, sourced_id in known.items()}

    @asynccontextmanager
    async def _writing(self, author: Author, entity: Entity) -> AsyncIterator[tuple[Desk, list[Applied]]]:
        """A desk, and the place for what was applied at it."""
        done: list[Applied] = []
        async with self._turn(author.district_id):
            async with self.db.district(author.district_id, lock_seconds=LOCK_SECONDS) as tx:
                await _lock(tx)
                crash_point("gradebook.locked")
                desk = await Desk.open(tx, author, entity, self.cache, self.clock.now())
                yield desk, done
                crash_point("gradebook.before_commit")
            crash_point("gradebook.after_commit")
            for applied in done:
                desk.held.committed(applied.position, applied.moved)
        if done:
            self.announce(author.district_id)

    @asynccontextmanager
    async def _turn(self, district_id: UUID) -> AsyncIterator[None]:
        """One write of a district at a time: those that wait hold no connection, which reads would then lack."""
        lock = self._turns.setdefault(district_id, asyncio.Lock())
        try:
            async with asyncio.timeout(TURN_SECONDS):
                await lock.acquire()
        except TimeoutError:
            raise _busy() from None
        try:
            yield
        finally:
            lock.release()


async def _lock(tx: Transaction) -> None:
    try:
        await districts.lock(tx)
    except LockTimeoutError:  # a sync is being applied
        raise _busy() from None


def _busy() -> HubError:
    return HubError(Code.DISTRICT_BUSY, "The district is busy. Try again in a moment.", intent=Intent.RETRY)


async def _deletion(desk: Desk, entity: Entity, before: Stored) -> Plan:
    """What deleting a record does. Raises WriteRefusedError when others need it."""
    if await rules.holds(desk.tx, entity, before.rid):
        raise WriteRefusedError(Reason.IN_USE)
    together = [(name, rids) for name, rids in await rules.together(desk.tx, entity, before.rid) if rids]
    return Plan(entity, deletions=[*together, (entity.name, [before.rid])])


async def _leaves_others(desk: Desk, entity: Entity, before: Stored, one: Draft) -> bool:
    """Whether an object that others use would change its class, so that they were left behind in the old one."""
    moves = before.active and before.class_rid != one.rid_of("class")
    return moves and await rules.in_use(desk.tx, entity, before.rid)


def _supplied(drafts: Sequence[Draft]) -> set[str]:
    """The ids that objects came with; missing and repeated ones are faults."""
    supplied: set[str] = set()
    for one in drafts:
        sourced_id = one.written.sourced_id
        if one.written.ended:
            one.fault("status", FaultCode.UNKNOWN_WORD)
        if sourced_id is None:
            if not any(fault.path.endswith(".sourcedId") for fault in one.written.faults):
                one.fault("sourcedId", FaultCode.MISSING)
        elif sourced_id in supplied:
            one.fault("sourcedId", FaultCode.DUPLICATE)
        else:
            supplied.add(sourced_id)
    return supplied


async def _parents(desk: Desk, place: Place) -> Mapping[str, Target]:
    """What the path names, by entity. Raises WriteRefusedError for what the app does not see."""
    await desk.want([entity for _, entity, _ in place.parents])
    found = await look_up(desk, [(entity, key) for _, entity, key in place.parents])
    schools = all(target.facts["type"] == "school" for (entity, _), target in found.items() if entity == "orgs")
    if len(found) < len(place.parents) or not schools:
        raise WriteRefusedError(Reason.UNKNOWN)
    return {entity: found[entity, key] for _, entity, key in place.parents}


def _fill(place: Place, drafts: Sequence[Draft]) -> None:
    """What the path names need not stand in the objects."""
    for member, _, key in place.parents:
        for one in drafts:
            if member:
                one.written.values.setdefault(member, key)


def _check_parents(place: Place, parents: Mapping[str, Target], drafts: Sequence[Draft]) -> None:
    """Objects must belong where the path says."""
    for member, entity, _ in place.parents:
        for one in drafts:
            if one.written.faults:
                continue
            if member and one.rid_of(member) != parents[entity].rid:
                one.fault(member, FaultCode.DIFFERS_FROM_PATH)
            elif entity == "orgs" and one.references["class"].facts["school"][0] != parents[entity].rid:
                one.fault("class", FaultCode.OTHER_SCHOOL)
            elif entity == "academicSessions":
                facts = one.references["lineItem"].facts
                if parents[entity].rid not in (facts["academicSession"], facts["gradingPeriod"]):
                    one.fault("lineItem", FaultCode.OTHER_SESSION)
