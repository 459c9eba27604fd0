"""Requests that wait for something new: they hold neither a connection to the database nor a place among their app's.

One task looks for all of them: at once for those whose district a notification names, and every second for everyone,
for a notification may be lost, and a withdrawn grant or token announces itself to nobody. One look is for one app with
all of its grants, and only rings; what has happened, and whether the app may know, the request itself then finds out.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import defaultdict
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from uuid import UUID

import structlog
from aiohttp import web

from hub.api.context import CONTEXT, ApiContext
from hub.api.oneroster.errors import busy
from hub.dispatcher import CHANNEL
from hub.errors import HubError
from hub.store import pulse
from hub.store.gate import Bearer, Signer
from hub.store.listen import follow
from hub.store.pulse import Pulse

#: The longest time for which nobody looks.
LOOK_SECONDS = 1.0
#: How soon one who was told that there are too many may ask again, in seconds.
_AGAIN = 5
_log = structlog.get_logger()


@dataclass(eq=False, slots=True)
class Waiter:
    """One request. ``known``: by district, the pulses as it last read them; None while it reads."""

    request: web.Request
    app_id: UUID
    credential: Bearer | Signer
    districts: frozenset[UUID] | None  # None: all that grant the app something
    known: Mapping[UUID, Pulse] | None = None
    bell: asyncio.Event = field(default_factory=asyncio.Event)

    def begin(self) -> None:
        """Says that what rings from now on is news."""
        self.known = None
        self.bell.clear()

    def look(self, pulses: Mapping[UUID, Pulse], standing: frozenset[bytes | tuple[str, bytes]]) -> None:
        """Rings if the request would now be answered otherwise."""
        mine = pulses if self.districts is None else {d: pulses[d] for d in self.districts if d in pulses}
        if self.known is None or mine != self.known or pulse.key_of(self.credential) not in standing:
            self.bell.set()


class Waiting:
    """All waiting requests of one process."""

    def __init__(self, context: ApiContext) -> None:
        self._context = context
        self._waiters: dict[UUID, set[Waiter]] = defaultdict(set)
        self._count = 0
        self._heard: set[str] = set()
        self._news = asyncio.Event()
        self.stopping = asyncio.Event()

    def __len__(self) -> int:
        return self._count

    @contextmanager
    def place(
        self, request: web.Request, app_id: UUID, credential: Bearer | Signer, districts: frozenset[UUID] | None
    ) -> Iterator[Waiter]:
        """A place among those that wait. Raises RefusedError: 429 for too many of the app, 503 for too many."""
        settings = self._context.settings
        if len(self._waiters.get(app_id, ())) >= settings.changes_app_waits:
            raise busy(429, _AGAIN, "Too many requests of this app wait for changes. One for each district is enough.")
        if self._count >= settings.changes_waits:
            raise busy(503, _AGAIN, "Too many requests wait for changes. Ask without wait, or again in a moment.")
        waiter = Waiter(request, app_id, credential, districts)
        self._waiters[app_id].add(waiter)
        self._count += 1
        try:
            yield waiter
        finally:
            self._count -= 1
            self._waiters[app_id].discard(waiter)
            if not self._waiters[app_id]:
                del self._waiters[app_id]

    async def rung(self, waiter: Waiter, until: float) -> bool:
        """Waits; whether there may be news. False: time is up (``until``, loop time), or the process stops.

        Raises ConnectionResetError when the client is gone.
        """
        left = until - asyncio.get_running_loop().time()
        if left <= 0 or self.stopping.is_set():
            return False
        try:
            await asyncio.wait_for(waiter.bell.wait(), left)
        except TimeoutError:
            return False
        if waiter.request.transport is None:
            raise ConnectionResetError("the client is gone")
        return not self.stopping.is_set()

    def hear(self, district: str) -> None:
        """Takes a notification. Empty: some may have been missed."""
        self._heard.add(district)
        self._news.set()

    def stop(self) -> None:
        """Lets everybody go with what there is."""
        self.stopping.set()
        for waiters in self._waiters.values():
            for waiter in waiters:
                waiter.bell.set()

    async def run(self) -> None:
        """Looks, for ever; cancel it."""
        loop = asyncio.get_running_loop()
        everyone = loop.time()
        while True:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._news.wait(), max(0.0, everyone + LOOK_SECONDS - loop.time()))
            self._news.clear()
            heard, self._heard = self._heard, set()
            if "" in heard or loop.time() >= everyone + LOOK_SECONDS:
                everyone, heard = loop.time(), {""}
            for app_id in self._concerned(heard):
                await self._look(app_id)

    def _concerned(self, heard: set[str]) -> list[UUID]:
        if "" in heard:
            return list(self._waiters)

        def concerns(waiter: Waiter) -> bool:
            return waiter.districts is None or any(str(district) in heard for district in waiter.districts)

        return [app_id for app_id, waiters in self._waiters.items() if any(map(concerns, waiters))]

    async def _look(self, app_id: UUID) -> None:
        context = self._context
        waiters = list(self._waiters.get(app_id, ()))
        for waiter in waiters:
            if waiter.request.transport is None:
                waiter.bell.set()  # nobody is there any more
        if not waiters:
            return
        try:
            async with context.db.app(app_id) as tx:
                pulses = await pulse.of_app(tx, app_id)
                # A set: thousands may wait with the same token.
                shown = {pulse.key_of(w.credential): w.credential for w in waiters}
                standing = await pulse.standing(tx, shown.values(), context.clock.now())
        except HubError:
            return  # the database is away: those whose time is up will be told
        except Exception:
            _log.exception("looking for waiting requests failed")  # a bug of ours; they are answered when time is up
            return
        for waiter in waiters:
            waiter.look(pulses, standing)


WAITING = web.AppKey("waiting", Waiting)


async def start_waiting(app: web.Application) -> AsyncIterator[None]:
    """Runs the one look of an application, and its one LISTEN."""
    context = app[CONTEXT]
    waiting = app[WAITING] = Waiting(context)
    tasks = [asyncio.create_task(waiting.run())]
    if context.listen_url is not None:
        tasks.append(asyncio.create_task(follow(context.listen_url, CHANNEL, waiting.hear)))
    yield
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def stop_waiting(app: web.Application) -> None:
    """Answers those that wait, so that a graceful stop need not wait for them."""
    if WAITING in app:
        app[WAITING].stop()
