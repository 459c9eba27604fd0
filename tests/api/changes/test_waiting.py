"""Long polls: woken at once, with nothing held meanwhile, and ended by whatever ends them."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import asyncpg
import pytest
from aiohttp import web

from hub.api.changes.waiting import WAITING, Waiting
from hub.api.oneroster.scopes import READING, V1P2
from hub.sync import grants
from tests.api.changes.conftest import Follower, following
from tests.api.oneroster.rosters import Prepared, issue
from tests.services import Database


@asynccontextmanager
async def polled(
    database: Database, prepared: Prepared, **settings: Any
) -> AsyncIterator[tuple[Follower, Waiting, web.Application]]:
    """A follower, with what waits inside its hub."""
    apis: list[web.Application] = []
    async with following(database, prepared, extend=apis.append, **settings) as follower:
        yield follower, apis[0][WAITING], apis[0]


async def until(held: Any, seconds: float = 30) -> None:
    async with asyncio.timeout(seconds):
        while not held():
            await asyncio.sleep(0.01)


def settled(waiting: Waiting) -> bool:
    """Whether all have looked, and nothing has rung for them since."""
    waiters = itertools.chain.from_iterable(waiting._waiters.values())
    return all(one.known is not None and not one.bell.is_set() for one in waiters)


@pytest.fixture
async def poll(
    roster_database: Database, rostered: tuple[str, Prepared]
) -> AsyncIterator[tuple[Follower, Waiting, web.Application]]:
    async with polled(roster_database, rostered[1]) as found:
        yield found


async def test_a_poll_is_woken_at_once_and_by_what_is_for_it_alone(
    poll: tuple[Follower, Waiting, web.Application], roster_database: Database
) -> None:
    follower, waiting, _ = poll
    head = (await follower.told())["next"]
    task = asyncio.create_task(follower.ask(after=head, wait=30))
    narrow = asyncio.create_task(follower.ask(after=head, wait=3, types="orgs.*"))
    await until(lambda: len(waiting) == 2)
    await follower.feeds.move(follower.here, None)  # somebody else's change
    await follower.feeds.announce(follower.here)
    await asyncio.sleep(0.3)
    assert not task.done()
    await listening(roster_database)
    started = time.monotonic()
    step = await follower.move(updated=[3])
    status, body, _ = await task
    assert time.monotonic() - started < 0.5
    assert (status, body["to"], len(body["changes"])) == (200, step, 2)
    status, body, _ = await narrow  # nothing of these types: it comes when time is up, and stands further on
    assert (status, body["to"], body["changes"]) == (200, step, [])
    assert (await follower.told(after=body["next"]))["from"] == step
    assert len(waiting) == 0


async def listening(database: Database) -> None:
    """Waits until the hub hears notifications."""
    owner = await asyncpg.connect(database.owner)
    async with asyncio.timeout(10):
        while not await owner.fetchval(
            "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'hub listens hub_feed' "
            "AND datname = current_database()"
        ):
            await asyncio.sleep(0.05)
    await owner.close()


async def test_without_notifications_it_is_woken_a_second_later(
    roster_database: Database, rostered: tuple[str, Prepared]
) -> None:
    async with polled(roster_database, rostered[1], listen=False) as (follower, waiting, _):
        head = (await follower.told())["next"]
        task = asyncio.create_task(follower.ask(after=head, wait=30))
        await until(lambda: len(waiting) == 1)
        started = time.monotonic()
        step = await follower.move(updated=[3])
        _, body, _ = await task
        assert time.monotonic() - started < 2
        assert body["to"] == step


async def test_what_waits_holds_no_connection_and_no_place(
    roster_database: Database, rostered: tuple[str, Prepared]
) -> None:
    async with polled(
        roster_database, rostered[1], service_pool_size=2, app_concurrency=1, app_queue=0, changes_app_waits=30
    ) as (follower, waiting, _):
        head = (await follower.told())["next"]
        tasks = []
        for count in range(1, 31):
            tasks.append(asyncio.create_task(follower.ask(after=head, wait=20)))
            await until(lambda count=count: len(waiting) == count)
            await until(lambda: settled(waiting))  # places of those that look are the app's
        for _ in range(5):
            assert (await follower.hub.get("/orgs", limit="1"))[0] == 200
        status, body, headers = await follower.ask(after=head, wait=20)
        assert (status, body["code"]) == (429, "rate_limited")
        assert headers["Retry-After"] == "5"
        for task in tasks:
            task.cancel()
        await until(lambda: len(waiting) == 0)


async def test_no_more_wait_than_the_process_bears(roster_database: Database, rostered: tuple[str, Prepared]) -> None:
    async with polled(roster_database, rostered[1], changes_waits=1) as (follower, waiting, _):
        head = (await follower.told())["next"]
        task = asyncio.create_task(follower.ask(after=head, wait=20))
        await until(lambda: len(waiting) == 1)
        token = follower.hub.prepared.tokens["library"]
        there = (await follower.told(token=token))["next"]
        status, body, _ = await follower.ask(after=there, wait=20, token=token)
        assert (status, body["code"]) == (503, "unavailable")
        assert (await follower.ask(after=there, token=token))[0] == 200
        task.cancel()


@pytest.mark.threat("T18")
@pytest.mark.parametrize("act", ["suspended", "revoked", "token", "district"])
async def test_who_may_not_read_any_more_is_told_within_a_second(
    poll: tuple[Follower, Waiting, web.Application], act: str
) -> None:
    follower, waiting, _ = poll
    head = (await follower.told())["next"]
    tasks = [asyncio.create_task(follower.ask(path, after=after, wait=30)) for path, after in (
        ("", head), ("/changes", (await follower.told("/changes"))["next"]))]  # fmt: skip
    await until(lambda: len(waiting) == 2)
    await asyncio.sleep(0.1)
    db, owner = follower.hub.db, follower.feeds.connection
    started = time.monotonic()
    if act == "token":
        await owner.execute("UPDATE access_tokens SET revoked_at = now()")
    elif act == "district":
        await owner.execute("UPDATE districts SET state = 'suspended' WHERE district_id = $1", follower.here)
    else:
        async with db.district(follower.here) as tx:
            await grants.set_state(tx, follower.grant, act)
    answers = [await task for task in tasks]
    assert time.monotonic() - started < 2.1  # a second until somebody looks, and what the test itself takes
    expected = (401, "unauthorized") if act == "token" else (403, "forbidden")
    assert [(status, body["code"]) for status, body, _ in answers] == [expected] * 2
    assert len(waiting) == 0


async def test_a_client_that_goes_away_leaves_nothing_behind(
    poll: tuple[Follower, Waiting, web.Application], capsys: pytest.CaptureFixture[str]
) -> None:
    follower, waiting, _ = poll
    head = (await follower.told())["next"]
    task = asyncio.create_task(follower.ask(after=head, wait=60))
    await until(lambda: len(waiting) == 1)
    task.cancel()
    await until(lambda: len(waiting) == 0, 3)
    assert (await follower.ask(after=head))[0] == 200
    assert "error" not in capsys.readouterr().out


async def test_a_stop_answers_those_that_wait(poll: tuple[Follower, Waiting, web.Application]) -> None:
    follower, waiting, api = poll
    head = await follower.told()
    task = asyncio.create_task(follower.ask(after=head["next"], wait=60))
    await until(lambda: len(waiting) == 1)
    started = time.monotonic()
    await api.shutdown()
    status, body, _ = await task
    assert time.monotonic() - started < 1
    assert (status, body["changes"], body["next"]) == (200, [], head["next"])


async def test_a_poll_outlives_the_database_and_is_told(poll: tuple[Follower, Waiting, web.Application]) -> None:
    """Its connections are lost while it waits; what comes then is told all the same."""
    follower, waiting, _ = poll
    head = (await follower.told())["next"]
    task = asyncio.create_task(follower.ask(after=head, wait=30))
    await until(lambda: len(waiting) == 1)
    await follower.feeds.connection.execute(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() "
        "AND usename = 'hub_service'"
    )
    step = await follower.move(updated=[3])
    status, body, _ = await task
    assert (status, body["to"]) == (200, step)


async def test_a_slow_clients_patience_does_not_end_a_poll(
    roster_database: Database, rostered: tuple[str, Prepared]
) -> None:
    async with polled(roster_database, rostered[1], stall_seconds=0.5, header_seconds=0.5, keepalive_seconds=0.5) as (
        follower,
        _,
        _,
    ):
        head = (await follower.told())["next"]
        status, body, _ = await follower.ask(after=head, wait=3)
        assert (status, body["changes"]) == (200, [])


@pytest.mark.threat("T16")
async def test_a_change_that_a_token_may_not_read_wakes_nobody(poll: tuple[Follower, Waiting, web.Application]) -> None:
    follower, waiting, _ = poll
    hub = follower.hub
    token = await issue(hub.db, hub.prepared.clients["lms"][0], [s for s in READING if s != V1P2.DEMOGRAPHICS
                                                                and "demographics" not in s])  # fmt: skip
    head = (await follower.told())["next"]
    task = asyncio.create_task(follower.ask(after=head, wait=30, token=token))
    await until(lambda: len(waiting) == 1)
    await follower.move("demographics", updated=[1])
    await asyncio.sleep(1.2)
    assert not task.done()
    step = await follower.move(updated=[1])
    _, body, _ = await task
    assert (body["from"], body["to"]) == (step - 2, step)
    assert [c["type"] for c in body["changes"]] == ["users.updated", "syncs.completed"]
