"""``hub worker`` keeps its processes: who is killed is followed by another; none outlives the one that keeps them."""

from __future__ import annotations

import asyncio
import signal
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path

import psutil
import pytest

from hub.store.database import Database as Store
from tests.districts import District, sandbox
from tests.services import Database
from tests.worker_process import hub_worker

SECONDS = 60.0


@pytest.fixture
async def db(database: Database) -> AsyncIterator[Store]:
    opened = await Store.open(database.worker, name="test", largest=4)
    yield opened
    await opened.close()


async def at_work(worker: subprocess.Popen[bytes], number: int, *, but: frozenset[int] = frozenset()) -> frozenset[int]:
    """The worker's processes, once there are so many of them that are none of ``but``."""
    async with asyncio.timeout(SECONDS):
        while True:
            found = frozenset(child.pid for child in psutil.Process(worker.pid).children()) - but
            if len(found) == number:
                return found
            await asyncio.sleep(0.05)


async def gone(pids: frozenset[int]) -> None:
    async with asyncio.timeout(SECONDS):
        while any(psutil.pid_exists(pid) for pid in pids):
            await asyncio.sleep(0.05)


@pytest.mark.threat("F1")
async def test_all_that_are_killed_are_followed_by_others_which_do_the_work(
    database: Database, db: Store, tmp_path: Path
) -> None:
    district = await District(db).create()
    with hub_worker(database, tmp_path, HUB_WORKER_PROCESSES="2") as worker:
        first = await at_work(worker, 2)
        assert psutil.Process(worker.pid).num_threads() == 1  # a fork takes no other along
        for pid in first:
            psutil.Process(pid).send_signal(signal.SIGKILL)
        second = await at_work(worker, 2, but=first)
        run_id = await district.request(sandbox(students=100).frames)
        async with asyncio.timeout(SECONDS):
            while (await district.run(run_id)).state != "applied":
                await asyncio.sleep(0.1)
        worker.send_signal(signal.SIGTERM)
        assert await asyncio.to_thread(worker.wait, SECONDS) == 0
    await gone(second)


@pytest.mark.threat("F1")
async def test_they_end_when_the_one_that_keeps_them_is_killed(database: Database, db: Store, tmp_path: Path) -> None:  # noqa: ARG001 - its schema is there
    with hub_worker(database, tmp_path, HUB_WORKER_PROCESSES="2") as worker:
        found = await at_work(worker, 2)
        worker.kill()
        await asyncio.to_thread(worker.wait, SECONDS)
        await gone(found)


async def test_a_worker_that_cannot_start_says_so_once_and_ends(
    database: Database, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    with hub_worker(database, tmp_path, HUB_WORKER_DATABASE_URL=database.owner) as worker:
        assert await asyncio.to_thread(worker.wait, SECONDS) == 2
    assert capfd.readouterr().err.count("role_too_strong: ") == 1
