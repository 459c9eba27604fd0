from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator

import pytest

from tests.api.oneroster_v1p1.school import Old, School, prepare, serving
from tests.databases import copy_of, kept


@pytest.fixture(scope="session")
def schooled(postgres: str, template: str) -> Iterator[tuple[str, School]]:
    """The name of a database with the synced district that is only ever copied, and what is in it."""
    with kept(postgres, template, "schooled") as database:
        yield database.name, asyncio.run(prepare(database.worker))


@pytest.fixture
async def old(postgres: str, schooled: tuple[str, School], free_port: int) -> AsyncIterator[Old]:
    """A server over a copy of the district, as an app of 1.1 sees it, at the address that it is signed for."""
    where = {"port": free_port, "base_url": f"http://127.0.0.1:{free_port}"}
    async with copy_of(postgres, schooled[0]) as database, serving(database, schooled[1], **where) as found:
        yield found
