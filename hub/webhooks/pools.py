"""Connection pools: one for each scheme, and one for each client certificate, so that no connection is shared by two.

A connection on which one subscription has shown its certificate must never carry another's messages.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import aiohttp

from hub.webhooks.certificates import ClientCertificate
from hub.webhooks.line import Line
from hub.webhooks.request import Origin

#: Pools that nobody uses at the moment are kept up to this number; the one that has waited longest goes first.
MOST_IDLE = 64
#: Shorter than the idle time after which usual servers hang up: a POST is not sent twice.
KEPT_SECONDS = 3.0


@dataclass(frozen=True, slots=True)
class Key:
    """What connections of one pool have in common."""

    scheme: str
    certificate: ClientCertificate | None = None


class Pool:
    """Connections that ``connector`` dials; no more than ``limit`` are in use at a time, and no more are kept."""

    def __init__(self, connector: aiohttp.TCPConnector, limit: int) -> None:
        self.connector = connector
        self.places = asyncio.Semaphore(limit)
        self.users = 0
        self._limit = limit
        self._loop = asyncio.get_running_loop()
        self._idle: dict[Origin, list[Line]] = {}
        self._sweeping: asyncio.TimerHandle | None = None

    def take(self, origin: Origin) -> Line | None:
        """A connection that is kept, the one that was used last."""
        lines = self._idle.get(origin)
        while lines:
            line = lines.pop()
            if line.open and self._loop.time() - line.idle_since < KEPT_SECONDS:
                return line
            line.close()
        return None

    def keep(self, origin: Origin, line: Line) -> None:
        """Keeps a connection for the next request to its origin."""
        line.idle_since = self._loop.time()
        self._idle.setdefault(origin, []).append(line)
        if self._sweeping is None:
            self._sweeping = self._loop.call_later(KEPT_SECONDS, self._sweep)

    def _sweep(self) -> None:
        """Ends what nobody has used for too long, and of the rest what there is too much of."""
        self._sweeping = None
        since = self._loop.time() - KEPT_SECONDS
        lines = sorted(((line.idle_since, origin, line) for origin, some in self._idle.items() for line in some),
                       key=lambda one: one[0])  # fmt: skip
        self._idle = {}
        many = len(lines) - self._limit
        for number, (at, origin, line) in enumerate(lines):
            if at <= since or number < many or not line.open:
                line.close()
            else:
                self._idle.setdefault(origin, []).append(line)
        if self._idle:
            self._sweeping = self._loop.call_later(KEPT_SECONDS, self._sweep)

    async def close(self) -> None:
        """Ends all connections."""
        if self._sweeping is not None:
            self._sweeping.cancel()
        for lines in self._idle.values():
            for line in lines:
                line.close()
        self._idle = {}
        await self.connector.close()


class Pools:
    """Pools by key, made by ``make`` when they are needed."""

    def __init__(self, make: Callable[[Key], Awaitable[Pool]]) -> None:
        self._make = make
        self._pools: dict[Key, Pool] = {}
        self._making = asyncio.Lock()

    async def enter(self, key: Key) -> Pool:
        """The pool of a key, which stays open until ``leave``."""
        pool = self._pools.get(key)
        if pool is None:
            async with self._making:
                pool = self._pools.get(key)
                if pool is None:
                    pool = self._pools[key] = await self._make(key)
        pool.users += 1
        return pool

    async def leave(self, key: Key, pool: Pool) -> None:
        """Says that a pool is not in use any more."""
        pool.users -= 1
        if key.certificate is not None:
            if self._pools.pop(key, None) is pool:  # the last one is the one that was used last
                self._pools[key] = pool
            await self._tidy()

    async def close(self) -> None:
        """Ends all connections."""
        pools, self._pools = self._pools, {}
        for pool in pools.values():
            await pool.close()

    async def _tidy(self) -> None:
        idle = [key for key, pool in self._pools.items() if not pool.users and key.certificate is not None]
        for key in idle[: max(0, len(idle) - MOST_IDLE)]:
            await self._pools.pop(key).close()
