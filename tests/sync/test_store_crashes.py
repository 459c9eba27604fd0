"""Workers that are killed at every place of a sync, and at any moment: no half state, nothing lost, nothing twice."""

from __future__ import annotations

import asyncio
import os
import random
import subprocess
from pathlib import Path

import pytest

from hub.crashpoints import PLACES
from hub.sync.engine import work_once
from tests import worker_process
from tests.districts import EVERYTHING, District
from tests.services import Database
from tests.snapshots import Snapshot, leftovers, snapshot
from tests.sync.conftest import STUDENTS, Loaded, change, first

KILLED = 137
STEPS = ("fetch.", "sync.", "transform.", "diff.", "stage.", "apply.", "feed.", "notify.")
#: Those that not every package passes: a first load, a small delta, and one with new records that apps may write too.
SPECIAL = {"stage.inserted", "diff.looked_up", "stage.rids_reserved"}
CHANGE_PLACES = [place for place in PLACES if place.startswith(STEPS) and place not in SPECIAL]
FIRST_PLACES = ["stage.inserted", *(p for p in CHANGE_PLACES if p not in {"apply.history_kept", "stage.differences"})]
COMMITTED = {"apply.after_commit", "notify.announced", "notify.swept"}


async def lease_ends(district: District) -> None:
    """As if the lease of the killed worker had run out."""
    async with district.db.district(district.district_id) as tx:
        await tx.execute("UPDATE runs SET lease_until = now() - interval '1 second' WHERE lease_until IS NOT NULL")


async def finished(district: District) -> None:
    """Another worker takes over."""
    while await work_once(district.db, district.clock):
        pass


@pytest.fixture(scope="module")
def undisturbed() -> dict[str, Snapshot]:
    """What a first load ends in when nobody is killed; filled by the first test that needs it."""
    return {}


async def first_load(undisturbed: dict[str, Snapshot], other: District) -> Snapshot:
    if not undisturbed:
        await prepared(other)
        assert (await other.sync(first())).state == "applied"
        undisturbed["first"] = await snapshot(other)
    return undisturbed["first"]


async def prepared(district: District) -> None:
    await district.grant(EVERYTHING)
    await district.grant(STUDENTS)


@pytest.mark.threat("F1")
@pytest.mark.parametrize("place", FIRST_PLACES)
async def test_a_first_load_survives_a_worker_killed_at_any_place(
    district: District, database: Database, undisturbed: dict[str, Snapshot], place: str
) -> None:
    expected = await first_load(undisturbed, await District(district.db).create())
    await prepared(district)
    before = await snapshot(district)
    run_id = await district.request(first())
    assert await worker_process.ended(worker_process.start(database.worker, crash_at=place)) == KILLED

    committed = place in COMMITTED
    assert await snapshot(district) == (expected if committed else before)
    assert (await district.run(run_id)).state == ("applied" if committed else "running")
    await lease_ends(district)
    await finished(district)
    assert await snapshot(district) == expected
    assert (await district.run(run_id)).state == "applied"

    again = await district.sync(first())
    assert again.state == "unchanged"
    assert await snapshot(district) == expected


@pytest.mark.threat("F1")
@pytest.mark.parametrize("place", CHANGE_PLACES)
async def test_a_change_survives_a_worker_killed_at_any_place(
    second: District, copied: Database, loaded: Loaded, place: str
) -> None:
    run_id = await second.request(change())
    assert await worker_process.ended(worker_process.start(copied.worker, crash_at=place)) == KILLED

    committed = place in COMMITTED
    assert await snapshot(second) == (loaded.after if committed else loaded.before)
    assert (await second.run(run_id)).state == ("applied" if committed else "running")
    await lease_ends(second)
    await finished(second)
    assert await snapshot(second) == loaded.after
    assert (await second.run(run_id)).state == "applied"
    await second.sync(dict(change()) | {"orgs": change()["orgs"].reverse()})  # sweeps what the killed one left
    assert await leftovers(second) == {}
    assert await snapshot(second) == loaded.after


@pytest.mark.threat("F1")
async def test_readers_see_the_old_or_the_new_state_while_workers_die_at_random_moments(
    second: District, copied: Database, loaded: Loaded
) -> None:
    run_id = await second.request(change())
    rnd = random.Random(20)
    over = asyncio.Event()
    seen: list[bool] = []

    async def read() -> None:
        while not over.is_set():
            shown = await snapshot(second)
            assert shown in (loaded.before, loaded.after)
            seen.append(shown == loaded.after)
            await asyncio.sleep(0.02)

    reader = asyncio.create_task(read())
    for _ in range(4):
        worker = worker_process.start(copied.worker)
        try:
            await asyncio.to_thread(worker.wait, rnd.uniform(0.1, 0.9))
        except subprocess.TimeoutExpired:
            worker.kill()
            await worker_process.ended(worker)
        await lease_ends(second)
    await finished(second)
    over.set()
    await reader
    assert seen == sorted(seen)  # nobody saw the new state and then the old one
    assert (await second.run(run_id)).state == "applied"
    assert await snapshot(second) == loaded.after


@pytest.mark.threat("F6")
async def test_a_run_whose_workers_always_die_ends_where_people_see_it(second: District, loaded: Loaded) -> None:
    run_id = await second.request(change())
    async with second.db.district(second.district_id) as tx:
        await tx.execute(
            "UPDATE runs SET attempt = 5, state = 'running', lease_until = now() WHERE run_id = $1", run_id
        )
    other = await District(second.db).create()
    await other.request(first())
    await finished(second)
    run = await second.run(run_id)
    assert (run.state, run.error_code) == ("failed", "internal")
    assert await snapshot(second) == loaded.before
    assert (await second.sync(change())).state == "applied"
    assert (await snapshot(other)).size > 0


@pytest.mark.threat("F1")
async def test_the_files_of_a_killed_worker_are_removed_by_the_next(
    second: District, copied: Database, tmp_path: Path
) -> None:
    await second.request(change())
    killed = worker_process.start(copied.worker, crash_at="sync.package_open", temporary=tmp_path)
    assert await worker_process.ended(killed) == KILLED
    (left,) = await asyncio.to_thread(os.listdir, tmp_path)
    os.utime(tmp_path / left, (0, 0))
    await lease_ends(second)
    assert await worker_process.ended(worker_process.start(copied.worker, temporary=tmp_path)) == 0
    assert await asyncio.to_thread(os.listdir, tmp_path) == []
