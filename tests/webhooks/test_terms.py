"""What a subscription is set to shows at its receiver: each setting has an effect there."""

from __future__ import annotations

import asyncio
import time
from itertools import pairwise

import orjson
import pytest
from aiohttp import web

from hub.errors import Code, HubError
from hub.webhooks.dispatcher import Limits
from hub.webhooks.terms import Terms
from tests.fakes.receiver import Received, in_turn, receiver, status
from tests.webhooks.conftest import World
from tests.webhooks.rounds import due, one


def spans(received: list[Received]) -> list[tuple[int, int]]:
    return [(got.data["from"], got.data["to"]) for got in received]


async def test_signal_says_how_far_there_is_something_to_read_and_nothing_else(world: World) -> None:
    async with receiver() as there, world.courier() as courier:
        some = await world.subscribe(there, mode="signal")
        for number in range(3):
            await world.feeds.move(some.district, some.grant, updated=[number])
        assert await one(courier) == [True]
        await due(world, some)
        await world.feeds.move(some.district, some.grant, updated=[0])
        assert await one(courier) == [True]
    assert [orjson.loads(got.body)["type"] for got in there.received] == ["roster.moved"] * 2
    assert spans(there.received) == [(0, 3), (3, 4)]
    assert there.received[0].data.keys() == {"subscription", "district", "grant", "from", "to"}
    there.received[0].verify(some.secret)


async def test_of_what_nobody_wants_nobody_hears_and_positions_lead_on_all_the_same(world: World) -> None:
    async with receiver() as there, world.courier() as courier:
        some = await world.subscribe(there, types=("users.deleted", "orgs.*"))
        await world.feeds.records(some.district, "orgs", 2)
        await world.feeds.move(some.district, some.grant, updated=[0], left=[1])
        assert await one(courier) == [True]
        await due(world, some)
        await world.feeds.move(some.district, some.grant, entered=[2], updated=[3])
        assert await one(courier) == [False]
        row = await world.feeds.subscription(some.id)
        assert (row["position"], row["told_to"]) == (2, 1)  # it is not read again with what comes next
        assert await one(courier) == []
        await world.feeds.move(some.district, some.grant, "orgs", entered=[1])
        assert await one(courier) == [True]
        await due(world, some)
        await world.feeds.move(some.district, some.grant, "orgs", updated=[1])
        assert await one(courier) == [True]
    assert [got.changes for got in there.received] == [
        [("users", "deleted", some.users[1])],
        [("orgs", "created", world.feeds.ids[some.district, "orgs"][1])],
        [("orgs", "updated", world.feeds.ids[some.district, "orgs"][1])],
    ]
    assert spans(there.received) == [(0, 1), (1, 3), (3, 4)]
    assert all(got.marks == [] for got in there.received)


async def test_a_signal_comes_only_for_what_is_wanted_and_marks_can_be_all_that_is(world: World) -> None:
    async with receiver() as there, receiver() as marks, world.courier() as courier:
        some = await world.subscribe(there, mode="signal", types=("users.deleted",))
        other = await world.subscribe(marks, types=("syncs.*",))
        for subscribed in (some, other):
            await world.feeds.move(subscribed.district, subscribed.grant, updated=[0])
        await one(courier)
        await world.feeds.move(some.district, some.grant, left=[0])
        await one(courier)
    assert spans(there.received) == [(0, 2)]
    (got,) = marks.received
    assert [change["type"] for change in got.data["changes"]] == ["syncs.completed"]


async def test_batches_are_as_long_as_they_may_be(world: World) -> None:
    async with receiver() as there, world.courier() as courier:
        some = await world.subscribe(there, users=100, max_changes=40)
        await world.feeds.move(some.district, some.grant, updated=range(100))
        await one(courier)
        await world.edit(some, max_changes=500, max_bytes=5_000)  # the window stays open; the next batch is shorter
        await due(world, some)
        for _ in range(9):
            await one(courier)
            await due(world, some)
    first, *others = there.received
    assert len(first.data["changes"]) == 40
    assert len(others) > 1
    assert all(len(got.body) <= 5_000 for got in others)
    assert all(len(got.body) > 4_500 for got in others[:-1])
    assert [change for got in there.received for change in got.changes] == [("users", "updated", u) for u in some.users]
    assert [got.data["more"] for got in there.received] == [True] * len(others) + [False]


