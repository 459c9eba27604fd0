"""A receiver that takes most of what it is sent is asked again at once where it fails; who fails often is not."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from aiohttp import web

from hub.store import claims
from hub.webhooks import subscriptions
from hub.webhooks.courier import Courier
from hub.webhooks.deliver import deliver
from hub.webhooks.lively import FOR_ONE_AT_ONCE
from tests.fakes.receiver import Behaviour, Receiver, hang, in_turn, receiver, status
from tests.webhooks.conftest import Subscribed, World

PARTS = 4


async def _one_lease(courier: Courier, most: int = 50) -> bool:
    """Delivers under one lease; whether it is held to the end."""
    (claim,) = await claims.claim(courier.db, limit=1, per_district=1, lease_seconds=courier.lease_seconds)
    return await deliver(courier, claim, most=most)


async def _log(world: World, some: Subscribed) -> list[tuple[int, int | None, str | None]]:
    """Number, status and class of all attempts, the first one first."""
    rows = await world.feeds.connection.fetch(
        "SELECT attempt, status, error_class FROM attempts WHERE subscription_id = $1 ORDER BY batch_id, attempt",
        some.id,
    )
    return [tuple(row) for row in rows]


@asynccontextmanager
async def _waiting(
    world: World, behave: Behaviour, *, taken: int = FOR_ONE_AT_ONCE, seconds: float = 5, **terms: Any
) -> AsyncIterator[tuple[Receiver, Courier, Subscribed]]:
    """Something waits for a receiver that has taken so many messages before."""
    async with receiver(behave) as there, world.courier(seconds=seconds) as courier:
        for _ in range(taken):
            courier.lively.took(there.url, 1)
        some = await world.subscribe(there, users=PARTS, **{"max_changes": 1, "types": ("users.*",), **terms})
        await world.feeds.move(some.district, some.grant, updated=range(PARTS))
        yield there, courier, some


@pytest.mark.threat("F14")
async def test_a_batch_that_failed_once_comes_again_at_once_and_the_rest_follows_it(world: World) -> None:
    moods = in_turn(status(204), status(500), status(204))
    async with _waiting(world, moods) as (there, courier, some):
        await _one_lease(courier)
        ids = [got.id for got in there.received]
        assert ids[1] == ids[2]
        assert len(set(ids)) == len(ids) - 1 == PARTS
        assert there.received[1].body == there.received[2].body
        assert there.received[2].at - there.received[1].at < 0.5
        assert next(change for got in there.received[2:] for change in got.changes) == there.received[1].changes[0]
        assert [got.data["more"] for got in there.received[-2:]] == [True, False]
        row = await world.feeds.subscription(some.id)
        assert (row["position"], row["attempt"], row["quick"], row["last_error"]) == (1, 0, 0, None)
        log = await _log(world, some)
        assert log[1:3] == [(1, 500, "status"), (2, 204, None)]
        assert [entry for entry in log if entry[0] > 1] == [(2, 204, None)]


async def test_a_batch_is_asked_for_at_once_only_twice(world: World) -> None:
    async with _waiting(world, status(503), taken=10 * FOR_ONE_AT_ONCE) as (there, courier, some):
        assert not await _one_lease(courier)
        first, second, third = there.received
        assert first.id == second.id == third.id
        assert third.at - second.at > 0.1
        assert await _log(world, some) == [(number, 503, "status") for number in (1, 2, 3)]
        row = await world.feeds.subscription(some.id)
        assert (row["attempt"], row["quick"], row["lease_token"]) == (1, 1, None)
        assert (row["ready_at"] - row["attempted_at"]).total_seconds() == 0.5


async def test_a_hang_is_asked_again_at_once_with_the_same_bytes(world: World) -> None:
    async with _waiting(world, in_turn(hang, status(204)), seconds=0.4, max_changes=500) as (there, courier, some):
        await _one_lease(courier)
        assert len({(got.id, got.body) for got in there.received}) == 1
        assert await _log(world, some) == [(1, None, "timeout_read"), (2, 204, None)]


@pytest.mark.parametrize(
    ("moods", "taken", "requests"),
    [
        ((status(503), hang), 3, 2),  # no answer: no second time
        ((hang, status(503)), 10, 3),
        ((status(503),), 1, 2),  # earned once
    ],
    ids=["no answer", "an answer", "earned once"],
)
async def test_the_second_time_is_for_an_answer_and_earned_as_the_first(
    world: World, moods: tuple[Behaviour, ...], taken: int, requests: int
) -> None:
    behave = in_turn(*moods, status(503))
    async with _waiting(world, behave, taken=taken * FOR_ONE_AT_ONCE, seconds=0.4) as (there, courier, some):
        assert not await _one_lease(courier)
        assert len(there.received) == requests
        assert (await world.feeds.subscription(some.id))["quick"] == 1


async def test_refusals_at_once_are_one_refusal_and_nothing_is_parked_by_them(world: World) -> None:
    async def all_but_the_first(request: web.Request) -> web.Response:
        first = there.received[0].changes[0][2]
        return web.Response(status=500 if first.encode() in await request.read() else 204)

    async with _waiting(world, all_but_the_first, taken=10 * FOR_ONE_AT_ONCE) as (there, courier, some):
        assert not await _one_lease(courier)
        *refused, probe = there.received
        assert len(refused) == 3
        assert len({got.id for got in refused}) == 1
        assert probe.data["probe"] is True
        row = await world.feeds.subscription(some.id)
        assert (row["refused"], row["attempt"], row["isolating"]) == (2, 1, None)
        assert await world.feeds.connection.fetchval("SELECT count(*) FROM parked") == 0


async def test_one_answer_that_does_not_come_makes_batches_no_smaller_and_two_in_a_row_do(world: World) -> None:
    moods = in_turn(hang, status(204), status(204), hang, hang, status(204))
    async with _waiting(world, moods, taken=2 * FOR_ONE_AT_ONCE, seconds=0.4, max_changes=2) as (there, courier, some):
        await _one_lease(courier)
        assert [len(got.changes) for got in there.received] == [2, 2, 2]
        assert (await world.feeds.subscription(some.id))["batch_changes"] is None
        await world.feeds.move(some.district, some.grant, updated=range(PARTS))
        assert not await _one_lease(courier)
        assert [len(got.changes) for got in there.received[3:]] == [2, 2]
        assert (await world.feeds.subscription(some.id))["batch_changes"] == 1


@pytest.mark.parametrize(
    ("behave", "taken"),
    [
        (status(500), FOR_ONE_AT_ONCE - 1),
        (status(400), FOR_ONE_AT_ONCE),
        (status(404), FOR_ONE_AT_ONCE),
        (status(429), FOR_ONE_AT_ONCE),
        (status(503, Retry_After="7"), FOR_ONE_AT_ONCE),
    ],
)
async def test_who_has_not_earned_it_or_says_something_else_is_not_asked_at_once(
    world: World, behave: Behaviour, taken: int
) -> None:
    async with _waiting(world, behave, taken=taken) as (there, courier, some):
        assert not await _one_lease(courier)
        assert len(there.received) == 1
        row = await world.feeds.subscription(some.id)
        assert (row["attempt"], row["lease_token"]) == (1, None)


async def test_a_receiver_that_fails_often_gets_few_requests_more(world: World) -> None:
    count = at_once = 0

    async def every_other(_request: web.Request) -> web.Response:
        nonlocal count
        count += 1
        return web.Response(status=204 if count % 2 else 503)

    async with receiver(every_other) as there, world.courier() as courier:
        for _ in range(30):
            some = await world.subscribe(there, users=1, types=("users.*",))
            await world.feeds.move(some.district, some.grant, updated=[0])
            before = len(there.received)
            await _one_lease(courier)
            at_once += len(there.received) - before - 1
        assert 0 < at_once <= (count + 1) / 2 / FOR_ONE_AT_ONCE


Change = Callable[[World, Subscribed], Awaitable[None]]


async def _pause(world: World, some: Subscribed) -> None:
    async with world.db.district(some.district) as tx:
        await subscriptions.pause(tx, some.id)


async def _revoke(world: World, some: Subscribed) -> None:
    await world.feeds.connection.execute("UPDATE grants SET state = 'revoked' WHERE grant_id = $1", some.grant)


async def _suspend(world: World, some: Subscribed) -> None:
    await world.feeds.connection.execute(
        "UPDATE districts SET state = 'suspended' WHERE district_id = $1", some.district
    )


@pytest.mark.threat("F14")
@pytest.mark.parametrize("change", [_pause, _revoke, _suspend])
async def test_between_two_attempts_it_is_looked_whether_anything_may_be_sent(world: World, change: Change) -> None:
    found: list[Subscribed] = []

    async def behave(_request: web.Request) -> web.Response:
        await change(world, found[0])
        return web.Response(status=500)

    async with _waiting(world, behave) as (there, courier, some):
        found.append(some)
        assert not await _one_lease(courier)
        assert len(there.received) == 1


async def test_what_is_edited_between_two_attempts_counts_from_the_next_batch_on(world: World) -> None:
    found: list[Subscribed] = []

    async def behave(_request: web.Request) -> web.Response:
        if len(found) != 1:
            return web.Response(status=204)
        await world.edit(found[0], max_changes=3)
        found.append(found[0])
        return web.Response(status=500)

    async with _waiting(world, behave) as (there, courier, some):
        found.append(some)
        await _one_lease(courier)
        assert [len(got.changes) for got in there.received] == [1, 1, 3]
        assert there.received[0].body == there.received[1].body
        told = [change for got in there.received[1:] for change in got.changes]
        assert len(told) == len(set(told)) == PARTS


async def test_a_worker_that_ends_in_between_leaves_the_batch_to_the_next_one(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    class EndedError(BaseException):
        pass

    async def end(_seconds: float) -> None:
        raise EndedError

    async with _waiting(world, in_turn(status(500), status(204))) as (there, courier, some):
        with monkeypatch.context() as patched:
            patched.setattr("hub.webhooks.deliver.asyncio.sleep", end)
            with pytest.raises(EndedError):
                await _one_lease(courier)
        held = await world.feeds.subscription(some.id)
        assert held["lease_token"] is not None
        await world.feeds.connection.execute("UPDATE subscriptions SET lease_until = now() - interval '1 second'")
        await _one_lease(courier)
        ids = [got.id for got in there.received]
        assert ids[0] == ids[1]
        assert len(set(ids)) == PARTS
        assert [entry[0] for entry in await _log(world, some)][:2] == [1, 2]


async def test_what_a_dead_worker_held_is_taken_when_its_lease_ends(world: World) -> None:
    async with receiver() as there, world.courier() as dead:
        some = await world.subscribe(there, users=1)
        await world.feeds.move(some.district, some.grant, updated=[0])
        assert await claims.claim(dead.db, limit=1, per_district=1, lease_seconds=1.5)
        started = time.monotonic()
        async with world.running(listen=False):
            await there.wait_for(1, seconds=5)
        assert 1 < there.received[0].at - started < 3
