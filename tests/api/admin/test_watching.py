"""Schedules, pulls, cancelling, freshness, trends and recipients through the admin API."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import orjson
import pytest

from hub.clock import SystemClock
from hub.store import runs, source_health, source_schedules
from hub.store.database import Database as Pool
from hub.sync.engine import work_once
from tests.api.admin.service import AdminHub
from tests.districts import packed, sandbox

CRON = {"cron": "0 2 * * *", "zone": "America/Chicago"}


def place(hub: AdminHub) -> str:
    return f"/districts/{hub.district}/sources/{hub.source}"


@pytest.fixture
async def pulled(hub: AdminHub, tmp_path: Path) -> AdminHub:
    """The source is pulled from a place where a package lies."""
    package = await asyncio.to_thread(packed, sandbox(students=100).frames, "1.2")
    await asyncio.to_thread((tmp_path / "p.zip").write_bytes, package)
    config = {"path": str(tmp_path / "p.zip"), "settle_seconds": 0}
    await hub.made("PATCH", place(hub), json={"config": config})
    return hub


async def carry_out(hub: AdminHub) -> None:
    worker = await Pool.open(hub.worker_url, name="tests as a worker")
    while await work_once(worker, SystemClock()):
        pass
    await worker.close()


async def test_a_schedule_is_set_shown_paused_resumed_and_ended(pulled: AdminHub) -> None:
    path = f"{place(pulled)}/schedule"
    assert (await pulled.call("GET", path)).status == 404
    made = await pulled.made("PUT", path, json=CRON | {"cron": " 0  2 * * * "}, role="district")
    at = datetime.fromisoformat(made["next_at"])
    assert made["cron"] == "0 2 * * *"
    assert at > datetime.now(UTC)
    spread = timedelta(seconds=600)
    hours = {7, 8}  # 02:00 in Chicago, by summer and by winter time
    assert at.hour in hours
    assert timedelta(minutes=at.minute, seconds=at.second) < spread
    assert await pulled.made("GET", path) == made
    paused = await pulled.made("POST", f"{path}/pause")
    assert (paused["state"], paused["next_at"]) == ("paused", None)
    again = await pulled.made("PUT", path, json=CRON | {"zone": "UTC"})
    assert (again["state"], again["next_at"]) == ("paused", None)
    resumed = await pulled.made("POST", f"{path}/resume")
    assert resumed["next_at"] is not None
    assert (await pulled.call("DELETE", path)).status == 204
    assert (await pulled.call("DELETE", path)).status == 404
    actions = [row["action"] for row in await pulled.audit_rows() if row["action"].startswith("schedule")]
    assert actions == ["schedule.put", "schedule.pause", "schedule.put", "schedule.resume", "schedule.delete"]


async def test_packages_of_a_source_that_takes_uploads_are_expected(hub: AdminHub) -> None:
    path, freshness = f"{place(hub)}/schedule", f"/districts/{hub.district}/freshness"
    before = datetime.now(UTC)
    made = await hub.made("PUT", path, json={"expected_every_hours": 48, "grace_minutes": 30}, role="district")
    assert (made["cron"], made["expected_every_hours"], made["next_at"]) == (None, 48, None)
    late = datetime.fromisoformat(made["late_from"]) - before
    assert timedelta(hours=48, minutes=30) <= late < timedelta(hours=48, minutes=31)
    (source,) = (await hub.made("GET", freshness))["items"]
    expected = datetime.fromisoformat(source["expected_at"])
    assert expected == datetime.fromisoformat(made["late_from"]) - timedelta(minutes=30)
    assert not source["late"]
    async with hub.pool.district(hub.district) as tx:  # nobody was there to note it
        await tx.execute("UPDATE source_schedules SET late_from = now() - interval '1 minute'")
    assert (await hub.made("GET", freshness))["items"][0]["late"]
    async with hub.pool.district(hub.district) as tx:
        await source_health.troubled(tx, hub.source, "late", "late", None)
    more = await hub.made("PUT", path, json={"expected_every_hours": 96})  # a longer time: it is not late any more
    assert more["grace_minutes"] == 60
    assert (await hub.made("GET", freshness))["items"][0]["troubles"] == []
    assert (await hub.made("POST", f"{path}/pause"))["late_from"] is None
    assert (await hub.made("PUT", path, json={"expected_every_hours": 24}))["state"] == "paused"
    resumed = await hub.made("POST", f"{path}/resume")
    assert (resumed["state"], resumed["next_at"]) == ("active", None)
    assert datetime.fromisoformat(resumed["late_from"]) > before + timedelta(hours=25)
    acts = [row["details"] for row in await hub.audit_rows() if row["action"] == "schedule.put"]
    assert [orjson.loads(act)["every_hours"] for act in acts] == [48, 96, 24]
    assert [orjson.loads(act)["days"] for act in acts] == [None] * 3
    for body in ({}, CRON | {"expected_every_hours": 24}, {"expected_every_hours": 0}):
        assert (await hub.call("PUT", path, json=body)).status == 400
    school_days = {"expected_every_hours": 24, "expected_days": ["fri", "mon", "mon"], "zone": "America/Chicago"}
    made = await hub.made("PUT", path, json=school_days)
    assert (made["expected_days"], made["zone"]) == (["mon", "fri"], "America/Chicago")
    for change in ({"expected_days": ["monday"]}, {"expected_days": []}, {"zone": "Mars"}, {"cron": "0 2 * * *"},
                   {"cron": "0 2 * * *", "expected_every_hours": None}):  # fmt: skip
        assert (await hub.call("PUT", path, json=school_days | change)).status == 400, change
    assert (await hub.made("PUT", path, json={"expected_every_hours": 24}))["expected_days"] is None
    await hub.made("POST", f"{place(hub)}/depart", json={})
    await carry_out(hub)
    answer = await hub.call("PUT", path, json={"expected_every_hours": 24})
    assert (answer.status, answer.json["code"]) == (409, "conflict")
    assert (await hub.made("GET", freshness))["items"] == []  # nobody waits for who has gone


@pytest.mark.parametrize(
    ("change", "place_"),
    [({"cron": "0 25 * * *"}, "cron: "), ({"zone": "Nowhere"}, "zone: "), ({"grace_minutes": 0}, "grace_minutes")],
)
async def test_a_schedule_with_a_mistake_is_refused_with_its_place(
    pulled: AdminHub, change: dict[str, Any], place_: str
) -> None:
    answer = await pulled.call("PUT", f"{place(pulled)}/schedule", json=CRON | change)
    assert (answer.status, answer.json["code"]) == (400, "invalid_request")
    assert place_ in answer.body.decode()


async def test_a_source_without_a_place_to_pull_from_is_neither_scheduled_nor_pulled(hub: AdminHub) -> None:
    for method, path, body in (("PUT", "schedule", CRON), ("POST", "run", {})):
        answer = await hub.call(method, f"{place(hub)}/{path}", json=body)
        assert (answer.status, answer.json["code"]) == (409, "conflict")
        assert "takes uploads only" in answer.json["detail"]


async def test_a_source_is_pulled_now_and_not_twice(pulled: AdminHub) -> None:
    first = await pulled.made("POST", f"{place(pulled)}/run", json={}, role="district")
    again = await pulled.made("POST", f"{place(pulled)}/run", json={})
    preview = await pulled.made("POST", f"{place(pulled)}/run", json={"dry_run": True})
    assert first["run_id"] == again["run_id"] != preview["run_id"]
    assert pulled.rung[-1] == ("sync", pulled.district)
    await carry_out(pulled)
    shown = await pulled.made("GET", f"/districts/{pulled.district}/runs/{first['run_id']}")
    assert (shown["state"], shown["expected_rows"]) == ("applied", 0)
    after = await pulled.made("POST", f"{place(pulled)}/run", json={})
    assert after["run_id"] != first["run_id"]
    assert after["expected_rows"] > 500
    await pulled.made("PATCH", place(pulled), json={"state": "paused"})
    assert (await pulled.call("POST", f"{place(pulled)}/run", json={})).status == 409


@pytest.mark.parametrize("state", ["queued", "running"])
async def test_a_run_is_cancelled(hub: AdminHub, state: str) -> None:
    run_id = await hub.run(state)
    path = f"/districts/{hub.district}/runs/{run_id}"
    done = await hub.made("POST", f"{path}/cancel", role="district")
    assert done["state"] == "cancelled"
    assert done["cancelled_by"].startswith("token:")
    assert (await hub.call("POST", f"{path}/cancel")).status == 409
    upload = await hub.made("GET", f"/districts/{hub.district}/uploads/{done['upload_id']}")
    assert upload["state"] == "deleted"
    async with hub.session.get(
        f"/admin/v1{path}/events", headers={"Authorization": f"Bearer {hub.tokens['district']}"}
    ) as stream:
        assert b'"state":"cancelled"' in await asyncio.wait_for(stream.read(), 10)


@pytest.mark.parametrize("state", ["applied", "failed", "held", "rejected"])
async def test_what_is_over_or_held_is_not_cancelled(hub: AdminHub, state: str) -> None:
    run_id = await hub.run(state)
    answer = await hub.call("POST", f"/districts/{hub.district}/runs/{run_id}/cancel")
    assert (answer.status, answer.json["code"]) == (409, "conflict")


async def test_freshness_tells_age_what_is_next_and_what_is_wrong(pulled: AdminHub) -> None:
    path = f"/districts/{pulled.district}/freshness"
    (source,) = (await pulled.made("GET", path))["items"]
    assert (source["succeeded_at"], source["age_seconds"], source["late"]) == (None, None, False)
    await pulled.made("PUT", f"{place(pulled)}/schedule", json=CRON)
    await pulled.made("POST", f"{place(pulled)}/run", json={})
    await carry_out(pulled)
    (source,) = (await pulled.made("GET", path, role="district"))["items"]
    assert 0 <= source["age_seconds"] < 600
    assert source["rows"] > 500
    assert source["expected_at"] is not None
    async with pulled.pool.district(pulled.district) as tx:
        await source_health.troubled(tx, pulled.source, "failed", "source_failed", UUID(int=5))
        # No worker was there when its time came.
        await source_schedules.put(
            tx, pulled.source, cron="0 2 * * *", zone="UTC", grace_minutes=60,
            next_at=datetime.now(UTC) - timedelta(minutes=61),
        )  # fmt: skip
    (source,) = (await pulled.made("GET", path))["items"]
    assert source["late"]
    (trouble,) = source["troubles"]
    assert (trouble["kind"], trouble["code"], trouble["times"]) == ("failed", "source_failed", 1)
    await pulled.made("POST", f"{place(pulled)}/schedule/pause")
    assert not (await pulled.made("GET", path))["items"][0]["late"]


async def test_rejecting_a_held_run_settles_its_trouble(hub: AdminHub) -> None:
    run_id = await hub.run("held")
    path = f"/districts/{hub.district}/freshness"
    assert [t["kind"] for t in (await hub.made("GET", path))["items"][0]["troubles"]] == ["held"]
    await hub.made("POST", f"/districts/{hub.district}/runs/{run_id}/reject")
    assert (await hub.made("GET", path))["items"][0]["troubles"] == []


async def test_trends_compare_the_last_runs_of_a_source(hub: AdminHub) -> None:
    rule = {"entity": "users", "severity": "warn", "title": "t", "howto": "h"}
    made = []
    for counts in ({"DAT-01": 3}, {"DAT-01": 5, "DAT-02": 1}, {"DAT-01": 5}):
        run_id = await hub.run("failed")
        rules = [rule | {"code": code, "count": n} for code, n in counts.items()]
        async with hub.pool.district(hub.district) as tx:
            report = {"total": sum(counts.values()), "rules": rules}
            await tx.execute("UPDATE runs SET report = $2 WHERE run_id = $1", run_id, report)
        made.append(str(run_id))
    got = await hub.made("GET", f"{place(hub)}/trends", role="district")
    assert [run["run_id"] for run in got["runs"]] == made
    assert [run["findings"] for run in got["runs"]] == [3, 6, 5]
    assert [(r["code"], r["counts"], r["change"]) for r in got["rules"]] == [
        ("DAT-01", [3, 5, 5], "constant"), ("DAT-02", [0, 1, 0], "gone"),
    ]  # fmt: skip
    at = [run["requested_at"] for run in got["runs"]]
    assert [(r["opened_at"], r["closed_at"], r["share"]) for r in got["rules"]] == [
        (at[0], None, 1.0),
        (None, at[2], 0.0),
    ]
    got = await hub.made("GET", f"{place(hub)}/trends?runs=2")
    assert [(r["code"], r["change"]) for r in got["rules"]] == [("DAT-01", "constant"), ("DAT-02", "gone")]
    assert (await hub.call("GET", f"{place(hub)}/trends?runs=1")).status == 400


async def test_progress_says_how_much_is_left(hub: AdminHub) -> None:
    content = await asyncio.to_thread(packed, sandbox(students=100).frames, "1.2")
    seen: list[dict[str, Any]] = []
    worker = await Pool.open(hub.worker_url, name="tests as a worker")
    for _ in range(2):
        upload = await hub.upload(content)
        run = await hub.made("POST", f"/districts/{hub.district}/runs", json={"upload_id": upload["upload_id"]})
        working = asyncio.create_task(work_once(worker, SystemClock(), heartbeat_seconds=0.02))
        url = f"/admin/v1/districts/{hub.district}/runs/{run['run_id']}/events"
        async with hub.session.get(url, headers={"Authorization": f"Bearer {hub.tokens['district']}"}) as stream:
            text = await asyncio.wait_for(stream.read(), 60)
        await working
        seen = [orjson.loads(line[6:]) for line in text.splitlines() if line.startswith(b"data: ")]
        async with hub.pool.district(hub.district) as tx:
            await tx.execute("UPDATE sources SET digest = NULL, archive = NULL")
    await worker.close()
    assert seen[-1]["state"] == "unchanged"
    last = seen[-1]["progress"]
    assert last["rows_total"] > 500
    assert 0 <= last["rows_done"] <= last["rows_total"]
    assert last["seconds_left"] is not None
    assert "transform" in seen[-1]["timings"]


async def test_a_webhook_becomes_a_recipient_whose_secret_is_shown_once(hub: AdminHub) -> None:
    path = f"/districts/{hub.district}/recipients"
    body = {"channel": "webhook", "address": "https://127.0.0.1/hook?key=s3cret", "kinds": ["late", "failed"]}
    made = await hub.made("POST", path, json=body, role="district")
    assert made["secret"].startswith("whsec_")
    assert made["kinds"] == ["failed", "late"]
    (shown,) = (await hub.made("GET", path))["items"]
    assert "secret" not in shown
    assert await hub.made("GET", f"{path}/{made['recipient_id']}") == shown
    assert (await hub.call("POST", path, json=body)).status == 409
    edited = await hub.made("PATCH", f"{path}/{made['recipient_id']}", json={"state": "paused", "kinds": ["held"]})
    assert (edited["state"], edited["kinds"]) == ("paused", ["held"])
    assert (await hub.call("DELETE", f"{path}/{made['recipient_id']}")).status == 204
    assert (await hub.call("GET", f"{path}/{made['recipient_id']}")).status == 404
    rows = [row for row in await hub.audit_rows() if row["action"].startswith("recipient")]
    assert [row["action"] for row in rows] == ["recipient.create", "recipient.edit", "recipient.delete"]
    assert "s3cret" not in str(rows)


@pytest.mark.threat("T31")
@pytest.mark.parametrize(
    ("body", "words"),
    [
        ({"channel": "webhook", "address": "https://10.0.0.1/x"}, "private"),
        ({"channel": "webhook", "address": "ftp://127.0.0.1/x"}, "https"),
        ({"channel": "email", "address": "a@b.example"}, "HUB_SMTP_URL"),
        ({"channel": "pigeon", "address": "a@b.example"}, "channel"),
        ({"channel": "webhook", "address": "https://127.0.0.1/x", "kinds": []}, "kinds"),
        ({"channel": "webhook", "address": "https://127.0.0.1/x", "kinds": ["all"]}, "kinds"),
    ],
)
async def test_a_recipient_that_could_never_be_told_is_refused(hub: AdminHub, body: Any, words: str) -> None:
    answer = await hub.call("POST", f"/districts/{hub.district}/recipients", json=body)
    assert (answer.status, answer.json["code"]) == (400, "invalid_request")
    assert words in answer.body.decode()


async def test_a_districts_schedule_is_no_other_districts(hub: AdminHub) -> None:
    async with hub.pool.district(hub.foreign_district) as tx:
        await source_schedules.put(tx, hub.foreign_source, cron="0 2 * * *", zone="UTC", grace_minutes=1, next_at=None)
        assert await runs.unfinished(tx, hub.foreign_source) is None
    for name in ("schedule", "trends"):
        path = f"/districts/{hub.district}/sources/{hub.foreign_source}/{name}"
        assert (await hub.call("GET", path, role="district")).status == 404


async def test_an_app_has_recipients_of_its_own(hub: AdminHub) -> None:
    path, body = f"/apps/{hub.app}/recipients", {"channel": "webhook", "address": "https://127.0.0.1/ears"}
    made = await hub.made("POST", path, role="app", json=body)
    assert made["secret"].startswith("whsec_")
    assert "subscriptions.failing" in made["kinds"]
    assert (await hub.call("POST", path, json=body)).status == 409
    for kinds in (["failed"], ["subscriptions.nothing"], []):  # syncs are the district's
        assert (await hub.call("POST", path, json=body | {"kinds": kinds})).status == 400
    await hub.made("POST", f"/apps/{hub.foreign_app}/recipients", json=body)  # another app, the same address
    await hub.made("POST", f"/districts/{hub.district}/recipients", json=body | {"kinds": ["subscriptions.paused"]})
    (listed,) = (await hub.made("GET", path, role="app"))["items"]
    assert listed == {name: made[name] for name in listed}
    one = f"{path}/{made['recipient_id']}"
    edited = await hub.made("PATCH", one, role="app", json={"kinds": ["subscriptions.paused"], "state": "paused"})
    assert (edited["kinds"], edited["state"]) == (["subscriptions.paused"], "paused")
    assert (await hub.call("DELETE", one, role="app")).status == 204
    assert (await hub.call("GET", one)).status == 404
