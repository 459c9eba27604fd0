"""From the commit of a small change to the signed webhook at an idle receiver, and how fast a backlog drains.

A worker process delivers, as in production; this process commits and receives. The PostgreSQL server is durable.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from uuid import UUID

from hub.crypto import column_key
from hub.embedded import EmbeddedPostgres
from hub.settings import WORKER_ROLE, role_password, role_passwords, role_url
from hub.store.database import Database
from hub.store.migrate import migrate
from hub.webhooks import subscriptions
from tests.benchmarks.result import Result
from tests.fakes.feeds import Feeds, feeds
from tests.fakes.receiver import Receiver, receiver
from tests.services import MASTER_KEY
from tests.webhooks.conftest import ALLOW

COMMITS = 200
BACKLOG = 20_000
ROOT = Path(__file__).parents[2]


def run(students: int) -> list[Result]:
    """Measures; the size of the district has no part in it."""
    del students
    with _postgres() as url:
        return asyncio.run(_measure(url))


@contextmanager
def _postgres() -> Iterator[str]:
    folder = Path(tempfile.mkdtemp(prefix="rosterhub-bench-"))
    folder.chmod(0o711)
    try:
        with EmbeddedPostgres(folder / "server") as server:
            yield server.url()
    finally:
        shutil.rmtree(folder)


@asynccontextmanager
async def _worker(owner_url: str) -> AsyncIterator[str]:
    """A worker process; the address that it logs in by."""
    url = role_url(owner_url, WORKER_ROLE, role_password(MASTER_KEY, WORKER_ROLE))
    settings = {
        "HUB_DATABASE_URL": owner_url, "HUB_MASTER_KEY": MASTER_KEY.decode(), "HUB_WEBHOOK_ALLOW": "127.0.0.0/8",
        "PATH": os.defpath, "PYTHONPATH": str(ROOT),
    }  # fmt: skip
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.webhooks.worker", url, "", env=settings, cwd=ROOT
    )
    try:
        yield url
    finally:
        process.terminate()
        await process.wait()


async def _measure(owner_url: str) -> list[Result]:
    await migrate(owner_url, passwords=role_passwords(MASTER_KEY))
    async with feeds(owner_url) as writer, receiver() as there, _worker(owner_url) as url:
        db = await Database.open(url, name="benchmark")
        district = await writer.district()
        grant = await writer.grant(district)
        await writer.records(district, "users", BACKLOG)
        async with db.district(district) as tx:
            await subscriptions.create(tx, grant_id=grant, url=there.url, key=column_key(MASTER_KEY), allow=ALLOW)
        await db.close()
        waits = await _latencies(writer, there, district, grant)
        seconds, posts = await _drain(writer, there, district, grant)
    p50, p99 = statistics.median(waits), statistics.quantiles(waits, n=100)[98]
    note = f"{COMMITS} commits, slowest {max(waits):.0f} ms"
    return [
        Result("commit to webhook, p50", p50, None, "ms", "", "", note),
        Result("commit to webhook, p99", p99, None, "ms", "<= 1000", "<= 200", note),
        Result("backlog drained", BACKLOG / seconds, None, "changes/s", "", "", f"one subscription, {posts} posts"),
    ]


async def _latencies(writer: Feeds, there: Receiver, district: UUID, grant: UUID) -> list[float]:
    """Milliseconds from the commit to the request, one change at a time."""
    waits = []
    for number in range(COMMITS + 10):
        await writer.move(district, grant, updated=[number % 100])
        committed = time.monotonic()
        await writer.announce(district)
        got = await there.wait_for(number + 1, 60)
        waits.append((got[-1].at - committed) * 1000)
        await asyncio.sleep(0.02)
    return waits[10:]  # the first ones wait for the worker to start


async def _drain(writer: Feeds, there: Receiver, district: UUID, grant: UUID) -> tuple[float, int]:
    """Seconds and posts until one subscription has everything of a large change."""
    before = len(there.received)
    position = await writer.move(district, grant, updated=range(BACKLOG))
    started = time.monotonic()
    await writer.announce(district)
    got = await there.until(lambda all_: all_[-1].data["to"] == position and not all_[-1].data["more"], 300)
    return got[-1].at - started, len(got) - before
