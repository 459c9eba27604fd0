"""Packages that are pulled from a vendor's server, with the real engine: once, and put away only when they count."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

import polars as pl
import pytest

from hub import vault
from hub.clock import SystemClock
from hub.crypto import Keys
from hub.errors import Code
from hub.settings import Settings
from hub.store import runs, sources
from hub.store.database import Database as Pool
from hub.store.runs import Run
from hub.sync import schedules, source_secrets
from hub.sync.engine import work_once
from hub.sync.room import Room
from tests.districts import District, changed, packed, sandbox, without
from tests.fakes.sftp_server import PASSWORD, Vendor, running
from tests.services import MASTER_KEY, Database
from tests.snapshots import snapshot
from tests.sync.guarding import around, rest, schools, setting

FRAMES = sandbox(students=100, seed=11).frames
USER = FRAMES["demographics"]["sourcedId"][0]
NEXT = changed(FRAMES, "users", USER, givenName="Zebulon")
FEWER = without(FRAMES, "enrollments", FRAMES["enrollments"]["sourcedId"].to_list()[5:])
SCHOOL = FRAMES["orgs"].filter(pl.col("type") == "school")["sourcedId"][0]
LOST = FRAMES["enrollments"].height - FEWER["enrollments"].height


@dataclass
class Site:
    """A district whose packages lie at a vendor's."""

    district: District
    vendor: Vendor
    keys: Keys
    allow: str = "127.0.0.0/8"
    settle_seconds: int = 0

    async def put(self, frames: Any, name: str, at: int) -> Path:
        path = self.vendor.root / name
        await asyncio.to_thread(path.write_bytes, await asyncio.to_thread(packed, frames, "1.2"))
        await asyncio.to_thread(os.utime, path, (at, at))
        return path

    async def configure(self, **place: Any) -> None:
        config = {"place": self.vendor.place(**place), "settle_seconds": self.settle_seconds}
        async with self.district.db.district(self.district.district_id) as tx:
            sealer = await vault.to_seal(tx, self.keys)
            sealed = source_secrets.sealed(
                sealer, PASSWORD, self.district.district_id, self.district.source_id, "password"
            )
            await sources.change(tx, self.district.source_id, config=config, secrets={"password": sealed})

    async def pull(self, *, dry_run: bool = False) -> Run:
        run_id = uuid4()
        async with self.district.db.district(self.district.district_id) as tx:
            await runs.request(
                tx, run_id, source_id=self.district.source_id, upload_id=None, dry_run=dry_run, requested_by="test"
            )
        await self.work()
        return await self.district.run(run_id)

    async def work(self) -> None:
        while await self.work_once():
            pass

    async def work_once(self) -> bool:
        room = Room.of(Settings(source_allow=self.allow))
        return await work_once(self.district.db, SystemClock(), key=self.keys, room=room)

    async def names(self) -> list[str]:
        return sorted(p.name for p in await asyncio.to_thread(lambda: [*self.vendor.root.rglob("*.zip")]))


@pytest.fixture
async def site(database: Database, tmp_path: Path) -> AsyncIterator[Site]:
    db = await Pool.open(database.worker, name="test worker", largest=8)
    with running(tmp_path) as vendor:
        made = Site(await District(db).create(), vendor, Keys((MASTER_KEY,)))
        await made.configure()
        yield made
    await db.close()


async def test_a_package_is_pulled_applied_and_known_from_then_on(site: Site) -> None:
    await site.put(FRAMES, "monday.zip", 1_700_000_000)
    run = await site.pull()
    assert run.state == "applied", run.error_message
    site.vendor.opened.clear()
    assert (await site.pull()).state == "unchanged"
    assert site.vendor.opened == []

    await site.put(FRAMES, "tuesday.zip", 1_700_086_400)  # the same once more, under another name
    assert (await site.pull()).state == "unchanged"
    assert site.vendor.opened == ["tuesday.zip"]
    assert (await site.pull()).state == "unchanged"
    assert site.vendor.opened == ["tuesday.zip"]  # it is known now as well

    assert (await site.pull(dry_run=True)).state == "previewed"
    assert site.vendor.opened == ["tuesday.zip"] * 2
    await site.put(NEXT, "wednesday.zip", 1_700_172_800)
    assert (await site.pull()).counts["users"]["updated"] == 1
    site.vendor.opened.clear()
    await site.configure(stale_hours=8_000)  # another configuration may read the same in another way
    stale = await site.pull()
    assert (stale.state, stale.error_code) == ("failed", Code.SOURCE_FAILED.value)
    assert "package_stale" in (stale.error_message or "")
    await site.configure(pattern="w*.zip")
    assert (await site.pull()).state == "unchanged"
    assert site.vendor.opened == ["wednesday.zip"]


