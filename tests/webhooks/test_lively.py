"""A subscription that has been told nothing yet is tried again soon where its receiver is known to work."""

from __future__ import annotations

import time

import pytest

from hub.store import claims
from hub.webhooks import lively
from hub.webhooks.deliver import deliver
from hub.webhooks.lively import Lively
from tests.fakes.receiver import Receiver, in_turn, receiver, status
from tests.webhooks.conftest import Subscribed, World
from tests.webhooks.rounds import due, one

URL = "https://receiver.example/hook"


async def waits(world: World, some: Subscribed) -> float:
    """Seconds from the last attempt to the next one."""
    row = await world.feeds.subscription(some.id)
    assert row["attempt"] > 0
    return float((row["ready_at"] - row["attempted_at"]).total_seconds())


async def subscribed(world: World, there: Receiver) -> Subscribed:
    """A subscription of a district of its own for which something waits."""
    some = await world.subscribe(there, users=2, types=("users.*",))
    await world.feeds.move(some.district, some.grant, updated=range(2))
    return some


@pytest.mark.threat("F14")
async def test_a_receiver_that_works_for_another_subscription_errs_now_and_then(world: World) -> None:
    moods = in_turn(status(204), *(status(503) for _ in range(4)), status(204))
    async with receiver(moods) as there, world.courier() as courier:
        await subscribed(world, there)
        await one(courier)
        some = await subscribed(world, there)
        found = []
        for _ in range(4):
            await one(courier)
            found.append(await waits(world, some))
            await due(world, some)
        assert found[:2] == [0.5, 2.0]  # and from then on the schedule, from its beginning
        assert 4 <= found[2] <= 6
        assert 240 <= found[3] <= 360
        await one(courier)
        assert (await world.feeds.subscription(some.id))["position"] == 1


async def test_who_failed_at_a_receiver_that_works_is_not_sent_to_the_end_of_the_line(world: World) -> None:
    moods = in_turn(status(204), *(status(503) for _ in range(3)), status(204))
    async with receiver(moods) as there, world.courier() as courier:
        await subscribed(world, there)
        await one(courier)
        some = await subscribed(world, there)
        await one(courier)
        other = await subscribed(world, there)
        first = []
        for _ in range(3):
            await due(world, some)
            await world.feeds.connection.execute(
                "UPDATE subscriptions SET ready_at = now() - interval '1 minute', lease_until = NULL "
                "WHERE subscription_id = $1", other.id
            )  # fmt: skip
            (claim,) = await claims.claim(courier.db, limit=1, per_district=1, lease_seconds=20)
            first.append(claim.subscription_id)
            if claim.subscription_id == some.id:
                await deliver(courier, claim)
    assert first == [some.id, some.id, other.id]  # twice it is tried again soon, and waits like everybody from then on


async def test_a_receiver_that_took_nothing_from_anybody_has_its_schedule(world: World) -> None:
    async with receiver() as works, receiver(status(503)) as there, world.courier() as courier:
        await subscribed(world, works)
        some = await subscribed(world, there)  # the same host, another port
        await one(courier)
        assert 4 <= await waits(world, some) <= 6
        await due(world, some)
        await one(courier)
        assert 240 <= await waits(world, some) <= 360


async def test_what_receivers_took_is_known_to_a_worker_that_starts(world: World) -> None:
    async with receiver() as works, receiver(status(503)) as fails, world.courier() as courier:
        for there in (works, fails):
            await subscribed(world, there)
        await one(courier)
        ((url, seconds),) = await claims.lively(courier.db, seconds=60)
        assert (url, 0 <= seconds < 20) == (works.url, True)
        await world.feeds.connection.execute("UPDATE subscriptions SET taken_at = now() - interval '61 seconds'")
        assert await claims.lively(courier.db, seconds=60) == []


def test_what_was_taken_before_this_process_earns_no_retry_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(time, "monotonic", lambda: 100.0)
    known = Lively()
    for _ in range(9):
        known.took_before(URL, 7.5)
    assert known.since(URL) == 7.5
    assert not known.may_at_once(URL)
    known.took(URL, 1)
    known.took_before(URL, 30)
    assert known.since(URL) == 0


def test_retries_at_once_are_earned_five_for_one_and_ten_at_the_most() -> None:
    known = Lively()
    for _ in range(9):
        known.took(URL, 1)
    assert [known.may_at_once(URL) for _ in range(2)] == [True, False]
    for _ in range(1_000):
        known.took(URL, 1)
    assert [known.may_at_once(URL) for _ in range(11)] == [True] * 10 + [False]
    assert not known.may_at_once("https://receiver2.example/hook")


def test_what_is_remembered_is_bounded_and_of_the_last_minute(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 100.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    monkeypatch.setattr(lively, "MOST", 2)
    known = Lively()
    for number in (1, 2, 1, 3):
        known.took(f"https://receiver{number}.example/hook", 1)
    now = 107.5
    assert known.since("https://receiver1.example/another") == 7.5
    assert known.since("https://receiver3.example/hook") == 7.5
    assert known.since("https://receiver2.example/hook") is None
    assert known.since("https://receiver1.example:8443/hook") is None
    assert known.since("ftp://receiver1.example") is None


def _answers(known: Lively, *milliseconds: int) -> None:
    for each in milliseconds:
        known.took(URL, each)


def test_how_long_an_answer_usually_takes_is_known_after_twenty() -> None:
    known = Lively()
    _answers(known, *[20] * 19)
    assert known.patience(URL, 10) is None
    _answers(known, 20)
    assert known.patience("https://receiver2.example/hook", 10) is None
    assert known.patience("ftp://receiver.example", 10) is None
    patience = known.patience(URL, 10)
    assert patience is not None
    assert patience.seconds == 1.0  # a tenth of the time-out at the least


def test_patience_grows_with_what_answers_take_and_how_they_differ() -> None:
    known = Lively()
    _answers(known, *[300] * 50)
    steady = known.patience(URL, 1)
    assert steady is not None
    assert 0.3 <= steady.seconds < 0.31
    _answers(known, *[20, 300] * 50)
    assert known.patience(URL, 1) is None  # more than half of the time-out: then it is waited for
    uneven = known.patience(URL, 4)
    assert uneven is not None
    assert 0.4 < uneven.seconds < 1.2
    _answers(known, 3_000)  # one that took long, and was an answer
    assert known.patience(URL, 4) is None


def test_a_request_that_is_given_up_uses_up_a_retry_at_once() -> None:
    known = Lively()
    _answers(known, *[20] * 20)
    patience = known.patience(URL, 10)
    assert patience is not None
    assert [patience.is_over() for _ in range(5)] == [True] * 4 + [False]
    assert not known.may_at_once(URL)
