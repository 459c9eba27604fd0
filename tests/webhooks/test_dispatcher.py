"""The service finds work with and without notifications, shares its places fairly and is fenced by its leases."""

from __future__ import annotations

import asyncio
import time

import pytest
from aiohttp import web

from hub.store import claims
from hub.webhooks.deliver import deliver
from hub.webhooks.dispatcher import Limits
from tests.fakes.receiver import hang, in_turn, receiver, status
from tests.webhooks.conftest import World


@pytest.mark.threat("F6")
async def test_without_notifications_work_is_found_by_looking(world: World) -> None:
    async with receiver() as there, world.running(listen=False):
        some = await world.subscribe(there)
        await asyncio.sleep(0.3)
        await world.feeds.move(some.district, some.grant, updated=[0])
        await there.wait_for(1, seconds=6)
    assert len(there.received) == 1


async def test_a_notification_shortens_the_wait(world: World) -> None:
    async with receiver() as there, world.running():
        some = await world.subscribe(there)
        await asyncio.sleep(0.3)
        await world.feeds.move(some.district, some.grant, updated=[0])
        await world.feeds.announce(some.district)
        await there.wait_for(1, seconds=1)


async def test_a_lost_listener_listens_again(world: World) -> None:
    async with receiver() as there, world.running():
        some = await world.subscribe(there)
        await asyncio.sleep(0.3)
        ended = await world.feeds.connection.fetchval(
            "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity "
            "WHERE application_name LIKE 'hub listens%' AND datname = current_database()"
        )
        assert ended == 1
        await world.feeds.move(some.district, some.grant, updated=[0])
        await world.feeds.announce(some.district)
        # Nobody heard that; the look after listening again finds it, before the next regular one.
        await there.wait_for(1, seconds=3)
        await world.feeds.move(some.district, some.grant, updated=[1])
        await world.feeds.announce(some.district)
        await there.wait_for(2, seconds=1)


async def test_it_has_caught_up_once_nothing_is_due_and_nothing_under_way(world: World) -> None:
    gate = asyncio.Event()

    async def wait(_request: web.Request) -> web.Response:
        await gate.wait()
        return web.Response(status=204)

    async with receiver(wait) as there:
        some = await world.subscribe(there)
        await world.feeds.move(some.district, some.grant, updated=[0])
        async with world.running() as dispatcher:
            await there.wait_for(1)
            dispatcher.wake()
            await asyncio.sleep(0.5)
            assert not dispatcher.caught_up.is_set()
            gate.set()
            await asyncio.wait_for(dispatcher.caught_up.wait(), 5)
    assert (await world.feeds.subscription(some.id))["position"] == 1


@pytest.mark.threat("F6")
async def test_a_storm_of_wakes_sends_nothing_twice(world: World) -> None:
    async with receiver() as there, world.running() as first, world.running() as second:
        some = await world.subscribe(there)
        for number in range(5):
            await world.feeds.move(some.district, some.grant, updated=[number])
            for _ in range(50):
                first.wake()
                second.wake()
            await world.feeds.announce(some.district)
            await asyncio.sleep(0.05)
        await there.until(lambda got: bool(got) and got[-1].data["to"] == 5)
        await asyncio.sleep(0.3)
    changed = [change for got in there.received for change in got.changes]
    assert changed == [("users", "updated", some.users[n]) for n in range(5)]


async def test_a_failed_delivery_is_tried_again_by_itself(world: World) -> None:
    async with receiver(in_turn(status(503, retry_after="1"), status(204))) as there, world.running(listen=False):
        some = await world.subscribe(there)
        await world.feeds.move(some.district, some.grant, updated=[0])
        first, second = await there.wait_for(2, seconds=16)
    assert (first.id, first.body) == (second.id, second.body)
    assert 4.9 < second.at - first.at < 11  # five seconds is the least that is honoured


@pytest.mark.threat("F14")
async def test_a_hanging_receiver_holds_back_no_other_district(world: World) -> None:
    async with receiver(hang) as bad, receiver() as good, world.running(seconds=4):
        stuck = await world.subscribe(bad)
        for _ in range(11):
            await world.subscribe(bad, district=stuck.district)
        for grant in await world.feeds.connection.fetch("SELECT grant_id FROM grants"):
            await world.feeds.move(stuck.district, grant["grant_id"], updated=[0])
        await world.feeds.announce(stuck.district)
        await bad.wait_for(8)
        other = await world.subscribe(good)
        for number in range(10):
            started = time.monotonic()
            await world.feeds.move(other.district, other.grant, updated=[number])
            await world.feeds.announce(other.district)
            await good.wait_for(number + 1)
            assert time.monotonic() - started < 1
        assert len(bad.received) == 8


