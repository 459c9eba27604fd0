"""Connections go from one use to the next without asyncpg's pool, and back to it where they have to."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from uuid import uuid4

import asyncpg
import pytest

from hub.errors import Code, HubError
from hub.store import connection, connections
from hub.store.database import ITS_DISTRICT
from hub.store.database import Database as Pool
from tests.services import Database

PID = f"SELECT pg_backend_pid() FROM {ITS_DISTRICT}"
DISTRICT = uuid4()


class Releases:
    """How often the pool got a connection back."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.count = 0
        release = asyncpg.Pool.release

        async def counted(pool: asyncpg.Pool, connection: object, **options: float) -> None:
            self.count += 1
            await release(pool, connection, **options)

        monkeypatch.setattr(asyncpg.Pool, "release", counted)


@pytest.fixture
async def pool_of_one(database: Database) -> AsyncIterator[Pool]:
    pool = await Pool.open(database.service, name="test", largest=1)
    yield pool
    await pool.close()


@pytest.fixture
def releases(monkeypatch: pytest.MonkeyPatch) -> Releases:
    return Releases(monkeypatch)


async def pid(pool: Pool, *, wait_seconds: float = 2) -> int:
    async with pool.reading(DISTRICT, wait_seconds=wait_seconds) as tx:
        ((found,),) = await tx.alone(PID)
    assert isinstance(found, int)
    return found


async def other(database: Database, query: str, *values: object) -> object:
    """What somebody else asks of the same database."""
    connection = await asyncpg.connect(database.owner)
    try:
        return await connection.fetchval(query, *values)
    finally:
        await connection.close()


async def test_a_connection_on_which_nothing_is_left_does_not_go_through_the_pool(
    pool_of_one: Pool, releases: Releases
) -> None:
    first = await pid(pool_of_one)
    async with pool_of_one.district(DISTRICT) as tx:
        assert pool_of_one.usage() == (1, 0, 1)
        assert await tx.fetchval("SELECT pg_backend_pid()") == first
    assert await pid(pool_of_one) == first
    assert pool_of_one.usage() == (0, 1, 1)
    assert releases.count == 0


@pytest.mark.threat("T3", "T4")
async def test_after_a_failure_it_goes_through_the_pool_and_is_reset(pool_of_one: Pool, releases: Releases) -> None:
    await pid(pool_of_one)  # nothing was left of this use: that says nothing of the next

    async def fail() -> None:
        async with pool_of_one.statement() as tx:
            await tx.execute("SET application_name = 'changed'")
            await tx.fetchval("SELECT pg_advisory_lock(1)")
            raise ValueError("on purpose")

    with pytest.raises(ValueError, match="on purpose"):
        await fail()
    assert releases.count == 1
    async with pool_of_one.statement() as tx:
        assert await tx.fetchval("SHOW application_name") == "test"
    async with pool_of_one.statement() as tx:
        held = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND pid = pg_backend_pid()"
        assert await tx.fetchval(held) == 0


@pytest.mark.threat("T4", "F23")
async def test_a_use_that_was_cancelled_leaves_nothing_to_the_next(pool_of_one: Pool, releases: Releases) -> None:
    async def slowly(started: asyncio.Event) -> None:
        async with pool_of_one.reading(DISTRICT) as tx:
            started.set()
            await tx.alone(f"SELECT pg_sleep(60) FROM {ITS_DISTRICT}")

    for number in range(1, 6):
        started = asyncio.Event()
        task = asyncio.create_task(slowly(started))
        await started.wait()
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert releases.count == number
        assert await pid(pool_of_one, wait_seconds=10) > 0


async def test_who_waits_at_the_pool_gets_the_connection_that_gets_free(pool_of_one: Pool, releases: Releases) -> None:
    entered, leave = asyncio.Event(), asyncio.Event()

    async def hold() -> None:
        async with pool_of_one.reading(DISTRICT):
            entered.set()
            await leave.wait()

    await pid(pool_of_one)
    holding = asyncio.create_task(hold())
    await entered.wait()
    waiting = [asyncio.create_task(pid(pool_of_one, wait_seconds=60)) for _ in range(5)]
    await asyncio.sleep(0)
    with pytest.raises(HubError) as busy:
        await pid(pool_of_one, wait_seconds=0.01)
    assert busy.value.code is Code.UNAVAILABLE
    waiting[0].cancel()  # who went away is not waited for
    leave.set()
    await holding
    assert len(set(await asyncio.gather(*waiting[1:]))) == 1
    before = releases.count
    assert before > 0
    await pid(pool_of_one)
    assert releases.count == before  # nobody waits any more


