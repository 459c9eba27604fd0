"""Traces of a source from the command line: asked for, filled by the next pull or test, read, forgotten, purged."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from hub.clock import SystemClock
from hub.store import traces
from hub.store.database import Database as Pool
from hub.sync.retention import LEAST, Retention, purge
from tests.api.admin.commands import command, working
from tests.api.admin.service import AdminHub
from tests.fakes import rosters
from tests.fakes.oneroster_server import CLIENT, SECRET, Server, filled, running


@pytest.fixture
def sis() -> Iterator[Server]:
    with running(filled("1.2", rosters.clean("1.2"))) as server:
        server.now = datetime.now(UTC)
        yield server


async def hub_source(hub: AdminHub, source: str, *arguments: str, expect: int = 0) -> str:
    code, text = await command(hub, "source", *arguments, "--source", source)
    assert code == expect, text
    return text


@pytest.mark.threat("T48", "T53")
async def test_the_next_pull_and_the_next_test_are_recorded(hub: AdminHub, sis: Server, tmp_path: Path) -> None:
    login = {"kind": "oauth2", "token_url": sis.token_url, "client_id": CLIENT}
    body = {"name": "SIS", "kind": "oneroster_rest", "config": {"url": sis.url, "login": login}}
    made = await hub.made(
        "POST", f"/districts/{hub.district}/sources", json=body | {"secrets": {"client_secret": SECRET}}
    )
    source, root = made["source_id"], f"/districts/{hub.district}/sources/{made['source_id']}/traces"

    asked = await hub_source(hub, source, "trace", "record")
    assert await hub_source(hub, source, "trace", "record") == asked  # one waits already
    trace = asked.split()[1].rstrip(":")
    assert (await hub.call("GET", f"{root}/{trace}")).status == 409
    await hub_source(hub, source, "trace", "record", "--test")
    await hub_source(hub, source, "test")
    async with working(hub):
        await hub_source(hub, source, "pull", "--dry-run", "--wait")
        await hub_source(hub, source, "pull", "--wait")

    (test, pull) = sorted((await hub.made("GET", root))["items"], key=lambda one: one["what"] == "pull")
    assert (pull["trace_id"], pull["outcome"], test["outcome"], test["run_id"]) == (trace, "whole", "whole", None)
    assert pull["exchanges"] == 7  # a token and six entities, of the first pull alone
    file = tmp_path / "trace.jsonl"
    await hub_source(hub, source, "trace", "fetch", trace, "--to", str(file))
    lines = [json.loads(line) for line in file.read_text().splitlines()]
    assert (lines[0]["kind"], lines[0]["what"], lines[-1]["ended"]) == ("oneroster_rest", "pull", "whole")
    assert [line["path"].rpartition("/")[2] for line in lines[1:-1]] == [
        "token", "orgs", "academicSessions", "courses", "classes", "users", "enrollments",
    ]  # fmt: skip
    assert len(file.read_bytes()) == pull["size"]
    people = [user[name] for user in sis.objects["users"].values() for name in ("username", "familyName")]
    assert not [value for value in [*people, CLIENT] if f'"{value}"' in file.read_text()]
    assert SECRET not in file.read_text()
    assert f"{trace}  pull  " in await hub_source(hub, source, "trace", "list")

    await failures_are_recorded_and_few_are_kept(hub, sis, source, root)
    assert (await hub.call("GET", f"{root}/{trace}")).status == 404  # newer ones came
    await old_ones_go(hub, root)


async def failures_are_recorded_and_few_are_kept(hub: AdminHub, sis: Server, source: str, root: str) -> None:
    sis.fault = lambda one: "status:403" if one.entity == "users" else None
    await hub_source(hub, source, "trace", "record")
    async with working(hub):
        await hub_source(hub, source, "pull", "--wait", expect=1)
    newest = (await hub.made("GET", root))["items"][0]
    assert newest["outcome"] == "not_permitted"
    lines = (await hub_source(hub, source, "trace", "fetch", newest["trace_id"])).splitlines()
    assert [json.loads(line).get("status") for line in lines[-2:]] == [403, None]
    for _ in range(traces.MOST):
        await hub.made("POST", root, json={"what": "test"})
        await hub.made("POST", root.replace("/traces", "/test"))
    items = (await hub.made("GET", root))["items"]
    assert [one["outcome"] for one in items] == ["bad"] * traces.MOST
    waiting = await hub.made("POST", root, json={"what": "test"})
    assert await hub_source(hub, source, "trace", "delete", waiting["trace_id"]) == "forgotten\n"
    assert len((await hub.made("GET", root))["items"]) == traces.MOST


async def old_ones_go(hub: AdminHub, root: str) -> None:
    worker = await Pool.open(hub.worker_url, name="tests as a worker")
    days, now = Retention(**LEAST), SystemClock().now()
    assert (await purge(worker, hub.district, now + timedelta(hours=23), days)).traces == 0
    later = now + timedelta(days=1, hours=1)
    assert (await purge(worker, hub.district, later, days, dry_run=True)).traces == traces.MOST
    assert (await purge(worker, hub.district, later, days)).traces == traces.MOST
    await worker.close()
    assert (await hub.made("GET", root))["items"] == []
