"""Survivorship, overrides and provenance over the admin API: who may, what is refused, and what a run makes of it."""

from __future__ import annotations

import asyncio
from typing import Any
from uuid import UUID, uuid4

import polars as pl
import pytest

from hub.clock import SystemClock
from hub.store.database import Database as Pool
from hub.sync.engine import work_once
from tests.api.admin.service import AdminHub
from tests.districts import packed, sandbox


def at(hub: AdminHub, rest: str) -> str:
    return f"/districts/{hub.district}{rest}"


async def loaded(hub: AdminHub) -> UUID:
    """The sourcedId of a user of the district, after its package was synced."""
    upload = await hub.upload(await asyncio.to_thread(packed, sandbox(100, 3).frames, "1.2"))
    await hub.made("POST", at(hub, "/runs"), json={"upload_id": upload["upload_id"]})
    await worked(hub)
    async with hub.pool.district(hub.district) as tx:
        found: UUID = await tx.fetchval("SELECT sourced_id FROM users ORDER BY rid LIMIT 1")
    return found


async def worked(hub: AdminHub) -> None:
    worker = await Pool.open(hub.worker_url, name="tests as a worker")
    while await work_once(worker, SystemClock()):
        pass
    await worker.close()


def override(user: UUID, **more: Any) -> dict[str, Any]:
    return {
        "entity": "users", "sourced_id": str(user), "field": "preferredFirstName", "value": "Sky",
        "owner": "Ms Admin", "reason": "asked by phone",
    } | more  # fmt: skip


async def test_an_override_is_set_shown_applied_and_ended(hub: AdminHub) -> None:
    user = await loaded(hub)

    made = await hub.made("POST", at(hub, "/overrides"), role="district", json=override(user))

    assert (made["value"], made["run"]["kind"], made["sourced_id"]) == ("Sky", "override", str(user))
    assert hub.rung[-1] == ("sync", hub.district)
    await worked(hub)
    run = await hub.made("GET", at(hub, f"/runs/{made['run']['run_id']}"))
    assert (run["state"], run["counts"]["users"]["updated"]) == ("applied", 1)
    (shown,) = (await hub.made("GET", at(hub, "/overrides"), role="district"))["items"]
    assert shown == {**made, "run": None}
    (page,) = (await hub.made("GET", at(hub, f"/provenance?sourced_id={user}"), role="district"))["items"]
    assert page["fields"]["preferredFirstName"] == f"override:{made['override_id']}"
    assert page["fields"]["givenName"] == str(hub.source)

    twice = await hub.call("POST", at(hub, "/overrides"), role="district", json=override(user))
    assert (twice.status, twice.json["code"]) == (409, "conflict")

    ended = await hub.made("DELETE", at(hub, f"/overrides/{made['override_id']}"), role="district")
    assert ended["ended_at"]
    await worked(hub)
    assert (await hub.made("GET", at(hub, "/overrides"), role="district"))["items"] == []
    assert len((await hub.made("GET", at(hub, "/overrides?ended=true"), role="district"))["items"]) == 1
    (page,) = (await hub.made("GET", at(hub, f"/provenance?sourced_id={user}"), role="district"))["items"]
    assert "preferredFirstName" not in page["fields"]
    actions = [row["action"] for row in await hub.audit_rows()]
    assert actions[-2:] == ["override.create", "override.end"]


@pytest.mark.threat("T48")
async def test_audit_rows_of_overrides_hold_no_value(hub: AdminHub) -> None:
    user = await loaded(hub)
    await hub.made("POST", at(hub, "/overrides"), role="district", json=override(user, value="Canary"))

    assert "Canary" not in str(await hub.audit_rows())


@pytest.mark.parametrize(
    "more",
    [{"field": "nonsense"}, {"field": "roles", "value": []}, {"entity": "results"}, {"owner": ""},
     {"field": "givenName", "value": None}, {"field": "enabledUser", "value": "perhaps"}, {"until": "tomorrow"}],
)  # fmt: skip
async def test_what_cannot_be_set_is_refused(hub: AdminHub, more: dict[str, Any]) -> None:
    user = await loaded(hub)

    answer = await hub.call("POST", at(hub, "/overrides"), role="district", json=override(user, **more))

    assert (answer.status, answer.json["code"]) == (400, "invalid_request")


async def test_an_override_is_of_a_record_of_the_district(hub: AdminHub) -> None:
    await loaded(hub)

    answer = await hub.call("POST", at(hub, "/overrides"), role="district", json=override(uuid4()))

    assert answer.status == 404


async def test_rules_are_set_and_shown(hub: AdminHub) -> None:
    rules = {"users": {"email": {"rule": "priority", "sources": [str(hub.source)]}, "grades": {"rule": "union"}}}

    made = await hub.made("PUT", at(hub, "/survivorship"), json={"rules": rules})

    assert made["run"]["kind"] == "remerge"
    shown = (await hub.made("GET", at(hub, "/survivorship")))["rules"]
    assert shown["users"]["email"] == rules["users"]["email"]
    assert shown["users"]["grades"] == {"rule": "union", "sources": []}


async def test_single_rules_are_set_and_taken_away(hub: AdminHub) -> None:
    first = {"users": {"email": {"sources": [str(hub.source)]}, "phone": {"rule": "freshness"}}, "orgs": {"name": {}}}
    await hub.made("PUT", at(hub, "/survivorship"), json={"rules": first})

    edit = {"users": {"phone": None, "grades": {"rule": "union"}}, "orgs": {"name": None}, "classes": {"title": None}}
    made = await hub.made("PATCH", at(hub, "/survivorship"), json={"rules": edit}, role="district")

    assert made["run"]["kind"] == "remerge"
    assert hub.rung[-1] == ("sync", hub.district)
    shown = (await hub.made("GET", at(hub, "/survivorship")))["rules"]
    assert shown == made["rules"]
    assert {name: sorted(fields) for name, fields in shown.items()} == {"users": ["email", "grades"]}
    assert [row["action"] for row in await hub.audit_rows()][-1] == "survivorship.edit"