async def test_only_what_was_applied_is_put_away(site: Site) -> None:
    await asyncio.to_thread((site.vendor.root / "taken").mkdir)
    await site.configure(after="move")
    first = await site.put(FRAMES, "a.zip", 1_700_000_000)
    assert (await site.pull(dry_run=True)).state == "previewed"
    assert await asyncio.to_thread(first.exists)
    assert (await site.pull()).state == "applied"
    assert await site.names() == ["20231114T221320Z-a.zip"]

    await site.put(FEWER, "b.zip", 1_700_086_400)
    before = await snapshot(site.district)
    held = await site.pull()
    assert held.state == "held"
    assert await site.names() == ["20231114T221320Z-a.zip", "b.zip"]
    assert await snapshot(site.district) == before
    async with site.district.db.district(site.district.district_id) as tx:
        await runs.decide(tx, held.run_id, approve=True, actor="test")
    await site.work()
    assert (await site.district.run(held.run_id)).state == "applied"
    assert await site.names() == ["20231114T221320Z-a.zip", "20231115T221320Z-b.zip"]


@pytest.mark.threat("F11")
async def test_a_package_stays_until_all_of_it_was_applied(site: Site) -> None:
    """Somebody has to read it again for what was withheld: in a window that only adds, and by a release in part."""
    district = site.district
    await site.configure(after="delete")
    await site.put(FRAMES, "a.zip", 1_700_000_000)
    assert (await site.pull()).state == "applied"
    assert await site.names() == []

    await site.put(changed(FEWER, "users", USER, givenName="Zebulon"), "b.zip", 1_700_086_400)
    await setting(district, around(SystemClock(), "additive") | {"emptied_school": "allow"})
    for state in ("applied", "unchanged"):  # the second finds all but what is withheld
        run = await site.pull()
        assert (run.state, run.counts["enrollments"]["withheld"], await site.names()) == (state, LOST, ["b.zip"])
    await setting(district, {"limits": {"default": {"deleted": None}}, "per_school": {"default": {"deleted": None}},
                             "emptied_school": "allow"})  # fmt: skip
    site.vendor.opened.clear()
    run = await site.pull()
    assert (run.state, run.counts["enrollments"]["deleted"], await site.names()) == ("applied", LOST, [])
    assert (site.vendor.opened, (await site.pull()).state) == (["b.zip"], "unchanged")

    await site.put(FRAMES, "c.zip", 1_700_172_800)
    assert (await site.pull()).state == "applied"
    await setting(district, {})
    await site.put(FEWER, "d.zip", 1_700_259_200)
    held = await site.pull()
    one = str((await schools(district))[SCHOOL])
    async with district.db.district(district.district_id) as tx:
        await runs.decide(tx, held.run_id, approve=True, actor="t", withhold={"schools": [one]})
    site.vendor.opened.clear()
    await site.work()
    part, waits = await district.run(held.run_id), await rest(district, held.run_id)
    assert (part.state, waits.state, waits.error_code) == ("applied", "held", None)
    assert (await site.names(), site.vendor.opened) == (["d.zip"], ["d.zip", "d.zip"])
    async with district.db.district(district.district_id) as tx:
        await runs.decide(tx, waits.run_id, approve=True, actor="t")
    await site.work()
    waits = await district.run(waits.run_id)
    assert (waits.state, await site.names()) == ("applied", [])
    deleted = [run.counts["enrollments"]["deleted"] for run in (part, waits)]
    assert (min(deleted) > 0, sum(deleted)) == (True, LOST)
    site.vendor.opened.clear()
    async with district.db.district(district.district_id) as tx:
        assert await runs.unfinished(tx, district.source_id) is None
    assert ((await site.pull()).state, site.vendor.opened) == ("unchanged", [])


