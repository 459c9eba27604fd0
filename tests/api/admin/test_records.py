"""A district's records through the admin API: as they were, what became of them, and undoing what a run did."""

from __future__ import annotations

import asyncio
import io
import os
import zipfile
from collections.abc import AsyncIterator
from typing import Any

import polars as pl
import pytest

from hub.crypto import column_key
from hub.store.database import Database as Pool
from hub.sync.engine import work_once
from tests.api.admin.service import AdminHub
from tests.beginnings import Beginning
from tests.districts import District, changed, sandbox, without
from tests.forks import Ended, run_module
from tests.services import MASTER_KEY

FRAMES = sandbox(students=100, seed=11).frames
PUPIL = FRAMES["demographics"]["sourcedId"][5]


async def synced_twice(district: District) -> None:
    """Then a pupil is called Zoe and has no e-mail any more."""
    assert (await district.sync(FRAMES)).state == "applied"
    assert (await district.sync(changed(FRAMES, "users", PUPIL, givenName="Zoe", email=None))).state == "applied"


@pytest.fixture
def beginning() -> Beginning:
    return synced_twice


@pytest.fixture
async def district(hub: AdminHub) -> AsyncIterator[District]:
    """Our district, synced twice."""
    db = await Pool.open(hub.worker_url, name="tests as a worker", largest=4)
    yield District(db, district_id=hub.district, source_id=hub.source)
    await db.close()


async def pupil(district: District) -> str:
    """The pupil's sourcedId."""
    async with district.db.district(district.district_id) as tx:
        return str(
            await tx.fetchval(
                "SELECT sourced_id FROM users JOIN source_records s USING (rid) WHERE s.entity = 'users' AND key = $1",
                PUPIL,
            )
        )


async def times(hub: AdminHub, record: str) -> list[dict[str, Any]]:
    path = f"/districts/{hub.district}/records/{record}/history"
    items: list[dict[str, Any]] = (await hub.made("GET", path, role="district"))["items"]
    return items


async def test_a_records_history_says_what_changed_and_by_whom(hub: AdminHub, district: District) -> None:
    record = await pupil(district)
    runs = (await hub.made("GET", f"/districts/{hub.district}/runs"))["items"]
    undo = await hub.made("POST", f"/districts/{hub.district}/runs/{runs[0]['run_id']}/undo", role="district", json={})
    assert (undo["kind"], undo["task"]) == ("undo", {"run": runs[0]["run_id"]})
    assert undo["approved"]["by"].startswith("token:")
    while await work_once(district.db, district.clock):
        pass
    last, middle, first = await times(hub, record)

    was = {change["field"]: change for change in middle["changed"]}
    assert set(was) == {"givenName", "email"}
    assert (was["givenName"]["new"], was["email"]["new"]) == ("Zoe", None)
    assert (middle["by"]["kind"], middle["by"]["source_id"]) == ("sync", str(hub.source))
    assert middle["by"]["run_id"] == runs[0]["run_id"]
    back = {change["field"]: (change["old"], change["new"]) for change in last["changed"]}
    assert back == {name: (change["new"], change["old"]) for name, change in was.items()}
    assert (last["by"]["kind"], last["by"]["undone"]) == ("undo", runs[0]["run_id"])
    made = {change["field"]: (change["old"], change["new"]) for change in first["changed"]}
    assert made["givenName"] == (None, was["givenName"]["old"])
    assert made["status"] == (None, "active")
    assert first["position"] < middle["position"] < last["position"]
    assert "href" not in str(first)


async def test_a_history_comes_in_pages(hub: AdminHub, district: District) -> None:
    record = await pupil(district)
    for name in ("Ada", "Bea", "Cleo"):
        assert (await district.sync(changed(FRAMES, "users", PUPIL, givenName=name))).state == "applied"
    whole = await times(hub, record)
    assert len(whole) == 5
    for limit in (1, 2, 4, 5):
        seen: list[Any] = []
        after = ""
        while after is not None:
            page = await hub.made(
                "GET", f"/districts/{hub.district}/records/{record}/history", role="district",
                params={"limit": str(limit)} | ({"after": after} if after else {}),
            )  # fmt: skip
            seen += page["items"]
            after = page["next"]
        assert seen == whole, limit


