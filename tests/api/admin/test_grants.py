"""Grants over a real district: counts before the act, the same counts with it."""

from __future__ import annotations

import asyncio
from base64 import b64decode
from pathlib import Path
from typing import Any
from uuid import UUID

import asyncpg
import pytest

from hub.clock import SystemClock
from hub.ids import new_id
from hub.sandbox import DistrictPlan, write_sandbox
from hub.store.database import Database as Pool
from hub.sync.engine import work_once
from tests.api.admin.service import AdminHub
from tests.fakes.certificates import certificate


@pytest.fixture(scope="module")
def district_zip(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    folder = tmp_path_factory.mktemp("sandbox")
    write_sandbox(folder, DistrictPlan(students=100, seed=7))
    return (folder / "district.zip").read_bytes()


async def _synced(hub: AdminHub, content: bytes) -> dict[str, Any]:
    """Our district with a roster in it; the run."""
    upload = await hub.upload(content)
    path = f"/districts/{hub.district}/runs"
    run = await hub.made("POST", path, json={"upload_id": upload["upload_id"]})
    worker = await Pool.open(hub.worker_url, name="tests as a worker")
    assert await work_once(worker, SystemClock())
    await worker.close()
    return await hub.made("GET", f"{path}/{run['run_id']}")


async def _schools(hub: AdminHub) -> list[str]:
    connection = await asyncpg.connect(hub.owner_url)
    try:
        rows = await connection.fetch("SELECT sourced_id FROM hub.orgs WHERE type = 'school' ORDER BY rid")
    finally:
        await connection.close()
    return [str(row["sourced_id"]) for row in rows]


async def _state(hub: AdminHub) -> list[Any]:
    """All that a preview must leave alone."""
    connection = await asyncpg.connect(hub.owner_url)
    try:
        tables = ("grants", "views", "feed", "audit", "districts")
        return [await connection.fetch(f"SELECT * FROM hub.{table} ORDER BY 1, 2") for table in tables]
    finally:
        await connection.close()


async def test_a_preview_counts_what_the_act_then_does_and_writes_nothing(hub: AdminHub, district_zip: bytes) -> None:
    run = await _synced(hub, district_zip)
    assert run["state"] == "applied"
    base = f"/districts/{hub.district}/grants"
    schools = await _schools(hub)
    small = {"definition": {"rules": [{"schools": schools[:1]}], "entities": ["orgs", "users", "classes"]}}

    before = await _state(hub)
    new = await hub.made("POST", f"{base}/preview", role="district", json=small)
    edit = await hub.made("POST", f"{base}/{hub.grant}/preview", role="district", json=small)
    assert await _state(hub) == before

    created = await hub.made("POST", base, role="district", json={"app_id": str(hub.foreign_app), **small})
    edited = await hub.made("PUT", f"{base}/{hub.grant}", role="district", json=small)
    assert created["effect"] == new
    assert edited["effect"] == edit
    users = edit["entities"]["users"]
    assert users["left"] > 0
    assert users["entered"] == 0
    assert new["entities"]["users"]["entered"] == run["counts"]["users"]["created"] - users["left"]
    assert ("deliver", hub.district) in hub.rung


async def test_a_dry_run_reports_and_changes_nothing(hub: AdminHub, district_zip: bytes) -> None:
    upload = await hub.upload(district_zip)
    before = await _state(hub)
    body = {"upload_id": upload["upload_id"], "dry_run": True}
    run = await hub.made("POST", f"/districts/{hub.district}/runs", json=body)
    audited = await _state(hub)
    worker = await Pool.open(hub.worker_url, name="tests as a worker")
    assert await work_once(worker, SystemClock())
    await worker.close()
    after = await _state(hub)
    shown = await hub.made("GET", f"/districts/{hub.district}/runs/{run['run_id']}/report")

    assert shown["state"] == "previewed"
    assert shown["report"]["total"] > 0
    assert after[:3] == before[:3]
    assert after[3] == audited[3]
    assert await _schools(hub) == []


async def test_a_grant_is_suspended_resumed_and_revoked_for_good(hub: AdminHub) -> None:
    base = f"/districts/{hub.district}/grants/{hub.grant}"
    states = [(await hub.made("POST", f"{base}/{act}"))["state"] for act in ("suspend", "suspend", "resume", "revoke")]
    again = await hub.call("POST", f"{base}/resume")
    edit = await hub.call("PUT", base, json={"definition": {}})
    new = await hub.made("POST", f"/districts/{hub.district}/grants", json={"app_id": str(hub.app), "definition": {}})

    assert states == ["suspended", "suspended", "active", "revoked"]
    assert [(a.status, a.json["code"]) for a in (again, edit)] == [(409, "conflict")] * 2
    assert UUID(new["grant_id"]) != hub.grant


@pytest.mark.parametrize(
    ("definition", "field"),
    [
        ({"rules": [{"schools": ["no uuid"]}]}, "definition.rules[0].schools[0]"),
        ({"rules": [{"roles": ["wizard"]}]}, "definition.rules[0].roles"),
        ({"entities": ["unicorns"]}, "definition.entities"),
        ({"fields": {"users": {"hide": ["shoeSize"]}}}, "definition"),
        ({"privacy": ["everything"]}, "definition.privacy[0]"),
        ({"colour": 1}, "definition.colour"),
    ],
)
async def test_what_is_wrong_with_a_definition_is_said_by_field(
    hub: AdminHub, definition: dict[str, Any], field: str
) -> None:
    answer = await hub.call("POST", f"/districts/{hub.district}/grants/preview", json={"definition": definition})

    assert (answer.status, answer.json["code"]) == (400, "invalid_request")
    assert [error["field"] for error in answer.json["errors"]] == [field]
    assert answer.json["errors"][0]["message"]


async def test_a_subscription_shows_where_it_stands(hub: AdminHub, district_zip: bytes) -> None:
    base = f"/districts/{hub.district}/subscriptions"
    body = {"grant_id": str(hub.grant), "url": hub.there.url}
    made = await hub.made("POST", base, role="app", json=body)
    await _synced(hub, district_zip)
    shown = (await hub.made("GET", base, role="app"))["items"][0]
    paused = await hub.made("POST", f"{base}/{made['subscription_id']}/pause", role="app")
    log = await hub.made("GET", f"{base}/{made['subscription_id']}/attempts", role="app")

    assert (made["behind"], made["lag_seconds"]) == (False, 0)
    assert shown["behind"]
    assert shown["head"] > shown["position"] == made["position"]
    assert shown["lag_seconds"] > 0
    assert "secret" not in shown
    assert paused["state"] == "paused"
    assert log == {"items": [], "next": None}


async def test_a_subscription_is_made_with_settings_and_edited_one_by_one(hub: AdminHub) -> None:
    base = f"/districts/{hub.district}/subscriptions"
    body = {"grant_id": str(hub.grant), "url": hub.there.url, "mode": "records", "types": ["users.*"]}
    made = await hub.made("POST", base, role="app", json=body)
    one = f"{base}/{made['subscription_id']}"
    names = ("mode", "types", "max_bytes", "max_changes", "quiet_seconds", "longest_wait_seconds", "rate_per_minute")
    assert [made[n] for n in names] == ["records", ["users.*"], 256_000, 500, 0, 30, None]

    edit = {"mode": "refs", "max_changes": 20, "quiet_seconds": 1.5, "rate_per_minute": 60}
    edited = await hub.made("PATCH", one, role="app", json=edit)
    assert [edited[n] for n in names] == ["refs", ["users.*"], 20_000, 20, 1.5, 30, 60]
    assert edited["url"] == body["url"]
    other = hub.there.url + "/other"
    moved = await hub.made("PATCH", one, role="app", json={"url": other, "rate_per_minute": None})
    assert (moved["url"], moved["rate_per_minute"], moved["max_changes"]) == (other, None, 20)
    del moved["secret"]

    refused = [{"mode": "loud"}, {"types": ["unicorns.*"]}, {"max_changes": 0}, {"max_bytes": 10}, {"colour": 1},
               {"url": "http://10.0.0.1/"}, {"rate_per_minute": 0}, {"quiet_seconds": -1}]  # fmt: skip
    answers = [await hub.call("PATCH", one, role="app", json=json) for json in refused]
    assert {(answer.status, answer.json["code"]) for answer in answers} == {(400, "invalid_request")}
    replays = [{}, {"from": 0, "since": "2026-09-01T00:00:00Z"}, {"since": "2026-09-01T00:00:00"}, {"from": 10**6}]
    answers = [await hub.call("POST", one + "/replay", role="app", json=json) for json in replays]
    assert {answer.status for answer in answers} == {400}
    assert (await hub.made("GET", one, role="app")) == moved | {"lag_seconds": 0, "changes_waiting": 0, "errors": {}}


async def test_what_is_parked_is_shown_as_the_app_knows_it(hub: AdminHub, district_zip: bytes) -> None:
    base = f"/districts/{hub.district}/subscriptions"
    body = {"grant_id": str(hub.grant), "url": hub.there.url}
    made = await hub.made("POST", base, role="app", json=body)
    await _synced(hub, district_zip)
    parked_id, one = new_id(), f"{base}/{made['subscription_id']}"
    async with hub.pool.district(hub.district) as tx:
        await tx.execute(
            "INSERT INTO parked (district_id, subscription_id, parked_id, entity, rid, operation, version, attempts, "
            "last_status) VALUES ($1, $2, $3, 'orgs', 0, 'updated', 1, 3, 422)",
            hub.district, UUID(made["subscription_id"]), parked_id,
        )  # fmt: skip
        sourced_id = await tx.fetchval("SELECT sourced_id FROM orgs WHERE rid = 0")
    shown = (await hub.made("GET", one + "/parked", role="app"))["items"]
    asked = await hub.made("POST", f"{one}/parked/{parked_id}/retry", role="app")
    trying = (await hub.made("GET", one + "/parked", role="app"))["items"]
    unknown = await hub.call("POST", f"{one}/parked/{new_id()}/retry", role="app")
    await hub.made("DELETE", f"{one}/parked/{parked_id}", role="app")

    assert [(p["type"], p["sourced_id"], p["last_status"], p["retry"]) for p in shown] == [
        ("orgs.updated", str(sourced_id), 422, False)
    ]
    assert asked == {"changes": 1}
    assert trying[0]["retry"]
    assert unknown.status == 404
    assert (await hub.made("GET", one + "/parked", role="app"))["items"] == []


async def test_the_public_key_is_shown_at_any_time_and_a_private_one_never(hub: AdminHub) -> None:
    base = f"/districts/{hub.district}/subscriptions"
    body = {"grant_id": str(hub.grant), "url": hub.there.url, "signatures": ["v1a"]}
    made = await hub.made("POST", base, role="app", json=body)
    one = f"{base}/{made['subscription_id']}"
    both = await hub.made("PATCH", one, role="app", json={"signatures": ["v1a", "v1"]})
    rotated = await hub.made("POST", one + "/rotate", role="app", json={"overlap_seconds": 60})
    shown = await hub.made("GET", one, role="app")
    refused = await hub.call("PATCH", one, role="app", json={"signatures": []})

    assert (made["secret"], made["signatures"], both["signatures"]) == (None, ["v1a"], ["v1", "v1a"])
    assert both["secret"].startswith("whsec_")
    assert [both["secret"] != rotated["secret"], both["public_keys"]] == [True, made["public_keys"]]
    new, old = shown["public_keys"]
    assert (new["until"], old["key"]) == (None, made["public_keys"][0]["key"])
    assert rotated["public_keys"] == shown["public_keys"]
    assert all(len(b64decode(key["key"].removeprefix("whpk_"), validate=True)) == 32 for key in (new, old))
    assert "whsk_" not in str([made, both, rotated, shown])
    assert refused.status == 400


async def test_a_client_certificate_is_described_and_never_shown(hub: AdminHub, tmp_path: Path) -> None:
    text = await asyncio.to_thread(lambda: certificate(tmp_path, "192.0.2.7", days=3).read_text())
    base = f"/districts/{hub.district}/subscriptions"
    body = {"grant_id": str(hub.grant), "url": hub.there.url}
    made = await hub.made("POST", base, role="app", json=body | {"client_certificate": text})
    one = f"{base}/{made['subscription_id']}"
    kept = await hub.made("PATCH", one, role="app", json={"signatures": ["v1"]})
    ended = await hub.made("PATCH", one, role="app", json={"client_certificate": None})
    again = await hub.made("PATCH", one, role="app", json={"client_certificate": text})
    refused = await hub.call("PATCH", one, role="app", json={"client_certificate": text[:300]})

    assert made["client_certificate"]["subject"] == "CN=192.0.2.7"
    assert kept["client_certificate"] == again["client_certificate"] == made["client_certificate"]
    assert ended["client_certificate"] is None
    assert (refused.status, refused.json["code"]) == (400, "invalid_request")
    assert "MII" not in str([made, kept, again, refused.json])


async def test_another_apps_subscription_is_missing(hub: AdminHub) -> None:
    grants = f"/districts/{hub.district}/grants"
    grant = await hub.made("POST", grants, json={"app_id": str(hub.foreign_app), "definition": {}})
    base = f"/districts/{hub.district}/subscriptions"
    body = {"grant_id": grant["grant_id"], "url": hub.there.url}
    foreign = await hub.made("POST", base, json=body)
    one = f"{base}/{foreign['subscription_id']}"
    calls = [("GET", one), ("GET", one + "/attempts"), ("PATCH", one), ("DELETE", one)]
    calls += [("POST", f"{one}/{act}") for act in ("pause", "resume", "prove", "rotate")]
    calls += [("GET", one + "/parked"), ("POST", one + "/parked/retry")]
    answers = [await hub.call(method, path, role="app") for method, path in calls]
    answers.append(await hub.call("POST", base, role="app", json=body))
    for method, path, json in (("PATCH", one, {"mode": "signal"}), ("POST", one + "/replay", {"from": 0}),
                               ("POST", one + "/seek", {})):  # fmt: skip
        answers.append(await hub.call(method, path, role="app", json=json))

    assert {answer.status for answer in answers} == {404}
    assert (await hub.made("GET", base, role="app"))["items"] == []
    assert (await hub.made("GET", one))["state"] == "active"


async def test_a_district_may_not_point_a_source_at_the_hubs_own_files(hub: AdminHub, tmp_path: Path) -> None:
    base = f"/districts/{hub.district}/sources"
    config = {"path": str(tmp_path)}
    body = {"name": "files", "kind": "oneroster_csv", "config": config}
    refused = [
        await hub.call("POST", base, role="district", json=body),
        await hub.call("PATCH", f"{base}/{hub.source}", role="district", json={"config": config}),
    ]
    made = await hub.made("POST", base, json=body)
    kept = await hub.made(
        "PATCH", f"{base}/{made['source_id']}", role="district", json={"config": {**config, "settle_seconds": 5}}
    )

    assert [(a.status, a.json["code"]) for a in refused] == [(403, "forbidden")] * 2
    assert kept["config"]["settle_seconds"] == 5