async def test_a_package_that_cannot_be_put_away_counts_all_the_same(site: Site) -> None:
    await site.configure(after="delete")
    await site.put(FRAMES, "a.zip", 1_700_000_000)
    site.vendor.read_only = True
    assert (await site.pull()).state == "applied"
    assert await site.names() == ["a.zip"]
    site.vendor.read_only = False
    site.vendor.opened.clear()
    assert (await site.pull()).state == "unchanged"
    assert (await site.names(), site.vendor.opened) == ([], [])


@pytest.mark.threat("T42", "F7")
async def test_a_connection_that_is_cut_is_tried_again_and_nothing_is_half_applied(site: Site) -> None:
    await site.put(FRAMES, "a.zip", 1_700_000_000)
    site.vendor.cut_after = 2_000
    run_id = uuid4()
    async with site.district.db.district(site.district.district_id) as tx:
        await runs.request(
            tx, run_id, source_id=site.district.source_id, upload_id=None, dry_run=False, requested_by="test"
        )
    assert await site.work_once()
    waits = await site.district.run(run_id)
    assert (waits.state, waits.attempt) == ("queued", 1)
    assert "not_connected" in (waits.error_message or "")
    assert await site.district.counts() == {}
    async with site.district.db.district(site.district.district_id) as tx:
        await tx.execute("UPDATE runs SET lease_until = NULL")
    await site.work()
    assert (await site.district.run(run_id)).state == "applied"


@pytest.mark.threat("T42", "F7")
async def test_between_two_looks_a_run_holds_nothing(site: Site) -> None:
    """It is put back: no worker waits, no turn to pull is taken, and that it waits is no attempt."""
    site.settle_seconds = 600
    await site.configure()
    path = await site.put(FRAMES, "a.zip", 1_700_000_000)

    async def due(*, now: bool = False) -> float | None:
        async with site.district.db.district(site.district.district_id) as tx:
            if now:
                await tx.execute("UPDATE runs SET lease_until = NULL WHERE state = 'queued'")
            found: float | None = await tx.fetchval(
                "SELECT extract(epoch FROM lease_until - now())::float FROM runs WHERE state = 'queued'"
            )
            return found

    waits = await asyncio.wait_for(site.pull(), 30)
    assert (waits.state, waits.attempt, waits.error_code, site.vendor.opened) == ("queued", 0, None, [])
    assert 580 < (await due() or 0) <= 600
    await due(now=True)
    await site.work()  # too early, for whatever reason: once more is an attempt
    early = await site.district.run(waits.run_id)
    assert (early.state, early.attempt, early.task, site.vendor.opened) == ("queued", 1, waits.task, [])
    assert 560 < (await due() or 0) <= 600

    site.settle_seconds = 1
    await site.configure()
    await asyncio.to_thread(os.utime, path, (1_700_000_010,) * 2)
    await asyncio.sleep(max(0.0, early.task["seen"]["at"] + 1 - SystemClock().now().timestamp()))
    await due(now=True)
    await site.work()
    grown = await site.district.run(waits.run_id)
    assert (grown.state, grown.attempt, site.vendor.opened) == ("queued", 2, [])
    assert "package_unsettled" in (grown.error_message or "")
    assert grown.task["seen"]["packages"] != waits.task["seen"]["packages"]
    await asyncio.sleep(max(0.0, grown.task["seen"]["at"] + 1 - SystemClock().now().timestamp()))
    await due(now=True)
    await site.work()
    assert (await site.district.run(waits.run_id)).state == "applied"
    assert site.vendor.opened == ["a.zip"]
    assert (await asyncio.wait_for(site.pull(), 30)).state == "unchanged"  # what is known is not waited for


@pytest.mark.threat("T31")
async def test_a_private_network_must_be_allowed(site: Site) -> None:
    await site.put(FRAMES, "a.zip", 1_700_000_000)
    site.allow = "10.0.0.0/8"
    run = await site.pull()
    assert run.state == "failed"
    assert "HUB_SOURCE_ALLOW" in (run.error_message or "")
    assert site.vendor.logins == []


async def test_a_source_with_a_place_can_be_scheduled(site: Site) -> None:
    async with site.district.db.district(site.district.district_id) as tx:
        await schedules.check_pulled(await sources.get(tx, site.district.source_id))
