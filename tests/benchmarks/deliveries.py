"""How fast webhooks go out: against a client that only posts, a million changes to fifty receivers, and with faults.

``hub worker`` delivers, as in production; the receivers are processes of their own. PostgreSQL is durable.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import os
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from uuid import UUID

import aiohttp

from hub.embedded import EmbeddedPostgres
from hub.settings import WORKER_ROLE, role_password, role_passwords, role_url
from hub.store.database import Database
from hub.store.migrate import migrate
from hub.webhooks import subscriptions
from tests.benchmarks.result import Result
from tests.benchmarks.sink import Sink, sink
from tests.benchmarks.webhook_latency import worker
from tests.fakes.feeds import Feeds, feeds
from tests.services import MASTER_KEY
from tests.webhooks.conftest import ALLOW, KEY

DISTRICTS = 10
EACH = 5
CHANGES = int(os.environ.get("BENCH_DELIVERIES_CHANGES", "20000"))
ALL = DISTRICTS * EACH * CHANGES
#: Whatever goes wrong, it ends.
LONGEST = 1200.0
LIMITS = {"HUB_WEBHOOK_ALLOW": "127.0.0.0/8", "HUB_WORKER_POOL_SIZE": "16"}


def run(students: int) -> list[Result]:
    """Measures; the size of the district has no part in it."""
    del students
    with tempfile.TemporaryDirectory(prefix="rosterhub-bench-") as name:
        folder = Path(name)
        folder.chmod(0o711)
        with EmbeddedPostgres(folder / "pg") as server:
            return asyncio.run(_measure(server.url()))


async def _measure(url: str) -> list[Result]:
    await migrate(url, passwords=role_passwords(MASTER_KEY))
    db = await Database.open(role_url(url, WORKER_ROLE, role_password(MASTER_KEY, WORKER_ROLE)), name="benchmark")
    async with feeds(url) as writer, contextlib.AsyncExitStack() as stack:
        sinks = [await stack.enter_async_context(sink()) for _ in range(2)]
        clean = await _drain(url, db, writer, sinks)
        bare = await _bare(sinks, b"x" * round(clean.bytes / clean.posts), round(clean.posts / 4))
    await db.close()
    size = clean.bytes / clean.posts / 1000
    note = f"{clean.posts} posts of {size:.1f} kB, {clean.rate:.0f}/s; a bare client: {bare.rate:.0f}/s"
    return [
        Result("signed deliveries, time of each", 1000 / clean.rate, 1000 / bare.rate, "ms", 2, 1.25, note=note),
        Result("signed deliveries, CPU of each", clean.cpu_each, bare.cpu_each, "ms", note="of the process alone"),
        Result(f"{ALL:,} changes to {DISTRICTS * EACH} subscriptions", clean.seconds, None, "s", 600, 120, "ours"),
    ]


@dataclass(frozen=True)
class Run:
    """How long a number of posts took, and the CPU seconds of whoever posted them."""

    seconds: float
    posts: int
    bytes: float
    cpu: float

    @property
    def rate(self) -> float:
        """Posts per second."""
        return self.posts / self.seconds

    @property
    def cpu_each(self) -> float:
        """CPU milliseconds of one post."""
        return self.cpu / self.posts * 1000


async def _drain(url: str, db: Database, writer: Feeds, sinks: list[Sink], *, workers: int = 1) -> Run:
    """Until everything has arrived that waits for fifty subscriptions."""
    before = [await one.counts() for one in sinks]
    async with contextlib.AsyncExitStack() as stack:
        running = [
            await stack.enter_async_context(worker(url, "redis://127.0.0.1:1/0", **LIMITS)) for _ in range(workers)
        ]
        districts = await _subscribed(db, writer, sinks)
        cpu, started = _cpu(running), time.monotonic()
        for district in districts:
            await writer.announce(district)
        now = await _arrived(sinks, sum(one["changes"] for one in before) + ALL)
        seconds, cpu = time.monotonic() - started - min(one["ago"] for one in now), _cpu(running) - cpu
    told = {n: sum(one[n] for one in now) - sum(one[n] for one in before) for n in ("taken", "bytes")}
    return Run(seconds, round(told["taken"]), told["bytes"], cpu)


async def _subscribed(db: Database, writer: Feeds, sinks: list[Sink]) -> list[UUID]:
    """Districts with subscriptions, and what waits for each of these, in one commit."""
    turns = itertools.cycle(sinks)
    districts, grants = [], []
    for _ in range(DISTRICTS):
        district = await writer.district()
        districts.append(district)
        await writer.records(district, "users", CHANGES)
        for _ in range(EACH):
            grants.append((district, await writer.grant(district)))
            async with db.district(district) as tx:
                await subscriptions.create(tx, grant_id=grants[-1][1], url=next(turns).url, key=KEY, allow=ALLOW)
    await writer.connection.execute("VACUUM ANALYZE")
    async with writer.connection.transaction():
        for district, grant in grants:
            await writer.move(district, grant, updated=range(CHANGES))
    return districts


async def _arrived(sinks: list[Sink], changes: float) -> list[dict[str, float]]:
    async with asyncio.timeout(LONGEST):
        while True:
            now = [await one.counts() for one in sinks]
            if sum(one["changes"] for one in now) >= changes:
                return now
            await asyncio.sleep(0.25)


def _cpu(running: Sequence[asyncio.subprocess.Process]) -> float:
    """CPU seconds of processes so far."""
    ticks = 0
    for process in running:
        stat = Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()
        ticks += int(stat[11]) + int(stat[12])
    return ticks / os.sysconf("SC_CLK_TCK")


async def _bare(sinks: list[Sink], body: bytes, posts: int) -> Run:
    """A client that posts the same number of bytes and does nothing else, as many at a time as a worker does."""
    left = iter(range(posts))

    async def post(session: aiohttp.ClientSession, there: Sink) -> None:
        for _ in left:
            async with session.post(there.url, data=body, headers={"content-type": "application/json"}) as answer:
                await answer.read()

    async with aiohttp.ClientSession() as session:
        started, cpu = time.monotonic(), time.process_time()
        await asyncio.gather(*(post(session, one) for one in sinks for _ in range(16)))
        return Run(time.monotonic() - started, posts, posts * len(body), time.process_time() - cpu)
