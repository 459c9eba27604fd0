"""Writing what a source's first package brings while the rest of it is still being transformed.

Filling tables and their indexes is most of a first load, and one core of the server does it: left to the end, it would
wait for the transforms, and then they for nothing. So the transaction that applies the run is opened early, without the
district's lock. Nobody sees its rows before it commits; whatever ends the run otherwise rolls them back. A worker that
still believes to have the run can meet us at the rids only, and the lock that the apply takes finds out whose they are.

Of records that other sources have brought it writes what needs no lock either: how they were, and what is said of them.
The records themselves are changed at the end, since the time of a change is that of the apply. How they were is kept by
the position that changes them, which is drawn under the lock: the next one is expected, and where somebody else drew it
meanwhile the rows are moved.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from types import TracebackType
from typing import Self
from uuid import UUID

from pyroaring import BitMap

from hub.crashpoints import crash_point
from hub.scope.grants import WRITABLE
from hub.store import districts, source_parts, staging, statements
from hub.store.database import Database, Transaction
from hub.store.runs import Claim
from hub.store.statement_history import Moment
from hub.store.statements import Origins
from transforms.catalogue import Entity

#: A transaction that says nothing for a minute is ended: a worker that hangs must not hold up the one that takes over.
SIGN_SECONDS = 15.0


@dataclass(slots=True)
class Early:
    """What the transaction of a run has written when the run comes to be applied.

    ``inserted``: how many new records, by entity; ``kept``: records that were kept as they are; ``said`` and
    ``brought``: the entities of which all statements and all component rows were taken over from staging; ``alone``:
    records of which the documents were made what a source says, as in ``Prepared``; ``origins``: records, by entity,
    of which it is written where their values come from.
    ``position``: that at which it expected to be applied, once it had to know.
    """

    inserted: dict[str, int] = field(default_factory=dict)
    kept: dict[str, BitMap] = field(default_factory=dict)
    said: set[str] = field(default_factory=set)
    brought: set[str] = field(default_factory=set)
    alone: dict[tuple[str, UUID], BitMap] = field(default_factory=dict)
    origins: dict[str, BitMap] = field(default_factory=dict)
    position: int | None = None


class Ahead:
    """The early transaction ``tx`` of a run. ``done``: what it has written.

    All rows of an entity that wait are taken from staging together, whenever the server has done with those before.
    """

    def __init__(
        self, tx: Transaction, claim: Claim, source_id: UUID, at: datetime, *, sign_seconds: float = SIGN_SECONDS
    ) -> None:
        self.tx, self.claim, self.source_id, self.at, self.sign_seconds = tx, claim, source_id, at, sign_seconds
        self.done = Early()
        self._waiting: list[tuple[Entity, int, int]] = []
        self._more: list[Callable[[], Awaitable[None]]] = []
        self._taken: Counter[str] = Counter()
        self._held: defaultdict[str, list[Callable[[], Awaitable[None]]]] = defaultdict(list)
        self._look = asyncio.Event()
        self._last = False
        self._task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        self._task = asyncio.create_task(self._run())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._task is not None and not self._task.done():
            self._task.cancel()
            await asyncio.wait([self._task])

    def staged(self, entity: Entity, first: int, end: int) -> None:
        """Tells that new records with the rids from ``first`` up to ``end`` are in staging.

        They mostly follow the last ones; where an app wrote a record of its own meanwhile, they do not. Raises what an
        earlier insert failed with.
        """
        self._raise()
        if self._waiting and self._waiting[-1][0] is entity and self._waiting[-1][2] == first:
            first = self._waiting.pop()[1]
        self._waiting.append((entity, first, end))
        self._look.set()

    def changed(self, entity: Entity, rids: BitMap) -> None:
        """Tells which known records the run changes: how they are is kept. Raises as ``staged`` does.

        Of what apps write that is left to the end: they may until then.
        """
        if rids and entity.name not in WRITABLE:
            self._later(partial(self._keep, entity, rids))

    def said(self, entity: Entity) -> None:
        """Tells that statements about an entity's records are in staging. Raises as ``staged`` does."""
        self._later(partial(self._take_statements, entity))

    def origins(self, origins: Origins, after: int) -> None:
        """Tells where the values of merged records come from. Raises as ``staged`` does.

        ``after``: how many times statements of their entity have been, or will be, told of before. It waits for those:
        what they replace is kept by who was merged before, and that must not be these yet.
        """
        self._later(partial(self._note_origins, origins, after))

    def alone(self, entity: Entity, source_id: UUID, rids: BitMap) -> None:
        """Tells of which records a source has spoken alone until now. Raises as ``staged`` does."""
        self._later(partial(self._take_documents, entity, source_id, rids))

    def brought(self, entity: Entity) -> None:
        """Tells that component rows of an entity's objects are in staging. Raises as ``staged`` does."""
        self._later(partial(self._take_parts, entity))

    def _later(self, work: Callable[[], Awaitable[None]]) -> None:
        self._raise()
        self._more.append(work)
        self._look.set()

    def _raise(self) -> None:
        if self._task is not None and self._task.done():
            self._task.result()

    async def settle(self) -> None:
        """Waits until all that was told of is written.

        Raises HubError(FENCED) when another worker was faster, and HubError(UNAVAILABLE) when staged rows are missing.
        """
        self._last = True
        self._look.set()
        if self._task is not None:
            await self._task

    async def _run(self) -> None:
        while not (self._last and not self._waiting and not self._more):
            self._look.clear()
            if self._waiting:
                await self._insert(*self._waiting.pop(0))
            elif self._more:
                await self._more.pop(0)()
            elif not await _within(self._look, self.sign_seconds):
                await self.tx.fetchval("SELECT 1")

    async def _insert(self, entity: Entity, first: int, end: int) -> None:
        run = self.claim.lease_token
        count = await staging.insert_records(self.tx, entity, run, self.at, first=first, end=end)
        await staging.insert_sources(self.tx, entity, run, self.source_id, first=first, end=end)
        if count != end - first:
            raise staging.missing()
        crash_point("stage.inserted")
        self.done.inserted[entity.name] = self.done.inserted.get(entity.name, 0) + count

    async def _keep(self, entity: Entity, rids: BitMap) -> None:
        before = self.done.kept.get(entity.name, BitMap())
        await staging.keep_history(self.tx, entity, list(rids - before), await self._expected())
        crash_point("merge.kept")
        self.done.kept[entity.name] = before | rids

    async def _take_statements(self, entity: Entity) -> None:
        """Also where some of the entity's were taken over before: those are left as they are."""
        moment = Moment(await self._expected())
        await statements.take_over(self.tx, self.claim.lease_token, moment, {self.source_id}, [entity.name])
        self.done.said.add(entity.name)
        self._taken[entity.name] += 1
        self._more += self._held.pop(entity.name, [])

    async def _note_origins(self, origins: Origins, after: int) -> None:
        if self._taken[origins.entity] < after:
            self._held[origins.entity].append(partial(self._note_origins, origins, after))
            return
        await statements.write_provenance(self.tx, [origins], Moment(await self._expected()))
        self.done.origins[origins.entity] = self.done.origins.get(origins.entity, BitMap()) | BitMap(origins.rids)

    async def _take_documents(self, entity: Entity, source_id: UUID, rids: BitMap) -> None:
        await statements.take_documents(self.tx, entity, source_id, list(rids))
        key = (entity.name, source_id)
        self.done.alone[key] = self.done.alone.get(key, BitMap()) | rids

    async def _take_parts(self, entity: Entity) -> None:
        await source_parts.take_over(self.tx, self.claim.lease_token, self.source_id, [entity.name])
        self.done.brought.add(entity.name)

    async def _expected(self) -> int:
        """The position at which the run is applied, unless somebody draws it before."""
        if self.done.position is None:
            self.done.position = await districts.head(self.tx) + 1
        return self.done.position


