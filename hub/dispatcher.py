"""The service that finds work in PostgreSQL, and keeps many pieces of it in flight.

PostgreSQL is the only place of truth. A notification on ``hub_feed`` or a wake from outside shortens the wait; without
either the dispatcher looks every few seconds, and nothing is lost.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Sequence
from typing import Generic, Protocol, TypeVar
from uuid import UUID

import structlog

from hub.errors import HubError, Intent
from hub.metrics.known import CLAIMS, IN_FLIGHT
from hub.store.listen import follow
from hub.store.presence import Presence

log = structlog.get_logger()

CHANNEL = "hub_feed"
#: The longest and the shortest pause between two looks.
LONGEST_WAIT = 5.0
SHORTEST_WAIT = 0.05
AWAY_SECONDS = 1.0
BROKEN_SECONDS = 60.0
#: How long the first look waits until this process is known to be there.
FIRST_SECONDS = 1.0
#: A claim gives its place to others after this many turns in a row.
MOST_TURNS = 50
STOP_SECONDS = 20.0
Claim = TypeVar("Claim")


class Work(Protocol[Claim]):
    """What a dispatcher does: claims are leases, so what a process leaves behind is claimed by another one."""

    async def claim(self, limit: int, token: UUID) -> Sequence[Claim]:
        """Claims up to ``limit`` pieces of work that are due, with ``token`` for their leases."""

    async def next_due(self) -> float | None:
        """Seconds until the next piece that waits for its time; None when none does."""

    async def turn(self, claim: Claim) -> bool:
        """Does one piece; whether the claim still holds and there may be more to do under it."""

    async def give_back(self, claim: Claim, wait_seconds: float) -> None:
        """Ends a claim; the work is not claimed again for ``wait_seconds``."""

    def name(self, claim: Claim) -> dict[str, str]:
        """What the log calls a claim: ids alone."""


class Dispatcher(Generic[Claim]):
    """Claims, works, waits. ``listen_url``: a direct address of PostgreSQL for LISTEN; None goes without."""

    def __init__(self, work: Work[Claim], *, in_process: int, listen_url: str | None = None) -> None:
        self._work = work
        self._queue = type(work).__name__.lower()  # webhooks, notices, passback: what metrics call it
        self._in_process = in_process
        self._listen_url = listen_url
        self._bell = asyncio.Event()
        self._flying: dict[asyncio.Task[None], UUID] = {}
        self._presence = Presence(self._left)
        #: Set once a look found nothing to do, while nothing was being done.
        self.caught_up = asyncio.Event()

    def wake(self) -> None:
        """Look now. May be called any number of times, too early, too late or not at all."""
        self._bell.set()

    async def run(self, stop: asyncio.Event) -> None:
        """Works until ``stop`` is set, then waits for what is in flight, 20 seconds at most."""
        listener = None
        if self._listen_url is not None:
            listener = asyncio.create_task(
                follow(self._listen_url, CHANNEL, lambda _payload: self.wake(), presence=self._presence)
            )
        ringer = asyncio.create_task(_ring(stop, self._bell))
        try:
            if listener is not None:
                # What is claimed before is free only when its lease ends, should this process be killed.
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._presence.there.wait(), FIRST_SECONDS)
            while not stop.is_set():
                self._bell.clear()
                await self._wait(await self._look())
        finally:
            await _ended(ringer)
            await self._land()
            await _ended(listener)  # not before: what this process has claimed is its own for as long as it is there

    async def _look(self) -> float:
        """Starts what is due; seconds until it is worth looking again."""
        free = self._in_process - len(self._flying)
        if free <= 0:
            return LONGEST_WAIT  # a landing rings the bell
        try:
            token = self._presence.token()
            claims = await self._work.claim(free, token)
            for claim in claims:
                if self._presence.holds(token):  # else they were free again before they were known here
                    self._start(claim, token)
            IN_FLIGHT.is_now(len(self._flying), self._queue)
            if not claims and not self._flying:
                self.caught_up.set()
            due = await self._work.next_due()
        except HubError as error:
            log.warning("deliveries wait", code=error.code.value)
            return AWAY_SECONDS
        except Exception:
            log.exception("looking for deliveries failed")  # a bug of ours; what is due stays due
            return LONGEST_WAIT
        return LONGEST_WAIT if due is None else min(max(due, SHORTEST_WAIT), LONGEST_WAIT)

    def _start(self, claim: Claim, token: UUID) -> None:
        task = asyncio.create_task(self._fly(claim))
        self._flying[task] = token
        task.add_done_callback(self._landed)
        CLAIMS.count(self._queue)

    def _left(self, named: Callable[[UUID], bool]) -> None:
        """Others may take over what this process has claimed, and send it: not a word more goes out from here."""
        for task, token in self._flying.items():
            if named(token):
                task.cancel()

    async def _wait(self, seconds: float) -> None:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._bell.wait(), seconds)

    def _landed(self, task: asyncio.Task[None]) -> None:
        del self._flying[task]
        IN_FLIGHT.is_now(len(self._flying), self._queue)
        self._bell.set()

    async def _fly(self, claim: Claim) -> None:
        """Works turn after turn under one claim, until nothing is left, something fails or it has had its share."""
        try:
            for _ in range(MOST_TURNS):
                if not await self._work.turn(claim):
                    return
            await self._give_back(claim, 0)
        except HubError as error:
            log.warning("delivery broken off", code=error.code.value, **self._work.name(claim))
            await self._give_back(claim, AWAY_SECONDS if error.intent is Intent.RETRY else BROKEN_SECONDS)
        except Exception:
            # A bug of ours must not stop the others; the work is tried again in a while.
            log.exception("delivery failed", **self._work.name(claim))
            await self._give_back(claim, BROKEN_SECONDS)

    async def _give_back(self, claim: Claim, wait_seconds: float) -> None:
        """Returns the lease if the database can be reached; else it ends by itself."""
        with contextlib.suppress(HubError):
            await self._work.give_back(claim, wait_seconds)

    async def _land(self) -> None:
        """Waits for work in flight; what takes too long is left to whoever gets its lease next."""
        if not self._flying:
            return
        _, late = await asyncio.wait(self._flying, timeout=STOP_SECONDS)
        for task in late:
            task.cancel()
        await asyncio.gather(*late, return_exceptions=True)


async def _ended(task: asyncio.Task[None] | None) -> None:
    if task is not None:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


async def _ring(stop: asyncio.Event, bell: asyncio.Event) -> None:
    await stop.wait()
    bell.set()
