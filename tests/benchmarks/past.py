"""What the past costs: bytes of history for each changed record, and a district as it was some hundred positions ago.

The floor is the same question about now. History is compared with other forms of the same images: changed members only,
and images that are compressed one by one.
"""

from __future__ import annotations

import asyncio
import random
import statistics
import tempfile
import time
import zlib
from collections.abc import Awaitable, Callable
from pathlib import Path
from uuid import UUID

import orjson
from pyroaring import BitMap

from hub.clock import SystemClock
from hub.embedded import EmbeddedPostgres
from hub.export import asof
from hub.export.package import Package
from hub.sandbox import DistrictPlan, write_sandbox
from hub.settings import role_passwords, role_url
from hub.store import districts, staging
from hub.store.database import Database, Transaction
from hub.sync import lives
from tests.benchmarks.pages import KEY, prepare
from tests.benchmarks.result import Result
from transforms.catalogue import CATALOGUE

POSITIONS, CHANGED = 300, {"users": 60, "enrollments": 240}
ROUNDS = 3


def run(students: int) -> list[Result]:
    """Bytes per changed record in three forms; pages and whole packages, then and now."""
    with tempfile.TemporaryDirectory(prefix="rosterhub-bench-") as name:
        folder = Path(name)
        folder.chmod(0o711)
        write_sandbox(folder, DistrictPlan(students=students, seed=1, dirt=0))
        with EmbeddedPostgres(folder / "pg") as server:
            return asyncio.run(_measure(server.url(), folder / "district.zip"))


async def _measure(owner_url: str, package: Path) -> list[Result]:
    district = (await prepare(owner_url, package))["all fields"][0]
    db = await Database.open(role_url(owner_url, "hub_worker", role_passwords(KEY)["hub_worker"]), name="bench")
    async with db.district(district) as tx:
        before = await tx.fetchval("SELECT position FROM districts WHERE district_id = $1", district)
    empty = await _size(db, district)
    for number in range(POSITIONS):
        await _change(db, district, number)
    images = POSITIONS * sum(CHANGED.values())
    stored = (await _size(db, district) - empty) / images
    deltas, packed = await _forms(db, district)
    now = before + POSITIONS
    results = [
        Result("history, bytes a changed record with its index", stored, None, "B", note=f"{images:,} images"),
        Result("the same as changed members alone", deltas, stored, "B"),
        Result("the same with each image compressed", packed, stored, "B"),
    ]
    for what, work, floor in (("page of 500 users", _page, _page), ("whole package", _package, _today)):
        then = await _median(db, district, work, before)
        today = await _median(db, district, floor, now)
        results.append(Result(f"{what}, {POSITIONS} positions ago", then, today, "s", 4, 2))
    await db.close()
    return results


async def _size(db: Database, district: UUID) -> int:
    async with db.district(district) as tx:
        size: int = await tx.fetchval("SELECT pg_total_relation_size('history')")
    return size


async def _change(db: Database, district: UUID, number: int) -> None:
    """A position at which some records get another time and another word."""
    chance = random.Random(number)
    async with db.district(district, wait_seconds=30) as tx:
        await districts.lock(tx)
        position, rows = await districts.draw_position(tx), []
        for name, count in CHANGED.items():
            entity = CATALOGUE[name]
            size = await tx.fetchval(f"SELECT max(rid) FROM {entity.table} WHERE district_id = $1", district)
            rids = sorted(chance.sample(range(size), count))
            await staging.keep_history(tx, entity, rids, position)
            text = 'replace(doc, \'"givenName":"\', \'"givenName":"X\')'
            await tx.execute(
                f"UPDATE {entity.table} SET doc = {text}, date_last_modified = now() "
                "WHERE district_id = $1 AND rid = ANY($2::integer[])", district, rids,
            )  # fmt: skip
            touched = BitMap(rids).serialize()
            nothing = BitMap().serialize()
            rows.append((name, nothing, touched, nothing))
        await staging.keep_changes(tx, position, None, SystemClock().now(), rows)


async def _forms(db: Database, district: UUID) -> tuple[float, float]:
    """Bytes of an image as a JSON object of one changed member, and as a compressed row; both with a row's overhead."""
    async with db.district(district) as tx:
        rows = await tx.fetch("SELECT doc, doc_private, image FROM history ORDER BY random() LIMIT 2000")
        index = await tx.fetchval("SELECT pg_indexes_size('history')::float / count(*) FROM history")
    overhead = 24 + 4 + 16 + 12 + 4 + 8 + 1 + 8 + index  # header, item, district, entity, rid, position, active, time
    delta = statistics.mean(len(orjson.dumps({"givenName": "Xxxxxxx", "given_name": "Xxxxxxx"})) for _ in rows)
    packed = statistics.mean(
        len(zlib.compress(orjson.dumps([row["doc"], row["doc_private"], row["image"]]), 6)) for row in rows
    )
    return delta + overhead, packed + overhead


async def _median(
    db: Database, district: UUID, work: Callable[[Transaction, int], Awaitable[None]], position: int
) -> float:
    taken = []
    for _ in range(ROUNDS):
        async with db.district(district, readonly=True, wait_seconds=30) as tx:
            start = time.perf_counter()
            await work(tx, position)
            taken.append(time.perf_counter() - start)
    return statistics.median(taken)


async def _page(tx: Transaction, position: int) -> None:
    assert len(await lives.records_at(tx, CATALOGUE["users"], position, after=10_000, limit=500)) == 500


async def _today(tx: Transaction, position: int) -> None:
    made = Package(tx, await asof.view(tx, position), asof.order("1.2"))
    async for _ in made.chunks():
        pass


async def _package(tx: Transaction, position: int) -> None:
    made = await asof.package(tx, position, "1.2")
    async for _ in made.chunks():
        pass
