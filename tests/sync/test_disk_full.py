"""Disks without room: what does not fit is refused with a code, nothing of it stays, and room alone brings it."""

from __future__ import annotations

import asyncio
import secrets
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from uuid import UUID

import asyncpg
import pytest

from hub.embedded import EmbeddedPostgres
from hub.errors import Code, HubError, Intent
from hub.settings import role_passwords
from hub.store import runs
from hub.store.database import Database as Pool
from hub.store.migrate import migrate
from hub.store.runs import Run
from hub.sync.engine import work_once
from tests.conftest import UNSAFE
from tests.districts import District, sandbox, without
from tests.fakes.proxy import Proxy, over_tcp, proxy
from tests.full_disk import Volume, cannot_grow, sizes, small_volume
from tests.services import MASTER_KEY, Database, database_at
from tests.snapshots import leftovers, snapshot
from tests.sync.conftest import Loaded, change
from tests.sync.test_store_faults import finished, time_passes, until

FRAMES = sandbox(students=100, seed=11).frames
FEW = without(FRAMES, "enrollments", FRAMES["enrollments"]["sourcedId"].to_list()[50:])
SMALL = UNSAFE | {"shared_buffers": "16MB", "min_wal_size": "32MB", "max_wal_size": "64MB", "max_connections": "20"}


@pytest.fixture
def volume(services_folder: Path, mebibytes: int) -> Iterator[Volume]:
    with small_volume(services_folder / f"volume-{secrets.token_hex(4)}", mebibytes) as made:
        yield made


def refused(run: Run, state: str) -> None:
    assert (run.state, run.error_code) == (state, Code.STORAGE_FULL), run.error_message
    assert "disk" in (run.error_message or "")


async def tried_again(district: District, run_id: UUID) -> Run:
    await time_passes(district)
    assert await work_once(district.db, district.clock)
    return await district.run(run_id)


@pytest.mark.threat("F16")
@pytest.mark.parametrize("table", ["staging_users", "run_changes"])  # before the apply, and at its end
async def test_a_table_that_cannot_grow_stops_the_run_and_no_other(
    second: District, copied: Database, loaded: Loaded, table: str
) -> None:
    run_id = await second.request(change())
    other = await District(second.db).create()
    async with cannot_grow(copied.owner, table):
        assert await work_once(second.db, second.clock)
        refused(await second.run(run_id), "queued")
        assert await snapshot(second) == loaded.before
        async with second.db.district(second.district_id) as tx:
            waits = await tx.fetchval("SELECT lease_until - now() FROM runs WHERE run_id = $1", run_id)
            await tx.execute("UPDATE runs SET attempt = $1", runs.MAX_ATTEMPTS - 1)
        assert 25 < waits.total_seconds() <= 60  # somebody has to make room first
        refused(await tried_again(second, run_id), "failed")
        await other.request({"orgs": FRAMES["orgs"]})
        assert await work_once(second.db, second.clock)  # not the districts' others
    fresh = await Pool.open(copied.worker, name="test worker", largest=4)  # sessions have the full file open still
    second = District(fresh, district_id=second.district_id, source_id=second.source_id)
    assert await leftovers(second) == {"upload_parts": 1}
    assert await snapshot(second) == loaded.before
    async with second.db.district(second.district_id) as tx:
        upload_id = (await runs.get(tx, run_id)).upload_id
        again = await runs.request(
            tx, UUID(int=1), source_id=second.source_id, upload_id=upload_id, dry_run=False, requested_by="test"
        )  # the package is there still
    await finished(second)
    assert (await second.run(again.run_id)).state == "applied"
    assert await snapshot(second) == loaded.after
    await fresh.close()


@asynccontextmanager
async def served(server: EmbeddedPostgres) -> AsyncIterator[tuple[Database, Proxy]]:
    """The server as a database of ours, at an address that outlives its restarts."""
    database = database_at(await asyncio.to_thread(server.url))
    await migrate(database.owner, passwords=role_passwords(MASTER_KEY))
    async with proxy(database.owner) as way:
        yield database, way


async def as_owner(database: Database, *statements: str) -> None:
    connection = await asyncpg.connect(database.owner)
    for statement in statements:
        await connection.execute(statement)
    await connection.close()


