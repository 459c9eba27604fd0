"""Two synced districts with apps, made once a session, of which each test gets a copy."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator

import pytest

from tests.api.oneroster.rosters import Prepared, prepare
from tests.databases import copy_of, kept
from tests.services import Database


@pytest.fixture(scope="session")
def rostered(postgres: str, template: str) -> Iterator[tuple[str, Prepared]]:
    """The name of a database with synced districts that is only ever copied, and what is in it."""
    with kept(postgres, template, "rostered") as database:
        yield database.name, asyncio.run(prepare(database.worker))


@pytest.fixture
async def roster_database(postgres: str, rostered: tuple[str, Prepared]) -> AsyncIterator[Database]:
    async with copy_of(postgres, rostered[0]) as database:
        yield database
