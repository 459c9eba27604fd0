"""How fast webhooks go out: against a client that only posts, a million changes to fifty receivers, and with faults.

``hub worker`` delivers, as in production; the receivers are processes of their own. PostgreSQL is durable.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import os
import random
import statistics
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from uuid import UUID

import aiohttp
import psutil
from aiohttp import web

from hub.embedded import EmbeddedPostgres
from hub.settings import WORKER_ROLE, role_password, role_passwords, role_url
from hub.store.database import Database
from hub.store.migrate import migrate
from hub.webhooks import subscriptions
from tests.benchmarks.meter import postmaster, server_seconds
from tests.benchmarks.result import Result
from tests.benchmarks.sink import Sink, sink
from tests.benchmarks.webhook_latency import worker
from tests.fakes.feeds import Feeds, feeds
from tests.fakes.receiver import receiver
from tests.services import MASTER_KEY
from tests.webhooks.conftest import ALLOW, KEY

DISTRICTS = 10
EACH = 5
CHANGES = int(os.environ.get("BENCH_DELIVERIES_CHANGES", "20000"))
ALL = DISTRICTS * EACH * CHANGES
#: As many at a time to one host as a worker's (HUB_WEBHOOK_HOST_CONCURRENCY).
AT_A_TIME = 16
#: Whatever goes wrong, it ends.
LONGEST = 1200.0
PROBES = 200
#: Syncs that a receiver misses, and the records that each of them changes, of how many.
NIGHTS, A_NIGHT, RECORDS = 30, 200, 5_000
#: After so many seconds a worker is killed.
KILLED_AFTER = 4.0
KILLS = 3
FAULTY = {"HUB_WEBHOOK_TIMEOUT_SECONDS": "1", "HUB_WEBHOOK_LEASE_SECONDS": "3"}
NO_REDIS = "redis://127.0.0.1:1/0"
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
        bad = [await stack.enter_async_context(sink(faults=True)) for _ in range(2)]
        faulty = await _drain(url, db, writer, bad, kills=KILLS)
        whole = await _drain(url, db, writer, bad, kills=KILLS, whole=True)
        both = [
            await _drain(url, db, writer, some, kills=kills, workers=2) for some, kills in ((sinks, 0), (bad, KILLS))
        ]
        idle, beside = await _beside_a_hanging_district(url, db, writer)
        sent, changed = await _caught_up(url, db, writer)
    await db.close()
    size = clean.bytes / clean.posts / 1000
    note = f"{clean.posts} posts of {size:.1f} kB, {clean.rate:.0f}/s; a bare client: {bare.rate:.0f}/s"
    return [
        Result("signed deliveries, time of each", 1000 / clean.rate, 1000 / bare.rate, "ms", 2, 1.25, note=note),
        Result("signed deliveries, CPU of each", clean.cpu_each, bare.cpu_each, "ms", note="of the process alone"),
        Result("signed deliveries, CPU of PostgreSQL", clean.server / clean.posts * 1000, None, "ms"),
        Result(f"{ALL:,} changes to {DISTRICTS * EACH} subscriptions", clean.seconds, None, "s", 600, 120, "ours"),
        Result("the same with 10 % 500s, 2 % hangs, worker kills", faulty.seconds, clean.seconds, "s", 2, 1.3,
               note=f"{faulty.posts} posts; waits after a failure and a time-out of 1 s are part of it"),
        Result("the same where whole workers are killed and started anew", whole.seconds, clean.seconds, "s",
               note="and not a process of theirs alone, which another one follows at once"),
        Result("the same with two workers, of which one is killed", both[1].seconds, both[0].seconds, "s", 2, 1.3),
        Result("one district's receivers all hang, another's p99", beside, idle, "ms", 2, 1.1,
               note=f"{PROBES} changes, one after the other"),
        Result(f"caught up after {NIGHTS} nightly syncs, changes sent", sent, changed, "", 1, 1,
               note=f"floor: records that changed; {NIGHTS * A_NIGHT} changes in all, bodies counted at the receiver"),
    ]  # fmt: skip


@dataclass(frozen=True)
class Run:
    """How long a number of posts took, and the CPU seconds of whoever posted them, and of PostgreSQL for it."""

    seconds: float
    posts: int
    bytes: float
    cpu: float
    server: float = 0

    @property
    def rate(self) -> float:
        """Posts per second."""
        return self.posts / self.seconds

    @property
    def cpu_each(self) -> float:
        """CPU milliseconds of one post."""
        return self.cpu / self.posts * 1000


async def _drain(
    url: str, db: Database, writer: Feeds, sinks: list[Sink], *, kills: int = 0, workers: int = 1, whole: bool = False
) -> Run:  # fmt: skip
    """Until everything has arrived that waits for fifty subscriptions; every few seconds a worker's process is killed.

    It is the worker whose turn it is; ``whole``: that one is killed altogether, and another one starts in its place.
    The processor time is that of the processes which are there at the end.
    """
    before = [await one.counts() for one in sinks]
    limits = LIMITS | FAULTY if kills else LIMITS
    async with contextlib.AsyncExitStack() as stack:
        running = [await stack.enter_async_context(worker(url, NO_REDIS, **limits)) for _ in range(workers)]
        districts = await _subscribed(db, writer, sinks)
        server = await postmaster(url)
        cpu, spent, started = sum(map(_cpu, running)), server_seconds(server), time.monotonic()
        for district in districts:
            await writer.announce(district)
        for _ in range(kills):
            await asyncio.sleep(KILLED_AFTER)
            eldest = running.pop(0)
            at_work = _at_work(eldest)
            if whole:
                eldest.kill()
            for process in at_work:
                process.kill()
            if whole:
                await eldest.wait()
                eldest = await stack.enter_async_context(worker(url, NO_REDIS, **limits))
            running.append(eldest)
        await _settled(writer)
        now = [await one.counts() for one in sinks]
        seconds, cpu = time.monotonic() - started - min(one["ago"] for one in now), sum(map(_cpu, running)) - cpu
        spent = server_seconds(server) - spent
    told = {n: sum(one[n] for one in now) - sum(one[n] for one in before) for n in ("taken", "bytes")}
    return Run(seconds, round(told["taken"]), told["bytes"], cpu, spent)


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


async def _settled(writer: Feeds) -> None:
    """Waits until every subscription has everything. Raises TimeoutError."""
    behind = "SELECT count(*) FROM subscriptions s JOIN grants g USING (grant_id) WHERE s.position < g.steps"
    async with asyncio.timeout(LONGEST):
        while await writer.connection.fetchval(behind):
            await asyncio.sleep(0.25)


async def _beside_a_hanging_district(url: str, db: Database, writer: Feeds) -> tuple[float, float]:
    """The p99 of a change's way to its receiver, in milliseconds: with nothing else to do, and beside hanging ones."""

    async def hang(_request: web.Request) -> web.StreamResponse:
        await asyncio.sleep(3600)
        raise AssertionError

    async with receiver() as good, receiver(hang) as bad, worker(url, NO_REDIS, **LIMITS):
        calm, busy = await writer.district(), await writer.district()
        grants = [await writer.grant(calm)]
        await writer.records(calm, "users", 100)
        await writer.records(busy, "users", 100)
        async with db.district(calm) as tx:
            await subscriptions.create(tx, grant_id=grants[0], url=good.url, key=KEY, allow=ALLOW)
        found = []
        for hanging in (0, 20):
            for _ in range(hanging):
                grant = await writer.grant(busy)
                async with db.district(busy) as tx:
                    await subscriptions.create(tx, grant_id=grant, url=bad.url, key=KEY, allow=ALLOW)
                await writer.move(busy, grant, updated=range(50))
            await writer.announce(busy)
            await asyncio.sleep(2)
            waits = []
            for number in range(PROBES):
                before, started = len(good.received), time.monotonic()
                await writer.move(calm, grants[0], updated=[number % 100])
                await writer.announce(calm)
                got = await good.wait_for(before + 1, 60)
                waits.append((got[before].at - started) * 1000)
                await asyncio.sleep(0.02)
            found.append(statistics.quantiles(waits, n=100)[98])
        assert bad.received
    return found[0], found[1]