WAITING = "SELECT EXISTS (SELECT FROM pg_stat_activity WHERE wait_event = 'advisory')"


@asynccontextmanager
async def waiting_at(database: Database, table: str) -> AsyncIterator[None]:
    """Who writes to a table waits there, until the body has ended."""
    await as_owner(
        database,
        "CREATE FUNCTION wait_here() RETURNS trigger LANGUAGE plpgsql AS "
        "$$BEGIN PERFORM pg_advisory_xact_lock_shared(1); RETURN NULL; END$$; "
        f"CREATE TRIGGER wait_here BEFORE INSERT ON hub.{table} FOR EACH STATEMENT EXECUTE FUNCTION wait_here()",
    )
    connection = await asyncpg.connect(database.owner)
    await connection.execute("SELECT pg_advisory_lock(1)")
    yield
    await connection.close()


@pytest.mark.threat("F16", "F2")
@pytest.mark.parametrize("mebibytes", sizes(320))
async def test_a_volume_that_fills_up_under_postgresql_loses_nothing(volume: Volume) -> None:
    """Before staging, in the middle of an apply, and so that not even WAL can be written: then PostgreSQL ends."""
    server = EmbeddedPostgres(volume.path / "hub", settings=SMALL)
    await asyncio.to_thread(server.start)
    try:
        async with served(server) as (database, way):
            db = await Pool.open(way.url(database.worker), name="test worker", largest=4)
            district = await District(db).create()
            assert (await district.sync(FEW)).state == "applied"
            await district.grant()
            before = await snapshot(district)
            run_id = await district.request(FRAMES)
            # A segment of WAL that is new has room for all that follows.
            await as_owner(database, "CHECKPOINT", "SELECT pg_switch_wal()", "CHECKPOINT")

            volume.fill()
            assert await work_once(db, district.clock)
            refused(await district.run(run_id), "queued")
            with pytest.raises(HubError) as kept_out:
                await district.upload(FRAMES)
            assert (kept_out.value.code, kept_out.value.intent) == (Code.STORAGE_FULL, Intent.RETRY)
            assert await snapshot(district) == before

            volume.make_room()
            async with waiting_at(database, "enrollments"):
                working = asyncio.create_task(tried_again(district, run_id))
                await until(WAITING, database)
                volume.fill()
            refused(await working, "queued")
            assert await snapshot(district) == before

            with pytest.raises((asyncpg.PostgresError, ConnectionError)):
                await as_owner(database, *["SELECT pg_logical_emit_message(true, '', ''), pg_switch_wal()"] * 9)
            with pytest.raises(HubError) as away:
                await snapshot(district)
            assert (away.value.code, away.value.intent) == (Code.UNAVAILABLE, Intent.RETRY)

            volume.make_room()
            await asyncio.to_thread(server.stop, immediate=True)  # of what it could not bring up again
            await asyncio.to_thread(server.start)
            back = database_at(await asyncio.to_thread(server.url))
            way.target = over_tcp(back.owner)
            assert await snapshot(district) == before
            run = await tried_again(district, run_id)
            assert (run.state, run.counts["enrollments"]["created"]) == ("applied", FRAMES["enrollments"].height - 50)
            assert (await snapshot(district)).position == before.position + 1
            assert (await district.sync(FRAMES)).state == "unchanged"
            assert await leftovers(district) == {}
            await db.close()
    finally:
        await asyncio.to_thread(server.erase)


@pytest.mark.threat("F16")
@pytest.mark.parametrize("mebibytes", sizes(1))
async def test_a_worker_without_room_for_its_own_files_says_so(
    second: District, loaded: Loaded, volume: Volume, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_id = await second.request(change())
    monkeypatch.setattr(tempfile, "tempdir", str(volume.path))
    for kibibytes in (0, 8, 40):  # for nothing, for the package, and for some of what is in it
        volume.fill(but=kibibytes << 10)
        refused(await tried_again(second, run_id), "queued")
        volume.make_room()
    assert list(volume.path.iterdir()) == []
    assert (await tried_again(second, run_id)).state == "applied"
    assert await snapshot(second) == loaded.after
