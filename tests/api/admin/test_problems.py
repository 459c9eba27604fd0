"""Errors have one shape, say what to do, and repeat nothing of what was sent."""

from __future__ import annotations

import io

import asyncpg
import pytest
from aiohttp import ClientSession
from structlog.testing import capture_logs

from hub.api.admin.problem import MEDIA_TYPE, Problem
from hub.api.admin.route import PREFIX
from tests.api.admin.service import AdminHub

JSON = {"Content-Type": "application/json"}
CANARY = "Zyxwv-Canary-77"


async def test_every_refusal_is_a_problem(hub: AdminHub) -> None:
    base = f"/districts/{hub.district}"
    answers = [
        await hub.call("GET", "/nowhere"),
        await hub.call("DELETE", "/districts"),
        await hub.call("GET", "/me", role=None),
        await hub.call("GET", "/tokens", role="app"),
        await hub.call("POST", "/districts", json={"name": ""}),
        await hub.call("POST", "/districts", data=b"{", headers=JSON),
        await hub.call("POST", "/districts", data=b"\xff\xfe", headers=JSON),
        await hub.call("POST", "/districts", data=b"name=a", headers={"Content-Type": "text/plain"}),
        await hub.call("POST", "/districts", data=io.BytesIO(b"x" * 2_000_000), headers=JSON),
        await hub.call("POST", "/apps", json={"name": "Math"}),
        await hub.call("GET", f"{base}/runs/{hub.source}"),
        await hub.call("GET", f"{base}/runs", params={"limit": "many", "colour": "red"}),
        await hub.call("GET", "/x%00y"),
        await hub.call("POST", "/districts", data=io.BytesIO(b"junk"), headers=JSON | {"Content-Encoding": "gzip"}),
        await hub.call("POST", "/districts", data=io.BytesIO(b"junk"), headers=JSON | {"Content-Encoding": "zstd"}),
    ]

    assert [a.status for a in answers] == [404, 405, 401, 403, 400, 400, 400, 415, 413, 409, 404, 400, 404, 400, 400]
    for answer in answers:
        assert answer.headers["Content-Type"] == MEDIA_TYPE
        problem = Problem.model_validate(answer.json)
        assert problem.status == answer.status
        assert problem.detail
        assert problem.type == f"{PREFIX}/docs#{problem.code}"
    assert "GET" in answers[1].headers["Allow"]
    assert {error["field"] for error in answers[11].json["errors"]} == {"limit", "colour"}


@pytest.mark.threat("T48")
async def test_refusals_repeat_nothing_of_what_was_sent(hub: AdminHub) -> None:
    bodies = [{"name": [CANARY]}, {"name": "a", CANARY: 1}, {"name": {"a": CANARY}}, CANARY, [CANARY]]
    with capture_logs() as logs:
        answers = [await hub.call("POST", "/districts", json=body) for body in bodies]
        answers.append(await hub.call("GET", "/districts", params={"after": CANARY}))
        answers.append(await hub.call("GET", f"/districts/{CANARY}"))

    named = [answer for answer in answers if CANARY in answer.body.decode()]
    assert [error["field"] for answer in named for error in answer.json["errors"]] == [CANARY]  # the member to take out
    assert CANARY not in str(logs)


@pytest.mark.threat("T48")
async def test_a_failure_tells_the_caller_nothing_and_the_log_no_values(hub: AdminHub) -> None:
    """The table is taken away under the API, so that PostgreSQL's own error text would name it."""
    connection = await asyncpg.connect(hub.owner_url)
    await connection.execute("ALTER TABLE hub.districts ADD CONSTRAINT no_canary CHECK (name NOT LIKE 'Zyxwv%')")
    await connection.close()
    with capture_logs() as logs:
        answer = await hub.call("POST", "/districts", json={"name": CANARY})

    assert (answer.status, answer.json["code"]) == (500, "internal")
    assert "no_canary" not in answer.body.decode()
    assert "CheckViolationError" in str(logs)
    assert CANARY not in str(logs)
    assert await hub.audit_rows() == []


@pytest.mark.threat("F2", "F17")
async def test_without_its_database_the_api_says_when_to_come_back(hub: AdminHub) -> None:
    await hub.pool.close()
    answer = await hub.call("GET", "/districts")

    assert (answer.status, answer.json["code"]) == (503, "unavailable")
    assert answer.headers["Retry-After"] == "2"


async def test_the_documents_need_no_token_and_run_nothing(hub: AdminHub) -> None:
    async with ClientSession(base_url=hub.server.make_url("/")) as session:
        async with session.get(f"{PREFIX}/docs") as response:
            page = await response.text()
            policy = response.headers["Content-Security-Policy"]
        async with session.get(f"{PREFIX}/openapi.json") as response:
            document = await response.json()

    assert "default-src 'none'" in policy
    assert "<script" not in page
    assert "src=" not in page
    for path in document["paths"]:
        assert path in page


async def test_a_parameter_that_a_route_does_not_know_is_refused(hub: AdminHub) -> None:
    for path in (f"/districts/{hub.district}/sources?limit=1", "/me?x=1", "/districts?pages=2"):
        answer = await hub.call("GET", path)

        assert (answer.status, answer.json["code"]) == (400, "invalid_request"), path
        assert [error["field"] for error in answer.json["errors"]] == [path.partition("?")[2].partition("=")[0]]
