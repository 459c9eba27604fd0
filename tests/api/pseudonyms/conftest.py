"""A district with people of several roles, a gradebook and tombstones, which three apps are granted alike."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator

import pytest
import pytest_asyncio

from tests.api.oneroster.rosters import Prepared
from tests.api.pseudonyms.world import World, opened, prepare
from tests.databases import copy_of, kept
from tests.services import Database


@pytest.fixture(scope="session")
def granted(postgres: str, template: str) -> Iterator[tuple[str, Prepared]]:
    """The name of a database with the synced district that is only ever copied, and what is in it."""
    with kept(postgres, template, "granted") as database:
        yield database.name, asyncio.run(prepare(database.worker))


@pytest.fixture
async def places(postgres: str, granted: tuple[str, Prepared]) -> AsyncIterator[Database]:
    async with copy_of(postgres, granted[0]) as database:
        yield database


@pytest.fixture
async def world(places: Database, granted: tuple[str, Prepared]) -> AsyncIterator[World]:
    """A server over a copy of the district."""
    async with opened(places, granted[1]) as found:
        yield found


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def read_world(postgres: str, granted: tuple[str, Prepared]) -> AsyncIterator[World]:
    """One server for all tests of a file in which nothing is written; they run in the loop of the file."""
    async with copy_of(postgres, granted[0]) as database, opened(database, granted[1]) as found:
        yield found
