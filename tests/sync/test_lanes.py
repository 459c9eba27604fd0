"""Whose turn it is: districts take turns, small runs have a lane of their own, large ones their turn and their room."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest

from connectors.oneroster_csv.source import OneRosterCsvSource
from connectors.protocol import Pull
from hub.clock import SystemClock
from hub.settings import Settings
from hub.store import districts, runs, sources
from hub.store.database import Database as Pool
from hub.store.runs import Claim
from hub.sync.engine import work_once
from hub.sync.room import Room
from tests.districts import District, sandbox
from tests.services import Database
from tests.worker_process import hub_worker

SMALL = 1000


@pytest.fixture
async def db(database: Database) -> AsyncIterator[Pool]:
    pool = await Pool.open(database.worker, name="test worker", largest=6)
    yield pool
    await pool.close()


async def queued(db: Pool, rows: int, *, district: District | None = None) -> tuple[District, UUID]:
    """A run of which so many rows are expected, of a district of its own unless one is named."""
    district = district or await District(db).create()
    run_id = uuid4()
    async with db.district(district.district_id) as tx:
        await runs.request(tx, run_id, source_id=district.source_id, upload_id=None, dry_run=False, requested_by="test")
        await tx.execute("UPDATE runs SET expected_rows = $2 WHERE run_id = $1", run_id, rows)
    return district, run_id


async def over(db: Pool, claim: Claim | None) -> UUID:
    """Ends a claimed run; its district."""
    assert claim is not None
    async with db.district(claim.district_id) as tx:
        await runs.finish(tx, claim, "applied")
    return claim.district_id


async def test_a_district_with_many_runs_lets_others_go_between_them(db: Pool) -> None:
    busy, _ = await queued(db, 1)
    for _ in range(3):
        await queued(db, 1, district=busy)
    others = [(await queued(db, 1))[0].district_id for _ in range(3)]
    order = [await over(db, await runs.claim(db)) for _ in range(7)]
    assert order == [busy.district_id, *others, *[busy.district_id] * 3]


async def test_the_lane_of_small_runs_takes_no_other(db: Pool) -> None:
    room = Room(small_rows=SMALL, rows=10 * SMALL, pulls=1)
    await queued(db, SMALL + 1)
    assert await room.claim(db, small=True) is None
    small, _ = await queued(db, SMALL)
    claim = await room.claim(db, small=True)
    assert claim is not None
    assert claim.district_id == small.district_id


async def test_the_run_whose_turn_it_is_waits_for_its_room_and_nothing_passes_it(db: Pool) -> None:
    room = Room(small_rows=SMALL, rows=10 * SMALL, pulls=1)
    first, _ = await queued(db, 6 * SMALL)
    large, _ = await queued(db, 5 * SMALL)
    later, _ = await queued(db, 2 * SMALL)
    tiny, _ = await queued(db, 1)
    claims = [await room.claim(db, small=False) for _ in range(3)]
    assert claims[0] is not None
    assert [c.district_id for c in claims if c] == [first.district_id]  # the later one would fit, and waits behind
    in_its_lane = await room.claim(db, small=True)
    assert in_its_lane is not None
    assert in_its_lane.district_id == tiny.district_id
    room.leave(claims[0])
    found = [await room.claim(db, small=False) for _ in range(2)]
    assert [c.district_id for c in found if c] == [large.district_id, later.district_id]


async def test_a_run_larger_than_all_room_goes_alone(db: Pool) -> None:
    room = Room(small_rows=SMALL, rows=10 * SMALL, pulls=1)
    huge, _ = await queued(db, 1000 * SMALL)
    await queued(db, 1)
    claim = await room.claim(db, small=False)
    assert claim is not None
    assert claim.district_id == huge.district_id
    assert await room.claim(db, small=False) is None
    room.leave(claim)
    assert await room.claim(db, small=False) is not None


async def test_how_large_a_run_will_be_is_told_by_its_upload_and_then_by_the_last_package(db: Pool) -> None:
    district = await District(db).create()
    frames = sandbox(students=100).frames
    rows = sum(frame.height for name, frame in frames.items() if name != "manifest")
    first = await district.run(await district.request(frames))
    assert rows / 4 < first.expected_rows < rows * 4
    while await work_once(db, district.clock):
        pass
    counted = sum(
        sum(c[name] for name in ("created", "updated", "unchanged", "quarantined"))
        for c in (await district.run(first.run_id)).counts.values()
    )
    _, again = await queued(db, 0, district=district)
    async with db.district(district.district_id) as tx:
        await runs.cancel(tx, again, actor="test")
        made = await runs.request(
            tx, uuid4(), source_id=district.source_id, upload_id=None, dry_run=False, requested_by="t"
        )
    assert made.expected_rows == counted


@pytest.mark.parametrize(("memory", "rows"), [(300, 250_000), (2000, 4_500_000)])
def test_memory_is_counted_in_rows(memory: int, rows: int) -> None:
    assert Room.of(Settings(sync_memory_mb=memory)).rows == rows


@pytest.mark.parametrize("pulls", [1, 2])
async def test_no_more_systems_are_asked_at_a_time_than_the_settings_say(
    db: Pool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, pulls: int
) -> None:
    asked, most = 0, 0
    pull = OneRosterCsvSource.pull

    async def slow(self: OneRosterCsvSource, cursor: Any) -> Pull:
        nonlocal asked, most
        asked += 1
        most = max(most, asked)
        await asyncio.sleep(0.5)
        asked -= 1
        return await pull(self, cursor)

    monkeypatch.setattr(OneRosterCsvSource, "pull", slow)
    room = Room(small_rows=SMALL, rows=SMALL, pulls=pulls)
    for _ in range(2):
        district, _ = await queued(db, 1)
        async with db.district(district.district_id) as tx:
            await sources.change(tx, district.source_id, config={"path": str(tmp_path / "none"), "settle_seconds": 0})
    await asyncio.gather(*(work_once(db, SystemClock(), room=room) for _ in range(2)))
    assert most == pulls


LANES = {"HUB_SYNC_CONCURRENCY": "1", "HUB_SYNC_SMALL_CONCURRENCY": "1", "HUB_SYNC_SMALL_ROWS": "10000"}


async def test_two_workers_with_huge_districts_let_the_small_ones_pass(
    db: Pool, database: Database, tmp_path: Path
) -> None:
    frames = sandbox(students=100).frames
    huge = [await District(db).create() for _ in range(2)]
    stuck = [await district.request(frames) for district in huge]
    for district, run_id in zip(huge, stuck, strict=True):
        async with db.district(district.district_id) as tx:
            await tx.execute("UPDATE runs SET expected_rows = 5000000 WHERE run_id = $1", run_id)
    small = [await District(db).create() for _ in range(6)]
    waiting = [await district.request(frames) for district in small]

    async def states(of: list[District], run_ids: list[UUID]) -> set[str]:
        return {(await d.run(run_id)).state for d, run_id in zip(of, run_ids, strict=True)}

    async def until(of: list[District], run_ids: list[UUID], state: str) -> None:
        async with asyncio.timeout(90):
            while await states(of, run_ids) != {state}:
                await asyncio.sleep(0.1)

    async def hold(district: District, run_id: UUID, release: asyncio.Event) -> None:
        """Once it is under way, the huge one's apply takes as long as the test wants."""
        while not (await district.run(run_id)).attempt:  # then it has its fence
            await asyncio.sleep(0.01)
        async with db.district(district.district_id) as tx:
            await districts.lock(tx)
            await release.wait()

    release = asyncio.Event()
    holding = [asyncio.create_task(hold(d, r, release)) for d, r in zip(huge, stuck, strict=True)]
    with hub_worker(database, tmp_path / "1", **LANES), hub_worker(database, tmp_path / "2", **LANES):
        await until(small, waiting, "applied")
        assert await states(huge, stuck) == {"running"}
        release.set()
        await asyncio.gather(*holding)
        await until(huge, stuck, "applied")