async def test_changes_wait_for_quiet_but_not_for_ever(world: World) -> None:
    async with receiver() as calm, receiver() as hasty, world.running():
        waits = await world.subscribe(calm, quiet_seconds=0.8, longest_wait_seconds=10)
        bound = await world.subscribe(hasty, quiet_seconds=0.8, longest_wait_seconds=1.2)
        started = time.monotonic()
        for number in range(8):
            last = time.monotonic()  # quiet begins when a change is written, not when it has been announced
            for some in (waits, bound):
                await world.feeds.move(some.district, some.grant, updated=[number])
                await world.feeds.announce(some.district)
            await asyncio.sleep(0.25)
        (got,) = await calm.wait_for(1)
        await hasty.up_to(8)
    assert spans(calm.received) == [(0, 8)]
    assert got.at - last > 0.79
    assert len(hasty.received) > 1
    assert 1.1 < hasty.received[0].at - started < 1.9


async def test_attempts_keep_to_the_rate_whatever_comes_of_them(world: World) -> None:
    async with receiver(in_turn(status(204), status(503, retry_after="0"), status(204))) as there:
        some = await world.subscribe(there, users=50, rate_per_minute=100, max_changes=10)
        async with world.running():
            await world.feeds.move(some.district, some.grant, updated=range(50))
            await world.feeds.announce(some.district)
            await there.wait_for(2)
            await world.edit(some, url=there.url)
            await world.feeds.connection.execute("UPDATE subscriptions SET ready_at = attempted_at + interval '0.6s'")
            await there.wait_for(6)
    gaps = [later.at - earlier.at for earlier, later in pairwise(there.received)]
    assert min(gaps) > 0.55
    assert max(gaps[2:]) < 1.2


async def test_an_edit_while_a_batch_is_tried_changes_its_way_and_not_its_bytes(world: World) -> None:
    async with receiver(status(503)) as broken, receiver() as mended, world.courier() as courier:
        some = await world.subscribe(broken)
        await world.feeds.move(some.district, some.grant, updated=range(3), left=[5])
        await one(courier)
        await world.edit(some, mode="signal", types=("users.deleted",), max_changes=1, max_bytes=2_000)
        await due(world, some)
        await one(courier)
        await world.edit(some, url=mended.url)  # due at once: it is not to wait for what the broken one was given
        assert await one(courier) == [True]
        await due(world, some)
        await world.feeds.move(some.district, some.grant, updated=[0])
        assert await one(courier) == [False]
        await world.feeds.move(some.district, some.grant, left=[0])
        assert await one(courier) == [True]
    first, *others = (*broken.received, *mended.received)
    assert {(got.id, got.body) for got in others[:2]} == {(first.id, first.body)}
    assert [orjson.loads(got.body)["type"] for got in mended.received] == ["roster.changes", "roster.moved"]
    assert spans(mended.received) == [(0, 1), (1, 3)]


async def test_all_workers_together_send_a_host_no_more_than_it_may_have(world: World) -> None:
    busy = most = 0

    async def slow(_request: web.Request) -> web.Response:
        nonlocal busy, most
        busy += 1
        most = max(most, busy)
        await asyncio.sleep(0.15)
        busy -= 1
        return web.Response(status=204)

    limits = Limits(in_process=64, per_district=8, per_host=3)
    async with receiver(slow) as there, receiver() as other:
        for number in range(10):
            some = await world.subscribe(there, users=1)
            await world.feeds.move(some.district, some.grant, updated=[0])
            if number > 7:  # the same districts have receivers elsewhere: these do not stand behind the full host
                beside = await world.subscribe(other, district=some.district)
                await world.feeds.move(some.district, beside.grant, updated=[0])
        async with world.running(limits=limits, listen=False), world.running(limits=limits, listen=False):
            await there.wait_for(10)
            await other.wait_for(2)
    assert most == 3
    assert max(got.at for got in other.received) < there.received[5].at


@pytest.mark.parametrize(
    "terms",
    [{"mode": "loud"}, {"types": ("unicorns.*",)}, {"max_bytes": 100}, {"max_changes": 0}, {"quiet_seconds": 61},
     {"longest_wait_seconds": -1}, {"rate_per_minute": 0}],
)  # fmt: skip
def test_settings_out_of_bounds_are_refused(terms: dict[str, object]) -> None:
    with pytest.raises(HubError) as caught:
        Terms(**terms).check()  # type: ignore[arg-type]
    assert caught.value.code is Code.INVALID_REQUEST
