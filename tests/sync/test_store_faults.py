"""PostgreSQL that crashes, connections that are cut, workers that hang or race: the district stays whole."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from uuid import UUID

import asyncpg
import pytest

from hub.embedded import EmbeddedPostgres
from hub.errors import Code, HubError, Intent
from hub.scope.grants import GrantDefinition
from hub.settings import role_passwords
from hub.store import districts, runs
from hub.store.database import Database as Pool
from hub.store.migrate import migrate
from hub.sync import grants
from hub.sync.engine import work_once
from tests import worker_process
from tests.districts import District, changed
from tests.fakes.proxy import Cut, over_tcp, proxy
from tests.services import MASTER_KEY, Database, database_at
from tests.snapshots import leftovers, snapshot
from tests.sync.conftest import STUDENTS, Loaded, change, first

SAFE = {"fsync": "on", "synchronous_commit": "on", "full_page_writes": "on"}


async def as_owner(database: Database, statement: str) -> None:
    connection = await asyncpg.connect(database.owner, server_settings={"search_path": "hub"})
    try:
        await connection.execute(statement)
    finally:
        await connection.close()


async def until(condition: str, database: Database) -> None:
    """Waits until a query of the owner's says true."""
    connection = await asyncpg.connect(database.owner, server_settings={"search_path": "hub"})
    try:
        async with asyncio.timeout(30):
            while not await connection.fetchval(condition):
                await asyncio.sleep(0.01)
    finally:
        await connection.close()


@asynccontextmanager
async def held_up(database: Database, table: str = "changes", *, seconds: int = 60) -> AsyncIterator[None]:
    await hold_up(database, table, seconds)
    yield
    await let_go(database, table)


async def hold_up(database: Database, table: str = "changes", seconds: int = 60) -> None:
    """Writers of a table sleep inside their transaction: in the apply, after the records and before the views.

    On a staging table only worker processes do.
    """
    whom = "current_setting('application_name') = 'test worker process'" if table.startswith("staging") else "true"
    await as_owner(
        database,
        "CREATE FUNCTION hold_up() RETURNS trigger LANGUAGE plpgsql AS "
        f"$$BEGIN IF {whom} THEN PERFORM pg_sleep({seconds}); END IF; RETURN NULL; END$$; "
        f"CREATE TRIGGER hold_up BEFORE INSERT ON {table} FOR EACH STATEMENT EXECUTE FUNCTION hold_up()",
    )


async def let_go(database: Database, table: str = "changes") -> None:
    await as_owner(database, f"DROP TRIGGER hold_up ON {table}; DROP FUNCTION hold_up()")


ASLEEP = "SELECT EXISTS (SELECT FROM pg_stat_activity WHERE datname = current_database() AND wait_event = 'PgSleep')"
RUNNING = "SELECT EXISTS (SELECT FROM runs WHERE state = 'running')"


async def time_passes(district: District) -> None:
    """As if all leases and waits had run out."""
    async with district.db.district(district.district_id) as tx:
        await tx.execute("UPDATE runs SET lease_until = now() - interval '1 second' WHERE lease_until IS NOT NULL")


async def finished(district: District) -> None:
    while await work_once(district.db, district.clock):
        pass


@pytest.mark.threat("F2")
async def test_a_postgresql_that_crashes_in_the_apply_loses_nothing(embedded_folder: Path) -> None:
    server = EmbeddedPostgres(embedded_folder, settings=SAFE)
    await asyncio.to_thread(server.start)
    try:
        database = database_at(await asyncio.to_thread(server.url))
        await migrate(database.owner, passwords=role_passwords(MASTER_KEY))
        async with proxy(database.owner) as way:
            db = await Pool.open(way.url(database.worker), name="test worker", largest=4)
            district = await District(db).create()
            await district.sync(first())
            await district.grant()
            before = await snapshot(district)
            run_id = await district.request(change())
            await hold_up(database)
            working = asyncio.create_task(work_once(db, district.clock))
            await until(ASLEEP, database)
            await asyncio.to_thread(server.stop, immediate=True)
            with pytest.raises(HubError) as away:
                await working
            with pytest.raises(HubError) as still_away:
                await snapshot(district)
            for error in (away.value, still_away.value):
                assert (error.code, error.intent) == (Code.UNAVAILABLE, Intent.RETRY)
            await asyncio.to_thread(server.start)
            database = database_at(await asyncio.to_thread(server.url))
            way.target = over_tcp(database.owner)  # it may come back at another port
            assert await snapshot(district) == before
            assert (await district.run(run_id)).state == "running"
            await let_go(database)
            await time_passes(district)
            await finished(district)
            assert (await district.run(run_id)).state == "applied"
            assert await leftovers(district) == {}
            after = await snapshot(district)
            assert after.position == before.position + 1
            assert (await district.sync(change())).state == "unchanged"
            await db.close()
    finally:
        await asyncio.to_thread(server.erase)


