"""200 subscriptions drain while workers are killed at every point of a delivery and PostgreSQL crashes."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import os
import secrets
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from hub.embedded import EmbeddedPostgres
from hub.errors import HubError
from hub.settings import load, role_passwords
from hub.store.database import Database
from hub.store.migrate import migrate
from hub.worker import run_worker
from tests.conftest import UNSAFE
from tests.fakes.feeds import feeds
from tests.fakes.proxy import Proxy, over_tcp, proxy
from tests.fakes.receiver import Received, hang, receiver
from tests.forks import FORKS
from tests.services import MASTER_KEY, database_at
from tests.webhooks.conftest import Subscribed, World
from tests.webhooks.worker import nothing

SUBSCRIPTIONS, DISTRICTS = 200, 20
#: Batches of each subscription: those of its first stretch, and one of a second one.
PARTS = 4
#: Batches that arrive between two workers' ends.
EACH = 150
PLACES = ("deliver.before_send", "deliver.after_send", "deliver.after_acknowledge")


@dataclass
class Site:
    """PostgreSQL behind a proxy, which has one address however often it is started."""

    postgres: EmbeddedPostgres
    way: Proxy
    world: World

    async def crash(self) -> None:
        """PostgreSQL ends as if it had been killed, and is started again."""
        await asyncio.to_thread(self.postgres.stop, immediate=True)
        await asyncio.to_thread(self.postgres.start)
        self.way.target = over_tcp(await asyncio.to_thread(self.postgres.url))

    async def ring(self) -> None:
        """Announces, time and again, as syncs do: a worker looks then, and takes what a dead one held."""
        while True:
            with contextlib.suppress(HubError):
                async with self.world.db.shared() as tx:
                    await tx.execute("SELECT pg_notify('hub_feed', '')")
            await asyncio.sleep(0.3)

    async def rows(self) -> list[Any]:
        """All subscriptions, however long it takes until PostgreSQL answers."""
        while True:
            try:
                async with self.world.db.shared() as tx:
                    return await tx.fetch("SELECT subscription_id, position, batch_id, state FROM subscriptions")
            except HubError:
                await asyncio.sleep(0.1)


@pytest.fixture(scope="module")
def postgres(services_folder: Path) -> Iterator[EmbeddedPostgres]:
    """A PostgreSQL with a migrated database, of this module's own."""
    # What is committed is with the kernel, which outlives PostgreSQL: only the machine may not crash.
    made = EmbeddedPostgres(services_folder / secrets.token_hex(6), settings=UNSAFE | {"synchronous_commit": "on"})
    made.start()
    try:
        asyncio.run(migrate(made.url(), passwords=role_passwords(MASTER_KEY)))
        yield made
    finally:
        made.erase()


@asynccontextmanager
async def site(postgres: EmbeddedPostgres) -> AsyncIterator[Site]:
    url = await asyncio.to_thread(postgres.url)
    async with proxy(url) as way:
        addresses = database_at(way.url(url))
        async with feeds(addresses.owner) as writer:
            db = await Database.open(addresses.worker, name="test worker")
            try:
                here = Site(postgres, way, World(addresses, writer, db))
                ringing = asyncio.create_task(here.ring())
                yield here
            finally:
                ringing.cancel()
                await asyncio.gather(ringing, return_exceptions=True)
                await db.close()


def _live(environment: dict[str, str], database: str) -> None:
    os.environ.update(environment)
    asyncio.run(run_worker(load(), database_url=database, redis_url=None, work=nothing))


@asynccontextmanager
async def worker(here: Site, crash_at: str = "") -> AsyncIterator[Any]:
    """A worker process that only delivers; killed at the end if it still runs."""
    addresses = here.world.addresses
    environment = {
        "HUB_DATABASE_URL": addresses.owner, "HUB_MASTER_KEY": MASTER_KEY.decode(), "HUB_CRASH_AT": crash_at,
        "HUB_WEBHOOK_ALLOW": "127.0.0.0/8", "HUB_WEBHOOK_TIMEOUT_SECONDS": "1.5", "HUB_WEBHOOK_LEASE_SECONDS": "2",
        "HUB_WEBHOOK_HOST_CONCURRENCY": "64",
    }  # fmt: skip
    process = FORKS.Process(target=_live, args=(environment, addresses.worker))
    await asyncio.to_thread(process.start)
    try:
        yield process
    finally:
        process.kill()
        await asyncio.to_thread(process.join)