async def test_one_that_is_lost_between_two_uses_is_replaced(database: Database, pool_of_one: Pool) -> None:
    first = await pid(pool_of_one)
    await other(database, "SELECT pg_terminate_backend($1, 10000)", first)
    with suppress(HubError):  # where it is lost in this very moment, as from the pool
        await pid(pool_of_one)
    assert await pid(pool_of_one) not in {0, first}
    assert pool_of_one.usage() == (0, 1, 1)


async def test_one_that_is_lost_in_use_is_replaced(database: Database, pool_of_one: Pool) -> None:
    first = await pid(pool_of_one)

    async def lose() -> None:
        async with pool_of_one.reading(DISTRICT) as tx:
            await other(database, "SELECT pg_terminate_backend($1, 10000)", first)
            await tx.alone(PID)

    with pytest.raises(HubError) as lost:
        await lose()
    assert lost.value.code is Code.UNAVAILABLE
    async with pool_of_one.reading(DISTRICT) as tx:
        ((second,),) = await tx.alone(PID)
        await other(database, "SELECT pg_terminate_backend($1, 10000)", second)
    assert await pid(pool_of_one) not in {first, second}  # it was lost behind the last statement


async def test_the_pool_sees_a_connection_each_so_many_uses(
    pool_of_one: Pool, releases: Releases, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection, "_MOST_USES", 3)
    for _ in range(9):
        await pid(pool_of_one)
    assert releases.count == 3


async def test_those_that_nobody_needs_go_back_to_the_pool(
    database: Database, releases: Releases, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connections, "_LOOK_SECONDS", 0.05)
    pool = await Pool.open(database.service, name="test", largest=3)

    both = asyncio.Barrier(2)

    async def use() -> int:
        async with pool.reading(DISTRICT) as tx:
            await both.wait()
            return int((await tx.alone(PID))[0][0])

    assert len(set(await asyncio.gather(use(), use()))) == 2
    async with asyncio.timeout(60):
        while releases.count < 2 or pool.usage()[0]:
            await asyncio.sleep(0.01)
    assert pool.usage() == (0, 2, 3)
    await pool.close()


async def test_closing_closes_those_that_are_kept(database: Database) -> None:
    pool = await Pool.open(database.service, name="to be closed", largest=3)
    await pid(pool)
    await asyncio.wait_for(pool.close(), 5)
    async with asyncio.timeout(10):
        while await other(database, "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'to be closed'"):
            await asyncio.sleep(0.01)
    with pytest.raises(HubError) as refused:
        await pid(pool)
    assert refused.value.code is Code.UNAVAILABLE


async def test_one_that_is_given_back_while_the_pool_closes_is_closed(database: Database) -> None:
    pool = await Pool.open(database.service, name="to be closed", largest=1)
    async with pool.reading(DISTRICT) as tx:
        closing = asyncio.create_task(pool.close())
        await asyncio.sleep(0)
        await tx.alone(PID)
    await asyncio.wait_for(closing, 5)
    assert pool.usage()[:2] == (0, 0)


async def test_a_commit_that_waits_for_no_disk_says_so_for_itself_alone(database: Database) -> None:
    shown = "SELECT current_setting('synchronous_commit') || ' ' || current_setting('plan_cache_mode')"
    also = "&" if "?" in database.service else "?"
    pool = await Pool.open(f"{database.service}{also}synchronous_commit=on", name="test", largest=1)
    try:
        async with pool.district(DISTRICT, plan_once=True, flushed=False) as tx:
            begun = await tx.fetchval(shown)
            await tx.stay()
            stayed = await tx.fetchval(shown)
        async with pool.district(DISTRICT) as tx:
            other = await tx.fetchval(shown)
    finally:
        await pool.close()

    assert (begun, stayed, other) == ("off force_generic_plan", "on auto", "on auto")
