"""Databases for tests: copies of a few that were prepared once, made over one connection that stays open.

A connection of its own for each statement costs as much as what most of them do.
"""

from __future__ import annotations

import asyncio
import secrets
import threading
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import Future
from contextlib import asynccontextmanager, contextmanager
from typing import Any

import asyncpg

from tests.services import Database, database_at, in_database


class Administrator:
    """Statements for one server, carried out one after the other by a thread with an event loop of its own."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._connection: Any = None
        self._turn = asyncio.Lock()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="administrator", daemon=True)
        self._thread.start()

    def ask(self, statement: str) -> Future[None]:
        """Carries out a statement; what waits for its end."""
        return asyncio.run_coroutine_threadsafe(self._execute(statement), self._loop)

    def close(self) -> None:
        """Closes the connection and ends the thread."""
        asyncio.run_coroutine_threadsafe(self._disconnect(), self._loop).result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    async def _execute(self, statement: str) -> None:
        async with self._turn:
            if self._connection is None or self._connection.is_closed():
                self._connection = await asyncpg.connect(self._url)
            await self._connection.execute(statement)

    async def _disconnect(self) -> None:
        if self._connection is not None:
            await self._connection.close()


_administrators: dict[str, Administrator] = {}


def ask(url: str, statement: str) -> Future[None]:
    """Carries out a statement as the superuser of the server at ``url``, beside whatever loop runs here."""
    if url not in _administrators:
        _administrators[url] = Administrator(url)
    return _administrators[url].ask(statement)


def leave(url: str) -> None:
    """Closes what ``ask`` has opened."""
    if url in _administrators:
        _administrators.pop(url).close()


@contextmanager
def kept(postgres: str, template: str, what: str) -> Iterator[Database]:
    """A copy of a database to be filled once and copied in its turn; ``what`` becomes a part of its name."""
    name = f"hub_{what}_{secrets.token_hex(6)}"
    ask(postgres, copying(name, template)).result()
    yield database_at(in_database(postgres, name))
    ask(postgres, dropping(name)).result()


@asynccontextmanager
async def copy_of(postgres: str, template: str) -> AsyncIterator[Database]:
    """A database of a test's own that starts as a copy of another."""
    name = f"hub_test_{secrets.token_hex(6)}"
    await asyncio.wrap_future(ask(postgres, copying(name, template)))
    yield database_at(in_database(postgres, name))
    await asyncio.wrap_future(ask(postgres, dropping(name)))


def copying(name: str, template: str) -> str:
    """The statement that makes a database like another one, file by file: half the work of PostgreSQL's usual way."""
    return f"CREATE DATABASE {name} TEMPLATE {template} STRATEGY FILE_COPY"


def dropping(name: str) -> str:
    """The statement that removes a database, whoever is connected to it."""
    return f"DROP DATABASE {name} WITH (FORCE)"
