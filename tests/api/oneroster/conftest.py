"""Fixtures: the districts are synced once a session into a database that each test gets a copy of."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator

import pytest
import pytest_asyncio

from tests.api.oneroster.gradebooks import Book, Shelf, open_book
from tests.api.oneroster.gradebooks import prepare as shelve
from tests.api.oneroster.rosters import Hub, Prepared, running
from tests.databases import copy_of, kept
from tests.services import Database


@pytest.fixture
async def hub(roster_database: Database, rostered: tuple[str, Prepared]) -> AsyncIterator[Hub]:
    """A server over a copy of the districts."""
    async with running(roster_database, rostered[1]) as hub:
        yield hub


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def read_hub(postgres: str, rostered: tuple[str, Prepared]) -> AsyncIterator[Hub]:
    """One server for all tests of a file in which nothing is written; they run in the loop of the file."""
    async with copy_of(postgres, rostered[0]) as database, running(database, rostered[1]) as hub:
        yield hub


@pytest.fixture(scope="session")
def shelved(postgres: str, template: str) -> Iterator[tuple[str, Shelf]]:
    """The name of a database with a district's gradebook that is only ever copied, and what is in it."""
    with kept(postgres, template, "shelved") as database:
        yield database.name, asyncio.run(shelve(database.worker))


@pytest.fixture
async def book_database(postgres: str, shelved: tuple[str, Shelf]) -> AsyncIterator[Database]:
    async with copy_of(postgres, shelved[0]) as database:
        yield database


@pytest.fixture
async def book(book_database: Database, shelved: tuple[str, Shelf]) -> AsyncIterator[Book]:
    """A server over a copy of the district with a gradebook."""
    async with open_book(book_database, shelved[1]) as book:
        yield book
