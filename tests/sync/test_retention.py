"""Time passes: what was kept long enough goes, all else stays, and syncs, views and looks back go on as before."""

from __future__ import annotations

import os
from dataclasses import dataclass
from datetime import datetime, timedelta

import asyncpg
import polars as pl
import pytest

from hub.clock import SystemClock
from hub.errors import Code, HubError
from hub.store import retention as store
from hub.sync import lives
from hub.sync.retention import Retention, purge, purge_once
from tests.beginnings import Beginning
from tests.districts import District, Frames, changed, sandbox, without
from tests.forks import run_module
from tests.services import MASTER_KEY, Database
from tests.sync.test_undo import undo
from transforms.catalogue import CATALOGUE

DAYS = Retention(
    history_days=400, ended_days=400, issue_days=90, upload_days=7, trace_days=14, feed_days=800, step_days=800
)
GONE = "Zyxwvutsrq"  # the name of a pupil who leaves
OLD = "Qponmlkjih"  # the former name of one who stays


def frames() -> Frames:
    return sandbox(students=100, seed=11).frames


def named() -> Frames:
    """Two pupils have names that nobody else has."""
    keys = frames()["demographics"]["sourcedId"]
    return changed(changed(frames(), "users", keys[4], givenName=GONE), "users", keys[5], givenName=OLD)


def later() -> Frames:
    """One of them has left with all that is about him, the other is called otherwise."""
    keys = frames()["demographics"]["sourcedId"]
    found = changed(named(), "users", keys[5], givenName="Ada")
    found = without(found, "users", [keys[4]])
    found = without(found, "demographics", [keys[4], keys[7]])
    for file, column in (
        ("roles", "userSourcedId"),
        ("userProfiles", "userSourcedId"),
        ("enrollments", "userSourcedId"),
    ):
        if file in found:
            found[file] = found[file].filter(pl.col(column) != keys[4])
    return found


@dataclass(frozen=True)
class Travel:
    """A district of which a pupil has left, and the time of that."""

    district: District
    before: datetime
    left: datetime

    async def purge(self, days: float, *, dry_run: bool = False) -> object:
        return await purge(
            self.district.db, self.district.district_id, self.left + timedelta(days=days), DAYS, dry_run=dry_run
        )


async def left(district: District) -> None:
    assert (await district.sync(named())).state == "applied"
    await district.grant()
    assert (await district.sync(later())).state == "applied"


@pytest.fixture
def beginning() -> Beginning:
    return left


@pytest.fixture
async def travel(synced: District) -> Travel:
    async with synced.db.district(synced.district_id, readonly=True) as tx:
        before = await tx.fetchval("SELECT max(requested_at) FROM runs")
    return Travel(synced, before, SystemClock().now())


async def everything(database: Database) -> str:
    """All that PostgreSQL holds, as text."""
    connection = await asyncpg.connect(database.owner)
    try:
        tables = await connection.fetch("SELECT tablename FROM pg_tables WHERE schemaname = 'hub'")
        found = []
        for table in tables:
            rows = await connection.fetch(f"SELECT t::text AS row FROM hub.{table['tablename']} t")
            found += [row["row"] for row in rows]
    finally:
        await connection.close()
    return "\n".join(found)


@pytest.mark.threat("T53")
async def test_what_was_kept_long_enough_is_nowhere_any_more(travel: Travel, synced_database: Database) -> None:
    pupil = frames()["demographics"]["sourcedId"][4]
    assert not await travel.purge(0)
    assert (await travel.purge(91)).issues  # differences of runs go sooner
    for days in (91, 399):
        assert not await travel.purge(days)
        text = await everything(synced_database)
        assert GONE in text
        assert OLD in text
    shown = await travel.purge(401, dry_run=True)
    assert shown
    assert GONE in await everything(synced_database)
    assert await travel.purge(401) == shown
    text = await everything(synced_database)
    assert GONE not in text
    assert OLD not in text
    assert pupil not in text
    assert "Ada" in text
    assert not await travel.purge(402)


async def test_views_and_records_of_today_stay_as_they_are(travel: Travel) -> None:
    async def active() -> list[tuple[object, ...]]:
        found: list[tuple[object, ...]] = []
        async with travel.district.db.district(travel.district.district_id) as tx:
            for table in (*(e.table for e in CATALOGUE.entities), "views", "feed", "changes"):
                which = "WHERE active" if table not in {"views", "feed", "changes"} else ""
                found += [
                    tuple(r) for r in await tx.fetch(f"SELECT '{table}', t::text FROM {table} t {which} ORDER BY 2")
                ]
            found += [
                (e.name, *row)
                for e in CATALOGUE.entities
                for row in await tx.fetch(f"SELECT rid, sourced_id FROM {e.table} ORDER BY rid")
            ]
        return found

    was = await active()
    assert await travel.purge(401)
    assert await active() == was
    assert (await travel.district.sync(later())).state == "unchanged"