@pytest.mark.threat("F2")
async def test_staged_rows_that_a_crash_of_postgresql_swept_away_are_missed(
    second: District, copied: Database, loaded: Loaded
) -> None:
    run_id = await second.request(change())
    # PostgreSQL empties unlogged tables when it comes back; nobody may have talked to it in the meantime.
    await as_owner(
        copied,
        "CREATE FUNCTION crash() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS "
        "$$BEGIN TRUNCATE hub.staging_demographics; RETURN NEW; END$$; "
        "CREATE TRIGGER crash BEFORE UPDATE ON runs FOR EACH ROW WHEN (NEW.stage = 'apply') EXECUTE FUNCTION crash()",
    )
    assert await work_once(second.db, second.clock)
    run = await second.run(run_id)
    assert (run.state, run.error_code) == ("queued", "unavailable")
    assert await snapshot(second) == loaded.before
    await as_owner(copied, "DROP TRIGGER crash ON runs")
    await time_passes(second)
    await finished(second)
    assert await snapshot(second) == loaded.after


@pytest.mark.threat("F4")
@pytest.mark.parametrize("delivered", [True, False])
async def test_a_connection_that_ends_in_the_commit_applies_once(
    second: District, copied: Database, loaded: Loaded, *, delivered: bool
) -> None:
    run_id = await second.request(change())
    async with proxy(copied.worker) as way:
        db = await Pool.open(way.url(copied.worker), name="test worker", largest=4)
        way.cut = Cut(b"UPDATE sources SET digest", b"COMMIT", delivered)
        assert await work_once(db, second.clock)
        assert way.cut is None
        await db.close()
    run = await second.run(run_id)
    assert run.state == ("applied" if delivered else "queued")
    await time_passes(second)
    await finished(second)
    assert (await second.run(run_id)).state == "applied"
    assert await snapshot(second) == loaded.after
    assert await leftovers(second) == {}


@pytest.mark.threat("F26")
async def test_a_slow_network_and_reset_connections_heal(second: District, copied: Database, loaded: Loaded) -> None:
    async with proxy(copied.worker) as way:
        db = await Pool.open(way.url(copied.worker), name="test worker", largest=4)
        through = District(db, district_id=second.district_id, source_id=second.source_id)
        way.delay = 0.002
        assert (await through.sync(change())).state == "applied"
        assert await snapshot(through) == loaded.after
        way.reset()
        for _ in range(4):  # each pooled connection may be found dead once
            with contextlib.suppress(HubError):
                await snapshot(through)
        assert await snapshot(through) == loaded.after
        await db.close()


@pytest.mark.threat("F13")
async def test_a_worker_that_slept_beyond_its_lease_writes_nothing(
    second: District, copied: Database, loaded: Loaded
) -> None:
    run_id = await second.request(change())
    async with held_up(copied, "staging_users", seconds=1):
        worker = worker_process.start(copied.worker)
        try:
            await until(ASLEEP, copied)
            worker.send_signal(signal.SIGSTOP)
            assert await snapshot(second) == loaded.before
            await time_passes(second)
            await finished(second)
            assert await snapshot(second) == loaded.after
        finally:
            worker.send_signal(signal.SIGCONT)
            code = await worker_process.ended(worker)
    assert code == 0
    assert await snapshot(second) == loaded.after
    assert (await second.run(run_id)).state == "applied"
    assert await leftovers(second) == {}


@pytest.mark.threat("F13")
async def test_a_worker_that_loses_its_lease_in_the_apply_is_stopped_there(
    second: District, copied: Database, loaded: Loaded
) -> None:
    run_id = await second.request(change())
    async with held_up(copied):
        working = asyncio.create_task(work_once(second.db, second.clock, heartbeat_seconds=0.2))
        await until(ASLEEP, copied)
        other = await taken_over(second, run_id)
        await working
    assert await snapshot(second) == loaded.before
    assert (await second.run(run_id)).attempt == 2
    await runs.release(second.db, other)
    await finished(second)
    assert (await second.run(run_id)).state == "applied"
    assert await snapshot(second) == loaded.after


async def taken_over(district: District, run_id: UUID) -> runs.Claim:
    """Another worker's claim, as soon as one comes between two heartbeats of the first."""
    async with asyncio.timeout(30):
        while True:
            await time_passes(district)
            claim = await runs.claim(district.db)
            if claim is not None:
                assert claim.run.run_id == run_id
                return claim


