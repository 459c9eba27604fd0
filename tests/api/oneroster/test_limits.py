"""Limits of apps, over HTTP."""

from __future__ import annotations

import asyncio
import re
from typing import Any

import asyncpg
import pytest

from hub.api import limits
from hub.store import apps
from tests.api.oneroster.raw import ask, request, service
from tests.api.oneroster.rosters import Hub, Prepared, minor, running
from tests.services import Database


async def set_limits(hub: Hub, app: str, **wanted: Any) -> None:
    async with hub.db.shared() as tx:
        await apps.set_limits(tx, hub.prepared.apps[app], wanted)


async def test_every_answer_to_a_known_app_tells_what_is_left(
    roster_database: Database, rostered: tuple[str, Prepared]
) -> None:
    async with running(roster_database, rostered[1], app_requests_per_second=0.01, app_requests_burst=4) as hub:
        answers = [
            await hub.get(path) for path in ("/orgs", "/nothing", "/orgs/none", "/orgs?limit=x", "/orgs", "/orgs")
        ]
        assert [status for status, _, _ in answers] == [200, 404, 404, 400, 200, 429]
        told = [headers.get("RateLimit") for _, _, headers in answers]
        assert [text and re.sub(r"t=\d+", "t", text) for text in told] == [
            '"app";r=3;t', None, '"app";r=2;t', '"app";r=1;t', '"app";r=0;t', '"app";r=0;t',
        ]  # fmt: skip
        last = answers[-1][2]
        assert last["RateLimit-Policy"] == '"app";q=4;w=400'
        assert (last["X-RateLimit-Limit"], last["X-RateLimit-Remaining"]) == ("4", "0")
        assert 90 < int(last["Retry-After"]) <= 100
        assert last["RateLimit"].endswith(f"t={last['Retry-After']}")
        assert "RateLimit" not in (await hub.get("/orgs", app=None))[2]


@pytest.mark.threat("T45")
async def test_what_is_set_for_an_app_acts_within_a_second(hub: Hub) -> None:
    assert (await hub.get("/orgs"))[0] == 200
    await set_limits(hub, "lms", requests_per_second=0.01, burst=2)
    await asyncio.sleep(1.1)
    statuses = [(await hub.get("/orgs"))[0] for _ in range(4)]
    assert statuses[-1] == 429
    assert (await hub.get("/orgs", app="math"))[0] == 200
    await set_limits(hub, "lms")
    await asyncio.sleep(1.1)
    # The budget is empty, so that the look-up, which comes first, has the new rate already.
    assert [(await hub.get("/orgs"))[0] for _ in range(3)][1:] == [200, 200]


@pytest.mark.threat("T45", "F17")
async def test_an_app_with_slow_requests_keeps_no_connection_from_another(
    roster_database: Database, rostered: tuple[str, Prepared]
) -> None:
    async with running(roster_database, rostered[1], service_pool_size=3, app_queue=10) as hub:
        for app in ("lms", "math"):
            assert (await hub.get("/orgs", app=app))[0] == 200
        owner = await asyncpg.connect(roster_database.owner)
        async with owner.transaction():
            await owner.execute("LOCK TABLE hub.users IN ACCESS EXCLUSIVE MODE")
            slow = [asyncio.create_task(hub.get("/users", offset=str(n))) for n in range(30)]
            while not any(task.done() for task in slow):
                await asyncio.sleep(0.01)
            assert [(await hub.get("/orgs", app="math"))[0] for _ in range(10)] == [200] * 10
            refused = [task.result() for task in slow if task.done()]
            assert {(status, minor(body)) for status, body, _ in refused} == {(429, "server_busy")}
            assert all(headers["Retry-After"] == "1" for _, _, headers in refused)
            await owner.execute("ROLLBACK; BEGIN")
            rest = await asyncio.gather(*slow)
        await owner.close()
        assert [status for status, _, _ in rest].count(200) == 11
        assert (await hub.get("/users"))[0] == 200


@pytest.mark.threat("F17")
async def test_with_two_connections_and_one_that_is_never_given_back_500_clients_are_told(
    roster_database: Database, rostered: tuple[str, Prepared], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "LONGEST_WAIT", 1.0)
    async with running(roster_database, rostered[1], service_pool_size=2) as hub:
        apps_ = ("lms", "math", "library")
        data = [request("GET", service(hub, "/users"), token=hub.prepared.tokens[apps_[n % 3]]) for n in range(500)]
        assert [(await hub.get("/users", app=app))[0] for app in apps_] == [200] * 3
        owner = await asyncpg.connect(roster_database.owner)
        async with owner.transaction():
            await owner.execute("LOCK TABLE hub.users IN ACCESS EXCLUSIVE MODE")
            stuck = asyncio.create_task(hub.get("/users"))
            while not await owner.fetchval("SELECT count(*) FROM pg_locks WHERE NOT granted"):
                await asyncio.sleep(0.01)
            answers = [answer for (answer,) in await asyncio.gather(*(ask(hub, one) for one in data))]
            assert {answer.status for answer in answers} == {429, 503}
            assert {minor(answer.json) for answer in answers} == {"server_busy"}
            assert all(int(answer.headers["retry-after"]) > 0 for answer in answers)
            async with hub.session.get("/readyz") as response:
                assert response.status == 200
        assert (await stuck)[0] == 200
        await owner.close()
        assert [(await hub.get("/users", app=app))[0] for app in apps_] == [200] * 3