@pytest.mark.threat("F14")
async def test_a_district_has_no_more_places_than_its_share_in_all_workers_together(world: World) -> None:
    busy = most = 0

    async def slow(_request: web.Request) -> web.Response:
        nonlocal busy, most
        busy += 1
        most = max(most, busy)
        await asyncio.sleep(0.1)
        busy -= 1
        return web.Response(status=204)

    limits = Limits(in_process=64, per_district=3)
    async with receiver(slow) as there:
        first = await world.subscribe(there)
        subscribed = [first] + [await world.subscribe(there, district=first.district) for _ in range(11)]
        for some in subscribed:
            await world.feeds.move(first.district, some.grant, updated=[0])
        async with world.running(limits=limits), world.running(limits=limits):
            await there.wait_for(12)
    assert most == 3


async def test_a_process_sends_no_more_at_a_time_than_it_may(world: World) -> None:
    busy = most = 0

    async def slow(_request: web.Request) -> web.Response:
        nonlocal busy, most
        busy += 1
        most = max(most, busy)
        await asyncio.sleep(0.1)
        busy -= 1
        return web.Response(status=204)

    async with receiver(slow) as there:
        for _ in range(8):
            some = await world.subscribe(there, users=1)
            await world.feeds.move(some.district, some.grant, updated=[0])
        async with world.running(limits=Limits(in_process=2, per_district=8)):
            await there.wait_for(8)
    assert most == 2


@pytest.mark.threat("F13", "F15")
async def test_a_worker_that_outlived_its_lease_changes_nothing(world: World) -> None:
    release = asyncio.Event()
    calls = 0

    async def slow_once(_request: web.Request) -> web.Response:
        nonlocal calls
        calls += 1
        if calls == 1:
            await release.wait()
        return web.Response(status=500 if calls == 1 else 204)

    async with receiver(slow_once) as there, world.courier(seconds=10) as courier:
        some = await world.subscribe(there)
        await world.feeds.move(some.district, some.grant, updated=[0])
        (old,) = await claims.claim(courier.db, limit=1, per_district=1, lease_seconds=20)
        late = asyncio.create_task(deliver(courier, old))
        await there.wait_for(1)
        await world.feeds.connection.execute("UPDATE subscriptions SET lease_until = now() - interval '1 second'")
        (new,) = await claims.claim(courier.db, limit=1, per_district=1, lease_seconds=20)
        assert await deliver(courier, new) is True
        before = await world.feeds.subscription(some.id)
        release.set()
        assert await late is False
        assert await world.feeds.subscription(some.id) == before
        assert await deliver(courier, old) is False
    assert len({(got.id, got.body) for got in there.received}) == 1
    assert len(there.received) == 2
    assert before["position"] == 1
    assert await world.feeds.connection.fetchval("SELECT count(*) FROM attempts") == 1


async def test_stopping_waits_for_what_is_in_flight(world: World) -> None:
    async def slow(_request: web.Request) -> web.Response:
        await asyncio.sleep(0.5)
        return web.Response(status=204)

    async with receiver(slow) as there:
        some = await world.subscribe(there)
        await world.feeds.move(some.district, some.grant, updated=[0])
        async with world.running():
            await there.wait_for(1)
        row = await world.feeds.subscription(some.id)
    assert (row["position"], row["lease_token"]) == (1, None)


async def test_while_the_database_is_away_the_dispatcher_waits_and_goes_on_after(world: World) -> None:
    # A claim whose commit nobody heard of is free again when its lease ends.
    async with receiver() as there, world.running(seconds=2, lease=3):
        some = await world.subscribe(there)
        for number in range(3):
            await world.feeds.connection.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                "WHERE pid <> pg_backend_pid() AND usename = 'hub_worker' AND datname = current_database()"
            )
            await world.feeds.move(some.district, some.grant, updated=[number])
            await there.up_to(number + 1, 20)
    assert sorted({got.data["to"] for got in there.received}) == [1, 2, 3]
    assert len({(got.id, got.body) for got in there.received}) == 3