async def _caught_up(url: str, db: Database, writer: Feeds) -> tuple[int, int]:
    """What a receiver is told that was down for a month: changes of records, and how many records had changed."""
    chance = random.Random(30)
    district = await writer.district()
    grant = await writer.grant(district)
    await writer.records(district, "users", RECORDS)
    changed: set[int] = set()
    async with receiver() as there:
        async with db.district(district) as tx:
            await subscriptions.create(tx, grant_id=grant, url=there.url, key=KEY, allow=ALLOW)
        for _ in range(NIGHTS):
            night = chance.sample(range(RECORDS), A_NIGHT)
            await writer.move(district, grant, updated=night)
            changed |= set(night)
        async with worker(url, NO_REDIS, **LIMITS):
            await writer.announce(district)
            await there.until(lambda got: bool(got) and got[-1].data["to"] == NIGHTS and not got[-1].data["more"], 120)
    told = [change for got in there.received for change in got.data["changes"] if "sourcedId" in change]
    assert {change["sourcedId"] for change in told} == {writer.ids[district, "users"][rid] for rid in changed}
    return len(told), len(changed)


def _at_work(process: asyncio.subprocess.Process) -> list[psutil.Process]:
    """The processes that a worker keeps."""
    return psutil.Process(process.pid).children()


def _cpu(process: asyncio.subprocess.Process) -> float:
    """CPU seconds so far of the processes that a worker keeps."""
    return sum(sum(one.cpu_times()[:2]) for one in _at_work(process))


async def _bare(sinks: list[Sink], body: bytes, posts: int) -> Run:
    """A client that posts the same number of bytes and does nothing else, as many at a time as a worker does."""
    left = iter(range(posts))

    async def post(session: aiohttp.ClientSession, there: Sink) -> None:
        for _ in left:
            async with session.post(there.url, data=body, headers={"content-type": "application/json"}) as answer:
                await answer.read()

    async with aiohttp.ClientSession() as session:
        started, cpu = time.monotonic(), time.process_time()
        await asyncio.gather(*(post(session, one) for one in sinks for _ in range(AT_A_TIME)))
        return Run(time.monotonic() - started, posts, posts * len(body), time.process_time() - cpu)