@dataclass
class Slow:
    """Answers after a moment; ``flying``: how many are waiting for that."""

    flying: int = 0
    some: asyncio.Event = field(default_factory=asyncio.Event)

    async def __call__(self, _request: web.Request) -> web.Response:
        self.flying += 1
        self.some.set()
        await asyncio.sleep(0.02)
        self.flying -= 1
        if not self.flying:
            self.some.clear()
        return web.Response(status=204)


@pytest.mark.threat("F1", "F2", "F14", "F15")
async def test_workers_killed_at_each_point_and_a_database_that_crashes_lose_and_reorder_nothing(
    postgres: EmbeddedPostgres,
) -> None:
    slow = Slow()
    async with site(postgres) as here, receiver(slow) as well, receiver(hang) as bad:
        world, subscribed = here.world, list[Subscribed]()
        for number in range(SUBSCRIPTIONS):
            district = subscribed[number % DISTRICTS].district if number >= DISTRICTS else None
            there = bad if number == 0 else well
            subscribed.append(await world.subscribe(there, district=district, max_changes=1, types=("users.*",)))
        for some in subscribed:
            await world.feeds.move(some.district, some.grant, updated=range(PARTS))
        hanging, *others = subscribed
        async with AsyncExitStack() as stack:
            steady = await stack.enter_async_context(worker(here))
            for number, place in enumerate(PLACES, 1):
                async with worker(here, place) as armed:
                    await asyncio.to_thread(armed.join, 20)
                    assert armed.exitcode == 137
                await well.wait_for(number * EACH, 20)
                await asyncio.wait_for(slow.some.wait(), 20)
                steady.kill()  # while requests wait for their answers
                steady = await stack.enter_async_context(worker(here))
            await well.wait_for((len(PLACES) + 1) * EACH, 20)
            for some in subscribed:
                await world.feeds.move(some.district, some.grant, updated=[9])
            await here.crash()
            await stack.enter_async_context(worker(here))
            async with asyncio.timeout(30):
                while {row["position"] for row in await here.rows() if row["subscription_id"] != hanging.id} != {2}:
                    await asyncio.sleep(0.1)
        rows = {row["subscription_id"]: row for row in await here.rows()}
    assert (rows[hanging.id]["position"], rows[hanging.id]["state"]) == (0, "active")
    assert len({(got.id, got.body) for got in bad.received}) == 1
    twice = 0
    for some in others:
        got = [one for one in well.received if one.data["subscription"] == str(some.id)]
        twice += len(got) - whole(some, got)
        assert rows[some.id]["batch_id"] is None
    assert twice >= 1  # a batch that was taken and not noted came again


def whole(some: Subscribed, got: list[Received]) -> int:
    """That a receiver's log has every change once, in order, and again only as the same batch; how many batches."""
    batches = [list(group) for _, group in itertools.groupby(got, key=lambda one: one.id)]
    assert len({group[0].id for group in batches}) == len(batches)  # none comes back once the next one came
    assert all(len({one.body for one in group}) == 1 for group in batches)
    firsts = [group[0] for group in batches]
    spans = [(one.data["from"], one.data["to"], one.data["more"]) for one in firsts]
    one_stretch = [(0, 2, True)] * PARTS + [(0, 2, False)]  # whose turn came when both steps were there
    assert spans in (one_stretch, [(0, 1, True)] * (PARTS - 1) + [(0, 1, False), (1, 2, False)])
    assert [change for one in firsts for change in one.changes] == [
        ("users", "updated", some.users[number]) for number in (*range(PARTS), 9)
    ]
    for one in firsts:
        one.verify(some.secret)
    return len(batches)
