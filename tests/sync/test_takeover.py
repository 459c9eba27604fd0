"""Workers that are killed or stopped while they sync: another one takes their run over when the lease ends."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal

import asyncpg
import pytest

from hub.errors import Code, HubError
from hub.store import database, districts, runs
from hub.store.database import IDLE_SECONDS
from hub.sync.engine import HEARTBEAT_SECONDS, work_once
from hub.worker.lanes import LOOK_SECONDS
from tests import worker_process
from tests.districts import District
from tests.services import Database
from tests.snapshots import snapshot
from tests.sync.conftest import Loaded, change

LEASE = 3


def test_a_dead_workers_run_is_taken_over_within_a_minute() -> None:
    """The lease, the look of a worker that nobody rings, and the locks that a hanging one's transaction may hold."""
    assert HEARTBEAT_SECONDS < runs.LEASE_SECONDS / 3
    assert max(runs.LEASE_SECONDS, IDLE_SECONDS) + 2 * LOOK_SECONDS + runs.LOCK_SECONDS < 60


async def under_way(district: District, process: worker_process.Worker) -> None:
    """Waits until the worker has a run."""
    async with asyncio.timeout(60):
        while True:
            async with district.db.district(district.district_id) as tx:
                if await tx.fetchval("SELECT count(*) FROM runs WHERE state = 'running' AND stage <> ''"):
                    return
            assert process.poll() is None
            await asyncio.sleep(0.01)


@pytest.mark.threat("F1", "F13")
@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGSTOP])
async def test_another_worker_carries_the_run_out_when_the_lease_has_ended(
    second: District, copied: Database, loaded: Loaded, how: signal.Signals
) -> None:
    run_id = await second.request(change())
    one = worker_process.start(copied.worker, lease_seconds=LEASE)
    try:
        await under_way(second, one)
        os.kill(one.pid, how)
        assert (await second.run(run_id)).state == "running"
        other = worker_process.start(copied.worker, lease_seconds=LEASE, until_idle_seconds=4 * LEASE)
        async with asyncio.timeout(60):
            while (await second.run(run_id)).state != "applied":
                await asyncio.sleep(0.1)
        assert (await second.run(run_id)).attempt == 2
        with contextlib.suppress(ProcessLookupError):  # a stopped one wakes up, finds its lease gone, writes nothing
            os.kill(one.pid, signal.SIGCONT)
        await worker_process.ended(other)
        await worker_process.ended(one)
        assert not await work_once(second.db, second.clock)
    finally:
        if one.poll() is None:
            one.kill()
    assert await snapshot(second) == loaded.after


@pytest.mark.threat("F13")
async def test_a_worker_that_is_stopped_inside_of_a_statement_keeps_its_district_from_nobody_for_long(
    second: District, copied: Database, loaded: Loaded, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its statement is prepared and waits for its values: to PostgreSQL it is at work."""
    monkeypatch.setattr(database, "IDLE_SECONDS", 1.5)
    monkeypatch.setattr(runs, "LOCK_SECONDS", 1)
    stopped = await asyncpg.connect(copied.worker)
    try:
        await stopped.execute(f"BEGIN; SET LOCAL hub.district = '{second.district_id}'")
        await stopped.execute("UPDATE hub.districts SET fence = fence")
        run_id = await second.request(change())
        await stopped.prepare("SELECT $1::int")
        async with asyncio.timeout(30):
            while (await second.run(run_id)).state != "applied":
                await work_once(second.db, second.clock)
                await asyncio.sleep(0.1)
    finally:
        with contextlib.suppress(asyncpg.PostgresError, OSError, asyncpg.InterfaceError):
            await stopped.close(timeout=2)
    assert await snapshot(second) == loaded.after


@pytest.mark.threat("F13")
async def test_a_transaction_that_hangs_keeps_its_district_from_nobody_for_long(
    second: District, copied: Database, loaded: Loaded, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A worker that was stopped with the district's lock in its hands: whenever that is, another one gets on."""
    monkeypatch.setattr(database, "IDLE_SECONDS", 1.5)
    run_id = await second.request(change())
    held, woken = asyncio.Event(), asyncio.Event()

    async def hang() -> None:
        worker = await database.Database.open(copied.worker, name="test hanging worker")
        try:
            async with worker.district(second.district_id) as tx:
                await districts.lock(tx)
                held.set()
                await woken.wait()
                await districts.lock(tx)
        finally:
            await worker.close()

    hanging = asyncio.create_task(hang())
    await held.wait()
    async with asyncio.timeout(20):
        while (await second.run(run_id)).state != "applied":
            await work_once(second.db, second.clock)
            await asyncio.sleep(0.1)
    woken.set()
    with pytest.raises(HubError) as lost:
        await hanging
    assert lost.value.code is Code.UNAVAILABLE
    assert await snapshot(second) == loaded.after
