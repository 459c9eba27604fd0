"""Runs through the API: start, watch, decide, and what was found."""

from __future__ import annotations

import asyncio
import csv
import io
import json
import subprocess
import sys
from datetime import timedelta

import pytest

from hub.api.admin.issues import IssueFilter
from hub.store import runs
from hub.store.database import Database as Pool
from tests.api.admin.findings import KEYS, run_with_findings
from tests.api.admin.service import AdminHub
from transforms.issues import RULES


async def test_a_run_starts_from_an_upload_and_rings_the_doorbell(hub: AdminHub) -> None:
    upload = await hub.upload(role="district")
    path = f"/districts/{hub.district}/runs"
    run = await hub.made("POST", path, role="district", json={"upload_id": upload["upload_id"], "dry_run": True})

    assert (run["state"], run["dry_run"], run["source_id"]) == ("queued", True, str(hub.source))
    assert hub.rung == [("sync", hub.district)]
    assert await hub.made("GET", f"{path}/{run['run_id']}", role="district") == run


async def test_a_paused_source_starts_no_run(hub: AdminHub) -> None:
    upload = await hub.upload()
    await hub.made("PATCH", f"/districts/{hub.district}/sources/{hub.source}", json={"state": "paused"})
    answer = await hub.call("POST", f"/districts/{hub.district}/runs", json={"upload_id": upload["upload_id"]})

    assert (answer.status, answer.json["code"]) == (409, "conflict")
    assert hub.rung == []


async def test_runs_are_listed_newest_first_in_pages(hub: AdminHub) -> None:
    made = [str(await hub.run()) for _ in range(5)]
    seen, after = [], ""
    while after is not None:
        page = await hub.made(
            "GET", f"/districts/{hub.district}/runs", params={"limit": "2"} | ({"after": after} if after else {})
        )
        seen += [run["run_id"] for run in page["items"]]
        after = page["next"]

    assert seen == made[::-1]


@pytest.mark.parametrize("state", ["queued", "running", "applied", "unchanged", "previewed", "rejected", "failed"])
async def test_only_held_runs_are_decided(hub: AdminHub, state: str) -> None:
    run = await hub.run(state)
    for decision in ("approve", "reject"):
        answer = await hub.call("POST", f"/districts/{hub.district}/runs/{run}/{decision}")
        assert (answer.status, answer.json["code"]) == (409, "conflict")
        assert state in answer.json["detail"]


async def test_a_held_run_is_approved_or_rejected_once(hub: AdminHub) -> None:
    base = f"/districts/{hub.district}/runs"
    rejected = await hub.made("POST", f"{base}/{await hub.run('held')}/reject")
    assert (rejected["state"], hub.rung) == ("rejected", [])
    held = await hub.run("held")
    answers = await asyncio.gather(*(hub.call("POST", f"{base}/{held}/approve") for _ in range(4)))

    assert sorted(answer.status for answer in answers) == [200, 409, 409, 409]
    assert hub.rung == [("sync", hub.district)]
    assert (await hub.made("GET", f"{base}/{held}"))["approved"]["counts"] == {"users": {"created": 3}}


async def test_progress_comes_as_events_until_the_end(hub: AdminHub) -> None:
    run = await hub.run()
    worker = await Pool.open(hub.worker_url, name="tests as a worker")
    states, stages = [], []
    headers = {"Authorization": f"Bearer {hub.tokens['district']}"}
    path = f"/admin/v1/districts/{hub.district}/runs/{run}/events"
    claim = None
    async with hub.session.get(path, headers=headers) as response:
        assert response.content_type == "text/event-stream"
        async for line in response.content:
            if not line.startswith(b"data: "):
                continue
            shown = json.loads(line[6:])
            states.append(shown["state"])
            stages.append(shown["stage"])
            if claim is None:
                claim = await runs.claim(worker)
                await runs.heartbeat(worker, claim, stage="transform", progress={"rows": 10})
            elif shown["state"] == "running":
                async with worker.district(hub.district) as tx:
                    await runs.finish(tx, claim, "applied")
    await worker.close()

    assert states == ["queued", "running", "applied"]
    assert stages == ["", "transform", ""]


async def test_findings_are_paged_and_chosen_by_code(hub: AdminHub) -> None:
    run = await run_with_findings(hub)
    base = f"/districts/{hub.district}/runs/{run}/issues"
    first, second = sorted(RULES)[:2]
    page = await hub.made("GET", base, role="district", params={"code": second, "limit": "3"})
    rest = await hub.made("GET", base, role="district", params={"code": second, "after": page["next"]})

    assert [item["key"] for item in page["items"] + rest["items"]] == list(KEYS[1::2])
    assert {item["code"] for item in page["items"]} == {second}
    assert page["items"][0]["howto"] == RULES[second].howto
    assert rest["next"] is None
    assert (await hub.call("GET", base, params={"code": "'; --"})).status == 400
    assert (await hub.made("GET", base, params={"code": "ZZZ-999"}))["items"] == []
    assert first != second


@pytest.mark.threat("T41")
async def test_findings_as_a_sheet_hold_no_formula_and_lose_nothing(hub: AdminHub) -> None:
    run = await run_with_findings(hub)
    path = f"/districts/{hub.district}/runs/{run}/issues.csv"
    sheet = await hub.call("GET", path, role="district")
    rows = list(csv.DictReader(io.StringIO(sheet.body.decode(), newline="")))

    assert sheet.headers["Content-Disposition"].startswith("attachment")
    assert [row["key"].removeprefix("'") for row in rows] == list(KEYS)
    assert not any(value.startswith(("=", "+", "-", "@", "\t", "\r")) for row in rows for value in row.values())


def test_every_rule_can_be_asked_for() -> None:
    for code in RULES:
        assert IssueFilter(code=code).code == code


async def test_cursors_that_nobody_gave_out_are_refused(hub: AdminHub) -> None:
    run = await hub.run()
    base = f"/districts/{hub.district}"
    for path in ("/districts", "/tokens", "/apps", "/audit", f"{base}/runs", f"{base}/runs/{run}/issues"):
        for after in ("%%%", "YWJj", "4pi6", "x" * 200, "MjAyNi0wMS0wMQ"):
            answer = await hub.call("GET", path, params={"after": after})
            assert (answer.status, answer.json["code"]) == (400, "invalid_request"), (path, after)
        for limit in ("0", "501", "-1", "x"):
            answer = await hub.call("GET", path, params={"limit": limit})
            assert answer.status == 400
            assert answer.json["errors"][0]["field"] == "limit"


async def test_events_end_when_the_server_stops(hub: AdminHub) -> None:
    """An open stream does not hold a stopping server up: the fixture's end would take a minute."""
    run = await hub.run()
    headers = {"Authorization": f"Bearer {hub.tokens['operator']}"}
    response = await hub.session.get(f"/admin/v1/districts/{hub.district}/runs/{run}/events", headers=headers)
    assert (await response.content.readline()) == b"event: run\n"
    loop = asyncio.get_running_loop()
    started = loop.time()
    await hub.server.close()

    assert loop.time() - started < timedelta(seconds=5).total_seconds()


def test_an_api_process_knows_the_titles_of_all_built_in_findings() -> None:
    """In a process of its own: the tests of this one import much more."""
    code = "from transforms.issues import RULES; import hub.api; print('FILE-001' in RULES, 'REF-001' in RULES)"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)

    assert result.stdout.split() == ["True", "True"]
