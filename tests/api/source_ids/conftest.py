"""A district of two sources, which three apps know by different ids."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator

import pytest
import pytest_asyncio

from tests.api.source_ids.world import Sourced, TwoSources, opened, prepare
from tests.databases import copy_of, kept
from tests.services import Database


@pytest.fixture(scope="session")
def two_sources(postgres: str, template: str) -> Iterator[tuple[str, TwoSources]]:
    """The name of a database with the synced district that is only ever copied, and what is in it."""
    with kept(postgres, template, "two_sources") as database:
        yield database.name, asyncio.run(prepare(database.worker))


@pytest.fixture
async def places(postgres: str, two_sources: tuple[str, TwoSources]) -> AsyncIterator[Database]:
    async with copy_of(postgres, two_sources[0]) as database:
        yield database


@pytest.fixture
async def world(places: Database, two_sources: tuple[str, TwoSources]) -> AsyncIterator[Sourced]:
    """A server over a copy of the district."""
    async with opened(places, two_sources[1]) as found:
        yield found


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def read_world(postgres: str, two_sources: tuple[str, TwoSources]) -> AsyncIterator[Sourced]:
    """One server for all tests of a file in which nothing is written; they run in the loop of the file."""
    async with copy_of(postgres, two_sources[0]) as database, opened(database, two_sources[1]) as found:
        yield found