@pytest.mark.parametrize("method", ["PUT", "PATCH"])
@pytest.mark.parametrize(
    "rules",
    [{"people": {}}, {"users": {"nonsense": {}}}, {"users": {"email": {"rule": "union"}}},
     {"users": {"email": {"rule": "coin"}}}, {"users": {"email": {"sources": [str(uuid4())]}}}],
    ids=["entity", "field", "no list", "rule", "source"],
)  # fmt: skip
async def test_rules_that_mean_nothing_are_refused(hub: AdminHub, rules: dict[str, Any], method: str) -> None:
    answer = await hub.call(method, at(hub, "/survivorship"), json={"rules": rules})

    assert (answer.status, answer.json["code"]) == (400, "invalid_request")


@pytest.mark.parametrize(
    "more",
    [{"speaks_for": {"people": None}}, {"speaks_for": {"users": ["nonsense"]}}, {"links": {"users": ["phone"]}},
     {"links": {"enrollments": ["role"]}}, {"key_space": "x" * 101}],
)  # fmt: skip
async def test_parts_of_a_source_that_mean_nothing_are_refused(hub: AdminHub, more: dict[str, Any]) -> None:
    body = {"name": "HR", "kind": "oneroster_csv"} | more
    assert (await hub.call("POST", at(hub, "/sources"), json=body)).status == 400
    assert (await hub.call("PATCH", at(hub, f"/sources/{hub.source}"), json=more)).status == 400


async def test_what_a_source_may_say_is_set_and_kept(hub: AdminHub) -> None:
    parts = {"speaks_for": {"users": ["email"]}, "key_space": "district", "links": {"users": ["email"]}}
    body = {"name": "HR", "kind": "oneroster_csv", "config": {"partial": True}} | parts

    made = await hub.made("POST", at(hub, "/sources"), json=body)
    edited = await hub.made("PATCH", at(hub, f"/sources/{made['source_id']}"), json={"links": {}})

    assert {name: made[name] for name in parts} == parts
    assert {name: edited[name] for name in parts} == parts | {"links": {}}


async def test_a_source_departs_once(hub: AdminHub) -> None:
    body = {"name": "HR", "kind": "oneroster_csv"}
    other = (await hub.made("POST", at(hub, "/sources"), json=body))["source_id"]
    to_itself = await hub.call("POST", at(hub, f"/sources/{other}/depart"), json={"to": other})
    assert (to_itself.status, to_itself.json["code"]) == (409, "conflict")

    run = await hub.made("POST", at(hub, f"/sources/{other}/depart"), json={})
    await worked(hub)

    assert (await hub.made("GET", at(hub, f"/runs/{run['run_id']}")))["state"] in {"applied", "unchanged"}
    assert (await hub.made("GET", at(hub, f"/sources/{other}")))["state"] == "departed"
    assert (await hub.call("POST", at(hub, f"/sources/{other}/depart"), json={})).status == 409


async def test_a_new_priority_is_applied_to_records_that_are_merged(hub: AdminHub) -> None:
    user = await loaded(hub)
    await hub.made("PATCH", at(hub, f"/sources/{hub.source}"), json={"key_space": "district"})
    body = {
        "name": "HR",
        "kind": "oneroster_csv",
        "config": {"partial": True},
        "key_space": "district",
        "priority": 500,
    }
    other = (await hub.made("POST", at(hub, "/sources"), json=body))["source_id"]
    frames = sandbox(100, 3).frames
    users = frames["users"].with_columns(givenName=pl.lit("Zebulon"))
    people = {"users": users, "roles": frames["roles"], "userProfiles": frames["userProfiles"]}
    data = await asyncio.to_thread(packed, people, "1.2")
    upload = await hub.made(
        "POST", at(hub, f"/sources/{other}/uploads"), data=data, headers={"Content-Type": "application/zip"}
    )
    await hub.made("POST", at(hub, "/runs"), json={"upload_id": upload["upload_id"]})
    await worked(hub)

    async def whose() -> str:
        (page,) = (await hub.made("GET", at(hub, f"/provenance?sourced_id={user}"), role="district"))["items"]
        return str(page["fields"]["givenName"])

    assert await whose() == str(hub.source)
    await hub.made("PATCH", at(hub, f"/sources/{other}"), json={"priority": 1})
    assert hub.rung[-1] == ("sync", hub.district)
    await worked(hub)
    run = (await hub.made("GET", at(hub, "/runs")))["items"][0]
    assert run["kind"] == "remerge"
    if run["state"] == "held":  # everybody's name changes
        await hub.made("POST", at(hub, f"/runs/{run['run_id']}/approve"))
        await worked(hub)

    assert await whose() == other


async def test_a_source_that_departed_is_not_changed_any_more(hub: AdminHub) -> None:
    other = (await hub.made("POST", at(hub, "/sources"), json={"name": "HR", "kind": "oneroster_csv"}))["source_id"]
    await hub.made("POST", at(hub, f"/sources/{other}/depart"), json={})
    await worked(hub)

    answer = await hub.call("PATCH", at(hub, f"/sources/{other}"), json={"state": "active"})

    assert (answer.status, answer.json["code"]) == (409, "conflict")
