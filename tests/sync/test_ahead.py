"""A first load inserts before it applies: what may go wrong there is found, and nothing of it stays."""

from __future__ import annotations

import asyncio
from uuid import uuid4

import asyncpg
import pytest

from hub.store import runs
from hub.sync.ahead import Ahead
from hub.sync.engine import work_once
from tests.districts import District
from tests.services import Database
from tests.snapshots import leftovers, snapshot
from tests.sync.conftest import first


async def as_owner(database: Database, statement: str, *values: object) -> None:
    connection = await asyncpg.connect(database.owner, server_settings={"search_path": "hub"})
    try:
        await connection.execute(statement, *values)
    finally:
        await connection.close()


@pytest.mark.threat("F2")
async def test_rows_that_are_not_in_staging_any_more_are_missed(district: District, database: Database) -> None:
    before = await snapshot(district)
    run_id = await district.request(first())
    await as_owner(
        database,
        "CREATE FUNCTION lose() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS "
        "$$BEGIN DELETE FROM hub.staging_users WHERE rid = 7; RETURN NULL; END$$; "
        "CREATE TRIGGER lose AFTER INSERT ON staging_users FOR EACH STATEMENT EXECUTE FUNCTION lose()",
    )
    assert await work_once(district.db, district.clock)
    run = await district.run(run_id)
    assert (run.state, run.error_code) == ("queued", "unavailable")
    assert await snapshot(district) == before
    assert await leftovers(district) == {"upload_parts": 1}


@pytest.mark.threat("F13")
async def test_a_worker_that_finds_anothers_records_steps_back(district: District, database: Database) -> None:
    run_id = await district.request(first())
    await as_owner(
        database,
        "INSERT INTO orgs (district_id, rid, sourced_id, active, date_last_modified, doc, doc_private) "
        "VALUES ($1, 1, $2, true, now(), '', '')",
        district.district_id, uuid4(),
    )  # fmt: skip
    assert await work_once(district.db, district.clock)
    run = await district.run(run_id)
    assert (run.state, run.error_code) == ("queued", "fenced")
    assert await district.counts() == {"orgs": (1, 0)}


async def test_a_dry_first_load_tells_all_and_leaves_nothing(district: District) -> None:
    before = await snapshot(district)
    shown = await district.sync(first(), dry_run=True)
    assert shown.state == "previewed"
    assert await snapshot(district) == before
    applied = await district.sync(first())
    assert applied.state == "applied"
    assert applied.counts == shown.counts


@pytest.mark.threat("F13")
async def test_a_long_transform_does_not_cost_the_transaction(district: District) -> None:
    await district.request(first())
    claim = await runs.claim(district.db)
    assert claim is not None
    async with district.db.district(district.district_id) as tx:
        await tx.execute("SET LOCAL idle_in_transaction_session_timeout = '400ms'")
        async with Ahead(tx, claim, district.source_id, district.clock.now(), sign_seconds=0.1) as ahead:
            await asyncio.sleep(1)
            await ahead.settle()
        assert await tx.fetchval("SELECT 1") == 1
