"""Clocks that jump: of the database, by which leases and waits go, and of a worker, by which it signs."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from aiohttp import web
from standardwebhooks.webhooks import Webhook, WebhookVerificationError

from hub.store import claims
from hub.webhooks.courier import Courier
from hub.webhooks.deliver import deliver
from tests.fakes.receiver import Received, receiver, status
from tests.webhooks.conftest import Subscribed, World
from tests.webhooks.rounds import due, one


class Wrong:
    """A clock that is ahead, or behind."""

    def __init__(self, by: timedelta) -> None:
        self.by = by

    def now(self) -> datetime:
        return datetime.now(UTC) + self.by


async def jump(world: World, some: Subscribed, by: timedelta) -> None:
    """As if the database's clock went forward: all that is written down lies further back then."""
    await world.feeds.connection.execute(
        "UPDATE subscriptions SET ready_at = ready_at - $2::interval, lease_until = lease_until - $2::interval, "
        "attempted_at = attempted_at - $2::interval, failing_since = failing_since - $2::interval, "
        "taken_at = taken_at - $2::interval WHERE subscription_id = $1",
        some.id, by,
    )  # fmt: skip


async def claimed(courier: Courier) -> claims.Claim:
    (found,) = await claims.claim(courier.db, limit=9, per_district=9, lease_seconds=courier.lease_seconds)
    return found


@pytest.mark.threat("F13", "F15")
@pytest.mark.parametrize("by", [timedelta(hours=3), timedelta(hours=-3)], ids=["forward", "back"])
async def test_the_databases_clock_jumps_while_a_batch_is_on_its_way(world: World, by: timedelta) -> None:
    answer = asyncio.Event()
    calls = 0

    async def first_waits(_request: web.Request) -> web.Response:
        nonlocal calls
        calls += 1
        if calls == 1:
            await answer.wait()
        return web.Response(status=204)

    async with receiver(first_waits) as there, world.courier(seconds=10) as courier:
        some = await world.subscribe(there)
        await world.feeds.move(some.district, some.grant, updated=[0])
        old = await claimed(courier)
        flying = asyncio.create_task(deliver(courier, old))
        await there.wait_for(1)
        await jump(world, some, by)  # either way the lease means nothing any more
        assert await deliver(courier, await claimed(courier)) is True
        before = await world.feeds.subscription(some.id)
        answer.set()
        assert await flying is False
        assert await world.feeds.subscription(some.id) == before
    assert len({(got.id, got.body) for got in there.received}) == 1
    assert (len(there.received), before["position"], before["attempt"]) == (2, 1, 0)


async def test_a_clock_that_was_set_back_puts_nothing_off_but_retries(world: World) -> None:
    async with receiver() as there, world.courier() as courier:
        some = await world.subscribe(there)
        await jump(world, some, timedelta(hours=-3))
        await world.feeds.move(some.district, some.grant, updated=[0])
        assert await one(courier) == [True]
        await due(world, some)
        there.behave = status(503, retry_after="900")
        await world.feeds.move(some.district, some.grant, updated=[1])
        assert await one(courier) == [False]
        await jump(world, some, timedelta(hours=-3))  # the receiver asked for its wait; it comes some hours late
        assert await one(courier) == []
        await jump(world, some, timedelta(days=-30))
        assert await one(courier) == [False]
    assert [got.data["to"] for got in there.received] == [1, 2, 2]
    assert there.received[1].body == there.received[2].body


@pytest.mark.parametrize("by", [timedelta(hours=1), timedelta(hours=-1)], ids=["ahead", "behind"])
async def test_a_worker_whose_clock_is_wrong_is_refused_until_it_is_right_and_nothing_is_lost(
    world: World, by: timedelta
) -> None:
    async def strict(request: web.Request) -> web.Response:
        got = Received("POST", "", {k.lower(): v for k, v in request.headers.items()}, await request.read(), 0)
        try:
            Webhook(some.secret).verify(got.body, got.headers)
        except WebhookVerificationError:
            return web.Response(status=401)
        return web.Response(status=204)

    async with receiver(strict) as there, world.courier() as courier:
        some = await world.subscribe(there)
        await world.feeds.move(some.district, some.grant, updated=[0])
        wrong = replace(courier, clock=Wrong(by))
        for _ in range(3):
            assert await one(wrong) == [False]
            await due(world, some)
        row = await world.feeds.subscription(some.id)
        assert (row["state"], row["attempt"], row["last_status"], row["position"]) == ("active", 3, 401, 0)
        assert await one(courier) == [True]
    assert len({(got.id, got.body) for got in there.received}) == 1
    there.received[-1].verify(some.secret)
    assert await world.feeds.connection.fetchval("SELECT count(*) FROM parked") == 0


async def test_quiet_is_not_waited_for_by_a_clock_that_was_set_back(world: World) -> None:
    async with receiver() as there, world.courier() as courier:
        some = await world.subscribe(there, quiet_seconds=30)
        await world.feeds.move(some.district, some.grant, updated=[0])
        assert await one(courier) == [False]  # a change waits for quiet
        await due(world, some)
        assert there.received == []
        assert await one(replace(courier, clock=Wrong(timedelta(hours=-1)))) == [True]
    assert [got.data["to"] for got in there.received] == [1]
