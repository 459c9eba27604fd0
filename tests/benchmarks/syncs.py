"""Syncs of a district that is there: a delta, 1 % of changes seen by 50 grants, a grant's preview, a second source.

Ours runs in a process of its own, a worker's, that has the district's columns from the syncs before.
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
from pathlib import Path
from typing import Any
from uuid import UUID

import polars as pl

from hub.allocator import give_back_freed_memory
from hub.clock import SystemClock
from hub.collector import settle
from hub.embedded import EmbeddedPostgres
from hub.ids import new_id
from hub.sandbox import DistrictPlan, write_sandbox
from hub.scope.grants import GrantDefinition
from hub.settings import role_passwords, role_url
from hub.store import apps, districts, sources
from hub.store.database import Database
from hub.store.migrate import migrate
from hub.sync import grants as granting
from hub.sync import views
from tests.benchmarks.loading import KEY, Found, carry_out
from tests.benchmarks.result import Result

GRANTS = 50
ROWS = 100
STAMP = "2026-09-01T00:00:00.000Z"


def run(students: int) -> list[Result]:
    """A delta of 100 rows, views and feeds of 50 grants, a preview, two sources against one."""
    with tempfile.TemporaryDirectory(prefix="rosterhub-bench-") as name:
        folder = Path(name)
        folder.chmod(0o711)
        write_sandbox(folder, DistrictPlan(students=students, seed=1, changes=True, change_percent=1.0))
        with zipfile.ZipFile(folder / "district.zip") as archive:
            archive.extractall(folder / "csv")
        _delta(folder)
        _staff_system(folder)
        with EmbeddedPostgres(folder / "pg") as server:
            asyncio.run(migrate(server.url(), passwords=role_passwords(KEY)))
            command = [sys.executable, "-m", "tests.benchmarks.syncs", server.url(), str(folder)]
            found: Found = json.loads(subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout)
    note = f"{found['left_in_place']:,.0f} rows stay as they are"
    return [
        Result(f"delta of {ROWS} rows", found["delta"], None, "s", 1.5, 0.3, "ours", note=note),
        Result(f"delta of {ROWS} rows of roles alone", found["roles"], None, "s", 1.5, 0.3, "ours"),
        Result("1 % changed, against the unchanged files row by row", found["changed"], found["same"], "s", 1.6, 1.25),
        Result(f"views and feeds of {GRANTS} grants after 1 %", found["views"], None, "s", 3, 1, "ours"),
        Result("preview of a grant's edit", found["preview"] * 1000, None, "ms", 300, 100, "ours"),
        Result("two sources merged, against one", found["two"], found["one"], "s", 1.8, 1.4),
    ]


def _zipped(path: Path, files: dict[str, bytes]) -> None:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        for name, data in files.items():
            archive.writestr(name, data)


def _manifest(folder: Path, mode: str, *files: str) -> bytes:
    """The district's manifest with these files alone."""
    lines = (folder / "csv" / "manifest.csv").read_text().splitlines()
    names = [line.partition(",")[0] for line in lines]
    said = [
        f"{name},{mode if name.removeprefix('file.') in files else 'absent'}" if name.startswith("file.") else line
        for name, line in zip(names, lines, strict=True)
    ]
    return "\n".join(said).encode()


def _frame(folder: Path, file: str) -> pl.DataFrame:
    return pl.read_csv(
        folder / "csv" / f"{file}.csv", infer_schema=False, encoding="utf8-lossy", truncate_ragged_lines=True
    )


def _csv(frame: pl.DataFrame) -> bytes:
    out = io.BytesIO()
    frame.write_csv(out)
    return out.getvalue()


