"""Budgets of requests, and places among those that are answered."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from uuid import UUID, uuid4

import pytest

from hub.api import limits as module
from hub.api.limits import AppLimits, Limits
from hub.api.oneroster.errors import RefusedError

DEFAULT = Limits(requests_per_second=2, burst=4, concurrency=2, queue=3)
START = datetime(2026, 1, 1, tzinfo=UTC)
ONE, OTHER = uuid4(), uuid4()


class Time:
    """A clock that the test moves."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


def limits(places: int = 8, time: Time | None = None) -> AppLimits:
    return AppLimits(DEFAULT, places, time or Time(), lambda: START)


def test_a_budget_is_used_up_and_comes_back_at_its_rate() -> None:
    time = Time()
    of = limits(time=time)
    quotas = [of.count(ONE) for _ in range(5)]
    assert [(q.remaining, q.refused) for q in quotas] == [(3, False), (2, False), (1, False), (0, False), (0, True)]
    assert [q.reset for q in quotas] == [1, 1, 2, 1, 1]
    assert not of.count(OTHER).refused
    time.now = 0.5
    assert [of.count(ONE).refused for _ in range(2)] == [False, True]
    time.now = 1000
    assert of.count(ONE).remaining == 3


def test_headers_name_the_policy_and_what_is_left() -> None:
    headers = dict(limits().count(ONE).headers())
    assert headers == {
        "RateLimit-Policy": '"app";q=4;w=2',
        "RateLimit": '"app";r=3;t=1',
        "X-RateLimit-Limit": "4",
        "X-RateLimit-Remaining": "3",
        "X-RateLimit-Reset": str(int(START.timestamp()) + 1),
    }


def test_what_is_set_for_an_app_holds_for_it_alone_and_can_be_taken_back() -> None:
    of = limits()
    of.learn(ONE, {"burst": 1, "a setting of a later release": 1, "queue": None})
    assert [of.count(ONE).refused for _ in range(2)] == [False, True]
    assert of.count(OTHER).limits == DEFAULT
    of.learn(ONE, {})
    assert of.count(ONE).limits == DEFAULT


async def hold(of: AppLimits, app: UUID, order: list[UUID], release: asyncio.Event) -> None:
    async with of.place(app):
        order.append(app)
        await release.wait()


async def started() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


@pytest.mark.threat("T45")
async def test_one_app_never_takes_the_last_place_and_waiting_apps_take_turns() -> None:
    of, order, release = limits(places=3), list[UUID](), asyncio.Event()
    of.learn(ONE, {"concurrency": 100, "queue": 100})
    greedy = [asyncio.create_task(hold(of, ONE, order, release)) for _ in range(10)]
    await started()
    assert order == [ONE] * 2
    others = [asyncio.create_task(hold(of, OTHER, order, release)) for _ in range(3)]
    await started()
    assert order == [ONE, ONE, OTHER]
    release.set()
    await asyncio.gather(*greedy, *others)
    assert order[3:7] in ([ONE, OTHER, ONE, OTHER], [OTHER, ONE, OTHER, ONE])
    assert len(order) == 13


async def test_more_than_the_queue_are_refused_and_who_gives_up_leaves_no_trace() -> None:
    of, order, release = limits(), list[UUID](), asyncio.Event()
    tasks = [asyncio.create_task(hold(of, ONE, order, release)) for _ in range(5)]
    await started()
    with pytest.raises(RefusedError) as refused:
        await hold(of, ONE, order, release)
    assert (refused.value.status, refused.value.headers["Retry-After"]) == (429, "1")
    tasks[2].cancel()
    await started()
    tasks.append(asyncio.create_task(hold(of, ONE, order, release)))
    await started()
    release.set()
    assert [type(e) for e in await asyncio.gather(*tasks, return_exceptions=True)].count(type(None)) == 5
    async with of.place(ONE), of.place(ONE):
        assert of.count(ONE).remaining == 3


async def test_a_place_that_comes_when_its_request_is_gone_goes_to_the_next() -> None:
    of, order, first = limits(places=1), list[UUID](), asyncio.Event()
    holder = asyncio.create_task(hold(of, ONE, order, first))
    await started()
    release = asyncio.Event()
    gone = asyncio.create_task(hold(of, OTHER, order, release))
    next_ = asyncio.create_task(hold(of, ONE, order, release))
    await started()
    first.set()
    await holder
    gone.cancel()  # its turn was given a moment ago
    release.set()
    await next_
    assert order[-1] == ONE
    assert gone.cancelled() or gone.done()


async def test_who_waits_too_long_is_told_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LONGEST_WAIT", 0.01)
    of, order, release = limits(places=1), list[UUID](), asyncio.Event()
    task = asyncio.create_task(hold(of, ONE, order, release))
    await started()
    with pytest.raises(RefusedError) as refused:
        await hold(of, OTHER, order, release)
    assert refused.value.status == 503
    release.set()
    await task
    async with of.place(OTHER):
        assert order == [ONE]