@pytest.mark.threat("F12", "F6")
async def test_two_workers_and_an_administrator_at_one_district_take_turns(second: District, copied: Database) -> None:
    user = first()["users"]["sourcedId"][7]
    ids = [await second.request(package) for package in (change(), changed(change(), "users", user, givenName="Una"))]
    workers = [worker_process.start(copied.worker) for _ in range(2)]
    await until(RUNNING, copied)
    grant = await second.grant(STUDENTS, name="in between")
    for definition in (GrantDefinition(), STUDENTS):
        async with second.db.district(second.district_id, wait_seconds=30) as tx:
            await grants.edit(tx, grant.grant_id, definition, second.clock.now())
    assert [await worker_process.ended(worker) for worker in workers] == [0, 0]
    await finished(second)
    done = [await second.run(run_id) for run_id in ids]
    assert [run.state for run in done] == ["applied", "applied"]
    assert done[0].position is not None
    assert done[1].position is not None
    assert done[0].position < done[1].position
    shown = await snapshot(second)
    assert '"givenName":"Una"' in shown.records["users", user][1]
    for entity, (present, _, trimmed) in shown.views[1].items():  # the same definition, whenever it was granted
        assert (present, trimmed) == (shown.views[2][entity][0], shown.views[2][entity][2])


async def test_a_clients_locks_and_waits_have_bounds(second: District, copied: Database) -> None:
    async with proxy(copied.worker) as way:
        db = await Pool.open(way.url(copied.worker), name="tests over TCP")  # a socket's other end is never far away
        try:
            async with db.district(second.district_id) as tx:
                assert await tx.fetchval("SHOW idle_in_transaction_session_timeout") == "45s"
                assert await tx.fetchval("SHOW tcp_keepalives_idle") == "30"
        finally:
            await db.close()


@pytest.mark.threat("F13")
async def test_a_claim_that_finds_the_district_locked_waits_without_using_up_an_attempt(second: District) -> None:
    run_id = await second.request(change())
    async with second.db.district(second.district_id) as tx:
        await districts.lock(tx)
        assert await asyncio.create_task(runs.claim(second.db)) is None
    run = await second.run(run_id)
    assert (run.state, run.attempt) == ("queued", 0)


@pytest.mark.threat("F17")
async def test_a_pool_without_a_free_connection_says_so_and_heals(copied: Database, loaded: Loaded) -> None:
    db = await Pool.open(copied.worker, name="test worker", largest=2)
    release = asyncio.Event()

    async def hold() -> None:
        async with db.district(loaded.district_id):
            await release.wait()

    async def ask(wait_seconds: float) -> int:
        async with db.district(loaded.district_id, wait_seconds=wait_seconds) as tx:
            number: int = await tx.fetchval("SELECT 1")
            return number

    holders = [asyncio.create_task(hold()) for _ in range(2)]
    await asyncio.sleep(0)
    refused = await asyncio.gather(*(ask(0.3) for _ in range(50)), return_exceptions=True)
    assert {type(error) for error in refused} == {HubError}
    assert {(e.code, e.intent) for e in refused if isinstance(e, HubError)} == {(Code.UNAVAILABLE, Intent.RETRY)}
    release.set()
    await asyncio.gather(*holders)
    assert await asyncio.gather(*(ask(30) for _ in range(50))) == [1] * 50
    await db.close()


@pytest.mark.threat("F18")
async def test_transactions_that_lock_each_other_out_may_be_tried_again(second: District) -> None:
    both = asyncio.Barrier(2)

    async def act(*names: str) -> None:
        async with second.db.district(second.district_id) as tx:
            for name in names:
                await tx.execute("UPDATE heads SET next_rid = next_rid WHERE entity = $1", name)
                if name == names[0]:
                    await both.wait()

    ended = await asyncio.gather(act("users", "orgs"), act("orgs", "users"), return_exceptions=True)
    errors = [e for e in ended if e is not None]
    assert [(e.code, e.intent) for e in errors if isinstance(e, HubError)] == [(Code.UNAVAILABLE, Intent.RETRY)]


@pytest.mark.threat("F18")
async def test_a_run_that_loses_a_deadlock_is_tried_again(second: District, copied: Database, loaded: Loaded) -> None:
    run_id = await second.request(change())
    other = await asyncpg.connect(copied.owner, server_settings={"search_path": "hub", "deadlock_timeout": "60s"})
    async with other.transaction():
        await other.execute("UPDATE heads SET next_rid = next_rid")  # what the apply writes last
        working = asyncio.create_task(work_once(second.db, second.clock))
        await until("SELECT EXISTS (SELECT FROM pg_stat_activity WHERE wait_event = 'transactionid')", copied)
        await other.execute("UPDATE districts SET fence = fence")  # what it has locked first
    await other.close()
    assert await working
    run = await second.run(run_id)
    assert (run.state, run.error_code) == ("queued", Code.UNAVAILABLE)
    assert await snapshot(second) == loaded.before
    await time_passes(second)
    await finished(second)
    assert await snapshot(second) == loaded.after


async def test_a_transaction_that_passed_over_an_error_is_not_taken_for_committed(second: District) -> None:
    async def pass_over() -> None:
        async with second.db.district(second.district_id) as tx:
            with contextlib.suppress(asyncpg.PostgresError):
                await tx.execute("SELECT 1 / 0")

    with pytest.raises(HubError) as refused:
        await pass_over()
    assert refused.value.code is Code.INTERNAL
    async with second.db.district(second.district_id) as tx:  # nothing of it is left on the connection
        assert await tx.fetchval("SELECT 1") == 1
