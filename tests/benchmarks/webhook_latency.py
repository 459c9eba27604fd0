"""From the commit of a small sync to the signed webhook at an idle receiver, and how fast a backlog drains.

``hub worker`` syncs and delivers, as in production; this process uploads packages and receives. The PostgreSQL server
is durable, and says itself when a transaction was committed.
"""

from __future__ import annotations

import asyncio
import os
import statistics
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from uuid import UUID

import aiohttp
import asyncpg

from hub.crypto import column_key
from hub.embedded import EmbeddedPostgres, EmbeddedRedis
from hub.settings import WORKER_ROLE, role_password, role_passwords, role_url
from hub.store.database import SCHEMA, Database
from hub.store.migrate import migrate
from hub.webhooks import subscriptions
from hub.worker.doorbell import Doorbell
from tests.benchmarks.result import Result
from tests.districts import District, changed, sandbox
from tests.fakes.feeds import feeds
from tests.fakes.receiver import Receiver, receiver
from tests.services import MASTER_KEY
from tests.webhooks.conftest import ALLOW

SYNCS = 100
BACKLOG = 20_000
ROOT = Path(__file__).parents[2]


def run(students: int) -> list[Result]:
    """Measures; the size of the district has no part in it."""
    del students
    with tempfile.TemporaryDirectory(prefix="rosterhub-bench-") as name:
        folder = Path(name)
        folder.chmod(0o711)
        told = {"track_commit_timestamp": "on"}
        with EmbeddedPostgres(folder / "pg", settings=told) as server, EmbeddedRedis(folder / "redis") as redis:
            return asyncio.run(_measure(server.url(), redis.url()))


async def _measure(owner_url: str, redis_url: str) -> list[Result]:
    await migrate(owner_url, passwords=role_passwords(MASTER_KEY))
    owner = await asyncpg.connect(owner_url, server_settings={"search_path": SCHEMA})
    db = await Database.open(role_url(owner_url, WORKER_ROLE, role_password(MASTER_KEY, WORKER_ROLE)), name="benchmark")
    async with receiver() as there, receiver() as bare:
        async with worker(owner_url, redis_url, HUB_WEBHOOK_ALLOW="127.0.0.0/8"):
            waits = await _latencies(owner, db, Doorbell(redis_url), there)
            drained, posts = await _drain(owner_url, db)
        floors = await _floor(owner_url, bare)
    await db.close()
    await owner.close()
    note = f"{SYNCS} syncs, slowest {max(waits):.0f} ms"
    return [
        Result("commit of a small sync to webhook, p50", statistics.median(waits), statistics.median(floors), "ms"),
        Result("commit of a small sync to webhook, p99", _p99(waits), _p99(floors), "ms", 1000, 200, "ours", note),
        Result("backlog drained", BACKLOG / drained, None, "changes/s", note=f"one subscription, {posts} posts"),
    ]


def _p99(values: list[float]) -> float:
    return statistics.quantiles(values, n=100)[98]


@asynccontextmanager
async def worker(owner_url: str, redis_url: str, **settings: str) -> AsyncIterator[asyncio.subprocess.Process]:
    """``hub worker`` as a process."""
    settings |= {
        "HUB_DATABASE_URL": owner_url, "HUB_REDIS_URL": redis_url, "HUB_MASTER_KEY": MASTER_KEY.decode(),
        "PATH": os.defpath, "PYTHONPATH": str(ROOT),
    }  # fmt: skip
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "hub.cli", "worker", env=settings, cwd=ROOT, stderr=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.DEVNULL,
    )  # fmt: skip
    try:
        yield process
    finally:
        if process.returncode is None:
            process.terminate()
        await process.wait()


async def _latencies(owner: Any, db: Database, bell: Doorbell, there: Receiver) -> list[float]:
    """Milliseconds from each commit to its request: a district in which one name after the other changes."""
    district = await District(db).create()
    frames = sandbox(students=500).frames
    first = await district.request(frames)
    await bell.wake("sync", district.district_id)
    await _applied(owner, first)
    grant = await district.grant()
    await _subscribe(db, district.district_id, grant.grant_id, there)
    to_wall = time.time() - time.monotonic()
    waits = []
    for number in range(SYNCS):
        before = len(there.received)
        frames = changed(frames, "users", frames["users"]["sourcedId"][number], givenName=f"Ana {number}")
        run_id = await district.request(frames)
        await bell.wake("sync", district.district_id)
        got = await there.wait_for(before + 1, 60)
        waits.append((got[before].at + to_wall - await _applied(owner, run_id)) * 1000)
        await asyncio.sleep(0.05)
    await bell.close()
    return waits


async def _applied(owner: Any, run_id: UUID) -> float:
    """When a run was committed, in seconds since 1970."""
    query = (
        "SELECT extract(epoch FROM pg_xact_commit_timestamp(xmin)) FROM runs WHERE run_id = $1 AND state = 'applied'"
    )
    async with asyncio.timeout(60):
        while (at := await owner.fetchval(query, run_id)) is None:
            await asyncio.sleep(0.01)
    return float(at)


async def _subscribe(db: Database, district: UUID, grant: UUID, there: Receiver) -> None:
    async with db.district(district) as tx:
        await subscriptions.create(tx, grant_id=grant, url=there.url, key=column_key(MASTER_KEY), allow=ALLOW)


async def _drain(owner_url: str, db: Database) -> tuple[float, int]:
    """Seconds and posts until one subscription has everything of a large change."""
    async with feeds(owner_url) as writer, receiver() as there:
        district = await writer.district()
        grant = await writer.grant(district)
        await writer.records(district, "users", BACKLOG)
        await _subscribe(db, district, grant, there)
        position = await writer.move(district, grant, updated=range(BACKLOG))
        started = time.monotonic()
        await writer.announce(district)
        got = await there.until(lambda all_: bool(all_) and _whole(all_[-1].data, position), 300)
        return got[-1].at - started, len(got)


def _whole(data: dict[str, Any], position: int) -> bool:
    return bool(data["to"] == position and not data["more"])


async def _floor(owner_url: str, bare: Receiver) -> list[float]:
    """Milliseconds from a commit to a request of somebody who only listens and posts: no feed, no signature."""
    listener, writer = await asyncpg.connect(owner_url), await asyncpg.connect(owner_url)
    heard: asyncio.Queue[str] = asyncio.Queue()
    await listener.add_listener("floor", lambda *told: heard.put_nowait(told[-1]))

    async def post() -> None:
        async with aiohttp.ClientSession() as session:
            while True:
                async with session.post(bare.url, data=await heard.get()):
                    pass

    posting = asyncio.create_task(post())
    waits = []
    for number in range(SYNCS):
        await writer.execute("SELECT pg_notify('floor', $1)", str(number))
        committed = time.monotonic()
        got = await bare.wait_for(number + 1, 60)
        waits.append((got[-1].at - committed) * 1000)
        await asyncio.sleep(0.02)
    posting.cancel()
    await asyncio.gather(posting, return_exceptions=True)
    await listener.close()
    await writer.close()
    return waits
