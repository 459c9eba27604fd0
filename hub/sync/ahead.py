"""Inserting the new records of a first load while the rest of its package is still being transformed.

Filling tables and their indexes is most of a first load, and one core of the server does it: left to the end, it would
wait for the transforms, and then they for nothing. So the transaction that applies the run is opened early, without the
district's lock. Nobody sees its rows before it commits; whatever ends the run otherwise rolls them back. A worker that
still believes to have the run can meet us at the rids only, and the lock that the apply takes finds out whose they are.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Mapping
from datetime import datetime
from types import TracebackType
from typing import Self
from uuid import UUID

from hub.crashpoints import crash_point
from hub.store import staging
from hub.store.database import Database, Transaction
from hub.store.runs import Claim
from transforms.catalogue import Entity

#: A transaction that says nothing for a minute is ended: a worker that hangs must not hold up the one that takes over.
SIGN_SECONDS = 15.0


class Ahead:
    """The early transaction ``tx`` of a run. ``inserted``: records per entity that stand in their tables already.

    All rows of an entity that wait are taken from staging together, whenever the server has done with those before.
    """

    def __init__(
        self, tx: Transaction, claim: Claim, source_id: UUID, at: datetime, *, sign_seconds: float = SIGN_SECONDS
    ) -> None:
        self.tx, self.claim, self.source_id, self.at, self.sign_seconds = tx, claim, source_id, at, sign_seconds
        self.inserted: dict[str, int] = {}
        self._waiting: list[tuple[Entity, int, int]] = []
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
        if self._task is not None and self._task.done():
            self._task.result()
        if self._waiting and self._waiting[-1][0] is entity and self._waiting[-1][2] == first:
            first = self._waiting.pop()[1]
        self._waiting.append((entity, first, end))
        self._look.set()

    async def settle(self) -> None:
        """Waits until all that was staged is inserted.

        Raises HubError(FENCED) when another worker was faster, and HubError(UNAVAILABLE) when staged rows are missing.
        """
        self._last = True
        self._look.set()
        if self._task is not None:
            await self._task

    async def _run(self) -> None:
        while not (self._last and not self._waiting):
            self._look.clear()
            if self._waiting:
                await self._insert(*self._waiting.pop(0))
            elif not await _within(self._look, self.sign_seconds):
                await self.tx.fetchval("SELECT 1")

    async def _insert(self, entity: Entity, first: int, end: int) -> None:
        run = self.claim.lease_token
        count = await staging.insert_records(self.tx, entity, run, self.at, first=first, end=end)
        await staging.insert_sources(self.tx, entity, run, self.source_id, first=first, end=end)
        if count != end - first:
            raise staging.missing()
        crash_point("stage.inserted")
        self.inserted[entity.name] = self.inserted.get(entity.name, 0) + count


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

    async def close(self) -> None:
        """Ends it where nothing was found to apply."""
        await self._stack.aclose()

    @contextlib.asynccontextmanager
    async def open(self) -> AsyncIterator[tuple[Transaction, Mapping[str, int]]]:
        """The transaction, committed after the body; entities whose new records are in it, and how many.

        Raises HubError as ``Ahead.settle`` does.
        """
        async with self._stack:
            if self.ahead is None:
                district = self._db.district(self._claim.district_id, wait_seconds=30)
                yield await self._stack.enter_async_context(district), {}
            else:
                await self.ahead.settle()
                yield self.ahead.tx, self.ahead.inserted


async def _within(event: asyncio.Event, seconds: float) -> bool:
    try:
        async with asyncio.timeout(seconds):
            await event.wait()
    except TimeoutError:
        return False
    return True
