"""From one batch of a window to the next, for those subscriptions together whose batches were taken.

While one transaction is under way others get ready; the next transaction takes all of them, in one statement. It is a
short cut for the plain case, and exact: of a subscription of which anything has changed since its batch was frozen it
writes nothing, and the outcome is noted as any other.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import NamedTuple

import structlog

from hub.store import relays
from hub.store.database import Database, StatementError
from hub.store.relays import Step, Taken

log = structlog.get_logger()

#: Transactions that a process has under way: while some are, the groups of the others grow.
AT_A_TIME = 2
#: For so long a transaction waits for each of those that are being delivered to and not ready, and no longer than that.
#: Of many it takes some along; of few there is little to take, and each would have waited longer than its answer took.
GATHER_SECONDS_EACH, MOST_GATHER_SECONDS = 0.0003, 0.005


class _Waiting(NamedTuple):
    step: Step
    version: asyncio.Future[int | None]


class Relay:
    """One per process. ``patience``: how long to wait for a connection, in seconds."""

    def __init__(self, db: Database, *, lease_seconds: float, patience: float) -> None:
        self._db = db
        self._lease_seconds = lease_seconds
        self._patience = patience
        self._under_way = 0
        self._waiting: list[_Waiting] = []
        self._going: set[asyncio.Task[None]] = set()

    @contextmanager
    def delivering(self) -> Iterator[None]:
        """Says that somebody is delivering, who may have a step to take soon."""
        self._under_way += 1
        try:
            yield
        finally:
            self._under_way -= 1

    async def take(self, step: Step) -> int | None:
        """Notes that a batch was taken and freezes the next one; the version of the row, None if nothing was written.

        Raises HubError(UNAVAILABLE) when the database is away: nobody knows then whether it was written.
        """
        waiting = _Waiting(step, asyncio.get_running_loop().create_future())
        self._waiting.append(waiting)
        if len(self._going) < AT_A_TIME:
            self._going.add(asyncio.create_task(self._go()))
        return await waiting.version

    async def _go(self) -> None:
        """Takes what waits, and what has come to wait meanwhile, until nothing does."""
        group: Sequence[_Waiting] = ()
        try:
            while self._waiting:
                missing = self._under_way - len(self._waiting)
                if missing > 0:
                    await asyncio.sleep(min(missing * GATHER_SECONDS_EACH, MOST_GATHER_SECONDS))
                group, self._waiting = self._waiting, []
                if group:  # the other transaction may have taken all
                    await self._together(group)
        except asyncio.CancelledError:
            for one in (*group, *self._waiting):
                one.version.cancel()
            raise
        finally:
            # At once, and not when the loop says that the task is done: whoever comes in between would wait for ever.
            task = asyncio.current_task()
            assert task is not None
            self._going.discard(task)

    async def _together(self, group: Sequence[_Waiting]) -> None:
        taken: dict[Taken, int] = {}
        try:
            async with self._db.statement(wait_seconds=self._patience) as tx:
                taken = await relays.relay(tx, [one.step for one in group], lease_seconds=self._lease_seconds)
        except StatementError as error:
            # It is one of them, and nobody knows which: each is noted by itself, and has its error for itself.
            log.warning("batches are noted one by one", error=type(error).__name__)
        except Exception as error:  # HubError, or a bug of ours: each hears of it, or its delivery would wait for ever
            for one in group:
                if not one.version.done():
                    one.version.set_exception(error)
            return
        for one in group:
            if not one.version.done():
                one.version.set_result(taken.get((one.step.subscription_id, one.step.lease_token)))
