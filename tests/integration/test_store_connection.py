"""What a connection of the pool asks PostgreSQL beside what it is asked."""

from __future__ import annotations

from uuid import uuid4

from hub.store.database import Database as Pool
from tests.services import Database

# In two parts, so that it does not find itself.
_ASKED_OF_TYPES = "SELECT count(*) FROM pg_prepared_statements WHERE statement LIKE '%pg_catalog.pg_' || 'type AS%'"


async def test_a_new_connection_does_not_ask_again_what_arrays_are_made_of(database: Database) -> None:
    """An array goes there and back on each, but only the first of a process may ask for its type."""
    ids = [uuid4(), uuid4()]
    for first in (True, False):
        pool = await Pool.open(database.service, name="test", largest=1)
        async with pool.shared() as tx:
            assert await tx.fetchval("SELECT $1::int[]", [1, None, -3]) == [1, None, -3]
            assert await tx.fetchval("SELECT $1::bigint[]", [2**40]) == [2**40]
            assert ids == await tx.fetchval("SELECT $1::uuid[]", ids)
            asked = await tx.fetchval(_ASKED_OF_TYPES)
        await pool.close()
        assert first or asked == 0


async def test_types_of_a_database_are_asked_of_it(database: Database) -> None:
    """An enum's number is another one in each database."""
    pool = await Pool.open(database.service, name="test", largest=1)
    async with pool.shared() as tx:
        assert await tx.fetchval("SELECT ARRAY['users', 'orgs']::entity_name[]") == ["users", "orgs"]
        assert await tx.fetchval(_ASKED_OF_TYPES) == 1
    await pool.close()
