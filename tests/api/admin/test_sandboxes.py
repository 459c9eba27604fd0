"""A sandbox for an app by one call: made-up people to read, some months later by another."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from hub.clock import SystemClock
from hub.store.database import Database as Pool
from hub.sync.engine import work_once
from tests.api.admin.service import AdminHub


async def _synced(hub: AdminHub) -> None:
    worker = await Pool.open(hub.worker_url, name="tests of sandboxes", largest=3)
    while await work_once(worker, SystemClock()):
        pass
    await worker.close()


async def _token(hub: AdminHub, app: UUID) -> str:
    client = await hub.made("POST", f"/apps/{app}/clients", role="app", json={})
    form = {"grant_type": "client_credentials", **{k: client[k] for k in ("client_id", "client_secret")}}
    async with hub.session.post("/oauth/token", data=form) as response:
        return str((await response.json())["access_token"])


async def _users(hub: AdminHub, sandbox: dict[str, Any], token: str, **query: str) -> dict[str, dict[str, Any]]:
    address = f"/d/{sandbox['district_id']}/ims/oneroster/rostering/v1p2/users"
    headers = {"Authorization": f"Bearer {token}"}
    async with hub.session.get(address, params={"limit": "10000"} | query, headers=headers) as response:
        assert response.status == 200
        return {user["sourcedId"]: user for user in (await response.json())["users"]}


async def test_an_app_gets_a_district_that_it_can_read_change_and_bring_back(hub: AdminHub) -> None:
    sandbox = await hub.made("POST", f"/apps/{hub.app}/sandbox", role="app", json={"students": 100, "seed": 3})
    await _synced(hub)
    token = await _token(hub, hub.app)
    first = await _users(hub, sandbox, token)
    assert sum(role["role"] == "student" for user in first.values() for role in user["roles"]) >= 100
    assert sandbox["oneroster"].endswith(f"/d/{sandbox['district_id']}/ims/oneroster")

    later = await hub.made("POST", f"/apps/{hub.app}/sandbox/changes", role="app")
    await _synced(hub)
    changed = await _users(hub, sandbox, token)
    assert {k: later[k] for k in ("district_id", "grant_id")} == {k: sandbox[k] for k in ("district_id", "grant_id")}
    assert changed != first

    again = await hub.made("POST", f"/apps/{hub.app}/sandbox", role="app", json={})
    await _synced(hub)
    back = await _users(hub, sandbox, token, filter="status='active'")
    assert again["district_id"] == sandbox["district_id"]
    assert {k: v["familyName"] for k, v in back.items()} == {k: v["familyName"] for k, v in first.items()}


async def test_a_sandbox_is_its_apps_alone(hub: AdminHub) -> None:
    answer = await hub.call("POST", f"/apps/{hub.foreign_app}/sandbox", role="app", json={})
    assert answer.status == 404
    answer = await hub.call("POST", f"/apps/{hub.app}/sandbox", role="district", json={})
    assert answer.status == 403
    answer = await hub.call("POST", f"/apps/{hub.app}/sandbox/changes", role="app")
    assert (answer.status, answer.json["code"]) == (404, "not_found")
    answer = await hub.call("POST", f"/apps/{hub.app}/sandbox", role="app", json={"students": 2_000_000})
    assert (answer.status, answer.json["code"]) == (400, "invalid_request")
