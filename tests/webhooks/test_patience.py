"""A request that takes far longer than its receiver usually does is given up, and the same batch sent once more."""

from __future__ import annotations

import asyncio
import ipaddress
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from aiohttp import web

from hub.store import claims
from hub.webhooks.courier import Courier
from hub.webhooks.deliver import deliver
from hub.webhooks.egress import Egress
from hub.webhooks.failure import Failure
from hub.webhooks.lively import FOR_ONE_AT_ONCE, KNOWN_AFTER
from hub.webhooks.request import Patience
from tests.fakes.receiver import Behaviour, Receiver, endless, hang, hang_up, in_turn, receiver, status
from tests.webhooks.conftest import Subscribed, World

#: The time-out of these tests in seconds: after a tenth of it an answer takes longer than usual.
TIMEOUT = 4.0
USUAL = TIMEOUT / 10
ALLOW = (ipaddress.ip_network("127.0.0.0/8"),)


def after(seconds: float, code: int = 204) -> Behaviour:
    """Answers late."""

    async def behave(_request: web.Request) -> web.Response:
        await asyncio.sleep(seconds)
        return web.Response(status=code)

    return behave


@asynccontextmanager
async def _known(
    world: World, behave: Behaviour, *, answers: int = KNOWN_AFTER, milliseconds: int = 5, users: int = 2, **terms: Any
) -> AsyncIterator[tuple[Receiver, Courier, Subscribed]]:
    """Something waits for a receiver that has given so many answers."""
    async with receiver(behave) as there, world.courier(seconds=TIMEOUT) as courier:
        for _ in range(answers):
            courier.lively.took(there.url, milliseconds)
        some = await world.subscribe(there, users=users, types=("users.*",), **terms)
        await world.feeds.move(some.district, some.grant, updated=range(users))
        yield there, courier, some


async def _one_lease(courier: Courier, most: int = 50) -> bool:
    (claim,) = await claims.claim(courier.db, limit=1, per_district=1, lease_seconds=courier.lease_seconds)
    return await deliver(courier, claim, most=most)


async def _log(world: World, some: Subscribed) -> list[tuple[int, int | None, str | None]]:
    rows = await world.feeds.connection.fetch(
        "SELECT attempt, status, error_class FROM attempts WHERE subscription_id = $1 ORDER BY at, attempt", some.id
    )
    return [tuple(row) for row in rows]


@pytest.mark.threat("F14")
async def test_one_that_hangs_is_given_up_long_before_the_time_out_and_comes_again(world: World) -> None:
    async with _known(world, in_turn(hang, status(204))) as (there, courier, some):
        await _one_lease(courier)
        assert len({(got.id, got.body) for got in there.received}) == 1
        assert USUAL <= there.received[1].at - there.received[0].at < TIMEOUT / 2
        assert await _log(world, some) == [(1, None, "timeout_early"), (2, 204, None)]
        row = await world.feeds.subscription(some.id)
        assert (row["position"], row["attempt"], row["batch_changes"], row["last_error"]) == (1, 0, None, None)


async def test_the_next_request_has_the_whole_time_out(world: World) -> None:
    async with _known(world, in_turn(hang, after(3 * USUAL))) as (there, courier, some):
        await _one_lease(courier)
        assert len(there.received) == 2
        assert await _log(world, some) == [(1, None, "timeout_early"), (2, 204, None)]


async def test_of_the_requests_of_a_batch_one_is_given_up(world: World) -> None:
    moods = in_turn(status(503), hang, after(3 * USUAL))
    async with _known(world, moods) as (there, courier, some):
        await _one_lease(courier)
        assert there.received[2].at - there.received[0].at < TIMEOUT / 2
        assert await _log(world, some) == [(1, 503, "status"), (2, None, "timeout_early"), (3, 204, None)]


async def test_after_one_that_was_given_up_an_answer_comes_again_and_a_hang_does_not(world: World) -> None:
    async with _known(world, in_turn(hang, status(503), hang)) as (there, courier, some):
        assert not await _one_lease(courier)
        log = [(1, None, "timeout_early"), (2, 503, "status"), (3, None, "timeout_read")]
        assert await _log(world, some) == log
        assert len({got.id for got in there.received}) == 1


