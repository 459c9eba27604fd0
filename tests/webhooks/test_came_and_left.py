"""A receiver may know of a record that came and left in one stretch, and then hears that it left.

It may have read it through OneRoster meanwhile, have been told of it in a part of a stretch that was then begun anew,
by a replay, or in a probe. A deletion of what it does not have does no harm; a record of which nobody tells it that
it left would stay with it for ever.
"""

from __future__ import annotations

import orjson
import pytest
from aiohttp import web

from hub.store import subscriptions as store
from hub.webhooks import replay as service
from hub.webhooks.courier import Courier
from tests.fakes.receiver import Receiver, receiver
from tests.webhooks.conftest import Subscribed, World
from tests.webhooks.rounds import due, one


def kept(there: Receiver) -> set[str]:
    """The records that a receiver has which applies what it is told, whatever it has of it already."""
    has: set[str] = set()
    for got in there.received:
        for _, operation, sourced_id in got.changes:
            (has.discard if operation == "deleted" else has.add)(sourced_id)
    return has


async def drained(world: World, courier: Courier, some: Subscribed) -> None:
    """Delivers, time after time, until nothing waits."""
    for _ in range(40):
        await due(world, some)
        if not await one(courier):
            return
    raise AssertionError("there is always something to send")


@pytest.mark.parametrize("begun", [False, True], ids=["told of all", "told of a part"])
async def test_after_a_replay_nobody_keeps_what_left_while_it_was_asked_for(world: World, *, begun: bool) -> None:
    async with receiver() as there, world.courier() as courier:
        some = await world.subscribe(there, max_changes=4)
        await world.feeds.move(some.district, some.grant, entered=[0])
        await world.feeds.move(some.district, some.grant, entered=[1, 2, 3, 4, 5])
        await one(courier)
        if not begun:
            await drained(world, courier, some)
        assert some.users[1] in kept(there)
        await world.feeds.move(some.district, some.grant, left=[1])
        async with world.db.district(some.district) as tx:
            await service.replay(tx, await store.get(tx, some.id), after=0)
        await drained(world, courier, some)
    assert kept(there) == {some.users[n] for n in (0, 2, 3, 4, 5)}


async def test_of_a_stretch_that_is_left_out_half_way_nobody_keeps_what_left(world: World) -> None:
    async with receiver() as there, world.courier() as courier:
        some = await world.subscribe(there, max_changes=2)
        await world.feeds.move(some.district, some.grant, updated=[9])
        await world.feeds.move(some.district, some.grant, entered=[0, 1, 2, 3])
        await one(courier)
        assert some.users[0] in kept(there)
        async with world.db.district(some.district) as tx:
            _, skipped = await service.seek(tx, await store.get(tx, some.id), to=1)
        assert skipped == {"users.updated": 1, "syncs.completed": 1}
        await world.feeds.move(some.district, some.grant, left=[0])
        await drained(world, courier, some)
    assert kept(there) == {some.users[n] for n in (1, 2, 3)}


async def test_a_record_that_a_probe_told_of_and_that_left_since_is_told_as_left(world: World) -> None:
    async def behave(request: web.Request) -> web.Response:
        changes = orjson.loads(await request.read())["data"]["changes"]
        poisoned = any(change.get("sourcedId") == some.users[0] for change in changes)
        return web.Response(status=400 if poisoned else 204)

    async with receiver(behave) as there, world.courier() as courier:
        some = await world.subscribe(there, types=("users.*",))
        await world.feeds.move(some.district, some.grant, entered=[0])
        await one(courier)
        await world.feeds.move(some.district, some.grant, entered=[1])
        await due(world, some)
        await one(courier)
        assert there.received[-1].data["probe"]
        assert there.received[-1].changes == [("users", "created", some.users[1])]
        await world.feeds.move(some.district, some.grant, left=[1])
        await drained(world, courier, some)
    assert there.received[-1].changes == [("users", "deleted", some.users[1])]


async def test_what_was_read_through_oneroster_meanwhile_is_told_as_left(world: World) -> None:
    async with receiver() as there, world.courier() as courier:
        some = await world.subscribe(there)
        await world.feeds.move(some.district, some.grant, entered=[0, 1])
        # The receiver reads everything now: users 0 and 1 are what it has.
        await world.feeds.move(some.district, some.grant, left=[1])
        await one(courier)
    assert there.received[0].changes == [("users", "created", some.users[0]), ("users", "deleted", some.users[1])]
