"""Schedules in a real database, by a clock that the test turns: once, on time, by one of many, late and well again."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from hub.clock import SystemClock
from hub.store import recipients, runs, source_health, source_schedules, sources
from hub.store.database import Database as Pool
from hub.store.expected import Expectation
from hub.store.runs import Run
from hub.sync import schedules
from hub.sync.engine import work_once
from tests.districts import District, packed, sandbox
from tests.services import Database

HOUR = timedelta(hours=1)


@dataclass
class Turned:
    """A clock that stands still until it is turned."""

    at: datetime = field(default_factory=lambda: datetime(2026, 5, 5, 12, tzinfo=UTC))

    def now(self) -> datetime:
        return self.at


@pytest.fixture
async def pulled(database: Database, tmp_path: Path) -> AsyncIterator[District]:
    """A district whose source is pulled from a place where a package lies."""
    db = await Pool.open(database.worker, name="test worker", largest=8)
    district = await District(db).create()
    package = await asyncio.to_thread(packed, sandbox(students=100).frames, "1.2")
    await asyncio.to_thread((tmp_path / "package.zip").write_bytes, package)
    async with db.district(district.district_id) as tx:
        config = {"path": str(tmp_path / "package.zip"), "settle_seconds": 0}
        await sources.change(tx, district.source_id, config=config)
    yield district
    await db.close()


async def schedule(district: District, at: datetime, cron: str = "0 * * * *") -> None:
    async with district.db.district(district.district_id) as tx:
        await source_schedules.put(tx, district.source_id, cron=cron, zone="UTC", grace_minutes=30, next_at=at)


async def look(district: District, clock: Turned) -> int:
    return await schedules.look(district.db, clock, spread_seconds=0)


async def all_runs(district: District) -> list[Run]:
    async with district.db.district(district.district_id) as tx:
        return await runs.listing(tx)


async def carry_out(district: District) -> None:
    while await work_once(district.db, SystemClock()):
        pass


async def troubles(district: District) -> list[str]:
    async with district.db.district(district.district_id) as tx:
        return [t.kind for t in (await source_health.troubles(tx)).get(district.source_id, [])]


async def test_a_source_is_pulled_when_its_time_has_come(pulled: District) -> None:
    clock = Turned()
    await schedule(pulled, clock.at + HOUR)
    assert await look(pulled, clock) == 0
    clock.at += HOUR
    assert await look(pulled, clock) == 1
    await carry_out(pulled)
    (run,) = await all_runs(pulled)
    assert (run.state, run.requested_by, run.upload_id) == ("applied", "schedule", None)
    assert await look(pulled, clock) == 0
    clock.at += HOUR
    assert await look(pulled, clock) == 1
    await carry_out(pulled)
    assert [r.state for r in await all_runs(pulled)] == ["unchanged", "applied"]


async def test_a_time_within_the_systems_quiet_hours_moves_to_their_end(pulled: District) -> None:
    clock = Turned()
    login = {"kind": "bearer"}
    config = {"url": "https://sis.example", "login": login, "profile": "infinite_campus", "zone": "America/Chicago"}
    async with pulled.db.district(pulled.district_id) as tx:
        await tx.execute("UPDATE sources SET kind = 'oneroster_rest'")
        await sources.change(tx, pulled.source_id, config=config)
    await schedule(pulled, clock.at)  # noon in London, seven in Chicago
    assert await look(pulled, clock) == 0
    assert await all_runs(pulled) == []
    clock.at += 8 * HOUR
    assert await look(pulled, clock) == 0
    assert await troubles(pulled) == []
    clock.at += HOUR
    assert await look(pulled, clock) == 1
    assert [run.requested_by for run in await all_runs(pulled)] == ["schedule"]


async def test_times_that_were_missed_come_to_one_run(pulled: District) -> None:
    clock = Turned()
    await schedule(pulled, clock.at + HOUR)
    clock.at += 30 * HOUR
    assert await look(pulled, clock) == 1
    await carry_out(pulled)
    assert await look(pulled, clock) == 0
    async with pulled.db.district(pulled.district_id) as tx:
        found = await source_schedules.get(tx, pulled.source_id)
    assert found.next_at == clock.at + HOUR
    assert len(await all_runs(pulled)) == 1


async def test_many_workers_queue_a_run_once(pulled: District) -> None:
    clock = Turned()
    for _ in range(5):
        await schedule(pulled, clock.at)
        assert sum(await asyncio.gather(*(look(pulled, clock) for _ in range(8)))) == 1
        await carry_out(pulled)
        clock.at += HOUR
    assert len(await all_runs(pulled)) == 5


async def test_a_pull_that_waits_or_is_under_way_serves_for_the_next_time_too(pulled: District) -> None:
    clock = Turned()
    await schedule(pulled, clock.at)
    assert await look(pulled, clock) == 1
    clock.at += HOUR
    assert await look(pulled, clock) == 0  # it waits
    claim = await runs.claim(pulled.db)
    assert claim is not None
    clock.at += HOUR
    assert await look(pulled, clock) == 0  # it is under way
    assert len(await all_runs(pulled)) == 1
    await runs.release(pulled.db, claim)


async def test_a_paused_schedule_and_a_paused_source_are_left_alone_and_never_late(pulled: District) -> None:
    clock = Turned()
    await schedule(pulled, clock.at)
    async with pulled.db.district(pulled.district_id) as tx:
        await source_schedules.pause(tx, pulled.source_id)
    clock.at += 5 * HOUR
    assert await look(pulled, clock) == 0
    async with pulled.db.district(pulled.district_id) as tx:
        await source_schedules.resume(tx, pulled.source_id, clock.at + HOUR)
        await sources.change(tx, pulled.source_id, state="paused")
    clock.at += 5 * HOUR
    assert await look(pulled, clock) == 0
    clock.at += 5 * HOUR
    assert await look(pulled, clock) == 0
    assert await troubles(pulled) == []
    assert await all_runs(pulled) == []


async def test_a_source_without_a_success_is_late_once_its_grace_is_over_and_well_again_after_one(
    pulled: District,
) -> None:
    clock = Turned()
    async with pulled.db.district(pulled.district_id) as tx:
        hears = await recipients.create(
            tx, pulled.source_id, channel="email", address="a@b.example", kinds=["late", "recovered"], secret=None
        )
    await schedule(pulled, clock.at, cron="0 0 * * *")
    assert await look(pulled, clock) == 1  # and no worker carries it out
    clock.at += timedelta(minutes=29)
    await look(pulled, clock)
    assert await troubles(pulled) == []
    clock.at += timedelta(minutes=1)
    await asyncio.gather(*(look(pulled, clock) for _ in range(5)))
    assert await troubles(pulled) == ["late"]
    await look(pulled, clock)
    await carry_out(pulled)
    assert await troubles(pulled) == []
    async with pulled.db.district(pulled.district_id) as tx:
        rows = await tx.fetch("SELECT kind, recipient_id, times FROM notices ORDER BY at")
    assert [(r["kind"], r["recipient_id"], r["times"]) for r in rows] == [
        ("late", hears.recipient_id, 1), ("recovered", hears.recipient_id, 1),
    ]  # fmt: skip


async def test_failures_in_a_row_are_one_trouble_and_tell_once(pulled: District) -> None:
    async with pulled.db.district(pulled.district_id) as tx:
        await recipients.create(
            tx, pulled.source_id, channel="email", address="a@b.example", kinds=["failed", "recovered"], secret=None
        )
        working = (await sources.get(tx, pulled.source_id)).config
        await sources.change(tx, pulled.source_id, config={"path": None})
    clock = Turned()
    for _ in range(6):
        await schedule(pulled, clock.at)
        await look(pulled, clock)
        await carry_out(pulled)
        clock.at += HOUR
    async with pulled.db.district(pulled.district_id) as tx:
        (trouble,) = (await source_health.troubles(tx))[pulled.source_id]
        assert (trouble.kind, trouble.code, trouble.times) == ("failed", "source_failed", 6)
        assert [r["kind"] for r in await tx.fetch("SELECT kind FROM notices")] == ["failed"]
        await tx.execute("UPDATE source_troubles SET told_at = now() - interval '25 hours'")
        await sources.change(tx, pulled.source_id, config={"path": None, "settle_seconds": 1})
    for config in ({"path": None}, working):  # a day later it is told again, and then it is well
        async with pulled.db.district(pulled.district_id) as tx:
            await sources.change(tx, pulled.source_id, config=config)
        await schedule(pulled, clock.at)
        await look(pulled, clock)
        await carry_out(pulled)
        clock.at += HOUR
    async with pulled.db.district(pulled.district_id) as tx:
        found = [(r["kind"], r["times"]) for r in await tx.fetch("SELECT kind, times FROM notices ORDER BY at")]
        health = await source_health.of(tx, pulled.source_id)
    assert found == [("failed", 1), ("failed", 7), ("recovered", 7)]
    assert health is not None
    assert health.rows > 500


async def test_a_source_that_takes_uploads_is_late_when_none_came_in_time(pulled: District) -> None:
    clock = Turned(datetime.now(UTC))
    async with pulled.db.district(pulled.district_id) as tx:
        await sources.change(tx, pulled.source_id, config={})
        await recipients.create(
            tx, pulled.source_id, channel="email", address="a@b.example", kinds=["late", "recovered"], secret=None
        )
        made = await source_schedules.expect(tx, pulled.source_id, Expectation(24, 30), now=clock.at)
    first = clock.at + timedelta(hours=24, minutes=30)
    assert (made.late_from, made.next_at) == (first, None)
    clock.at = first - timedelta(seconds=1)
    assert await look(pulled, clock) == 0  # nothing is pulled
    assert await troubles(pulled) == []
    clock.at = first
    await asyncio.gather(*(look(pulled, clock) for _ in range(5)))
    assert await troubles(pulled) == ["late"]
    clock.at += 55 * HOUR  # two more are missing: looked for once, told once a day
    await look(pulled, clock)
    async with pulled.db.district(pulled.district_id) as tx:
        (trouble,) = (await source_health.troubles(tx))[pulled.source_id]
        assert (trouble.since, trouble.times) == (first, 2)
        assert (await source_schedules.get(tx, pulled.source_id)).late_from == first + 72 * HOUR

    assert (await pulled.sync(sandbox(students=100).frames)).state == "applied"
    assert await troubles(pulled) == []
    async with pulled.db.district(pulled.district_id) as tx:
        kinds = [row["kind"] for row in await tx.fetch("SELECT kind FROM notices ORDER BY at")]
        health = await source_health.of(tx, pulled.source_id)
        assert health is not None
        late_from = (await source_schedules.get(tx, pulled.source_id)).late_from
        assert late_from == health.succeeded_at + timedelta(hours=24, minutes=30)
        await sources.change(tx, pulled.source_id, state="paused")
    assert kinds == ["late", "recovered"]
    assert (await pulled.run((await all_runs(pulled))[0].run_id)).upload_id is not None
    clock.at = late_from + HOUR
    await look(pulled, clock)
    assert await troubles(pulled) == []  # nothing is expected of a paused source


async def test_a_source_that_is_sent_on_school_days_is_not_late_for_the_weekend(pulled: District) -> None:
    school_days = Expectation(24, 30, ["mon", "tue", "wed", "thu", "fri"], "America/Chicago")
    clock = Turned(datetime(2026, 5, 1, 21, tzinfo=UTC))  # a Friday, 16:00 in Chicago
    monday = datetime(2026, 5, 4, 21, 30, tzinfo=UTC)
    async with pulled.db.district(pulled.district_id) as tx:
        made = await source_schedules.expect(tx, pulled.source_id, school_days, now=clock.at)
        assert (made.late_from, made.expected_days, made.zone) == (monday, school_days.days, school_days.zone)
        await source_schedules.pause(tx, pulled.source_id)
        assert (await source_schedules.resume(tx, pulled.source_id, None, now=clock.at)).late_from == monday
    clock.at = monday - timedelta(seconds=1)
    await look(pulled, clock)
    assert await troubles(pulled) == []
    clock.at = monday
    await look(pulled, clock)
    assert await troubles(pulled) == ["late"]
    clock.at = monday + timedelta(days=4)  # four more are missing by Friday; then comes the weekend
    await look(pulled, clock)
    async with pulled.db.district(pulled.district_id) as tx:
        assert (await source_schedules.get(tx, pulled.source_id)).late_from == monday + timedelta(days=7)
    assert (await pulled.sync(sandbox(students=100).frames)).state == "applied"
    async with pulled.db.district(pulled.district_id) as tx:
        health, schedule_ = (
            await source_health.of(tx, pulled.source_id),
            await source_schedules.get(tx, pulled.source_id),
        )
        assert health is not None
        assert schedule_.late_from == await school_days.late_from(health.succeeded_at)
        by_cron = await source_schedules.put(
            tx, pulled.source_id, cron="0 2 * * *", zone="UTC", grace_minutes=30, next_at=None
        )
    assert (by_cron.expected_days, by_cron.late_from) == (None, None)
    assert len(await all_runs(pulled)) == 1