@pytest.mark.parametrize(
    "what",
    [{"answers": KNOWN_AFTER - 1}, {"milliseconds": int(TIMEOUT * 600)}, {"rate_per_minute": 60}],
    ids=["too few answers", "usually slow", "a rate"],
)
async def test_of_whom_no_more_is_known_the_answer_is_waited_for(world: World, what: dict[str, Any]) -> None:
    async with _known(world, after(2 * USUAL), **what) as (_, courier, some):
        await _one_lease(courier)
        assert await _log(world, some) == [(1, 204, None)]


async def test_who_has_used_up_its_retries_is_waited_for(world: World) -> None:
    async with _known(world, after(2 * USUAL)) as (there, courier, some):
        while courier.lively.may_at_once(there.url):
            pass
        await _one_lease(courier)
        assert await _log(world, some) == [(1, 204, None)]


async def test_a_last_batch_under_a_lease_is_waited_for(world: World) -> None:
    async with _known(world, after(2 * USUAL)) as (_, courier, some):
        assert await _one_lease(courier, most=1)
        assert await _log(world, some) == [(1, 204, None)]


async def test_whose_batches_had_to_get_smaller_is_waited_for(world: World) -> None:
    async with _known(world, after(2 * USUAL), users=3) as (_, courier, some):
        await world.feeds.connection.execute(
            "UPDATE subscriptions SET batch_changes = 2 WHERE subscription_id = $1", some.id
        )
        await _one_lease(courier)
        assert {error for *_, error in await _log(world, some)} == {None}


async def test_a_receiver_that_hangs_for_good_fails_by_its_time_out(world: World) -> None:
    async with _known(world, hang) as (_, courier, some):
        assert not await _one_lease(courier)
        assert await _log(world, some) == [(1, None, "timeout_early"), (2, None, "timeout_read")]
        row = await world.feeds.subscription(some.id)
        assert (row["attempt"], row["last_error"]) == (1, "timeout_read")


async def test_a_receiver_gets_a_fifth_more_requests_by_that_at_the_most(world: World) -> None:
    count = 0

    async def every_other(_request: web.Request) -> web.StreamResponse:
        nonlocal count
        count += 1
        await asyncio.sleep(0 if count % 2 else 2 * USUAL)
        return web.Response(status=204)

    async with _known(world, every_other, answers=0, users=24, max_changes=1) as (there, courier, some):
        for _ in range(KNOWN_AFTER):
            courier.lively.took(there.url, 5)
        while courier.lively.may_at_once(there.url):
            pass
        await _one_lease(courier)
        early = [entry for entry in await _log(world, some) if entry[2] is not None]
        assert len(early) <= 24 / FOR_ONE_AT_ONCE
        assert [error for *_, error in early] == ["timeout_early"] * len(early)


async def test_patience_ends_a_connection_and_a_status_line_ends_patience() -> None:
    moods = in_turn(hang, status(204), endless(300_000, pause=0.1))
    async with receiver(moods) as there, Egress(allow=ALLOW, timeout=3) as egress:
        spent: list[bool] = []

        def is_over() -> bool:
            spent.append(True)
            return True

        patience = Patience(0.2, is_over)
        answers = [await egress.post(there.url, b"{}", {}, patience=patience) for _ in range(3)]
        assert [answer.failure for answer in answers] == [Failure.TIMEOUT_EARLY, None, None]
        assert 200 <= answers[0].milliseconds < 1_500
        assert (answers[2].status, len(spent)) == (200, 1)


async def test_a_request_that_may_not_be_given_up_has_its_time_out() -> None:
    async with receiver(hang) as there, Egress(allow=ALLOW, timeout=0.6) as egress:
        for patience in (Patience(0.1, lambda: False), Patience(0.7, lambda: True)):
            answer = await egress.post(there.url, b"{}", {}, patience=patience)
            assert answer.failure is Failure.TIMEOUT_READ
            assert answer.milliseconds >= 600


async def test_after_a_request_without_an_answer_the_next_one_is_not_hurried(world: World) -> None:
    async with _known(world, in_turn(hang_up, after(2 * USUAL))) as (_, courier, some):
        await _one_lease(courier)
        assert await _log(world, some) == [(1, None, "protocol"), (2, 204, None)]
