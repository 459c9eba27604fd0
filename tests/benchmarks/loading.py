"""First load and re-sync of a district, against COPY and against reading and hashing the same files.

Ours runs in a process of its own, so that its peak memory is that of the sync. Up to 100,000 students all is done three
times, ours and the floor by turns, so that whatever else the machine does hits both; the medians are compared.
"""

from __future__ import annotations

import asyncio
import io
import json
import statistics
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any
from uuid import UUID

import asyncpg
import polars as pl

from hub.allocator import give_back_freed_memory
from hub.clock import SystemClock
from hub.collector import settle
from hub.embedded import EmbeddedPostgres
from hub.ids import new_id
from hub.sandbox import DistrictPlan, write_sandbox
from hub.scope.grants import GrantDefinition
from hub.settings import role_passwords, role_url
from hub.store import apps, districts, grants, runs, sources, uploads
from hub.store.database import Database
from hub.store.migrate import migrate
from hub.sync import grants as granting
from hub.sync.engine import work_once
from tests.benchmarks import meter
from tests.benchmarks.result import Result

KEY = b"a key that only the benchmarks use"
Found = dict[str, Any]


def run(students: int) -> list[Result]:
    """First load, unchanged files, re-ordered files, one per cent changed; peak memory."""
    with tempfile.TemporaryDirectory(prefix="rosterhub-bench-") as name:
        folder = Path(name)
        folder.chmod(0o711)
        write_sandbox(folder, DistrictPlan(students=students, seed=1, changes=True, change_percent=1.0))
        extracted(folder)
        reorder(folder)
        files = [p for p in sorted((folder / "csv").glob("*.csv")) if p.name != "manifest.csv"]
        with EmbeddedPostgres(folder / "pg") as server:
            asyncio.run(migrate(server.url(), passwords=role_passwords(KEY)))
            floors, ours = [], []
            for _ in range(3 if students <= 100_000 else 1):
                floors.append(asyncio.run(copy_floor(server.url(), files)) | child("read", str(folder)))
                ours.append(child("sync", server.url(), str(folder)))
        return _results(students, _median(ours), _median(floors))


def _results(students: int, ours: Found, floor: Found) -> list[Result]:
    must, aim = (0.6, 0.4) if students <= 50_000 else (3, 2)
    first = f"{ours['rows']:,} rows; CPU {ours['first_cpu']:.1f} s against {floor['copy_cpu']:.1f} s"
    same = f"rows written: {ours['same_written']:.0f}"
    return [
        Result("first load, file to served views", ours["first"], floor["copy"], "s", 8, 4, note=first),
        Result("re-sync of the unchanged files", ours["same"], floor["hash"], "s", 4, 2, note=same),
        Result("peak memory of first load and re-sync", ours["peak"], floor["peak"], "GB", must, aim, "ours"),
        Result("re-sync of the same rows in another order", ours["other"], floor["hash"], "s"),
        Result("sync of a file with 1 % changes", ours["changed"], floor["copy"], "s"),
        Result("peak memory of those two", ours["later_peak"], floor["peak"], "GB"),
    ]


def _median(rounds: list[Found]) -> Found:
    return {name: statistics.median(found[name] for found in rounds) for name in rounds[0]}


def extracted(folder: Path) -> None:
    """The files of the district's package, loose."""
    with zipfile.ZipFile(folder / "district.zip") as archive:
        archive.extractall(folder / "csv")


