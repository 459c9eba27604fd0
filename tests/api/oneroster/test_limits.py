"""Limits of apps, over HTTP."""

from __future__ import annotations

import asyncio
import re
from typing import Any

import asyncpg
import pytest

from hub.store import apps
from tests.api.oneroster.rosters import Hub, Prepared, minor, running
from tests.services import Database


async def set_limits(hub: Hub, app: str, **limits: Any) -> None:
    async with hub.db.shared() as tx:
        await apps.set_limits(tx, hub.prepared.apps[app], limits)


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
