"""The pool and the one helper that opens a transaction for one district.

Row-level security compares ``district_id`` with the setting ``hub.district``. It is set with SET LOCAL as the first
statement of the transaction, so it ends with it: no connection carries a district back into the pool. The pool is never
given a ``reset`` hook, which would replace asyncpg's RESET ALL.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from contextvars import ContextVar
from typing import Any, LiteralString, cast
from uuid import UUID

import asyncpg
import orjson

from hub.errors import Code, HubError, Intent, storage_full
from hub.store.connection import Connection
from hub.store.kept import Kept

SCHEMA = "hub"
#: What a statement by itself (``Transaction.alone``) reads from first: its first parameter becomes the district of the
#: policies, for as long as it runs. All that it reads of tables has to be asked for by this row (LATERAL), so that it
#: comes behind; what came before would see no district, and so nothing. The ORDER BY of a subquery is part of that: it
#: keeps PostgreSQL from taking the subquery apart, and then what refers to no row, as a gate, would be asked for first.
ITS_DISTRICT = "set_config('hub.district', $1::uuid::text, true) AS its(district)"
#: A transaction in which nothing was asked for so long is ended by PostgreSQL. Shorter than the minute within which the
#: run of a worker that hangs is taken over: its locks would keep everybody else from it.
IDLE_SECONDS = 45.0
#: Errors after which the same call may succeed: the server is away, starting, stopping or out of connections.
_AWAY = (
    OSError,
    TimeoutError,
    asyncpg.PostgresConnectionError,
    asyncpg.CannotConnectNowError,
    asyncpg.TooManyConnectionsError,
    asyncpg.AdminShutdownError,
    asyncpg.CrashShutdownError,
)
#: Errors that end a connection, or a transaction that collided with another one: a later attempt may succeed.
_LOST = (
    ConnectionError,
    asyncpg.PostgresConnectionError,
    asyncpg.AdminShutdownError,
    asyncpg.CrashShutdownError,
    asyncpg.IdleInTransactionSessionTimeoutError,
    asyncpg.TransactionRollbackError,
    asyncpg.InternalClientError,  # a statement on a connection that the server ended a moment ago
)
#: A row broke a unique key: another one has that value.
TakenError = asyncpg.UniqueViolationError
#: A lock was not to be had within the transaction's lock_timeout.
LockTimeoutError = asyncpg.LockNotAvailableError
#: A statement took longer than the pool allows.
StatementTimeoutError = asyncpg.QueryCanceledError
#: PostgreSQL refused a statement, for whichever reason.
StatementError = asyncpg.PostgresError
_open_in_task: ContextVar[tuple[asyncio.Task[Any] | None, UUID] | None] = ContextVar("district", default=None)


def unavailable() -> HubError:
    """The error for a database that cannot be reached right now."""
    return HubError(Code.UNAVAILABLE, "The database cannot be reached. Try again in a moment.", intent=Intent.RETRY)


class Transaction:
    """An open transaction. ``district_id`` is None for shared tables only.

    ``kept``: what the process keeps beside the pool; what a transaction has seen belongs there only once it committed.
    ``begin``: the statements that begin it, at the latest before its first one that is not ``alone``.
    """

    def __init__(self, connection: Any, district_id: UUID | None, kept: Kept, begin: str) -> None:
        self._connection: asyncpg.Connection[asyncpg.Record] = connection
        self.district_id = district_id
        self.kept = kept
        self.begun = False
        self._begin = begin
        self._acts: list[Callable[[], None]] = []

    async def ready(self) -> asyncpg.Connection[asyncpg.Record]:
        """The connection, on which the transaction has begun."""
        if self._begin and not self.begun:
            self.begun = True
            await self._connection.execute(self._begin)
        return self._connection

    @property
    def connection(self) -> asyncpg.Connection[asyncpg.Record]:
        """The connection, for what is no statement. Raises RuntimeError where nothing has begun: no row would show."""
        if self._begin and not self.begun:
            raise RuntimeError("the transaction has not begun")
        return self._connection

    def after_commit(self, act: Callable[[], None]) -> None:
        """Does something in memory once the transaction has committed; never if it does not."""
        self._acts.append(act)

    def committed(self) -> None:
        """Does what was put off to this moment."""
        for act in self._acts:
            act()

    async def fetch(self, query: str, *values: object) -> list[asyncpg.Record]:
        """All rows of a query."""
        return await (await self.ready()).fetch(query, *values)

    async def fetchrow(self, query: str, *values: object) -> asyncpg.Record | None:
        """The first row of a query, or None."""
        return await (await self.ready()).fetchrow(query, *values)

    async def fetchval(self, query: str, *values: object) -> Any:
        """The first value of the first row, or None."""
        return await (await self.ready()).fetchval(query, *values)

    async def alone(self, query: str, *values: object) -> list[asyncpg.Record]:
        """All rows of a statement that reads from ``ITS_DISTRICT``; ``values``: of its parameters from the second on.

        It needs no transaction around it: in one of ``Database.reading`` that saves two of three round trips.
        """
        return await self._connection.fetch(query, self.district_id, *values)

    async def execute(self, query: str, *values: object) -> int:
        """Runs a statement; the number of rows that it touched (0 where PostgreSQL does not say)."""
        status = await (await self.ready()).execute(query, *values)
        last = status.rsplit(" ", 1)[-1]
        return int(last) if last.isdigit() else 0

    async def keep_freed_memory(self) -> None:
        """Before a statement with an answer of megabytes: PostgreSQL's process does not give its memory back behind it.

        glibc keeps twice the largest piece of memory that was freed so far (mallopt(3), M_TRIM_THRESHOLD); asking for
        it again would cost a page fault for every 4 KiB, which is as much as the statement. Once for each connection.
        """
        await cast("Connection", self._connection).keep_freed_memory()

    async def executemany(self, query: str, rows: list[tuple[object, ...]]) -> None:
        """Runs a statement once per row, pipelined."""
        if rows:
            await (await self.ready()).executemany(query, rows)


async def _prepare(connection: Any) -> None:
    await connection.set_type_codec(
        "jsonb", schema="pg_catalog", encoder=lambda v: orjson.dumps(v).decode(), decoder=orjson.loads
    )


class Database:
    """A pool of connections that log in as one of the hub's roles."""

    def __init__(self, pool: Any) -> None:
        self._pool: asyncpg.Pool[asyncpg.Record] = pool
        self._kept = Kept()

    @classmethod
    async def open(
        cls, url: str, *, name: str, smallest: int = 1, largest: int = 10, statement_seconds: float = 0
    ) -> Database:
        """Opens a pool.

        ``statement_seconds`` bounds each statement (0: no bound). Raises HubError(UNAVAILABLE) when the server cannot
        be reached.
        """
        settings = {
            "search_path": SCHEMA,
            "application_name": name,
            "timezone": "UTC",
            "jit": "off",
            # A client that hangs or vanished loses its transaction and its locks: others go on without it.
            "idle_in_transaction_session_timeout": f"{int(IDLE_SECONDS * 1000)}ms",
            "tcp_keepalives_idle": "30",
            "tcp_keepalives_interval": "10",
            "tcp_keepalives_count": "3",
            "statement_timeout": str(int(statement_seconds * 1000)),
        }
        try:
            pool = await asyncpg.create_pool(
                url, min_size=smallest, max_size=largest, init=_prepare, server_settings=settings, command_timeout=None,
                timeout=10, connection_class=Connection,
            )  # fmt: skip
        except _AWAY as error:
            raise unavailable() from error
        return cls(pool)

    async def close(self) -> None:
        """Closes all connections, those in use after 10 s at the latest."""
        try:
            await asyncio.wait_for(self._pool.close(), 10)
        except TimeoutError:
            self._pool.terminate()

    def district(
        self, district_id: UUID, *, readonly: bool = False, wait_seconds: float = 2, lock_seconds: float | None = None
    ) -> AbstractAsyncContextManager[Transaction]:
        """A transaction that sees and writes the rows of one district only; ``lock_seconds`` bounds waits for locks.

        Raises HubError(DISTRICT_MISMATCH) when this task has one open already (pass that on instead), and
        HubError(UNAVAILABLE) when no connection is free within ``wait_seconds`` or the server is away.
        """
        begin = "BEGIN READ ONLY" if readonly else "BEGIN"
        limit = "" if lock_seconds is None else f"; SET LOCAL lock_timeout = {int(lock_seconds * 1000)}"
        return self._of_district(district_id, begin, wait_seconds, readonly=readonly, more=limit)

    @asynccontextmanager
    async def _of_district(
        self, district_id: UUID, begin: str, wait_seconds: float, *, readonly: bool, late: bool = False, more: str = ""
    ) -> AsyncIterator[Transaction]:
        district_id = UUID(str(district_id))  # only a UUID object is ever written into the statement
        task = asyncio.current_task()
        outer = _open_in_task.get()
        if outer is not None and outer[0] is task:
            raise HubError(Code.DISTRICT_MISMATCH, "A district's transaction is open already: pass it on.")
        token = _open_in_task.set((task, district_id))
        begin = f"{begin}; SET LOCAL hub.district = '{district_id}'{more}"
        try:
            async with self._transaction(begin, district_id, wait_seconds, readonly=readonly, late=late) as tx:
                yield tx
        finally:
            _open_in_task.reset(token)

    def reading(self, district_id: UUID, *, wait_seconds: float = 2) -> AbstractAsyncContextManager[Transaction]:
        """As ``district``, read-only, for statements of which each looks through the gate for itself.

        What is asked ``alone`` is in no transaction: only the first other statement begins one.
        """
        return self._of_district(district_id, "BEGIN READ ONLY", wait_seconds, readonly=True, late=True)

    @asynccontextmanager
    async def app(self, app_id: UUID, *, wait_seconds: float = 2) -> AsyncIterator[Transaction]:
        """A read-only transaction that sees the grants of one app in all districts, and nothing else of a district."""
        app_id = UUID(str(app_id))  # only a UUID object is ever written into the statement
        async with self._transaction(
            f"BEGIN READ ONLY; SET LOCAL hub.app = '{app_id}'", None, wait_seconds, readonly=True
        ) as tx:
            yield tx

    @asynccontextmanager
    async def drop(self, username: str, *, wait_seconds: float = 2) -> AsyncIterator[Transaction]:
        """A read-only transaction that sees the drop of one name, and nothing else of a district."""
        if not all(c.isalnum() or c == "-" for c in username) or not username.isascii():
            raise ValueError("only plain names are ever written into the statement")
        async with self._transaction(
            f"BEGIN READ ONLY; SET LOCAL hub.drop = '{username}'", None, wait_seconds, readonly=True
        ) as tx:
            yield tx

    @asynccontextmanager
    async def shared(self, *, wait_seconds: float = 2) -> AsyncIterator[Transaction]:
        """A transaction without a district: it sees shared tables, and nothing of any district but its name."""
        async with self._transaction("BEGIN", None, wait_seconds) as tx:
            yield tx

    @asynccontextmanager
    async def statement(self, *, wait_seconds: float = 2) -> AsyncIterator[Transaction]:
        """As ``shared``, for one statement that commits by itself and leaves nothing behind on the connection.

        That saves three round trips: there is nothing to begin, to commit, or to reset.
        """
        async with self._transaction("", None, wait_seconds, late=True) as tx:
            yield tx

    @asynccontextmanager
    async def _transaction(
        self, begin: str, district_id: UUID | None, wait_seconds: float, *, readonly: bool = False, late: bool = False
    ) -> AsyncIterator[Transaction]:
        try:
            # A wait with a limit costs a task and a timer: not where there is nothing to wait for.
            idle = self._pool.get_idle_size() > 0
            connection = await self._pool.acquire(timeout=None if idle else wait_seconds)
        except (*_AWAY, asyncpg.InterfaceError) as error:
            raise unavailable() from error
        try:
            tx = Transaction(connection, district_id, self._kept, begin)
            try:
                if not late:
                    await tx.ready()
                yield tx
                if tx.begun:
                    await _commit(connection, readonly=readonly)
                elif late:
                    cast("Connection", connection).unchanged()
            except BaseException:
                await _roll_back(connection)
                raise
            tx.committed()
        except _LOST as error:
            raise unavailable() from error
        except asyncpg.DiskFullError as error:
            raise storage_full("the database") from error
        except asyncpg.InterfaceError as error:
            if _closed(connection):
                raise unavailable() from error
            raise
        finally:
            await self._release(connection)

    async def _release(self, connection: Any) -> None:
        try:
            await self._pool.release(connection, timeout=5)  # asyncpg shields it from cancellation
        except (*_AWAY, asyncpg.InterfaceError, asyncpg.InternalClientError):
            _terminate(connection)  # lost in this very moment: the pool has taken it back already, or has to

    @asynccontextmanager
    async def watching(self, *, wait_seconds: float = 2) -> AsyncIterator[Transaction]:
        """A read-only transaction that sees grants and feeds of all districts, for numbers about the hub alone."""
        begin = "BEGIN READ ONLY; SET LOCAL hub.watching = 'on'"
        async with self._transaction(begin, None, wait_seconds, readonly=True) as tx:
            yield tx

    def usage(self) -> tuple[int, int, int]:
        """Connections in use, idle ones, and the most that there may be."""
        size, idle = self._pool.get_size(), self._pool.get_idle_size()
        return size - idle, idle, self._pool.get_max_size()

    async def listen(self, channel: LiteralString, url: str) -> Any:
        """A connection of its own for LISTEN: a pooled one loses its listeners when it is released."""
        return await asyncpg.connect(url, timeout=10, server_settings={"application_name": f"hub {channel}"})


async def _commit(connection: Any, *, readonly: bool) -> None:
    """Raises HubError(INTERNAL) where a failed statement was passed over."""
    try:
        await connection.commit(readonly=readonly)
    except asyncpg.InFailedSQLTransactionError as error:
        raise HubError(Code.INTERNAL, "The transaction had failed before it was to be committed.") from error


async def _roll_back(connection: Any) -> None:
    """Ends a failed transaction; a connection that cannot even do that is closed, so it never goes back dirty."""
    try:
        if not _closed(connection):
            await asyncio.wait_for(connection.execute("ROLLBACK"), 5)
    except (*_AWAY, asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError):
        _terminate(connection)


def _closed(connection: Any) -> bool:
    """Whether a connection is of no more use. The pool takes back one that was lost in use, and then refuses to say."""
    try:
        closed: bool = connection.is_closed()
    except asyncpg.InterfaceError:
        return True
    return closed


def _terminate(connection: Any) -> None:
    """Ends a connection at once, unless the pool has taken it back already."""
    with suppress(asyncpg.InterfaceError):
        connection.terminate()
