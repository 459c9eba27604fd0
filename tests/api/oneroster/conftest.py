"""Fixtures: the districts are synced once a session into a database that each test gets a copy of."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator, Iterator

import pytest

from tests.api.oneroster.gradebooks import Book, Shelf, open_book
from tests.api.oneroster.gradebooks import prepare as shelve
from tests.api.oneroster.rosters import Hub, Prepared, copied, execute, prepare, running
from tests.services import Database, copying, database_at, in_database


@pytest.fixture(scope="session")
def rostered(postgres: str, template: str) -> Iterator[tuple[str, Prepared]]:
    """The name of a database with synced districts that is only ever copied, and what is in it."""
    name = f"hub_rostered_{secrets.token_hex(6)}"
    asyncio.run(execute(postgres, copying(name, template)))
    prepared = asyncio.run(prepare(database_at(in_database(postgres, name)).worker))
    yield name, prepared
    asyncio.run(execute(postgres, f"DROP DATABASE {name} WITH (FORCE)"))


@pytest.fixture
async def roster_database(postgres: str, rostered: tuple[str, Prepared]) -> AsyncIterator[Database]:
    async with copied(postgres, rostered[0]) as database:
        yield database


@pytest.fixture
async def hub(roster_database: Database, rostered: tuple[str, Prepared]) -> AsyncIterator[Hub]:
    """A server over a copy of the districts."""
    async with running(roster_database, rostered[1]) as hub:
        yield hub


@pytest.fixture(scope="session")
def shelved(postgres: str, template: str) -> Iterator[tuple[str, Shelf]]:
    """The name of a database with a district's gradebook that is only ever copied, and what is in it."""
    name = f"hub_shelved_{secrets.token_hex(6)}"
    asyncio.run(execute(postgres, copying(name, template)))
    shelf = asyncio.run(shelve(database_at(in_database(postgres, name)).worker))
    yield name, shelf
    asyncio.run(execute(postgres, f"DROP DATABASE {name} WITH (FORCE)"))


@pytest.fixture
async def book_database(postgres: str, shelved: tuple[str, Shelf]) -> AsyncIterator[Database]:
    async with copied(postgres, shelved[0]) as database:
        yield database


@pytest.fixture
async def book(book_database: Database, shelved: tuple[str, Shelf]) -> AsyncIterator[Book]:
    """A server over a copy of the district with a gradebook."""
    async with open_book(book_database, shelved[1]) as book:
        yield book
