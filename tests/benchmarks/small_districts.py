"""Two hundred districts of 500 students, synced one after another by one worker, against COPY of their files."""

from __future__ import annotations

import asyncio
import statistics
import tempfile
import time
import zipfile
from collections.abc import AsyncIterator
from pathlib import Path
from uuid import UUID

from hub.allocator import give_back_freed_memory
from hub.clock import SystemClock
from hub.collector import settle
from hub.embedded import EmbeddedPostgres
from hub.ids import new_id
from hub.sandbox import DistrictPlan, write_sandbox
from hub.scope.grants import GrantDefinition
from hub.settings import role_passwords, role_url
from hub.store import apps, districts, runs, sources, uploads
from hub.store.database import Database
from hub.store.migrate import migrate
from hub.sync import grants
from hub.sync.engine import work_once
from tests.benchmarks.loading import KEY, copy_floor
from tests.benchmarks.result import Result

STUDENTS = 500
DISTRICTS = 200
#: Districts that differ; the others are copies of these.
DIFFERENT = 5


def run(students: int) -> list[Result]:
    """First load and a change, per district. The size is always the same."""
    del students
    with tempfile.TemporaryDirectory(prefix="rosterhub-bench-") as name:
        folder = Path(name)
        folder.chmod(0o711)
        packages = [_package(folder / str(seed), seed) for seed in range(DIFFERENT)]
        settle()  # as hub.app does
        give_back_freed_memory()
        with EmbeddedPostgres(folder / "pg") as server:
            asyncio.run(migrate(server.url(), passwords=role_passwords(KEY)))
            copy = statistics.mean(asyncio.run(copy_floor(server.url(), _files(p)))["copy"] for p in packages)
            first, changed, rows = asyncio.run(_sync(server.url(), packages))
    return [
        Result(
            f"{DISTRICTS} districts of {STUDENTS} students one after another, each", first * 1000, copy * 1000, "ms",
            250, 80, "ours", note=f"{rows:,} rows each",
        ),
        Result("the same once more with 1 % changes", changed * 1000, copy * 1000, "ms"),
    ]  # fmt: skip


def _package(folder: Path, seed: int) -> Path:
    folder.mkdir()
    write_sandbox(folder, DistrictPlan(students=STUDENTS, seed=seed, changes=True, change_percent=1.0))
    with zipfile.ZipFile(folder / "district.zip") as archive:
        archive.extractall(folder / "csv")
    return folder


def _files(folder: Path) -> list[Path]:
    return [path for path in sorted((folder / "csv").glob("*.csv")) if path.name != "manifest.csv"]


async def _sync(url: str, packages: list[Path]) -> tuple[float, float, int]:
    """Mean seconds of a first load and of a change, and the rows of a district."""
    db = await Database.open(role_url(url, "hub_worker", role_passwords(KEY)["hub_worker"]), name="bench")
    try:
        made = [await _district(db) for _ in range(DISTRICTS)]
        times: dict[str, list[float]] = {"district": [], "changes": []}
        rows = 0
        for package, found in times.items():
            for number, (district, source) in enumerate(made):
                place = packages[number % len(packages)] / f"{package}.zip"
                run_id = await _request(db, district, source, await asyncio.to_thread(place.read_bytes))
                started = time.perf_counter()
                await work_once(db, SystemClock())
                found.append(time.perf_counter() - started)
                async with db.district(district, readonly=True) as tx:
                    done = await runs.get(tx, run_id)
                if done.state != "applied":
                    raise RuntimeError(f"a sync ended as {done.state}")
                rows = rows or sum(c["created"] for c in done.counts.values())
        return statistics.mean(times["district"]), statistics.mean(times["changes"]), rows
    finally:
        await db.close()


async def _district(db: Database) -> tuple[UUID, UUID]:
    """A district with a source and one grant."""
    district, source = new_id(), new_id()
    async with db.shared() as tx:
        app = await apps.create(tx, new_id(), str(district))
    async with db.district(district) as tx:
        await districts.create(tx, "bench")
        await sources.create(tx, source, name="bench", kind="oneroster_csv", config={})
        await grants.create(tx, app.app_id, GrantDefinition(), SystemClock().now())
    return district, source


async def _request(db: Database, district: UUID, source: UUID, package: bytes) -> UUID:
    upload, run_id = new_id(), new_id()

    async def chunks() -> AsyncIterator[bytes]:
        yield package

    async with db.district(district) as tx:
        await uploads.begin(tx, upload, source_id=source, filename="district.zip")
    size, sha256 = await uploads.receive(db, district, upload, chunks(), limit=1 << 40)
    async with db.district(district) as tx:
        await uploads.complete(tx, upload, size=size, sha256=sha256)
        await runs.request(tx, run_id, source_id=source, upload_id=upload, dry_run=False, requested_by="bench")
    return run_id
