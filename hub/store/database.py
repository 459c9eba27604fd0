"""The pool and the one helper that opens a transaction for one district.

Row-level security compares ``district_id`` with the setting ``hub.district``. It is set with SET LOCAL as the first
statement of the transaction, so it ends with it: no connection carries a district to its next use.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from contextvars import ContextVar, Token
from typing import Any, LiteralString
from uuid import UUID

import asyncpg
import orjson

from hub.errors import Code, HubError, storage_full
from hub.store.connection import Connection
from hub.store.connections import AWAY, Connections, terminate, unavailable
from hub.store.kept import Kept

SCHEMA = "hub"
#: What a statement by itself (``Transaction.alone``) reads from first: its first parameter becomes the district of the
#: policies, for as long as it runs. All that it reads of tables has to be asked for by this row (LATERAL), so that it
#: comes behind; what came before would see no district, and so nothing. The ORDER BY of a subquery is part of that: it
#: keeps PostgreSQL from taking the subquery apart, and then what refers to no row, as a gate, would be asked for first.
ITS_DISTRICT = "set_config('hub.district', $1::uuid::text, true) AS its(district)"
#: What text is cast to that comes as bytes in UTF-8. It is text by another name, which no column has: Python does not
#: decode it, and PostgreSQL neither checks nor copies it as ``convert_to`` does.
UNDECODED: LiteralString = "bpchar"
#: A transaction in which nothing was asked for so long is ended by PostgreSQL. Shorter than the minute within which the
#: run of a worker that hangs is taken over: its locks would keep everybody else from it.
IDLE_SECONDS = 45.0
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


class Transaction:
    """An open transaction. ``district_id`` is None for shared tables only.

    ``kept``: what the process keeps beside the pool; what a transaction has seen belongs there only once it committed.
    ``begin``: the statements that begin it, that of its district left out, at the latest before its first one that is
    not ``alone``.
    """

    def __init__(self, connection: Connection, district_id: UUID | None, kept: Kept, begin: str) -> None:
        self._connection = connection
        self.district_id = district_id
        self.kept = kept
        self.begun = False
        self._begin = begin
        self._acts: list[Callable[[], None]] = []

    async def ready(self) -> asyncpg.Connection[asyncpg.Record]:
        """The connection, on which the transaction has begun."""
        if self._begin and not self.begun:
            self.begun = True
            its = "" if self.district_id is None else f"; SET LOCAL hub.district = '{self.district_id}'"
            await self._connection.execute(self._begin + its)
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

    async def stay(self) -> None:
        """From here on statements are planned, and the commit is waited for, as the server is set to.

        For who began with ``plan_once`` and without ``flushed``, and found more to do.
        """
        await self.execute("SET LOCAL plan_cache_mode TO DEFAULT; SET LOCAL synchronous_commit TO DEFAULT")

    async def keep_freed_memory(self) -> None:
        """Before a statement with an answer of megabytes: PostgreSQL's process does not give its memory back behind it.

        glibc keeps twice the largest piece of memory that was freed so far (mallopt(3), M_TRIM_THRESHOLD); asking for
        it again would cost a page fault for every 4 KiB, which is as much as the statement. Once for each connection.
        """
        await self._connection.keep_freed_memory()

    async def executemany(self, query: str, rows: list[tuple[object, ...]]) -> None:
        """Runs a statement once per row, pipelined."""
        if rows:
            await (await self.ready()).executemany(query, rows)


async def _prepare(connection: Any) -> None:
    await connection.set_type_codec(
        "jsonb", schema="pg_catalog", encoder=lambda v: orjson.dumps(v).decode(), decoder=orjson.loads
    )
    await connection.set_type_codec(UNDECODED, schema="pg_catalog", encoder=bytes, decoder=bytes, format="binary")


class Database:
    """A pool of connections that log in as one of the hub's roles."""

    def __init__(self, pool: Any) -> None:
        self._connections = Connections(pool)
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
        except AWAY as error:
            raise unavailable() from error
        return cls(pool)

    async def close(self) -> None:
        """Closes all connections, those in use after 10 s at the latest."""
        await self._connections.close()

    def district(
        self, district_id: UUID, *, readonly: bool = False, wait_seconds: float = 2, lock_seconds: float | None = None,
        plan_once: bool = False, flushed: bool = True,
    ) -> AbstractAsyncContextManager[Transaction]:  # fmt: skip
        """A transaction that sees and writes the rows of one district only; ``lock_seconds`` bounds waits for locks.

        ``plan_once``: statements keep their plans whatever they are asked for. PostgreSQL expects ten elements of an
        array that it does not know, and plans anew for each that has fewer, which takes as long as carrying it out.
        ``flushed`` False: its end does not wait for the disk, which at times takes longer than all else. Should
        PostgreSQL crash in that second, all of it is undone, unless something committed later was waited for: that is
        on disk with all before it. Only for what is done again then, and told nobody.

        Raises HubError(DISTRICT_MISMATCH) when this task has one open already (pass that on instead), and
        HubError(UNAVAILABLE) when no connection is free within ``wait_seconds`` or the server is away.
        """
        begin = "BEGIN READ ONLY" if readonly else "BEGIN"
        limit = "" if lock_seconds is None else f"; SET LOCAL lock_timeout = {int(lock_seconds * 1000)}"
        plans = "; SET LOCAL plan_cache_mode = force_generic_plan" if plan_once else ""
        disk = "" if flushed else "; SET LOCAL synchronous_commit = off"
        return self._opened(begin + limit + plans + disk, wait_seconds, district_id, readonly=readonly)

    def reading(self, district_id: UUID, *, wait_seconds: float = 2) -> AbstractAsyncContextManager[Transaction]:
        """As ``district``, read-only, for statements of which each looks through the gate for itself.

        What is asked ``alone`` is in no transaction: only the first other statement begins one.
        """
        return self._opened("BEGIN READ ONLY", wait_seconds, district_id, readonly=True, late=True)

    def app(self, app_id: UUID, *, wait_seconds: float = 2) -> AbstractAsyncContextManager[Transaction]:
        """A read-only transaction that sees the grants of one app in all districts, and nothing else of a district."""
        app_id = UUID(str(app_id))  # only a UUID object is ever written into the statement
        return self._opened(f"BEGIN READ ONLY; SET LOCAL hub.app = '{app_id}'", wait_seconds, readonly=True)

    def drop(self, username: str, *, wait_seconds: float = 2) -> AbstractAsyncContextManager[Transaction]:
        """A read-only transaction that sees the drop of one name, and nothing else of a district."""
        if not all(c.isalnum() or c == "-" for c in username) or not username.isascii():
            raise ValueError("only plain names are ever written into the statement")
        return self._opened(f"BEGIN READ ONLY; SET LOCAL hub.drop = '{username}'", wait_seconds, readonly=True)

    def shared(self, *, wait_seconds: float = 2) -> AbstractAsyncContextManager[Transaction]:
        """A transaction without a district: it sees shared tables, and nothing of any district but its name."""
        return self._opened("BEGIN", wait_seconds)

    def statement(self, *, wait_seconds: float = 2) -> AbstractAsyncContextManager[Transaction]:
        """As ``shared``, for one statement that commits by itself and leaves nothing behind on the connection.

        That saves three round trips: there is nothing to begin, to commit, or to reset.
        """
        return self._opened("", wait_seconds, late=True)

    def watching(self, *, wait_seconds: float = 2) -> AbstractAsyncContextManager[Transaction]:
        """A read-only transaction that sees grants and feeds of all districts, for numbers about the hub alone."""
        return self._opened("BEGIN READ ONLY; SET LOCAL hub.watching = 'on'", wait_seconds, readonly=True)

    def _opened(
        self, begin: str, wait_seconds: float, district_id: UUID | None = None, *, readonly: bool = False,
        late: bool = False,
    ) -> _Opened:  # fmt: skip
        if district_id is not None and type(district_id) is not UUID:
            district_id = UUID(str(district_id))  # only a UUID object is ever written into the statement
        return _Opened(self._connections, self._kept, begin, wait_seconds, district_id, readonly=readonly, late=late)

    def usage(self) -> tuple[int, int, int]:
        """Connections in use, idle ones, and the most that there may be."""
        return self._connections.usage()

    async def listen(self, channel: LiteralString, url: str) -> Any:
        """A connection of its own for LISTEN: a pooled one loses its listeners when it is released."""
        return await asyncpg.connect(url, timeout=10, server_settings={"application_name": f"hub {channel}"})