def reorder(folder: Path) -> None:
    """The same rows in the opposite order, as a package of its own."""
    with zipfile.ZipFile(folder / "reordered.zip", "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        for path in sorted((folder / "csv").iterdir()):
            head, *rows = path.read_bytes().splitlines(keepends=True)
            archive.writestr(
                path.name, b"".join([head, *reversed(rows)]) if path.name != "manifest.csv" else head + b"".join(rows)
            )


def child(*arguments: str) -> Found:
    """Runs a part of this module as a process; what it measured."""
    command = [sys.executable, "-m", "tests.benchmarks.loading", *arguments]
    found: Found = json.loads(subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout)
    return found


async def copy_floor(url: str, files: list[Path]) -> Found:
    """Seconds to COPY the files into plain logged text tables and to add a primary key on sourcedId."""
    server = await meter.postmaster(url)
    connection = await asyncpg.connect(url)
    await connection.execute("CHECKPOINT")
    total = cpu = 0.0
    for path in files:
        header, rows = await asyncio.to_thread(_unique_rows, path)
        columns = ", ".join(f'"{c}" text' for c in header)
        table = f"floor_{path.stem.lower()}"
        await connection.execute(f"CREATE TABLE {table} ({columns})")
        started, cpu_before = time.perf_counter(), meter.process_seconds() + meter.server_seconds(server)
        await connection.copy_to_table(table, source=rows, format="csv")
        await connection.execute(f'ALTER TABLE {table} ADD PRIMARY KEY ("{header[0]}")')
        total += time.perf_counter() - started
        cpu += meter.process_seconds() + meter.server_seconds(server) - cpu_before
        await connection.execute(f"DROP TABLE {table}")
    await connection.close()
    return {"copy": total, "copy_cpu": cpu}


def _unique_rows(path: Path) -> tuple[list[str], io.BytesIO]:
    """Header and data rows that a primary key can take: without planted duplicates and bytes that are no UTF-8."""
    text = path.read_bytes().decode("utf-8", errors="replace").removeprefix("\ufeff")
    header, *lines = text.splitlines(keepends=True)
    seen: set[str] = set()
    kept = []
    for line in lines:
        key = line.split(",", 1)[0]
        if key and key not in seen:
            seen.add(key)
            kept.append(line)
    return [c.strip().strip('"') for c in header.split(",")], io.BytesIO("".join(kept).encode())


def read_floor(folder: Path) -> Found:
    """Seconds to read all files as text with Polars and to hash their rows, and the memory that this takes."""
    times = []
    for _ in range(3):
        started = time.perf_counter()
        for path in (folder / "csv").glob("*.csv"):
            frame = pl.read_csv(path, infer_schema=False, encoding="utf8-lossy", truncate_ragged_lines=True)
            frame.hash_rows()
        times.append(time.perf_counter() - started)
    return {"hash": statistics.median(times), "peak": meter.peak_gigabytes()}


async def sync(url: str, folder: Path) -> Found:
    """What a worker needs for a new district: its first load, the same again, another order, a change."""
    db = await Database.open(role_url(url, "hub_worker", role_passwords(KEY)["hub_worker"]), name="bench")
    district, source = new_id(), new_id()
    async with db.shared() as tx:
        app = await apps.create(tx, new_id(), str(district))
    async with db.district(district) as tx:
        await districts.create(tx, "bench")
        await sources.create(tx, source, name="bench", kind="oneroster_csv", config={})
        grant, _ = await granting.create(tx, app.app_id, GrantDefinition(), SystemClock().now())

    async def once(package: str) -> tuple[float, runs.Run]:
        started = time.perf_counter()
        done = await carry_out(db, district, source, folder / f"{package}.zip")
        async with db.district(district) as tx:
            await grants.views(tx, grant.grant_id)
            await tx.fetch("SELECT doc FROM users WHERE district_id = $1 AND rid = ANY($2::int[])", district, _PAGE)
        return time.perf_counter() - started, done

    server, out = await meter.postmaster(url), Found()
    before = meter.process_seconds() + meter.server_seconds(server)
    meter.forget_peak()
    out["first"], done = await once("district")
    out["first_cpu"] = meter.process_seconds() + meter.server_seconds(server) - before
    out["rows"] = sum(c["created"] for c in done.counts.values())
    again = [await once("district") for _ in range(3)]
    out["same"] = statistics.median(seconds for seconds, _ in again)
    out["same_written"] = sum(_written(done) for _, done in again)
    out["peak"] = meter.peak_gigabytes()
    meter.forget_peak()
    out["other"], done = await once("reordered")
    _expect(done.state == "unchanged", "another order of the rows changed something")
    out["changed"], done = await once("changes")
    _expect(done.state == "applied", "the changes were not applied")
    out["later_peak"] = meter.peak_gigabytes()
    await db.close()
    return out


_PAGE = list(range(100))


def _written(done: runs.Run) -> int:
    """Records that a run wrote: none when it found the package unchanged."""
    return sum(c[kind] for c in done.counts.values() for kind in ("created", "updated", "deleted"))


def _expect(condition: bool, otherwise: str) -> None:
    if not condition:
        raise RuntimeError(otherwise)


async def carry_out(db: Database, district: UUID, source: UUID, package: Path) -> runs.Run:
    """Uploads a package and carries out its run."""
    upload, run_id = new_id(), new_id()

    async def chunks() -> AsyncIterator[bytes]:
        with package.open("rb") as file:
            while chunk := file.read(1 << 20):
                yield chunk

    async with db.district(district) as tx:
        await uploads.begin(tx, upload, source_id=source, filename=package.name)
    size, sha256 = await uploads.receive(db, district, upload, chunks(), limit=1 << 40)
    async with db.district(district) as tx:
        await uploads.complete(tx, upload, size=size, sha256=sha256)
        await runs.request(tx, run_id, source_id=source, upload_id=upload, dry_run=False, requested_by="bench")
    await work_once(db, SystemClock())
    async with db.district(district) as tx:
        return await runs.get(tx, run_id)


PARTS: dict[str, Callable[..., Found]] = {
    "read": lambda folder: read_floor(Path(folder)),
    "sync": lambda url, folder: asyncio.run(sync(url, Path(folder))),
}

if __name__ == "__main__":
    settle()  # as hub.app does
    give_back_freed_memory()
    sys.stdout.write(json.dumps(PARTS[sys.argv[1]](*sys.argv[2:])))
