"""From one batch of a window to the next, for those subscriptions of a district together whose batches were taken.

While one transaction is under way others get ready; the next transaction takes all of them, in one statement. It is a
short cut for the plain case, and exact: of a subscription of which anything has changed since its batch was frozen it
writes nothing, and the outcome is noted as any other.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import NamedTuple
from uuid import UUID

import structlog

from hub.errors import HubError
from hub.store import relays
from hub.store.database import Database, StatementError
from hub.store.relays import Step, Taken

log = structlog.get_logger()

#: Transactions that a process has under way: while some are, the groups of the others grow.
AT_A_TIME = 2


class _Waiting(NamedTuple):
    step: Step
    version: asyncio.Future[int | None]


class Relay:
    """One per process. ``patience``: how long to wait for a connection, in seconds."""

    def __init__(self, db: Database, *, lease_seconds: float, patience: float) -> None:
        self._db = db
        self._lease_seconds = lease_seconds
        self._patience = patience
        self._waiting: dict[UUID, list[_Waiting]] = {}
        self._going: dict[UUID, asyncio.Task[None]] = {}
        self._places = asyncio.Semaphore(AT_A_TIME)

    async def take(self, district_id: UUID, step: Step) -> int | None:
        """Notes that a batch was taken and freezes the next one; the version of the row, None if nothing was written.

        Raises HubError(UNAVAILABLE) when the database is away: nobody knows then whether it was written.
        """
        waiting = _Waiting(step, asyncio.get_running_loop().create_future())
        self._waiting.setdefault(district_id, []).append(waiting)
        if district_id not in self._going:
            self._going[district_id] = asyncio.create_task(self._go(district_id))
        return await waiting.version

    async def _go(self, district_id: UUID) -> None:
        """Takes what waits, and what has come to wait meanwhile, until nothing does."""
        try:
            while district_id in self._waiting:
                async with self._places:
                    await self._together(district_id, self._waiting.pop(district_id))
        finally:
            del self._going[district_id]
            for left in self._waiting.pop(district_id, ()):  # only where this was cancelled
                left.version.cancel()

    async def _together(self, district_id: UUID, group: Sequence[_Waiting]) -> None:
        taken: dict[Taken, int] = {}
        try:
            async with self._db.district(district_id, wait_seconds=self._patience) as tx:
                taken = await relays.relay(tx, [one.step for one in group], lease_seconds=self._lease_seconds)
        except HubError as error:
            for one in group:
                if not one.version.done():
                    one.version.set_exception(error)
            return
        except StatementError as error:
            # It is one of them, and nobody knows which: each is noted by itself, and has its error for itself.
            log.warning("batches are noted one by one", district=str(district_id), error=type(error).__name__)
        except Exception as error:  # a bug of ours: each of them hears of it, or its delivery would wait for ever
            for one in group:
                if not one.version.done():
                    one.version.set_exception(error)
            return
        for one in group:
            if not one.version.done():
                one.version.set_result(taken.get((one.step.subscription_id, one.step.lease_token)))
