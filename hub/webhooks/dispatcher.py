"""The service that finds subscriptions with something to send, and keeps many deliveries in flight.

PostgreSQL is the only place of truth. A notification on ``hub_feed`` or a wake from outside shortens the wait; without
either the dispatcher looks every few seconds, and nothing is lost.
"""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import dataclass

import structlog

from hub.errors import HubError, Intent
from hub.store import deliveries
from hub.store.deliveries import Claim
from hub.store.listen import follow
from hub.webhooks.deliver import Courier, deliver

log = structlog.get_logger()

CHANNEL = "hub_feed"
#: The longest and the shortest pause between two looks.
LONGEST_WAIT = 5.0
SHORTEST_WAIT = 0.05
AWAY_SECONDS = 1.0
BROKEN_SECONDS = 60.0
#: A subscription gives its place to others after this many batches in a row.
MOST_BATCHES = 50
STOP_SECONDS = 20.0


@dataclass(frozen=True, slots=True)
class Limits:
    """How many deliveries run at a time: in this process, and for one district in all processes together."""

    in_process: int = 64
    per_district: int = 8


class Dispatcher:
    """Claims, delivers, waits. ``listen_url``: a direct address of PostgreSQL for LISTEN; None goes without."""

    def __init__(self, courier: Courier, *, limits: Limits, listen_url: str | None = None) -> None:
        self._courier = courier
        self._limits = limits
        self._listen_url = listen_url
        self._bell = asyncio.Event()
        self._flying: set[asyncio.Task[None]] = set()

    def wake(self) -> None:
        """Look now. May be called any number of times, too early, too late or not at all."""
        self._bell.set()

    async def run(self, stop: asyncio.Event) -> None:
        """Delivers until ``stop`` is set, then waits for what is in flight, 20 seconds at most."""
        listener = None
        if self._listen_url is not None:
            listener = asyncio.create_task(follow(self._listen_url, CHANNEL, lambda _payload: self.wake()))
        ringer = asyncio.create_task(_ring(stop, self._bell))
        try:
            while not stop.is_set():
                self._bell.clear()
                await self._wait(await self._look())
        finally:
            for task in (listener, ringer):
                if task is not None:
                    task.cancel()
                    with contextlib.suppress(asyncio.CancelledError):
                        await task
            await self._land()

    async def _look(self) -> float:
        """Starts what is due; seconds until it is worth looking again."""
        free = self._limits.in_process - len(self._flying)
        if free <= 0:
            return LONGEST_WAIT  # a landing rings the bell
        try:
            claims = await deliveries.claim(
                self._courier.db, limit=free, per_district=self._limits.per_district,
                lease_seconds=self._courier.lease_seconds,
            )  # fmt: skip
            for claim in claims:
                task = asyncio.create_task(self._fly(claim))
                self._flying.add(task)
                task.add_done_callback(self._landed)
            due = await deliveries.next_due(self._courier.db)
        except HubError as error:
            log.warning("deliveries wait", code=error.code.value)
            return AWAY_SECONDS
        except Exception:
            log.exception("looking for deliveries failed")  # a bug of ours; what is due stays due
            return LONGEST_WAIT
        return LONGEST_WAIT if due is None else min(max(due, SHORTEST_WAIT), LONGEST_WAIT)

    async def _wait(self, seconds: float) -> None:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._bell.wait(), seconds)

    def _landed(self, task: asyncio.Task[None]) -> None:
        self._flying.discard(task)
        self._bell.set()

    async def _fly(self, claim: Claim) -> None:
        """Delivers batch after batch of one subscription, until it is up to date, fails or has had its turn."""
        try:
            for _ in range(MOST_BATCHES):
                if not await deliver(self._courier, claim):
                    return
            await self._give_back(claim, 0)
        except HubError as error:
            log.warning("delivery broken off", subscription=str(claim.subscription_id), code=error.code.value)
            await self._give_back(claim, AWAY_SECONDS if error.intent is Intent.RETRY else BROKEN_SECONDS)
        except Exception:
            # A bug of ours must not stop the others; the subscription is tried again in a while.
            log.exception("delivery failed", subscription=str(claim.subscription_id))
            await self._give_back(claim, BROKEN_SECONDS)

    async def _give_back(self, claim: Claim, wait_seconds: float) -> None:
        """Returns the lease if the database can be reached; else it ends by itself."""
        with contextlib.suppress(HubError):
            async with self._courier.db.district(claim.district_id, wait_seconds=self._courier.patience) as tx:
                await deliveries.release(tx, claim, wait_seconds=wait_seconds)

    async def _land(self) -> None:
        """Waits for deliveries in flight; those that take too long are left to whoever gets their lease next."""
        if not self._flying:
            return
        _, late = await asyncio.wait(self._flying, timeout=STOP_SECONDS)
        for task in late:
            task.cancel()
        await asyncio.gather(*late, return_exceptions=True)


async def _ring(stop: asyncio.Event, bell: asyncio.Event) -> None:
    await stop.wait()
    bell.set()
