from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator, Iterator

import asyncpg
import pytest

from tests.api.oneroster_v1p1.school import Old, School, prepare, serving
from tests.services import copying, database_at, in_database


async def _execute(url: str, statement: str) -> None:
    connection = await asyncpg.connect(url)
    try:
        await connection.execute(statement)
    finally:
        await connection.close()


@pytest.fixture(scope="session")
def schooled(postgres: str, template: str) -> Iterator[tuple[str, School]]:
    """The name of a database with the synced district that is only ever copied, and what is in it."""
    name = f"hub_schooled_{secrets.token_hex(6)}"
    asyncio.run(_execute(postgres, copying(name, template)))
    prepared = asyncio.run(prepare(database_at(in_database(postgres, name)).worker))
    yield name, prepared
    asyncio.run(_execute(postgres, f"DROP DATABASE {name} WITH (FORCE)"))


@pytest.fixture
async def old(postgres: str, schooled: tuple[str, School], free_port: int) -> AsyncIterator[Old]:
    """A server over a copy of the district, as an app of 1.1 sees it, at the address that it is signed for."""
    name = f"hub_test_{secrets.token_hex(6)}"
    await _execute(postgres, copying(name, schooled[0]))
    where = {"port": free_port, "base_url": f"http://127.0.0.1:{free_port}"}
    async with serving(database_at(in_database(postgres, name)), schooled[1], **where) as found:
        yield found
    await _execute(postgres, f"DROP DATABASE {name} WITH (FORCE)")
