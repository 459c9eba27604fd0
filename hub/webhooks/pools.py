"""Connection pools: one for each scheme, and one for each client certificate, so that no connection is shared by two.

A connection on which one subscription has shown its certificate must never carry another's messages.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass

import aiohttp

from hub.webhooks.certificates import ClientCertificate

#: Pools that nobody uses at the moment are kept up to this number; the one that has waited longest goes first.
MOST_IDLE = 64


@dataclass(frozen=True, slots=True)
class Key:
    """What connections of one pool have in common."""

    scheme: str
    certificate: ClientCertificate | None = None


@dataclass(slots=True)
class _Pool:
    session: aiohttp.ClientSession
    users: int = 0


class Pools:
    """Sessions by key, made by ``make`` when they are needed."""

    def __init__(self, make: Callable[[Key], Awaitable[aiohttp.ClientSession]]) -> None:
        self._make = make
        self._pools: dict[Key, _Pool] = {}
        self._making = asyncio.Lock()

    @asynccontextmanager
    async def session(self, key: Key) -> AsyncIterator[aiohttp.ClientSession]:
        """The session of a key, which stays open for as long as it is in use."""
        pool = self._pools.pop(key, None)
        if pool is None:
            async with self._making:
                pool = self._pools.pop(key, None) or _Pool(await self._make(key))
        self._pools[key] = pool  # the last one is the one that was used last
        pool.users += 1
        try:
            yield pool.session
        finally:
            pool.users -= 1
            if key.certificate is not None:
                await self._tidy()

    async def close(self) -> None:
        """Ends all connections."""
        pools, self._pools = self._pools, {}
        for pool in pools.values():
            await pool.session.close()

    async def _tidy(self) -> None:
        idle = [key for key, pool in self._pools.items() if not pool.users and key.certificate is not None]
        for key in idle[: max(0, len(idle) - MOST_IDLE)]:
            await self._pools.pop(key).session.close()
