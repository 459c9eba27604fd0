"""What the owner of a subscription is told of it: how far it is, what waits and why, and what its receiver answered."""

from __future__ import annotations

import pytest
from aiohttp import web

from hub.store import attempts, standings
from hub.store import subscriptions as store
from hub.store.attempts import Attempt, Wanted
from hub.store.subscriptions import Subscription
from hub.webhooks import subscriptions
from hub.webhooks.standing import Waits, changes_waiting, next_attempt, why
from tests.fakes.receiver import Behaviour, in_turn, receiver, status
from tests.webhooks.conftest import Subscribed, World
from tests.webhooks.rounds import due, one


def says(code: int, body: bytes, **headers: str) -> Behaviour:
    async def behave(_request: web.Request) -> web.Response:
        return web.Response(status=code, body=body, headers={n.replace("_", "-"): v for n, v in headers.items()})

    return behave


async def log(world: World, some: Subscribed, wanted: Wanted | None = None) -> list[Attempt]:
    async with world.db.district(some.district) as tx:
        return await attempts.page(tx, some.id, wanted or Wanted(), limit=100, after=None)


async def now(world: World, some: Subscribed) -> tuple[Subscription, Waits, int]:
    """The row, why it waits, and how many records wait."""
    async with world.db.district(some.district) as tx:
        row = await store.get(tx, some.id)
        lag = await subscriptions.lag(tx, row)
        waits = why(row, await standings.of(tx, some.id), behind=lag.behind)
        return row, waits, await changes_waiting(tx, row, lag.head)


async def test_an_attempt_tells_who_answered_what(world: World) -> None:
    long = b"\x1b[31mno \xff\x00such\xe2\x80\xae \xc3\xa9" + b"x" * 5000
    answers = in_turn(
        says(500, long), says(429, b"", retry_after="77"), says(204, b""), says(200, b"<p>thanks</p>"), status(204)
    )
    async with receiver(answers) as there, world.courier() as courier:
        some = await world.subscribe(there)
        for _ in range(3):
            await world.feeds.move(some.district, some.grant, updated=[0])
            await due(world, some)
            await one(courier)
        await due(world, some)
        await one(courier)
        last, third, second, first = await log(world, some)
        assert {str(a.remote_ip) for a in (first, second, third, last)} == {"127.0.0.1"}  # kept connections too
        assert first.excerpt is not None
        assert first.excerpt.startswith("[31mno \ufffdsuch éxxx")
        assert len(first.excerpt) == attempts.MOST_EXCERPT
        assert [(a.status, a.error_class, a.retry_after, a.test) for a in (first, second, third)] == [
            (500, "status", None, False), (429, "status", 77, False), (204, None, None, False)]  # fmt: skip
        assert (second.excerpt, last.excerpt) == (None, "<p>thanks</p>")
        assert [a.attempt for a in await log(world, some, Wanted(failed=True))] == [2, 1]
        assert [a.attempt for a in await log(world, some, Wanted(failed=False))] == [last.attempt, 3]
        assert await log(world, some, Wanted(error_class="dns")) == []
        async with world.db.district(some.district) as tx:
            assert await attempts.errors(tx, some.id, hours=24) == {"status": 2}
            some_of = await attempts.page(tx, some.id, Wanted(), limit=2, after=None)
            after = attempts.as_place(some_of[-1].place)
            assert some_of + await attempts.page(tx, some.id, Wanted(), limit=9, after=after) == [
                last, third, second, first]  # fmt: skip


@pytest.mark.threat("T31")
async def test_of_an_address_that_is_blocked_nothing_is_told(world: World) -> None:
    async with receiver(says(500, b"inside")) as there, world.courier() as courier:
        some = await world.subscribe(there)
        await world.feeds.connection.execute(
            "UPDATE subscriptions SET url = 'https://10.0.0.1/' WHERE subscription_id = $1", some.id
        )
        await world.feeds.move(some.district, some.grant, updated=[0])
        await one(courier)
        (got,) = await log(world, some)
    assert (got.error_class, got.remote_ip, got.excerpt) == ("blocked_address", None, None)


async def test_why_a_subscription_waits_is_one_word(world: World) -> None:
    answers = in_turn(status(500), status(503, retry_after="900"), status(410), status(204))
    async with receiver(answers) as there, world.courier() as courier:
        some = await world.subscribe(there)
        assert (await now(world, some))[1:] == (Waits.IDLE, 0)
        await world.feeds.move(some.district, some.grant, entered=[0, 1], updated=[5])
        await world.feeds.move(some.district, some.grant, updated=[1, 2], left=[0])
        row, waits, waiting = await now(world, some)
        assert (waits, waiting) == (Waits.READY, 4)  # 0 came and left, which is told; 1 counts once
        assert next_attempt(row, waits) == row.ready_at
        for expected in (Waits.BACKOFF, Waits.RETRY_AFTER, Waits.DISABLED):
            await one(courier)
            row, waits, waiting = await now(world, some)
            assert (waits, waiting) == (expected, 4)
            assert (next_attempt(row, waits) is None) == (expected is Waits.DISABLED)
            await due(world, some)
        connection = world.feeds.connection
        await connection.execute("UPDATE subscriptions SET state = 'active', attempt = 0, ready_at = now() + '1 s'")
        assert (await now(world, some))[1] is Waits.DEFERRED
        await connection.execute("UPDATE subscriptions SET lease_until = now() + interval '1 minute'")
        assert (await now(world, some))[1] is Waits.IN_FLIGHT
        await connection.execute("UPDATE districts SET state = 'suspended'")
        assert (await now(world, some))[1] is Waits.SUSPENDED_DISTRICT
        await connection.execute("UPDATE grants SET state = 'suspended'")
        assert (await now(world, some))[1] is Waits.SUSPENDED_GRANT
        await connection.execute("UPDATE subscriptions SET state = 'paused'")
        assert (await now(world, some))[1] is Waits.PAUSED
        await connection.execute("UPDATE grants SET state = 'revoked'")
        assert (await now(world, some))[1] is Waits.REVOKED_GRANT


async def test_records_of_an_open_window_that_were_acknowledged_wait_no_more(world: World) -> None:
    async with receiver() as there, world.courier() as courier:
        some = await world.subscribe(there, users=120)
        await world.feeds.move(some.district, some.grant, entered=range(100), left=range(100, 120))
        assert (await now(world, some))[2] == 120
        claimed = await one(courier)
        assert claimed == [True]
        (got,) = there.received
        assert got.data["more"]
        row, _, waiting = await now(world, some)
        assert waiting == 120 - len(got.changes)
        await world.feeds.move(some.district, some.grant, updated=[99, 0])
        assert (await now(world, some))[2] == waiting + 1  # 99 waits anyhow
        assert row.window_to == 1


async def test_what_was_kept_long_enough_goes(world: World) -> None:
    async with receiver() as there, world.courier() as courier:
        some, other = await world.subscribe(there), await world.subscribe(there)
        for each in (some, other):
            await world.feeds.move(each.district, each.grant, updated=[0])
        await one(courier)
    await world.feeds.connection.execute("UPDATE attempts SET at = now() - interval '30 days 1 minute'")
    async with world.db.district(some.district) as tx:
        assert await attempts.forget(tx) == 1
    assert (len(await log(world, some)), len(await log(world, other))) == (0, 1)