def _delta(folder: Path) -> None:
    """Packages of changes to some enrollments each, from all over the file."""
    frame = _frame(folder, "enrollments").filter(pl.col("role") == "student").unique("sourcedId", maintain_order=True)
    step = max(1, frame.height // ROWS)
    for number in range(3):
        rows = (
            frame.gather_every(step, offset=number)
            .head(ROWS)
            .with_columns(
                status=pl.lit("active"),
                dateLastModified=pl.lit(STAMP),
                primary=pl.lit("false"),
                endDate=pl.lit("2027-05-31"),
            )
        )
        files = {"manifest.csv": _manifest(folder, "delta", "enrollments"), "enrollments.csv": _csv(rows)}
        _zipped(folder / f"delta{number}.zip", files)
    roles = _frame(folder, "roles").unique("sourcedId", maintain_order=True)
    for number in range(3):
        rows = (
            roles.gather_every(max(1, roles.height // ROWS), offset=number)
            .head(ROWS)
            .with_columns(status=pl.lit("active"), dateLastModified=pl.lit(STAMP), endDate=pl.lit("2027-05-31"))
        )
        files = {"manifest.csv": _manifest(folder, "delta", "roles"), "roles.csv": _csv(rows)}
        _zipped(folder / f"roles{number}.zip", files)


def _staff_system(folder: Path) -> None:
    """What another system says of all users: the same keys, other telephone numbers."""
    users = _frame(folder, "users").with_columns(phone=pl.lit("+12025550123"))
    names = [n for n in ("roles", "userProfiles") if (folder / "csv" / f"{n}.csv").exists()]
    files = {f"{n}.csv": (folder / "csv" / f"{n}.csv").read_bytes() for n in names}
    files |= {"users.csv": _csv(users), "manifest.csv": _manifest(folder, "bulk", "users", *names)}
    _zipped(folder / "staff.zip", files)


async def _district(db: Database) -> tuple[UUID, UUID, UUID]:
    """A new district with two sources of one key space; the second packages hold users only."""
    district, source, other = new_id(), new_id(), new_id()
    async with db.district(district) as tx:
        await districts.create(tx, "bench")
        await sources.create(tx, source, name="SIS", kind="oneroster_csv", config={}, key_space="one")
        await sources.create(
            tx, other, name="HR", kind="oneroster_csv", config={"partial": True}, priority=1, key_space="one"
        )
    return district, source, other


async def _granted(db: Database, district: UUID, definition: GrantDefinition) -> UUID:
    async with db.shared() as tx:
        app = await apps.create(tx, new_id(), str(new_id()))
    async with db.district(district) as tx:
        grant, _ = await granting.create(tx, app.app_id, definition, SystemClock().now())
    return grant.grant_id


async def sync(url: str, folder: Path) -> Found:
    """All measurements, in the order of a district's life."""
    db = await Database.open(role_url(url, "hub_worker", role_passwords(KEY)["hub_worker"]), name="bench")
    district, source, _ = await _district(db)
    out = Found()

    async def timed(package: str) -> tuple[float, Any]:
        started = time.perf_counter()
        done = await carry_out(db, district, source, folder / f"{package}.zip")
        if done.state not in {"applied", "unchanged"}:
            raise RuntimeError(f"{package}: {done.state} {done.error_message} {done.guard}")
        return time.perf_counter() - started, done

    _, done = await timed("district")
    out["left_in_place"] = sum(c["created"] for c in done.counts.values())
    async with db.district(district) as tx:
        schools = [row["sourced_id"] for row in await tx.fetch("SELECT sourced_id FROM orgs WHERE type = 'school'")]
    grant = await _granted(db, district, GrantDefinition())
    roles = [await timed(f"roles{number}") for number in range(3)]
    out["roles"] = statistics.median(seconds for seconds, _ in roles)
    deltas = [await timed(f"delta{number}") for number in range(3)]
    out["delta"] = statistics.median(seconds for seconds, _ in deltas)
    for number in range(GRANTS):
        some = [str(schools[(number + k) % len(schools)]) for k in range(4)]
        await _granted(db, district, GrantDefinition.model_validate({"rules": [{"schools": some}]}))
    out["preview"] = await _previews(db, district, grant, str(schools[0]))
    seen: list[float] = []
    _watch(seen)
    out["changed"], _ = await timed("changes")
    out["views"] = seen[-1]
    async with db.district(district) as tx:  # the same again, and not by the digest of the bytes
        await tx.execute("UPDATE sources SET digest = '', archive = NULL")
    out["same"], _ = await timed("changes")
    await _together(db, folder, out)
    await db.close()
    return out


async def _together(db: Database, folder: Path, out: Found) -> None:
    """One source of a new district, and one more."""
    district, source, other = await _district(db)
    started = time.perf_counter()
    await carry_out(db, district, source, folder / "district.zip")
    out["one"] = time.perf_counter() - started
    done = await carry_out(db, district, other, folder / "staff.zip")
    if done.state != "applied":
        raise RuntimeError(f"{done.state} {done.error_message} {done.guard}")
    out["two"] = time.perf_counter() - started


async def _previews(db: Database, district: UUID, grant: UUID, school: str) -> float:
    edit = GrantDefinition.model_validate({"rules": [{"schools": [school]}]})
    times = []
    for _ in range(5):
        started = time.perf_counter()
        async with db.district(district, readonly=True) as tx:
            await granting.preview(tx, edit, grant)
        times.append(time.perf_counter() - started)
    return statistics.median(times)


def _watch(seen: list[float]) -> None:
    """Notes how long the views of a run take."""
    refresh = views.refresh

    async def watched(*args: Any, **more: Any) -> Any:
        started = time.perf_counter()
        found = await refresh(*args, **more)
        seen.append(time.perf_counter() - started)
        return found

    views.refresh = watched


if __name__ == "__main__":
    settle()  # as hub.app does
    give_back_freed_memory()
    sys.stdout.write(json.dumps(asyncio.run(sync(sys.argv[1], Path(sys.argv[2])))))
