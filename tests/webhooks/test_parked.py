"""One change that a receiver refuses while it takes others is found, set aside and told of; an outage parks nothing."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any
from uuid import UUID

import orjson
import pytest
from aiohttp import web

from hub.store import parked as store
from hub.webhooks.deliver import Courier
from hub.webhooks.isolation import refuses
from tests.fakes.receiver import Behaviour, Receiver, hang, receiver, status
from tests.webhooks.conftest import Subscribed, World
from tests.webhooks.rounds import due, one


def refusing(*codes: int, poison: Callable[[], set[str]]) -> Behaviour:
    """Answers with the first code to bodies that hold a poisoned id; then the next codes, one each time."""
    left = list(codes)

    async def behave(request: web.Request) -> web.Response:
        data = orjson.loads(await request.read())["data"]
        if poison() & {change.get("sourcedId") for change in data["changes"]}:
            return web.Response(status=left.pop(0) if len(left) > 1 else left[0])
        return web.Response(status=204)

    return behave


async def without_database(request: web.Request) -> web.Response:
    """Takes whatever it has nothing to do for, as a receiver does whose database is away."""
    data = orjson.loads(await request.read())["data"]
    return web.Response(status=500 if data["changes"] else 204)


async def rounds(world: World, courier: Courier, some: Subscribed, times: int) -> None:
    """So many attempts, each as soon as the one before is over."""
    for _ in range(times):
        await one(courier)
        await due(world, some)


async def until_done(world: World, courier: Courier, some: Subscribed, most: int = 80) -> int:
    """Attempts until nothing waits; how many."""
    for number in range(most):
        if not await one(courier):
            return number
        await due(world, some)
    raise AssertionError("it never ends")


async def parked(world: World, some: Subscribed) -> list[store.Parked]:
    async with world.db.district(some.district) as tx:
        return await store.listing(tx, some.id)


def told(there: Receiver) -> list[tuple[str, str, str]]:
    """Changes that were in a body at all, the first time that each was."""
    return list(dict.fromkeys(change for got in there.received for change in got.changes))


@pytest.mark.threat("F14")
@pytest.mark.parametrize("code", [400, 422, 500])
async def test_the_refused_change_is_found_and_parked_and_everything_else_arrives(world: World, code: int) -> None:
    poison: set[str] = set()
    async with receiver(refusing(code, poison=lambda: poison)) as there, world.courier() as courier:
        some = await world.subscribe(there, users=100)
        poison.add(some.users[37])
        await world.feeds.move(some.district, some.grant, updated=range(100))
        attempts = await until_done(world, courier, some)
        (one_parked,) = await parked(world, some)
        row = await world.feeds.subscription(some.id)
    assert attempts < 25
    assert (one_parked.entity, one_parked.rid, one_parked.operation, one_parked.version) == ("users", 37, "updated", 1)
    assert (one_parked.last_status, one_parked.attempts) == (code, 3)
    assert (row["state"], row["position"], row["attempt"], row["failing_since"]) == ("active", 1, 0, None)
    taken = [got for got in there.received if not poison & {change[2] for change in got.changes}]
    probes = [got for got in taken if got.data.get("probe")]
    taken = [got for got in taken if not got.data.get("probe")]
    assert {change[2] for got in taken for change in got.changes} == set(some.users) - poison
    parts = [got.data["more"] for got in taken if got.data["to"] == 1]
    assert parts == [True] * (len(parts) - 1) + [False]
    assert sum(len(got.changes) for got in taken) == 99  # nothing else came twice
    assert 0 < len(probes) <= attempts
    assert all(len(got.changes) == 1 and got.data["more"] for got in probes)


async def test_several_poisoned_changes_and_the_last_one_of_a_window_are_parked(world: World) -> None:
    poison: set[str] = set()
    async with receiver(refusing(400, poison=lambda: poison)) as there, world.courier() as courier:
        some = await world.subscribe(there, users=40, types=("users.*",))
        poison.update(some.users[n] for n in (0, 20, 39))
        await world.feeds.move(some.district, some.grant, updated=range(40))
        await until_done(world, courier, some)
        assert {one_parked.rid for one_parked in await parked(world, some)} == {0, 20, 39}
        await world.feeds.move(some.district, some.grant, updated=[1])
        await one(courier)
    last, closing = there.received[-1], there.received[-2]
    assert (closing.data["to"], closing.data["more"], closing.changes) == (1, False, [])
    assert (last.data["from"], last.data["to"], last.changes) == (1, 2, [("users", "updated", some.users[1])])


@pytest.mark.threat("F14")
@pytest.mark.parametrize("behaviour", [status(500), status(400), status(404), status(503), without_database])
async def test_a_receiver_that_refuses_everything_for_days_parks_nothing(world: World, behaviour: Behaviour) -> None:
    async with receiver(behaviour) as there, world.courier() as courier:
        some = await world.subscribe(there, users=50)
        await world.feeds.move(some.district, some.grant, updated=range(50))
        await rounds(world, courier, some, 25)
        await world.feeds.connection.execute(
            "UPDATE subscriptions SET failing_since = now() - interval '4 days', attempt = 60"
        )
        await rounds(world, courier, some, 3)
        batches = [got for got in there.received if not got.data.get("probe")]
        assert len({(got.id, got.body) for got in batches}) == 1
        assert len(batches) == 28
        assert await parked(world, some) == []
        there.behave = status(204)
        assert await one(courier) == [True]
    assert there.received[-1].body == batches[0].body
    row = await world.feeds.subscription(some.id)
    assert (row["position"], row["refused"], row["isolating"]) == (1, 0, None)


async def test_an_outage_while_a_change_is_looked_for_parks_nothing_either(world: World) -> None:
    poison: set[str] = set()
    async with receiver(refusing(400, poison=lambda: poison)) as there, world.courier() as courier:
        some = await world.subscribe(there, users=50)
        poison.add(some.users[10])
        await world.feeds.move(some.district, some.grant, updated=range(50))
        await rounds(world, courier, some, 4)
        assert (await world.feeds.subscription(some.id))["isolating"] is not None
        well, there.behave = there.behave, status(500)
        await rounds(world, courier, some, 20)
        assert await parked(world, some) == []
        there.behave = well
        await until_done(world, courier, some)
        assert [found.rid for found in await parked(world, some)] == [10]


async def test_marks_are_never_parked(world: World) -> None:
    async def behave(request: web.Request) -> web.Response:
        data = orjson.loads(await request.read())["data"]
        return web.Response(status=400 if any("sourcedId" not in c for c in data["changes"]) else 204)

    async with receiver(behave) as there, world.courier() as courier:
        some = await world.subscribe(there)
        await world.feeds.move(some.district, some.grant, updated=range(10))
        await rounds(world, courier, some, 30)
        assert await parked(world, some) == []
        assert (await world.feeds.subscription(some.id))["position"] == 0
        there.behave = status(204)
        await until_done(world, courier, some)
    assert (await world.feeds.subscription(some.id))["position"] == 1
    assert {c for got in there.received for c in got.changes} == {("users", "updated", u) for u in some.users}


async def with_parked(world: World, courier: Courier, there: Receiver, poison: set[str], *rids: int) -> Subscribed:
    some = await world.subscribe(there)
    poison.update(some.users[n] for n in rids)
    await world.feeds.move(some.district, some.grant, updated=range(10))
    await until_done(world, courier, some)
    assert {found.rid for found in await parked(world, some)} == set(rids)
    return some


async def ask(world: World, some: Subscribed, *ids: UUID) -> None:
    async with world.db.district(some.district) as tx:
        await store.ask(tx, some.id, ids or None)


async def test_a_later_version_supersedes_what_is_parked(world: World) -> None:
    poison: set[str] = set()
    async with receiver(refusing(400, poison=lambda: poison)) as there, world.courier() as courier:
        some = await with_parked(world, courier, there, poison, 3, 4)
        first = {found.rid: found for found in await parked(world, some)}
        await world.feeds.move(some.district, some.grant, updated=[3, 5], left=[4])
        poison.discard(some.users[4])
        await until_done(world, courier, some)
        (again,) = await parked(world, some)  # 4 was taken; 3 was refused in its later version as well
    assert (again.rid, again.version, again.since) == (3, 2, first[3].since)
    assert first[3].version == 1
    assert ("users", "deleted", some.users[4]) in told(there)


async def test_a_parked_change_is_tried_again_by_one_call_and_moves_no_position(world: World) -> None:
    poison: set[str] = set()
    async with receiver(refusing(400, poison=lambda: poison)) as there, world.courier() as courier:
        some = await with_parked(world, courier, there, poison, 3, 4, 5)
        of = {found.rid: found.parked_id for found in await parked(world, some)}
        before = len(there.received)
        await ask(world, some, of[3])
        await until_done(world, courier, some)
        assert [(f.rid, f.attempts, f.retry) for f in await parked(world, some)][:1] == [(3, 4, False)]
        poison.clear()
        await ask(world, some)
        await world.feeds.move(some.district, some.grant, updated=[9])
        await until_done(world, courier, some)
        assert await parked(world, some) == []
    refused, *again, last = there.received[before:]
    assert refused.changes == [("users", "updated", some.users[3])]
    assert [got.changes for got in again] == [[("users", "updated", some.users[n])] for n in (3, 4, 5)]
    assert [(got.data["from"], got.data["to"], got.data["parked"], got.data["more"]) for got in again] == [
        (1, 1, True, False)
    ] * 3
    assert (last.data["from"], last.data["to"], "parked" in last.data) == (1, 2, False)
    row = await world.feeds.subscription(some.id)
    assert (row["position"], row["retry_parked"]) == (2, False)


async def test_a_retry_during_an_outage_waits_like_everything_else_and_what_is_given_up_is_gone(world: World) -> None:
    poison: set[str] = set()
    async with receiver(refusing(400, poison=lambda: poison)) as there, world.courier() as courier:
        some = await with_parked(world, courier, there, poison, 3, 4)
        three, four = await parked(world, some)
        async with world.db.district(some.district) as tx:
            await store.remove(tx, some.id, [four.parked_id])
        there.behave = status(503)
        await ask(world, some)
        await rounds(world, courier, some, 3)
        tried = there.received[-3:]
        assert len({(got.id, got.body) for got in tried}) == 1
        assert [found.retry for found in await parked(world, some)] == [True]
        there.behave = status(204)
        await until_done(world, courier, some)
    assert [change for got in there.received[-4:] for change in got.changes] == [
        ("users", "updated", some.users[3])
    ] * 4
    assert three.rid == 3


@pytest.mark.threat("F14")
async def test_a_batch_that_never_comes_through_in_time_gets_smaller_and_grows_again(world: World) -> None:
    async def behave(request: web.Request) -> web.StreamResponse:
        many = len(orjson.loads(await request.read())["data"]["changes"]) > 30
        return await hang(request) if many else web.Response(status=204)

    async with receiver(behave) as there, world.courier(seconds=0.3) as courier:
        some = await world.subscribe(there, users=100, max_changes=100, max_bytes=100_000, types=("users.*",))
        await world.feeds.move(some.district, some.grant, updated=range(100))
        await rounds(world, courier, some, 2)
        assert len({(got.id, got.body) for got in there.received}) == 1
        await until_done(world, courier, some)
        sizes = [len(got.data["changes"]) for got in there.received]
        assert sizes[:5] == [100, 100, 100, 50, 25]
        assert await parked(world, some) == []
        there.behave = status(204)
        before = len(there.received)
        for _ in range(8):
            await world.feeds.move(some.district, some.grant, updated=range(100))
            await until_done(world, courier, some)
    sizes = [len(got.data["changes"]) for got in there.received]
    assert sizes[before:] == sorted(sizes[before:]) or sizes[before] < 50
    assert sizes[-1] == 100
    assert (await world.feeds.subscription(some.id))["batch_changes"] is None


async def test_too_large_a_body_is_halved_at_once(world: World) -> None:
    async def behave(request: web.Request) -> web.Response:
        return web.Response(status=413 if len(await request.read()) > 6_000 else 204)

    async with receiver(behave) as there, world.courier() as courier:
        some = await world.subscribe(there, users=60)
        await world.feeds.move(some.district, some.grant, updated=range(60))
        await until_done(world, courier, some)
    assert [len(got.data["changes"]) for got in there.received][:3] == [61, 30, 15]
    assert await parked(world, some) == []


def test_which_answers_are_about_what_was_sent() -> None:
    assert [code for code in (400, 406, 409, 413, 422, 451, 500) if not refuses(code)] == []
    others: list[Any] = [None, 200, 301, 401, 403, 404, 408, 410, 425, 429, 502, 503, 504]
    assert [code for code in others if refuses(code)] == []


async def test_a_flapping_receiver_parks_nothing(world: World) -> None:
    calls = 0

    async def behave(_request: web.Request) -> web.Response:
        nonlocal calls
        calls += 1
        await asyncio.sleep(0)
        return web.Response(status=500 if calls % 3 else 204)  # two of three fail, the empty messages included

    async with receiver(behave) as there, world.courier() as courier:
        some = await world.subscribe(there, users=60)
        for _ in range(3):
            await world.feeds.move(some.district, some.grant, updated=range(60))
            await until_done(world, courier, some)
        assert await parked(world, some) == []
    assert {c for got in there.received for c in got.changes} == {("users", "updated", u) for u in some.users[:60]}
