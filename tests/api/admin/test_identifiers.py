"""Grants with pseudonyms in the hands of those who make them: choosing, warnings, and the way back from an id."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import orjson
import pytest

from hub.crypto import ENVELOPE
from hub.ids import new_id
from hub.scope.pseudonyms import is_pseudonym
from hub.store.database import Database as Pool
from hub.sync import grants
from tests.api.admin.commands import process
from tests.api.admin.service import AdminHub
from tests.beginnings import Beginning
from tests.districts import District, sandbox

JOINED = {"username", "userIds", "identifier", "userMasterIdentifier", "metadata"}


async def synced(district: District) -> None:
    """There is a roster in it."""
    assert (await district.sync(sandbox(100, 7).frames)).state == "applied"


@pytest.fixture
def beginning() -> Beginning:
    return synced


async def _ids(hub: AdminHub, table: str) -> list[str]:
    async with hub.pool.district(hub.district) as tx:
        return [row[0] for row in await tx.fetch(f"SELECT sourced_id::text FROM {table} ORDER BY rid")]


async def _grant(hub: AdminHub, definition: dict[str, Any] | None = None, *, pseudonymous: bool = True) -> Any:
    body = {"app_id": str(hub.foreign_app), "definition": definition or {}, "pseudonymous_ids": pseudonymous}
    return await hub.made("POST", f"/districts/{hub.district}/grants", role="district", json=body)


def _warned(answer: Any) -> set[tuple[str, str]]:
    assert {warning["code"] for warning in answer["warnings"]} <= {"joinable_field"}
    return {(warning["entity"], warning["field"]) for warning in answer["warnings"]}


async def test_a_grant_is_made_with_pseudonyms_or_without_and_stays_so(hub: AdminHub) -> None:
    base = f"/districts/{hub.district}/grants"
    made = await _grant(hub)
    assert made["pseudonymous_ids"] is True
    assert (await hub.made("GET", f"{base}/{hub.grant}"))["pseudonymous_ids"] is False
    edited = await hub.made("PUT", f"{base}/{made['grant_id']}", json={"definition": {"entities": ["users"]}})
    assert edited["pseudonymous_ids"] is True
    refused = await hub.call("PUT", f"{base}/{hub.grant}", json={"definition": {}, "pseudonymous_ids": True})
    assert (refused.status, refused.json["code"]) == (400, "invalid_request")
    assert "pseudonymous_ids" in str(refused.json)
    assert "id_key" not in str(made)
    assert orjson.loads((await hub.audit_rows())[0]["details"])["pseudonymous_ids"] is True


async def test_fields_by_which_apps_could_join_are_warned_of(hub: AdminHub) -> None:
    base = f"/districts/{hub.district}/grants"
    body: dict[str, Any] = {"definition": {}, "pseudonymous_ids": True}
    preview = await hub.made("POST", f"{base}/preview", json=body)
    assert _warned(preview) == {("users", name) for name in JOINED} | {("enrollments", "metadata")}
    assert _warned(await hub.made("POST", f"{base}/preview", json={"definition": {}})) == set()

    hidden = {"hide": sorted(JOINED - {"identifier"}), "masks": {"identifier": "initial"}, "show": ["email"]}
    definition = {"entities": ["users"], "fields": {"users": hidden}}
    made = await _grant(hub, definition)
    assert _warned(made["effect"]) == {("users", "email")}
    later = {"definition": {**definition, "privacy": ["contact"]}}
    preview = await hub.made("POST", f"{base}/{made['grant_id']}/preview", json=later)
    assert _warned(preview) == {("users", "email"), ("users", "phone"), ("users", "sms")}


@pytest.mark.threat("T21")
async def test_staff_find_what_an_id_is_of_and_are_noted(hub: AdminHub) -> None:
    users = await _ids(hub, "users")
    made = await _grant(hub)
    path = f"/districts/{hub.district}/grants/{made['grant_id']}/identifiers"
    (school, *_) = await _ids(hub, "orgs")
    asked = [users[0], school, str(new_id()), "nothing"]
    there = (await hub.made("POST", path, role="district", json={"identifiers": asked}))["items"]
    assert [(one["given"], one["entity"]) for one in there] == [(users[0], "users"), (school, "orgs")]
    shown = [one["shown_id"] for one in there]
    assert all(map(is_pseudonym, shown))

    persona = f"{shown[0]}.teacher"
    back = (await hub.made("POST", path, json={"identifiers": [shown[1], persona, shown[0]]}))["items"]
    assert [(one["given"], one["sourced_id"], one["shown_id"]) for one in back] == [
        (shown[1], school, shown[1]), (persona, users[0], shown[0]), (shown[0], users[0], shown[0]),
    ]  # fmt: skip
    row = (await hub.audit_rows())[-1]
    details = orjson.loads(row["details"])
    assert (row["action"], details["asked"], details["found"]) == ("grant.identify", 3, 3)
    assert users[0] not in str(row)
    assert shown[0] not in str(row)

    plain = f"/districts/{hub.district}/grants/{hub.grant}/identifiers"
    same = (await hub.made("POST", plain, json={"identifiers": [users[0], shown[0]]}))["items"]
    assert [(one["given"], one["shown_id"]) for one in same] == [(users[0], users[0])]


async def test_what_an_app_chose_is_found_too(hub: AdminHub) -> None:
    made = await _grant(hub)
    id_ = new_id()
    async with hub.pool.district(hub.district) as tx:
        await tx.execute(
            "INSERT INTO gradebook_objects (district_id, entity, rid, app_id, sourced_id, key, created_at) "
            "VALUES ($1, 'lineItems', 1, $2, $3, 'quiz-1', now())", hub.district, hub.foreign_app, id_,
        )  # fmt: skip
    path = f"/districts/{hub.district}/grants/{made['grant_id']}/identifiers"
    (found,) = (await hub.made("POST", path, json={"identifiers": ["quiz-1"]}))["items"]
    assert found == {"given": "quiz-1", "entity": "lineItems", "sourced_id": str(id_), "shown_id": "quiz-1"}


@pytest.mark.threat("T20", "T21")
async def test_no_app_finds_the_way_back(hub: AdminHub) -> None:
    users = await _ids(hub, "users")
    path = f"/districts/{hub.district}/grants/{hub.grant}/identifiers"
    assert (await hub.call("POST", path, role="app", json={"identifiers": [users[0]]})).status == 403
    for body in ({"identifiers": []}, {"identifiers": ["x"] * 1001}, {"identifiers": [""]}, {}):
        assert (await hub.call("POST", path, json=body)).status == 400


@pytest.mark.threat("T14")
async def test_an_app_is_shown_the_rules_of_its_grant_by_its_own_ids(hub: AdminHub) -> None:
    (school, *_) = await _ids(hub, "orgs")
    other = "0b5f2f7e-0000-4000-8000-000000000001"
    definition = {"rules": [{"schools": [school, other]}]}
    base = f"/districts/{hub.district}/grants"
    await hub.made("POST", f"{base}/{hub.grant}/revoke")
    body = {"app_id": str(hub.app), "definition": definition, "pseudonymous_ids": True}
    made = await hub.made("POST", base, json=body)
    assert made["definition"]["rules"][0]["schools"] == [school, other]
    listed = (await hub.made("GET", base, role="app"))["items"]
    one = await hub.made("GET", f"{base}/{made['grant_id']}", role="app")
    shown = one["definition"]["rules"][0]["schools"]
    assert is_pseudonym(shown[0])
    assert shown[1] == str(UUID(int=0))
    assert one in listed
    assert school not in str(listed)
    (found,) = (
        await hub.made("POST", f"{base}/{made['grant_id']}/identifiers", json={"identifiers": shown})
    )["items"]  # fmt: skip
    assert found["sourced_id"] == school


async def test_a_sandbox_may_have_pseudonyms(hub: AdminHub) -> None:
    body = {"students": 100, "pseudonymous_ids": True}
    made = await hub.made("POST", f"/apps/{hub.app}/sandbox", json=body)
    grant = await hub.made("GET", f"/districts/{made['district_id']}/grants/{made['grant_id']}")
    assert grant["pseudonymous_ids"] is True
    assert (await hub.made("POST", f"/apps/{hub.app}/sandbox", json=body))["grant_id"] == made["grant_id"]


@pytest.mark.threat("T26")
async def test_the_key_of_another_grant_does_not_open(hub: AdminHub) -> None:
    made = await _grant(hub)
    async with hub.pool.district(hub.district) as tx:
        stored = await grants.store.get(tx, UUID(made["grant_id"]))
        assert stored.id_key is not None
        assert stored.id_key[0] == ENVELOPE
        await tx.execute("UPDATE grants SET id_key = $1 WHERE grant_id = $2", stored.id_key, hub.grant)
    path = f"/districts/{hub.district}/grants/{hub.grant}/identifiers"
    refused = await hub.call("POST", path, json={"identifiers": ["x"]})
    assert (refused.status, refused.json["code"]) == (500, "internal")


async def test_a_command_says_what_an_id_is_of(hub: AdminHub) -> None:
    users = await _ids(hub, "users")
    made = await _grant(hub)
    url = str(hub.server.make_url("/admin/v1"))
    path = f"/districts/{hub.district}/grants/{made['grant_id']}/identifiers"
    (one,) = (await hub.made("POST", path, json={"identifiers": users[:1]}))["items"]

    async def asked(*identifiers: str, token: str) -> tuple[int | None, list[str]]:
        where = ("--district", str(hub.district), "--grant", made["grant_id"])
        code, out = await process("identifiers", *where, *identifiers, HUB_ADMIN_URL=url, HUB_ADMIN_TOKEN=token)
        return code, out.splitlines()

    line = f"{one['shown_id']}  users  {users[0]}  {one['shown_id']}"
    assert await asked(one["shown_id"], token=hub.tokens["district"]) == (0, [line])
    nobodys = f"{new_id()}"
    expected = [line, f"{nobodys}  no record of this district"]
    assert await asked(one["shown_id"], nobodys, token=hub.tokens["district"]) == (1, expected)
    status, (refused,) = await asked("x", token=hub.tokens["app"])
    assert (status, refused.partition(":")[0]) == (2, "forbidden")


async def test_a_grant_is_made_with_a_source_s_ids_or_refused_with_what_clashes(hub: AdminHub) -> None:
    users = await _ids(hub, "users")
    base = f"/districts/{hub.district}/grants"
    body: dict[str, Any] = {"app_id": str(hub.foreign_app), "definition": {}, "source_ids": str(hub.source)}
    both = await hub.call("POST", base, json=body | {"pseudonymous_ids": True})
    assert (both.status, both.json["code"]) == (400, "invalid_request")
    nobodys = await hub.call("POST", base, json=body | {"source_ids": str(new_id())})
    assert (nobodys.status, nobodys.json["code"]) == (404, "not_found")

    set_key = "UPDATE source_records SET key = $1 WHERE entity = 'users' AND rid = $2"
    async with hub.pool.district(hub.district) as tx:
        first, second = await tx.fetch(
            "SELECT rid, key FROM source_records WHERE entity = 'users' ORDER BY rid LIMIT 2"
        )
    worker = await Pool.open(hub.worker_url, name="tests as a worker")
    for key, which in ((users[5], users[0]), (second["key"], users[0])):
        async with worker.district(hub.district) as tx:
            await tx.execute(set_key, key, first["rid"])
        for path, asked in ((base, body), (f"{base}/preview", {n: body[n] for n in ("definition", "source_ids")})):
            refused = await hub.call("POST", path, json=asked)
            assert (refused.status, refused.json["code"]) == (409, "conflict"), path
            assert f"users {which}" in refused.json["detail"]
            assert second["key"] not in refused.json["detail"]  # what a source calls somebody may tell who it is
    async with worker.district(hub.district) as tx:
        await tx.execute(set_key, first["key"], first["rid"])
    await worker.close()

    made = await hub.made("POST", base, role="district", json=body)
    assert (made["source_ids"], made["pseudonymous_ids"]) == (str(hub.source), False)
    assert (await hub.made("GET", f"{base}/{hub.grant}"))["source_ids"] is None
    assert orjson.loads((await hub.audit_rows())[-1]["details"])["source_ids"] == str(hub.source)
    kept = await hub.made("PUT", f"{base}/{made['grant_id']}", json={"definition": {"entities": ["users", "orgs"]}})
    assert kept["source_ids"] == str(hub.source)
    changing = await hub.call("PUT", f"{base}/{hub.grant}", json={"definition": {}, "source_ids": str(hub.source)})
    assert (changing.status, changing.json["code"]) == (400, "invalid_request")

    path = f"{base}/{made['grant_id']}/identifiers"
    asked = [first["key"], f"{second['key']}.teacher", users[0], "nothing"]
    found = (await hub.made("POST", path, json={"identifiers": asked}))["items"]
    assert [(one["given"], one["entity"], one["sourced_id"], one["shown_id"]) for one in found] == [
        (asked[0], "users", users[0], first["key"]), (asked[1], "users", users[1], second["key"]),
        (asked[2], "users", users[0], first["key"]),
    ]  # fmt: skip
