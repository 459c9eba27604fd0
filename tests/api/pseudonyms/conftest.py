"""A district with people of several roles, a gradebook and tombstones, which three apps are granted alike."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator, Iterator

import pytest

from tests.api.oneroster.rosters import Prepared, copied, execute
from tests.api.pseudonyms.world import World, opened, prepare
from tests.services import Database, copying, database_at, in_database


@pytest.fixture(scope="session")
def granted(postgres: str, template: str) -> Iterator[tuple[str, Prepared]]:
    """The name of a database with the synced district that is only ever copied, and what is in it."""
    name = f"hub_granted_{secrets.token_hex(6)}"
    asyncio.run(execute(postgres, copying(name, template)))
    prepared = asyncio.run(prepare(database_at(in_database(postgres, name)).worker))
    yield name, prepared
    asyncio.run(execute(postgres, f"DROP DATABASE {name} WITH (FORCE)"))


@pytest.fixture
async def places(postgres: str, granted: tuple[str, Prepared]) -> AsyncIterator[Database]:
    async with copied(postgres, granted[0]) as database:
        yield database


@pytest.fixture
async def world(places: Database, granted: tuple[str, Prepared]) -> AsyncIterator[World]:
    """A server over a copy of the district."""
    async with opened(places, granted[1]) as found:
        yield found
