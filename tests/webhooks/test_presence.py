"""What a worker has claimed is free as soon as it is gone, and its own for as long as it is there."""

from __future__ import annotations

import asyncio
import signal
import time
from uuid import UUID, uuid4

import asyncpg
import pytest
from aiohttp import web

from hub.store import claims
from hub.store.presence import Presence, abandoned
from tests.fakes.receiver import receiver
from tests.webhooks.conftest import World
from tests.webhooks.test_crashes import worker

LONG = "300"
_LISTENERS = (
    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
    "WHERE application_name = 'hub listens hub_feed' AND datname = current_database()"
)


async def _hang(_request: web.Request) -> web.Response:
    await asyncio.sleep(600)
    raise AssertionError


async def _gone(world: World, token: UUID) -> bool:
    found: bool = await world.feeds.connection.fetchval(f"SELECT coalesce({abandoned('$1::uuid')}, false)", token)
    return found


async def test_a_token_names_who_is_there_for_as_long_as_the_connection_stands(world: World) -> None:
    left: list[bool] = []
    here, never = Presence(lambda named: left.append(named(token))), uuid4()
    assert here.token().version == 4  # nobody is known to be there yet
    connection = await asyncpg.connect(world.addresses.worker)
    await here.enter(connection)
    token, other = here.token(), here.token()
    assert token != other
    assert [await _gone(world, one) for one in (token, other, never)] == [False, False, False]
    await connection.close()
    here.leave()
    assert [await _gone(world, one) for one in (token, other, never)] == [True, True, False]
    assert left == [True]
    assert not here.holds(token)
    assert here.holds(never)


async def test_two_that_are_there_have_numbers_of_their_own(world: World) -> None:
    connections = [await asyncpg.connect(world.addresses.worker) for _ in range(2)]
    both = [Presence(lambda _named: None) for _ in connections]
    for one, connection in zip(both, connections, strict=True):
        await one.enter(connection)
    tokens = [one.token() for one in both]
    assert [both[0].holds(token) for token in tokens] == [True, False]
    await connections[0].close()
    assert [await _gone(world, token) for token in tokens] == [True, False]
    await connections[1].close()


@pytest.mark.threat("F1", "F15")
async def test_what_a_killed_worker_had_is_taken_over_long_before_its_lease_ends(world: World) -> None:
    async with receiver(_hang) as there:
        some = await world.subscribe(there)
        await world.feeds.move(some.district, some.grant, updated=[0])
        async with worker(world, HUB_WEBHOOK_LEASE_SECONDS=LONG, HUB_WEBHOOK_TIMEOUT_SECONDS="60") as first:
            await there.wait_for(1)
            first.kill()
            await first.wait()
            assert await world.feeds.connection.fetchval(
                "SELECT lease_until > now() + interval '200 seconds' FROM subscriptions"
            )
            there.behave = _taken
            async with world.running():
                await there.wait_for(2, 30)
    assert len({(got.id, got.body) for got in there.received}) == 1
    assert (await world.feeds.subscription(some.id))["position"] == 1


@pytest.mark.threat("F1", "F15")
async def test_who_has_nothing_to_do_notices_that_another_one_is_gone(world: World) -> None:
    # It would look after five seconds, or when the lease ends.
    async with receiver(_hang) as there:
        some = await world.subscribe(there)
        await world.feeds.move(some.district, some.grant, updated=[0])
        async with worker(world, HUB_WEBHOOK_LEASE_SECONDS=LONG, HUB_WEBHOOK_TIMEOUT_SECONDS="60") as first:
            await there.wait_for(1)
            there.behave = _taken
            async with world.running():
                await asyncio.sleep(1)
                assert len(there.received) == 1
                first.kill()
                await first.wait()
                killed = time.monotonic()
                await there.wait_for(2, 30)
    assert there.received[1].at - killed < 3


@pytest.mark.threat("F13", "F15")
async def test_a_worker_that_hangs_is_still_there(world: World) -> None:
    async with receiver(_hang) as there, world.courier() as courier:
        some = await world.subscribe(there)
        await world.feeds.move(some.district, some.grant, updated=[0])
        async with worker(world, HUB_WEBHOOK_LEASE_SECONDS=LONG, HUB_WEBHOOK_TIMEOUT_SECONDS="60") as first:
            await there.wait_for(1)
            first.send_signal(signal.SIGSTOP)
            assert await claims.claim(courier.db, limit=1, per_district=9, lease_seconds=20) == []
            first.kill()
            await first.wait()
            async with asyncio.timeout(30):
                while not (taken := await claims.claim(courier.db, limit=1, per_district=9, lease_seconds=20)):
                    await asyncio.sleep(0.05)
    assert [claim.subscription_id for claim in taken] == [some.id]


@pytest.mark.threat("F13", "F15")
async def test_whose_connection_is_lost_sends_no_word_more_under_what_others_may_have_by_now(world: World) -> None:
    asked: list[web.Request] = []

    async def hang(request: web.Request) -> web.Response:
        asked.append(request)
        return await _hang(request)

    async with receiver(hang) as there, world.running(seconds=250, lease=300):
        some = await world.subscribe(there)
        await world.feeds.move(some.district, some.grant, updated=[0])
        await there.wait_for(1)
        there.behave = _taken
        assert await world.feeds.connection.fetchval(_LISTENERS)
        await there.wait_for(2, 20)
        assert asked[0].transport is None  # nobody waits for its answer any more
        await there.up_to(1, 20)
    assert len({(got.id, got.body) for got in there.received}) == 1
    assert (await world.feeds.subscription(some.id))["position"] == 1


async def _taken(_request: web.Request) -> web.Response:
    return web.Response(status=204)