class _Opened(AbstractAsyncContextManager[Transaction]):
    """A transaction from its beginning to its end. A class of its own: two generators would cost more than all else."""

    def __init__(
        self, connections: Connections, kept: Kept, begin: str, wait_seconds: float, district_id: UUID | None, *,
        readonly: bool, late: bool,
    ) -> None:  # fmt: skip
        self._connections, self._kept, self._begin, self._wait_seconds = connections, kept, begin, wait_seconds
        self._district_id, self._readonly, self._late = district_id, readonly, late
        self._token: Token[tuple[asyncio.Task[Any] | None, UUID] | None] | None = None

    async def __aenter__(self) -> Transaction:
        if self._district_id is not None:
            task, outer = asyncio.current_task(), _open_in_task.get()
            if outer is not None and outer[0] is task:
                raise HubError(Code.DISTRICT_MISMATCH, "A district's transaction is open already: pass it on.")
            self._token = _open_in_task.set((task, self._district_id))
        try:
            self._connection = await self._connections.take(self._wait_seconds)
        except BaseException:
            self._leave()
            raise
        self._tx = Transaction(self._connection, self._district_id, self._kept, self._begin)
        if not self._late:
            try:
                await self._tx.ready()
            except BaseException as error:
                await self.__aexit__(None, error, None)
                raise
        return self._tx

    async def __aexit__(self, _: object, error: BaseException | None, __: object) -> None:
        clean = False
        try:
            if error is not None:
                await _roll_back(self._connection)
                _translate(error, self._connection)
            else:
                await self._commit()
                clean = True
        finally:
            self._leave()
            if not (clean and self._connections.keep(self._connection)):
                await self._connections.give_back(self._connection, clean=clean)

    async def _commit(self) -> None:
        try:
            try:
                if self._tx.begun:
                    await _commit(self._connection, readonly=self._readonly)
            except BaseException:
                await _roll_back(self._connection)
                raise
            self._tx.committed()
        except Exception as error:
            _translate(error, self._connection)
            raise

    def _leave(self) -> None:
        if self._token is not None:
            _open_in_task.reset(self._token)
            self._token = None


def _translate(error: BaseException, connection: Any) -> None:
    """Raises what an error of the database is told as, where that is another one."""
    if isinstance(error, _LOST):
        raise unavailable() from error
    if isinstance(error, asyncpg.DiskFullError):
        raise storage_full("the database") from error
    if isinstance(error, asyncpg.InterfaceError) and connection.is_closed():
        raise unavailable() from error


async def _commit(connection: Any, *, readonly: bool) -> None:
    """Raises HubError(INTERNAL) where a failed statement was passed over."""
    try:
        await connection.commit(readonly=readonly)
    except asyncpg.InFailedSQLTransactionError as error:
        raise HubError(Code.INTERNAL, "The transaction had failed before it was to be committed.") from error


async def _roll_back(connection: Any) -> None:
    """Ends a failed transaction; a connection that cannot even do that is closed, so it never goes back dirty."""
    try:
        if not connection.is_closed():
            await asyncio.wait_for(connection.execute("ROLLBACK"), 5)
    except (*AWAY, asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError):
        terminate(connection)
