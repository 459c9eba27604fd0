"""Watched folders: what is whole and new starts a run by itself, once; nothing outside is ever looked at."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from connectors.oneroster_csv.source import OneRosterCsvConfig
from connectors.protocol import ConnectorError, SourceContext
from connectors.registry import connector
from hub.clock import SystemClock
from hub.crypto import Keys
from hub.settings import Settings
from hub.store import runs, sources
from hub.store.database import Database as Pool
from hub.store.runs import Run
from hub.sync.engine import work_once
from hub.sync.room import Room
from hub.sync.trying import tried
from hub.sync.watch import Watch
from tests.districts import District, changed, packed, sandbox, without
from tests.services import MASTER_KEY, Database
from tests.sync.guarding import around, setting

FRAMES = sandbox(students=100, seed=11).frames
NEXT = changed(FRAMES, "users", FRAMES["demographics"]["sourcedId"][0], givenName="Zebulon")


@dataclass
class Site:
    district: District
    root: Path
    watch: Watch = field(init=False)

    def __post_init__(self) -> None:
        self.watch = Watch(self.district.db, self.root)

    @property
    def folder(self) -> Path:
        return self.root / str(self.district.district_id) / "daily"

    async def put(self, name: str, frames: Any = FRAMES, *, age: float = 100) -> Path:
        def write(data: bytes) -> Path:
            self.folder.mkdir(parents=True, exist_ok=True)
            path = self.folder / name
            path.write_bytes(data)
            os.utime(path, (time.time() - age, time.time() - age))
            return path

        return await asyncio.to_thread(write, await asyncio.to_thread(packed, frames, "1.2"))

    async def configure(self, **place: Any) -> None:
        config = {"place": {"kind": "folder", "folder": "daily"} | place, "settle_seconds": 30}
        async with self.district.db.district(self.district.district_id) as tx:
            await sources.change(tx, self.district.source_id, config=config)

    async def runs(self) -> list[Run]:
        async with self.district.db.district(self.district.district_id) as tx:
            return await runs.listing(tx)

    async def work(self) -> list[str]:
        room = Room.of(Settings(watch_folder=self.root))
        while await work_once(self.district.db, SystemClock(), key=Keys((MASTER_KEY,)), room=room):
            pass
        return [run.state for run in await self.runs()]


@pytest.fixture
async def site(database: Database, tmp_path: Path) -> AsyncIterator[Site]:
    db = await Pool.open(database.worker, name="test worker", largest=8)
    made = Site(await District(db).create(), tmp_path / "watched")
    await asyncio.to_thread(made.folder.mkdir, parents=True)
    await made.configure()
    yield made
    await db.close()


async def test_a_package_that_comes_is_taken_once_and_by_one_worker(site: Site) -> None:
    assert await site.watch.look() == 0
    await site.put("monday.zip")
    other = Watch(site.district.db, site.root)
    assert sum(await asyncio.gather(site.watch.look(), other.look())) == 1
    assert await site.work() == ["applied"]
    assert [await one.look() for one in (site.watch, other, site.watch)] == [0, 0, 0]
    (run,) = await site.runs()
    assert (run.requested_by, run.task["files"][0][0]) == ("watch", "monday.zip")

    await site.put("tuesday.zip", NEXT, age=40)
    assert await site.watch.look() == 1
    assert await site.work() == ["applied", "applied"]
    await site.put("broken.zip", age=35)
    await asyncio.to_thread((site.folder / "broken.zip").write_bytes, b"PK\x03\x04 no archive")
    await asyncio.to_thread(os.utime, site.folder / "broken.zip", (time.time() - 35,) * 2)
    assert await site.watch.look() == 1
    assert (await site.work())[0] == "failed"
    assert await site.watch.look() == 0  # it is not tried for ever
    assert await Watch(site.district.db, site.root).look() == 0


@pytest.mark.threat("T42", "F7")
async def test_what_still_grows_waits(site: Site) -> None:
    path = await site.put("a.zip", age=5)
    assert await site.watch.look() == 0
    await asyncio.to_thread(os.utime, path, (time.time() - 31,) * 2)
    assert await site.watch.look() == 1
    assert await site.work() == ["applied"]
    await site.configure(marker="done")
    await site.put("b.zip", NEXT, age=20)
    assert await site.watch.look() == 0
    await asyncio.to_thread((site.folder / "done").touch)
    assert await site.watch.look() == 1


async def test_what_was_applied_is_put_away(site: Site) -> None:
    await site.configure(after="move", move_to="taken")
    await site.put("a.zip")
    assert await site.watch.look() == 1
    assert await site.work() == ["applied"]
    assert [p.name[17:] for p in (site.folder / "taken").iterdir()] == ["a.zip"]
    assert not (site.folder / "a.zip").exists()
    assert await site.watch.look() == 0
    await site.configure(after="delete")
    await site.put("b.zip", NEXT)
    assert await site.watch.look() == 1
    await site.work()
    assert [p.name for p in site.folder.iterdir()] == ["taken"]

    few = without(NEXT, "enrollments", NEXT["enrollments"]["sourcedId"].head(3).to_list())
    await setting(site.district, around(SystemClock(), "additive"))
    await site.put("c.zip", few)
    assert await site.watch.look() == 1
    await site.work()
    assert await site.watch.look() == 0  # the rest is for the next run, and nothing new has come
    await setting(site.district, {})
    async with site.district.db.district(site.district.district_id) as tx:
        await runs.request(
            tx, uuid4(), source_id=site.district.source_id, upload_id=None, dry_run=False, requested_by="test"
        )
    assert (await site.work())[0] == "applied"
    assert ([p.name for p in site.folder.iterdir()], await site.watch.look()) == (["taken"], 0)


@pytest.mark.threat("T39")
async def test_links_lead_nowhere(site: Site, tmp_path: Path) -> None:
    secret = tmp_path / "secret.zip"
    await asyncio.to_thread(secret.write_bytes, await asyncio.to_thread(packed, FRAMES, "1.2"))
    (site.folder / "a.zip").symlink_to(secret)
    os.mkfifo(site.folder / "b.zip")
    assert await site.watch.look() == 0
    elsewhere = tmp_path / "elsewhere"
    await asyncio.to_thread(elsewhere.mkdir)
    (site.folder / "link").symlink_to(elsewhere)
    await site.configure(folder="daily/link")
    await asyncio.to_thread(secret.rename, elsewhere / "a.zip")
    assert await site.watch.look() == 0
    found = await tried(site.district.district_id, await _source(site), None, Keys((MASTER_KEY,)), (), watch=site.root)
    assert [(one.step, one.outcome) for one in found] == [("folder", "bad")]


async def _source(site: Site) -> Any:
    async with site.district.db.district(site.district.district_id) as tx:
        return await sources.get(tx, site.district.source_id)


async def test_without_the_operators_folder_nothing_is_watched(site: Site) -> None:
    found = await tried(site.district.district_id, await _source(site), None, Keys((MASTER_KEY,)), ())
    assert "HUB_WATCH_FOLDER" in found[0].text
    config = OneRosterCsvConfig.model_validate({"place": {"kind": "folder"}})
    with pytest.raises(ConnectorError, match="watch_off"):
        await connector("oneroster_csv").open(SourceContext(config)).pull(None)
    for folder in ("..", "/etc", "a/../b", ".hidden", "a//b"):
        with pytest.raises(ValueError, match="folder"):
            OneRosterCsvConfig.model_validate({"place": {"kind": "folder", "folder": folder}})
