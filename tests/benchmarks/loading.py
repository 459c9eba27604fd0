"""First load and re-sync of a district, against COPY and against reading and hashing the same files.

Ours runs in a process of its own, so that its peak memory is that of the sync; server and floor are the same machine in
the same run.
"""

from __future__ import annotations

import asyncio
import io
import json
import resource
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import asyncpg
import polars as pl

from hub.clock import SystemClock
from hub.embedded import EmbeddedPostgres
from hub.sandbox import DistrictPlan, write_sandbox
from hub.scope.grants import GrantDefinition
from hub.settings import role_passwords, role_url
from hub.store import apps, districts, grants, runs, sources, uploads
from hub.store.database import Database
from hub.store.migrate import migrate
from hub.sync import grants as granting
from hub.sync.engine import work_once
from tests.benchmarks.result import Result

KEY = b"a key that only the benchmarks use"
GB = 1e9


def run(students: int) -> list[Result]:
    """First load, unchanged files, re-ordered files, one per cent changed; peak memory."""
    with tempfile.TemporaryDirectory(prefix="rosterhub-bench-") as name:
        folder = Path(name)
        folder.chmod(0o711)
        plan = DistrictPlan(students=students, seed=1, changes=True, change_percent=1.0)
        write_sandbox(folder, plan)
        with zipfile.ZipFile(folder / "district.zip") as archive:
            archive.extractall(folder / "csv")
        _reorder(folder)
        with EmbeddedPostgres(folder / "pg") as server:
            files = [p for p in sorted((folder / "csv").glob("*.csv")) if p.name != "manifest.csv"]
            copy = asyncio.run(copy_floor(server.url(), files))
            found = _ours(server.url(), folder)
        return _results(students, found, copy, _best(lambda: hash_floor(folder / "csv")))


def _results(students: int, found: dict[str, Any], copy: float, hashed: float) -> list[Result]:
    limits = ("<= 0.6 GB", "<= 0.4 GB") if students <= 50_000 else ("<= 3 GB", "<= 2 GB")
    first = f"{found['rows']:,} rows; stages {found['first_stages']}"
    note = f"state: {found['same_state']}"
    return [
        Result("first load, file to served views", found["first"], copy, "s", "<= 8x", "<= 4x", first),
        Result("re-sync of the unchanged files", found["same"], hashed, "s", "<= 4x", "<= 2x", note),
        Result("re-sync of the same rows in another order", found["other"], hashed, "s", "", "", found["other_state"]),
        Result("sync of a file with 1 % changes", found["changed"], copy, "s", "", "", found["changed_state"]),
        Result("peak memory of the sync process", found["rss"], None, "GB", *limits),
    ]


def _best(measure: Any, times: int = 3) -> float:
    return min(measure() for _ in range(times))


def _reorder(folder: Path) -> None:
    """The same rows in the opposite order, as a package of its own."""
    with zipfile.ZipFile(folder / "reordered.zip", "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        for path in sorted((folder / "csv").iterdir()):
            head, *rows = path.read_bytes().splitlines(keepends=True)
            archive.writestr(
                path.name, b"".join([head, *reversed(rows)]) if path.name != "manifest.csv" else head + b"".join(rows)
            )


def _ours(url: str, folder: Path) -> dict[str, Any]:
    """Runs this module as a process."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.benchmarks.loading", url, str(folder)], stdout=subprocess.PIPE, check=True
    )
    found: dict[str, Any] = json.loads(done.stdout)
    return found


async def copy_floor(url: str, files: list[Path]) -> float:
    """Seconds to COPY the files into plain logged text tables and to add a primary key on sourcedId."""
    connection = await asyncpg.connect(url)
    await connection.execute("CHECKPOINT")
    total = 0.0
    for path in files:
        header, rows = await asyncio.to_thread(_unique_rows, path)
        columns = ", ".join(f'"{c}" text' for c in header)
        table = f"floor_{path.stem.lower()}"
        await connection.execute(f"CREATE TABLE {table} ({columns})")
        started = time.perf_counter()
        await connection.copy_to_table(table, source=rows, format="csv")
        await connection.execute(f'ALTER TABLE {table} ADD PRIMARY KEY ("{header[0]}")')
        total += time.perf_counter() - started
        await connection.execute(f"DROP TABLE {table}")
    await connection.close()
    return total


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


def hash_floor(folder: Path) -> float:
    """Seconds to read all files as text with Polars and to hash their rows."""
    started = time.perf_counter()
    for path in folder.glob("*.csv"):
        frame = pl.read_csv(path, infer_schema=False, encoding="utf8-lossy", truncate_ragged_lines=True)
        frame.hash_rows()
    return time.perf_counter() - started


async def _measure(url: str, folder: Path) -> dict[str, Any]:
    passwords = role_passwords(KEY)
    await migrate(url, passwords=passwords)
    db = await Database.open(role_url(url, "hub_worker", passwords["hub_worker"]), name="bench")
    district, source, out = uuid4(), uuid4(), {}
    async with db.shared() as tx:
        app = await apps.create(tx, uuid4(), "bench")
    async with db.district(district) as tx:
        await districts.create(tx, "bench")
        await sources.create(tx, source, name="bench", kind="oneroster_csv", config={})
        grant, _ = await granting.create(tx, app.app_id, GrantDefinition(), SystemClock().now())
    for name, file in (("first", "district"), ("same", "district"), ("other", "reordered"), ("changed", "changes")):
        started = time.perf_counter()
        state = await _sync(db, district, source, folder / f"{file}.zip")
        async with db.district(district) as tx:
            await grants.views(tx, grant.grant_id)
            await tx.fetch(
                "SELECT doc FROM users WHERE district_id = $1 AND rid = ANY($2::int[])", district, list(range(100))
            )
        out[name] = time.perf_counter() - started
        out[f"{name}_state"], out[f"{name}_stages"] = state.state, state.timings
        if name == "first":
            out["rows"] = sum(c["created"] for c in state.counts.values())
    await db.close()
    out["rss"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / GB
    return out


async def _sync(db: Database, district: Any, source: Any, package: Path) -> runs.Run:
    upload, run_id = uuid4(), uuid4()

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


if __name__ == "__main__":
    sys.stdout.write(json.dumps(asyncio.run(_measure(sys.argv[1], Path(sys.argv[2])))))
