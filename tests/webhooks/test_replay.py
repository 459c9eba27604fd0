"""A subscription goes back and forward on its feed, and says so where the feed does not lead on."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

import orjson
import pytest

from hub.clock import SystemClock
from hub.errors import Code, HubError
from hub.store import subscriptions as store
from hub.webhooks import replay as service
from hub.webhooks import subscriptions
from tests.fakes.receiver import Receiver, hang, in_turn, receiver, status
from tests.webhooks.conftest import Subscribed, World
from tests.webhooks.rounds import due, one


def spans(there: Receiver) -> list[tuple[int, int]]:
    return [(got.data["from"], got.data["to"]) for got in there.received]


async def replay(world: World, some: Subscribed, **how: Any) -> store.Subscription:
    async with world.db.district(some.district) as tx:
        return await service.replay(tx, await store.get(tx, some.id), **how)


async def moved(world: World, some: Subscribed, times: int) -> None:
    for number in range(times):
        await world.feeds.move(some.district, some.grant, updated=[number])


async def test_a_replay_sends_again_what_came_after_a_step_and_then_goes_on(world: World) -> None:
    async with receiver() as there, world.running() as dispatcher:
        some = await world.subscribe(there, max_changes=2)
        await moved(world, some, 4)
        dispatcher.wake()
        await there.up_to(4)
        async with asyncio.timeout(5):
            while (await world.feeds.subscription(some.id))["position"] < 4:
                await asyncio.sleep(0.02)
        before = len(there.received)
        row = await replay(world, some, after=1)
        assert (row.position, row.replaying_to) == (1, 4)
        dispatcher.wake()
        await there.until(lambda got: len(got) > before and not got[-1].data["more"])
        await world.feeds.move(some.district, some.grant, updated=[9])
        await world.feeds.announce(some.district)
        await there.up_to(5)
        shown = await world.feeds.subscription(some.id)
    again = there.received[before:]
    assert [change[2] for got in again for change in got.changes] == [some.users[n] for n in (1, 2, 3, 9)]
    assert {(got.data["from"], got.data["to"]) for got in again[:-1]} == {(1, 4)}
    assert [got.data.get("replay") for got in again] == [True] * (len(again) - 1) + [None]
    assert spans(there)[-1] == (4, 5)
    assert shown["replaying_to"] is None


async def test_a_replay_since_a_moment(world: World) -> None:
    async with receiver() as there, world.courier() as courier:
        some = await world.subscribe(there)
        await moved(world, some, 3)
        await one(courier)
        await world.feeds.connection.execute("UPDATE feed SET at = now() - interval '1 day' * (10 - step)")
        assert (await replay(world, some, since=SystemClock().now() - timedelta(days=8.5))).position == 1
        assert await one(courier) == [True]
        assert spans(there)[-1] == (1, 3)
        assert (await replay(world, some, since=SystemClock().now() - timedelta(days=90))).position == 0


async def test_a_replay_fences_off_what_is_in_flight(world: World) -> None:
    async with receiver(in_turn(status(204), hang)) as there, world.courier(seconds=1.5) as courier:
        some = await world.subscribe(there)
        await moved(world, some, 1)
        await one(courier)
        await due(world, some)
        await moved(world, some, 1)
        flying = asyncio.create_task(one(courier))
        await there.wait_for(2)
        await replay(world, some, after=0)
        assert await flying == [False]
        row = await world.feeds.subscription(some.id)
        assert (row["position"], row["attempt"], row["batch_id"]) == (0, 0, None)
        there.behave = status(204)
        assert await one(courier) == [True]
        assert await world.feeds.connection.fetchval("SELECT count(*) FROM batches WHERE delivered_at IS NULL") == 0
    assert spans(there) == [(0, 1), (1, 2), (0, 2)]


async def test_a_replay_of_the_middle_of_a_window_or_during_one_begins_anew(world: World) -> None:
    async with receiver() as there, world.courier() as courier:
        some = await world.subscribe(there, max_changes=4)
        await world.feeds.move(some.district, some.grant, updated=range(10))
        await one(courier)
        row = await replay(world, some, after=0)
        assert (row.position, row.replaying_to) == (0, 1)
        await moved(world, some, 1)
        for _ in range(4):
            await one(courier)
            await due(world, some)
        assert (await world.feeds.subscription(some.id))["replaying_to"] is None
    again = there.received[1:]
    assert {change[2] for got in again for change in got.changes} == set(some.users)
    assert {(got.data["from"], got.data["to"]) for got in again} == {(0, 2)}


async def test_there_is_no_way_back_to_where_nobody_was_and_none_beyond_what_is_kept(world: World) -> None:
    async with receiver() as there, world.courier() as courier:
        some = await world.subscribe(there)
        await moved(world, some, 5)
        with pytest.raises(HubError) as caught:
            await replay(world, some, after=3)
        assert caught.value.code is Code.INVALID_REQUEST
        await one(courier)
        await world.feeds.connection.execute("UPDATE grants SET feed_from = 3")
        await world.feeds.connection.execute("DELETE FROM feed WHERE step <= 3")
        for how in ({"after": 2}, {"since": SystemClock().now() - timedelta(days=1)}):
            with pytest.raises(HubError) as caught:
                await replay(world, some, **how)
            assert caught.value.code is Code.RESYNC_REQUIRED
        assert (await replay(world, some, after=3)).position == 3
        await world.feeds.connection.execute("UPDATE grants SET state = 'revoked'")
        with pytest.raises(HubError) as caught:
            await replay(world, some, after=4)
        assert caught.value.code is Code.CONFLICT


async def test_going_forward_says_what_is_left_out(world: World) -> None:
    async with receiver(status(503)) as there, world.courier() as courier:
        some = await world.subscribe(there)
        await world.feeds.move(some.district, some.grant, updated=[0, 1], left=[2])
        await one(courier)
        await world.feeds.move(some.district, some.grant, entered=[3])
        async with world.db.district(some.district) as tx:
            row, skipped = await service.seek(tx, await store.get(tx, some.id))
        assert (row.position, row.attempt) == (2, 0)
        assert skipped == {"users.created": 1, "users.updated": 2, "users.deleted": 1, "syncs.completed": 2}
        there.behave = status(204)
        assert await one(courier) == [False]
        await moved(world, some, 1)
        assert await one(courier) == [True]
        async with world.db.district(some.district) as tx:
            with pytest.raises(HubError):
                await service.seek(tx, await store.get(tx, some.id), to=9)
    assert spans(there) == [(0, 1), (2, 3)]


@pytest.mark.threat("F28")
@pytest.mark.parametrize(("position", "feed_from", "reason"), [(1, 2, "retention"), (9, 0, "restored")])
async def test_where_the_feed_does_not_lead_on_the_receiver_is_told_once_and_starts_over(
    world: World, position: int, feed_from: int, reason: str
) -> None:
    async with receiver(in_turn(status(503), status(204))) as there, world.courier() as courier:
        some = await world.subscribe(there)
        await moved(world, some, 3)
        await world.feeds.connection.execute("UPDATE subscriptions SET position = $1", position)
        await world.feeds.connection.execute("UPDATE grants SET feed_from = $1", feed_from)
        for _ in range(4):
            await one(courier)
            await due(world, some)
        first, second = there.received
        assert (first.id, first.body) == (second.id, second.body)
        first.verify(some.secret)
        message = orjson.loads(second.body)
        assert (message["type"], message["data"]["reason"]) == ("subscriptions.resync_required", reason)
        assert message["data"]["to"] == 3
        assert message["data"]["snapshot"].endswith(f"/d/{some.district}/ims/oneroster/rostering/v1p2")
        assert (await world.feeds.subscription(some.id))["state"] == "resync_required"
        await moved(world, some, 1)
        assert await one(courier) == []
        async with world.db.district(some.district) as tx:
            assert (await subscriptions.resume(tx, some.id)).position == 4
        assert await one(courier) == [False]
        await moved(world, some, 1)
        assert await one(courier) == [True]
    assert spans(there)[2:] == [(4, 5)]


async def test_pausing_within_what_is_kept_loses_nothing_and_beyond_it_says_so(world: World) -> None:
    async with receiver() as there, world.courier() as courier:
        some = await world.subscribe(there)
        async with world.db.district(some.district) as tx:
            await subscriptions.pause(tx, some.id)
        await moved(world, some, 3)
        async with world.db.district(some.district) as tx:
            await subscriptions.resume(tx, some.id)
        await one(courier)
        await due(world, some)
        async with world.db.district(some.district) as tx:
            await subscriptions.pause(tx, some.id)
        await moved(world, some, 3)
        await world.feeds.connection.execute("UPDATE grants SET feed_from = 5")
        async with world.db.district(some.district) as tx:
            await subscriptions.resume(tx, some.id)
        await one(courier)
    assert spans(there) == [(0, 3), (3, 6)]
    assert [orjson.loads(got.body)["type"] for got in there.received] == [
        "roster.changes", "subscriptions.resync_required"]  # fmt: skip
