"""Connections and their pool: how they are taken, kept between two uses, given back, and ended when they are lost.

Taking one from asyncpg's pool and giving it back costs a task, a future and timers, as much as a small statement. So a
connection on which nothing was left goes from one use to the next without the pool, which counts it as in use all the
while. It goes back as soon as somebody waits at the pool, when it was not needed for a while, and now and then anyhow:
the pool ends connections that have done much, or nothing for long. It is never given a ``reset`` hook, which would
replace asyncpg's RESET ALL.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Any, cast

import asyncpg

from hub.errors import Code, HubError, Intent
from hub.store.connection import Connection

#: Errors after which the same call may succeed: the server is away, starting, stopping or out of connections.
AWAY = (
    OSError,
    TimeoutError,
    asyncpg.PostgresConnectionError,
    asyncpg.CannotConnectNowError,
    asyncpg.TooManyConnectionsError,
    asyncpg.AdminShutdownError,
    asyncpg.CrashShutdownError,
)
_LOOK_SECONDS = 30.0


def unavailable() -> HubError:
    """The error for a database that cannot be reached right now."""
    return HubError(Code.UNAVAILABLE, "The database cannot be reached. Try again in a moment.", intent=Intent.RETRY)


class Connections:
    """The connections of a pool. Those in ``_spare`` are the pool's to use again, and as if they had been reset."""

    def __init__(self, pool: Any) -> None:
        self._pool: asyncpg.Pool[asyncpg.Record] = pool
        self._spare: list[Connection] = []
        self._least = 0  # so many have been spare ever since they were last looked at
        self._look: asyncio.TimerHandle | None = None
        self._returning: set[asyncio.Task[None]] = set()
        self._waiting = 0
        self._closing = False

    async def take(self, wait_seconds: float) -> Connection:
        """A connection, without what the pool puts around it.

        Raises HubError(UNAVAILABLE) where none is free in time, or the server is away.
        """
        while self._spare:
            connection = self._spare.pop()
            self._least = min(self._least, len(self._spare))
            if not connection.is_closed():
                return connection
            await self._release(connection)
        self._waiting += 1
        try:
            # A wait with a limit costs a task and a timer: not where there is nothing to wait for.
            idle = self._pool.get_idle_size() > 0
            lent = await self._pool.acquire(timeout=None if idle else wait_seconds)
        except (*AWAY, asyncpg.InterfaceError) as error:
            raise unavailable() from error
        finally:
            self._waiting -= 1
        connection = cast("Connection", lent).itself()
        connection.lent = lent
        return connection

    def keep(self, connection: Connection) -> bool:
        """Keeps a connection, on which nothing is left of its use, for the next; False where it has to be given back.

        Who waits does so at the pool, which knows nothing of those that are kept.
        """
        if self._waiting or self._closing or connection.is_closed() or connection.is_due():
            return False
        self._spare.append(connection)
        if self._look is None:
            self._look = asyncio.get_running_loop().call_later(_LOOK_SECONDS, self._return_unused)
        return True

    async def give_back(self, connection: Connection, *, clean: bool) -> None:
        """Gives a connection back to the pool, which resets it where it is not ``clean``."""
        if clean and not connection.is_closed():
            connection.unchanged()
        await self._release(connection)

    async def close(self) -> None:
        """Closes all connections, those in use after 10 s at the latest."""
        self._closing = True
        self._return_unused(all_=True)
        try:
            await asyncio.wait_for(self._pool.close(), 10)
        except TimeoutError:
            self._pool.terminate()

    def usage(self) -> tuple[int, int, int]:
        """Connections in use, idle ones, and the most that there may be."""
        size, idle = self._pool.get_size(), self._pool.get_idle_size() + len(self._spare)
        return max(0, size - idle), idle, self._pool.get_max_size()

    def _return_unused(self, *, all_: bool = False) -> None:
        """Gives those back that nobody has needed since the last time."""
        if self._look is not None:
            self._look.cancel()
            self._look = None
        number = len(self._spare) if all_ else self._least
        unused, self._spare = self._spare[:number], self._spare[number:]
        self._least = len(self._spare)
        loop = asyncio.get_running_loop()
        for connection in unused:
            task = loop.create_task(self.give_back(connection, clean=True))
            self._returning.add(task)
            task.add_done_callback(self._returning.discard)
        if self._spare:
            self._look = loop.call_later(_LOOK_SECONDS, self._return_unused)

    async def _release(self, connection: Connection) -> None:
        try:
            await self._pool.release(connection.lent, timeout=5)  # asyncpg shields it from cancellation
        except (*AWAY, asyncpg.InterfaceError, asyncpg.InternalClientError):
            terminate(connection)  # lost in this very moment: the pool has taken it back already, or has to


def terminate(connection: Connection) -> None:
    """Ends a connection at once, unless the pool has taken it back already."""
    with suppress(asyncpg.InterfaceError):
        connection.lent.terminate()
