"""A worker that is killed at any point of a delivery loses nothing and changes nothing that was sent."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from aiohttp import web

from tests.fakes.receiver import receiver
from tests.forks import Forked
from tests.services import MASTER_KEY
from tests.webhooks.conftest import World

ROOT = Path(__file__).parents[2]
LEASE = 2.0


@asynccontextmanager
async def worker(world: World, redis_url: str = "", *, crash_at: str = "", **more: str) -> AsyncIterator[Forked]:
    """A worker process; killed at the end if it still runs."""
    settings = {
        "HUB_DATABASE_URL": world.addresses.owner,
        "HUB_MASTER_KEY": MASTER_KEY.decode(),
        "HUB_WEBHOOK_ALLOW": "127.0.0.0/8",
        "HUB_WEBHOOK_TIMEOUT_SECONDS": "1.5",
        "HUB_WEBHOOK_LEASE_SECONDS": str(LEASE),
        "HUB_CRASH_AT": crash_at,
        "PATH": os.defpath,
        "PYTHONPATH": str(ROOT),
        **more,
    }
    process = Forked("tests.webhooks.worker", world.addresses.worker, redis_url, environment=settings)
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


@pytest.mark.threat("F1", "F15")
@pytest.mark.parametrize(
    ("place", "times"), [("deliver.before_send", 1), ("deliver.after_send", 2), ("deliver.after_acknowledge", 1)]
)
async def test_a_worker_killed_at_this_place_loses_nothing(world: World, place: str, times: int) -> None:
    async with receiver() as there:
        some = await world.subscribe(there)
        await world.feeds.move(some.district, some.grant, updated=[0])
        async with worker(world, crash_at=place) as first:
            assert await asyncio.wait_for(first.wait(), 30) == 137
        killed = time.monotonic()
        await world.feeds.move(some.district, some.grant, updated=[1])
        async with worker(world):
            await there.until(lambda got: bool(got) and got[-1].data["to"] == 2, 30)
        assert time.monotonic() - killed < 30
    first_batch = [got for got in there.received if got.data["to"] == 1]
    assert len(first_batch) == times
    assert len({(got.id, got.body) for got in first_batch}) == 1
    assert [(got.data["from"], got.data["to"]) for got in there.received] == [(0, 1)] * times + [(1, 2)]
    for got in there.received:
        got.verify(some.secret)


@pytest.mark.threat("F1", "F15")
async def test_a_worker_killed_while_it_waits_for_the_answer_loses_nothing(world: World) -> None:
    async def slow(_request: web.Request) -> web.Response:
        await asyncio.sleep(1)
        return web.Response(status=204)

    async with receiver(slow) as there:
        some = await world.subscribe(there)
        await world.feeds.move(some.district, some.grant, updated=[0])
        async with worker(world) as first:
            await there.wait_for(1, 30)
            first.kill()
            await first.wait()
        async with worker(world):
            await there.wait_for(2, 30)
            async with asyncio.timeout(10):
                while (await world.feeds.subscription(some.id))["position"] != 1:
                    await asyncio.sleep(0.05)
    assert len({(got.id, got.body) for got in there.received}) == 1


async def test_a_worker_ends_on_sigterm_and_gives_its_leases_back(world: World) -> None:
    async def slow(_request: web.Request) -> web.Response:
        await asyncio.sleep(0.8)
        return web.Response(status=204)

    async with receiver(slow) as there:
        some = await world.subscribe(there)
        await world.feeds.move(some.district, some.grant, updated=[0])
        async with worker(world) as process:
            await there.wait_for(1, 30)
            process.send_signal(signal.SIGTERM)
            assert await asyncio.wait_for(process.wait(), 30) == 0
    row = await world.feeds.subscription(some.id)
    assert (row["position"], row["lease_token"]) == (1, None)


async def test_a_worker_does_not_start_where_a_receiver_contradicts_its_settings(world: World) -> None:
    async with receiver() as there:
        some = await world.subscribe(there)
        await world.feeds.move(some.district, some.grant, updated=[0])
        async with worker(world, HUB_WEBHOOK_HTTPS_ONLY="true") as process:
            assert await asyncio.wait_for(process.wait(), 30) != 0
    assert there.received == []