async def test_the_past_is_told_to_be_gone_and_the_rest_of_it_is_exact(travel: Travel) -> None:
    district, users = travel.district, CATALOGUE["users"]
    async with district.db.district(district.district_id) as tx:
        position = await lives.position_at(tx, travel.before)
        assert len(await lives.records_at(tx, users, position, after=-1, limit=1000)) == frames()["users"].height
    assert await travel.purge(401)
    async with district.db.district(district.district_id) as tx:
        with pytest.raises(HubError) as refused:
            await lives.position_at(tx, travel.before)
        assert refused.value.code is Code.PAST_GONE
        position = await lives.position_at(tx, travel.left)
        assert len(await lives.records_at(tx, users, position, after=-1, limit=1000)) == frames()["users"].height - 1
        runs = await tx.fetch("SELECT run_id FROM runs ORDER BY requested_at DESC")
    undone = await undo(district, await district.run(runs[0]["run_id"]))
    assert (undone.state, undone.error_code) == ("failed", "past_gone")


async def test_who_comes_back_is_another_record(travel: Travel) -> None:
    assert await travel.purge(401)
    district = travel.district
    run = await district.sync(named())
    assert (run.state, run.error_message) == ("applied", None)
    counts = await district.counts()
    assert counts["users"] == (frames()["users"].height, 1)
    # Who stayed has the same number still: what was about him comes back under it.
    assert counts["demographics"] == (frames()["demographics"].height, 1)


async def test_a_district_has_days_of_its_own(travel: Travel) -> None:
    async with travel.district.db.district(travel.district.district_id) as tx:
        await store.set_own(tx, {"history_days": 800})
    assert (await travel.purge(91)).issues  # differences of runs go sooner
    assert not await travel.purge(401)
    async with travel.district.db.district(travel.district.district_id) as tx:
        await store.set_own(tx, {"history_days": 30, "ended_days": 30})
    assert await travel.purge(31)


async def test_findings_and_uploads_go_with_their_days(district: District, database: Database) -> None:
    bad = changed(frames(), "enrollments", frames()["enrollments"]["sourcedId"][0], userSourcedId="nobody-here")
    assert (await district.sync(bad)).state == "applied"
    await district.upload(frames())
    now = SystemClock().now()
    first = await purge(district.db, district.district_id, now + timedelta(days=8), DAYS)
    assert (first.uploads, first.issues) == (1, 0)
    assert "nobody-here" in await everything(database)
    second = await purge(district.db, district.district_id, now + timedelta(days=91), DAYS)
    assert (second.uploads, second.issues > 0) == (0, True)
    assert "nobody-here" not in await everything(database)


class Later:
    """A clock that is ahead."""

    def __init__(self, days: float) -> None:
        self.ahead = timedelta(days=days)

    def now(self) -> datetime:
        return SystemClock().now() + self.ahead


async def test_workers_purge_each_district_once_a_day(travel: Travel, synced_database: Database) -> None:
    db = travel.district.db
    assert not await purge_once(db, Later(0.5), DAYS)
    assert await purge_once(db, Later(401), DAYS)
    assert GONE not in await everything(synced_database)
    assert not await purge_once(db, Later(401.5), DAYS)
    assert await purge_once(db, Later(402.5), DAYS)


async def test_the_command_says_what_would_go_and_removes_it(
    district: District, database: Database, redis_url: str
) -> None:
    await district.upload(frames())
    connection = await asyncpg.connect(database.owner)
    try:
        await connection.execute("UPDATE hub.uploads SET created_at = now() - interval '8 days'")
    finally:
        await connection.close()
    settings = {
        "HUB_DATABASE_URL": database.owner, "HUB_MASTER_KEY": MASTER_KEY.decode(), "HUB_REDIS_URL": redis_url,
    }  # fmt: skip
    for options, words in (
        (["--dry-run"], "1 uploads, 0 traces, feeds compacted: 0, ended records: none (nothing"),
        ([], "1 uploads"),
        ([], "0 up"),
    ):
        done = await run_module("hub.cli", "purge", *options, environment=os.environ | settings, apart=True)
        assert done.code == 0, done.errors
        assert str(district.district_id) in done.out
        assert words in done.out
