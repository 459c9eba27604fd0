"""A whole package of a district against COPY TO of the stored documents of the same records.

Both are measured in CPU time, ours and PostgreSQL's, in turns. Our bytes are compressed, the floor's are not.
"""

from __future__ import annotations

import asyncio
import statistics
import tempfile
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from uuid import UUID

import psutil

from hub.clock import SystemClock
from hub.crypto import column_key
from hub.embedded import EmbeddedPostgres
from hub.export import making
from hub.export.making import Asked
from hub.sandbox import DistrictPlan, write_sandbox
from hub.settings import role_passwords, role_url
from hub.store.database import Database
from tests.benchmarks.meter import forget_peak, peak_gigabytes, postmaster, process_seconds, server_seconds
from tests.benchmarks.pages import KEY, prepare
from tests.benchmarks.result import Result
from transforms.catalogue import CATALOGUE, Version

ROUNDS = 5
MUST, AIM = 4.0, 2.0
#: Grants of tests.benchmarks.pages and versions. The grant of the first shows what the floor reads.
WANTED: tuple[tuple[str, Version], ...] = (
    ("all fields", "1.2"), ("all fields", "1.1"), ("default fields", "1.2"), ("four schools", "1.2"),
)  # fmt: skip
ROSTER = tuple(e for e in CATALOGUE.of_service("rostering") if e.csv_file)


def run(students: int) -> list[Result]:
    """CPU seconds of bulk packages, their rate by the clock, and the most memory that one needed."""
    with tempfile.TemporaryDirectory(prefix="rosterhub-bench-") as name:
        folder = Path(name)
        folder.chmod(0o711)
        write_sandbox(folder, DistrictPlan(students=students, seed=1, dirt=0))
        with EmbeddedPostgres(folder / "pg") as server:
            return asyncio.run(_measure(server.url(), folder / "district.zip"))


@dataclass(frozen=True, slots=True)
class Taken:
    """What one round took. ``cpu``: seconds of this process and of PostgreSQL."""

    cpu: float
    clock: float
    bytes: int
    rows: int
    gigabytes: float


async def _measure(owner_url: str, package: Path) -> list[Result]:
    grants = await prepare(owner_url, package)
    db = await Database.open(role_url(owner_url, "hub_worker", role_passwords(KEY)["hub_worker"]), name="bench")
    server = await postmaster(owner_url)
    district = grants["all fields"][0]
    async with db.district(district, readonly=True) as tx:
        found = await tx.fetch("SELECT a.name, g.grant_id FROM grants g JOIN apps a USING (app_id)")
    ids = {row["name"]: row["grant_id"] for row in found}
    ways: dict[object, Callable[[], Awaitable[tuple[int, int]]]] = {"floor": lambda: _floor(db, district)}
    for grant, version in WANTED:
        ways[grant, version] = lambda grant=grant, version=version: _ours(db, district, ids[grant], version)
    taken: dict[object, list[Taken]] = {way: [] for way in ways}
    for _ in range(ROUNDS):
        for way, work in ways.items():
            taken[way].append(await _timed(server, work))
    await db.close()
    return _results(taken)


async def _timed(server: psutil.Process, work: Callable[[], Awaitable[tuple[int, int]]]) -> Taken:
    forget_peak()
    before, clock = server_seconds(server) + process_seconds(), time.perf_counter()
    size, rows = await work()
    clock = time.perf_counter() - clock
    return Taken(server_seconds(server) + process_seconds() - before, clock, size, rows, peak_gigabytes())


async def _floor(db: Database, district: UUID) -> tuple[int, int]:
    size = 0

    async def take(data: bytes) -> None:
        nonlocal size
        size += len(data)

    async with db.district(district, readonly=True, wait_seconds=10) as tx:
        for entity in ROSTER:
            query = f"SELECT doc, doc_private FROM {entity.table} WHERE district_id = $1 AND active"
            await tx.connection.copy_from_query(query, district, output=take)
    return size, 0


async def _ours(db: Database, district: UUID, grant_id: UUID, version: Version) -> tuple[int, int]:
    size = 0
    asked = Asked(version, "bulk", frozenset(e.name for e in ROSTER))
    async with db.district(district, readonly=True, wait_seconds=10) as tx:
        made = await making.begin(tx, grant_id, asked, SystemClock().now(), key=column_key(KEY))
        async for chunk in made.package.chunks():
            size += len(chunk)
    return size, sum(made.package.made.rows.values())


def _results(taken: dict[object, list[Taken]]) -> list[Result]:
    floor = statistics.median(one.cpu for one in taken.pop("floor"))
    results = []
    for (grant, version), rounds in taken.items():
        cpu = statistics.median(one.cpu for one in rounds)
        clock = statistics.median(one.clock for one in rounds)
        last = rounds[-1]
        whole = grant == "all fields"
        note = f"{last.rows:,} rows, {last.bytes / 1e6:.1f} MB zip, {clock:.2f} s by the clock"
        name = f"export: bulk {version}, {grant}"
        results.append(
            Result(
                name, cpu, floor if whole else None, "s CPU", MUST if whole else None, AIM if whole else None, note=note
            )
        )
    most = max(one.gigabytes for rounds in taken.values() for one in rounds)
    return [*results, Result("export: most memory", most, None, "GB", note="of the process, PostgreSQL not counted")]