async def test_the_district_as_it_was(hub: AdminHub, district: District) -> None:
    record = await pupil(district)
    newest, first = await times(hub, record)
    gone = FRAMES["enrollments"]["sourcedId"].head(2).to_list()
    assert (await district.sync(without(FRAMES, "enrollments", gone))).state == "applied"
    root = f"/districts/{hub.district}/records"

    async def at(time: str, **more: str) -> list[Any]:
        found: list[Any] = []
        after: str | None = ""
        while after is not None:
            params = {"at": time, "limit": "70"} | more | ({"after": after} if after else {})
            page = await hub.made("GET", root, role="district", params=params)
            found += page["items"]
            after = page["next"]
        return found

    then = await at(first["at"], entity="users")
    assert len(then) == FRAMES["users"].height
    assert len(await at(newest["at"], entity="enrollments")) == FRAMES["enrollments"].height
    now = district.clock.now().isoformat()
    assert len(await at(now, entity="enrollments")) == FRAMES["enrollments"].height - 2
    shown = {one["record"]["sourcedId"]: one["record"] for one in then}
    name = next(change["old"] for change in newest["changed"] if change["field"] == "givenName")
    assert shown[record]["givenName"] == name
    one = await hub.made("GET", f"{root}/{record}", role="district", params={"at": newest["at"]})
    assert (one["entity"], one["record"]["givenName"]) == ("users", "Zoe")
    before = await hub.call("GET", f"{root}/{record}", role="district", params={"at": "2020-01-01T00:00:00Z"})
    assert (before.status, before.json["code"]) == (404, "not_found")
    demographics = await hub.made("GET", f"{root}/{record}", role="district", params={"entity": "demographics"})
    assert demographics["entity"] == "demographics"


async def test_the_whole_district_as_it_was_is_a_package(hub: AdminHub, district: District) -> None:
    record = await pupil(district)
    newest, first = await times(hub, record)
    gone = FRAMES["enrollments"]["sourcedId"].head(2).to_list()
    assert (await district.sync(without(FRAMES, "enrollments", gone))).state == "applied"
    path = f"/districts/{hub.district}/records/package"
    names = {first["at"]: FRAMES["users"].filter(pl.col("sourcedId") == PUPIL)["givenName"][0], newest["at"]: "Zoe"}
    for at, name in names.items():
        for version in ("1.2", "1.1"):
            answer = await hub.call("GET", path, role="district", params={"at": at, "version": version})
            assert (answer.status, answer.headers["Content-Type"]) == (200, "application/zip")
            with zipfile.ZipFile(io.BytesIO(answer.body)) as archive:
                users = pl.read_csv(archive.read("users.csv"), infer_schema=False)
                enrollments = pl.read_csv(archive.read("enrollments.csv"), infer_schema=False)
            assert users.filter(pl.col("sourcedId") == record)["givenName"].to_list() == [name]
            assert users.height == FRAMES["users"].height
            assert enrollments.height == FRAMES["enrollments"].height
    now = await hub.call("GET", path, role="district")
    with zipfile.ZipFile(io.BytesIO(now.body)) as archive:
        assert pl.read_csv(archive.read("enrollments.csv")).height == FRAMES["enrollments"].height - 2
    assert (await hub.call("GET", path, role="operator")).status == 403


async def test_each_look_is_audited_without_what_was_seen(hub: AdminHub, district: District) -> None:
    record = await pupil(district)
    await times(hub, record)
    await hub.made("GET", f"/districts/{hub.district}/records", role="district")
    await hub.made("GET", f"/districts/{hub.district}/records/{record}", role="district")
    rows = [row for row in await hub.audit_rows() if row["action"].startswith("record.")]
    assert [row["action"] for row in rows] == ["record.history", "record.list", "record.read"]
    assert rows[0]["object"] == f"record/{record}"
    assert "Zoe" not in str(rows)