class Applying:
    """The transaction that applies a run: opened when all is staged, or early (``begin``), before the first row is.

    As a context manager it ends with its body, whatever that has left open.
    """

    def __init__(self, db: Database, claim: Claim) -> None:
        self._db, self._claim = db, claim
        self._stack = contextlib.AsyncExitStack()
        self.ahead: Ahead | None = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._stack.__aexit__(kind, error, trace)

    async def begin(self, source_id: UUID, at: datetime) -> None:
        """Opens it early. The task that calls this may open no other transaction of the district until it ends."""
        tx = await self._stack.enter_async_context(self._db.district(self._claim.district_id, wait_seconds=30))
        self.ahead = await self._stack.enter_async_context(Ahead(tx, self._claim, source_id, at))

    async def drop(self) -> None:
        """Leaves nothing of what was written early: nothing is to be applied, or not all that is staged."""
        self.ahead, dropped = None, _DroppedError()
        await self._stack.__aexit__(type(dropped), dropped, None)

    @contextlib.asynccontextmanager
    async def open(self) -> AsyncIterator[tuple[Transaction, Early]]:
        """The transaction, committed after the body; what is in it already.

        Raises HubError as ``Ahead.settle`` does.
        """
        async with self._stack:
            if self.ahead is None:
                district = self._db.district(self._claim.district_id, wait_seconds=30)
                yield await self._stack.enter_async_context(district), Early()
            else:
                await self.ahead.settle()
                yield self.ahead.tx, self.ahead.done


class _DroppedError(Exception):
    """What an early transaction is rolled back with."""


async def _within(event: asyncio.Event, seconds: float) -> bool:
    try:
        async with asyncio.timeout(seconds):
            await event.wait()
    except TimeoutError:
        return False
    return True