@pytest.mark.threat("T55")
async def test_operators_see_no_record(hub: AdminHub, district: District) -> None:
    record = await pupil(district)
    for path in ("records", f"records/{record}", f"records/{record}/history"):
        answer = await hub.call("GET", f"/districts/{hub.district}/{path}", role="operator")
        assert answer.status == 403


async def test_only_applied_runs_are_undone(hub: AdminHub) -> None:
    run = await hub.run("failed")
    answer = await hub.call("POST", f"/districts/{hub.district}/runs/{run}/undo", json={})
    assert (answer.status, answer.json["code"]) == (409, "conflict")


async def test_the_commands_tell_a_history_and_undo(hub: AdminHub, district: District) -> None:
    record = await pupil(district)
    run = (await hub.made("GET", f"/districts/{hub.district}/runs"))["items"][0]["run_id"]
    told = await _command(hub, "history", record)
    assert told.code == 0, told.errors
    assert '-> "Zoe"' in told.out
    assert f"sync: run {run}, source {hub.source}" in told.out

    undoing = asyncio.create_task(_command(hub, "undo", run))
    while not undoing.done():
        await work_once(district.db, district.clock)
        await asyncio.sleep(0.05)
    done = undoing.result()
    assert done.code == 0, done.errors
    assert "applied" in done.out
    assert "users: 130 before, 1 updated" in done.out


async def _command(hub: AdminHub, *arguments: str) -> Ended:
    return await run_module(
        "hub.cli", *arguments, "--district", str(hub.district), "--url", str(hub.server.make_url("/admin/v1")),
        "--token", hub.tokens["district"], environment=os.environ, apart=True,
    )  # fmt: skip


async def test_a_person_is_erased_and_released_through_the_api(hub: AdminHub, district: District) -> None:
    record, key = await pupil(district), column_key(MASTER_KEY)
    path = f"/districts/{hub.district}/users/{record}/erase"
    for dry_run, state in ((True, "previewed"), (False, "applied")):
        run = await hub.made("POST", path, role="district", json={"dry_run": dry_run})
        assert (run["kind"], run["task"]["person"], run["state"]) == ("erase", record, "queued")
        while await work_once(district.db, district.clock, key=key):
            pass
        run = await hub.made("GET", f"/districts/{hub.district}/runs/{run['run_id']}")
        assert (run["state"], run["counts"]["users"]["deleted"]) == (state, 1)
    (erasure,) = (await hub.made("GET", f"/districts/{hub.district}/erasures"))["items"]
    assert (erasure["sourced_id"], erasure["released_at"]) == (record, None)
    released = await hub.made("POST", f"/districts/{hub.district}/erasures/{erasure['erasure_id']}/release")
    assert released["released_at"] is not None
    found = await hub.call("POST", f"/districts/{hub.district}/users/{hub.grant}/erase", json={})
    assert (found.status, found.json["code"]) == (404, "not_found")
    rows = [row for row in await hub.audit_rows() if row["action"] in {"user.erase", "erasure.release"}]
    assert len(rows) == 3
    assert PUPIL not in str(rows)


async def test_a_district_sets_its_own_days(hub: AdminHub) -> None:
    path = f"/districts/{hub.district}/retention"
    assert (await hub.made("GET", path))["history_days"] == 400
    days = await hub.made("PUT", path, role="district", json={"history_days": 800, "issue_days": None})
    assert (days["history_days"], days["issue_days"], days["own"]) == (800, 90, {"history_days": 800})
    assert await hub.made("GET", path, role="district") == days
    refused = await hub.call("PUT", path, json={"history_days": 29})
    assert (refused.status, refused.json["code"]) == (400, "invalid_request")
