"""The guard over the admin API and on the command line: settings, differences, deciding on a part."""

from __future__ import annotations

import asyncio
import csv
import io
import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from hub.clock import SystemClock
from hub.store.database import Database as Pool
from hub.sync.engine import work_once
from tests.api.admin.commands import command
from tests.api.admin.service import AdminHub
from tests.districts import packed, sandbox, without

FRAMES = sandbox(students=400, seed=8).frames
SCHOOLS = FRAMES["orgs"].filter(pl.col("type") == "school")["sourcedId"].to_list()
_OF = FRAMES["enrollments"].filter(pl.col("schoolSourcedId") == SCHOOLS[0])["sourcedId"].to_list()
_ELSEWHERE = FRAMES["enrollments"].filter(pl.col("schoolSourcedId") == SCHOOLS[1])["sourcedId"].to_list()
GONE = _OF[::2] + _ELSEWHERE[:2]
FIRST, SECOND = packed(FRAMES, "1.2"), packed(without(FRAMES, "enrollments", GONE), "1.2")


@pytest.fixture
async def worker(hub: AdminHub) -> AsyncIterator[Pool]:
    pool = await Pool.open(hub.worker_url, name="tests as a worker")
    yield pool
    await pool.close()


async def work(worker: Pool) -> None:
    while await work_once(worker, SystemClock()):
        pass


async def synced(hub: AdminHub, worker: Pool, package: bytes) -> Any:
    """The run of a package at its end."""
    upload = await hub.upload(package)
    run = await hub.made("POST", f"/districts/{hub.district}/runs", json={"upload_id": upload["upload_id"]})
    await work(worker)
    return await hub.made("GET", f"/districts/{hub.district}/runs/{run['run_id']}")


async def held(hub: AdminHub, worker: Pool) -> tuple[Any, str]:
    """A held run, and its path."""
    await synced(hub, worker, FIRST)
    run = await synced(hub, worker, SECOND)
    assert run["state"] == "held"
    return run, f"/districts/{hub.district}/runs/{run['run_id']}"


@pytest.mark.threat("T55")
async def test_operators_see_what_changes_but_not_whom(hub: AdminHub, worker: Pool) -> None:
    _, path = await held(hub, worker)
    operator = await hub.made("GET", f"{path}/changes", params={"limit": "500"})
    district = await hub.made("GET", f"{path}/changes", role="district", params={"limit": "500"})

    assert {item["key"] for item in district["items"]} == set(GONE)
    assert [i | {"key": None, "sourced_id": None} for i in district["items"]] == operator["items"]
    assert all(item["sourced_id"] for item in district["items"])
    assert operator["counts"] == {"enrollments": {"deleted": len(GONE)}}
    refused = await hub.call("GET", f"{path}/changes/values")
    assert (refused.status, refused.json["code"]) == (403, "forbidden")
    values = await hub.made("GET", f"{path}/changes/values", role="district", params={"limit": "3"})
    assert all(item["was"]["class"] and item["becomes"] is None for item in values["items"])
    looks = [row for row in await hub.audit_rows() if row["action"] == "run.values"]
    assert [json.loads(row["details"])["shown"] for row in looks] == [3]
    for who in ("operator", "district"):
        sheet = await hub.call("GET", f"{path}/changes.csv", role=who)
        rows = list(csv.DictReader(io.StringIO(sheet.body.decode())))
        assert len(rows) == len(GONE)
        assert {row["key"] for row in rows} == (set(GONE) if who == "district" else {""})


async def test_the_difference_is_paged_and_filtered(hub: AdminHub, worker: Pool) -> None:
    _, path = await held(hub, worker)
    whole = (await hub.made("GET", f"{path}/changes", role="district", params={"limit": "500"}))["items"]
    pages, after = [], None
    while True:
        query = {"limit": "100"} | ({"after": after} if after else {})
        page = await hub.made("GET", f"{path}/changes", role="district", params=query)
        pages += page["items"]
        after = page["next"]
        if after is None:
            break
    assert pages == whole
    (school,) = {tuple(item["schools"]) for item in whole if item["key"] in _ELSEWHERE}
    some = await hub.made("GET", f"{path}/changes", params={"school": school[0]})
    assert [item["seq"] for item in some["items"]] == [i["seq"] for i in whole if i["key"] in _ELSEWHERE]
    for query, number in (({"kind": "updated"}, 0), ({"entity": "users"}, 0), ({"kind": "deleted"}, 100)):
        assert len((await hub.made("GET", f"{path}/changes", params=query))["items"]) == number
    assert (await hub.call("GET", f"{path}/changes", params={"kind": "vanished"})).status == 400


@pytest.mark.threat("F11")
async def test_a_part_is_released_and_the_rest_decided_on(hub: AdminHub, worker: Pool) -> None:
    run, path = await held(hub, worker)
    over = {school for reason in run["guard"] for school in reason["schools"]}
    assert len(over) == 1
    queued = await hub.made("POST", f"{path}/release", role="district", json={})
    assert (queued["state"], queued["approved"]["withhold"]) == ("queued", {"schools": sorted(over)})
    assert ("sync", hub.district) in hub.rung
    await work(worker)
    assert (await hub.made("GET", path))["state"] == "applied"
    again = await hub.call("POST", f"{path}/release", json={})
    assert (again.status, again.json["code"]) == (409, "conflict")

    listed = (await hub.made("GET", f"/districts/{hub.district}/runs"))["items"]
    (rest,) = [one for one in listed if one["task"].get("rest_of") == run["run_id"]]
    assert (rest["state"], rest["counts"]["enrollments"]["deleted"]) == ("held", len(_OF[::2]))
    await hub.made("POST", f"/districts/{hub.district}/runs/{rest['run_id']}/reject")
    acts = [row["action"] for row in await hub.audit_rows() if row["action"].startswith("run.")]
    assert acts[-2:] == ["run.release", "run.reject"]


async def test_settings_of_district_and_source_with_each_version_in_the_audit_log(hub: AdminHub) -> None:
    district, source = f"/districts/{hub.district}/guard", f"/districts/{hub.district}/sources/{hub.source}/guard"
    assert (await hub.made("GET", district))["settings"] == {} | (await hub.made("GET", source))["settings"]
    first = {"time_zone": "America/Chicago", "limits": {"users": {"deleted": {"share": 0.2}}}}
    shown = await hub.made("PUT", district, role="district", json=first)
    assert shown["effective"]["time_zone"] == "America/Chicago"
    assert shown["effective"]["limits"]["users"] == {"deleted": {"share": 0.2}}
    assert shown["effective"]["limits"]["default"]["deleted"] == {"share": 0.05, "above": 20}
    shown = await hub.made("PUT", source, json={"hold_days": 3, "limits": {"users": {"deleted": {"most": 5}}}})
    assert shown["effective"]["limits"]["users"] == {"deleted": {"share": 0.2, "most": 5}}
    assert (shown["effective"]["hold_days"], (await hub.made("GET", district))["effective"]["hold_days"]) == (3, 7)
    await hub.made("PUT", district, json={})
    versions = [json.loads(r["details"])["settings"] for r in await hub.audit_rows() if r["action"] == "guard.edit"]
    assert versions == [first, {}]


@pytest.mark.parametrize(
    ("body", "place"),
    [
        ({"time_zone": "Mars/Olympus"}, "time_zone"),
        ({"limits": {"pupils": {}}}, "limits"),
        ({"limits": {"users": {"deleted": {"share": 7}}}}, "limits.users.deleted.share"),
        ({"windows": [{"kind": "blackout", "name": "x", "starts": "2026-01-02T00:00", "ends": "2026-01-01T00:00"}]},
         "windows[0]"),
        ({"windows": [{"kind": "blackout", "name": "x", "starts": "02-29", "ends": "03-05"}]}, "windows[0].starts"),
        ({"windows": [{"kind": "blackout", "name": "x", "starts": "02-01", "ends": "2026-03-05"}]}, "windows[0]"),
        ({"hold_days": 0}, "hold_days"),
    ],
)  # fmt: skip
async def test_settings_that_make_no_sense_are_refused_with_their_place(
    hub: AdminHub, body: dict[str, Any], place: str
) -> None:
    answer = await hub.call("PUT", f"/districts/{hub.district}/guard", json=body)
    assert (answer.status, answer.json["code"]) == (400, "invalid_request")
    assert place in answer.json["detail"]
    assert (await hub.made("GET", f"/districts/{hub.district}/guard"))["open_windows"] == []


async def test_one_window_comes_and_goes_while_all_else_stays(hub: AdminHub) -> None:
    district, source = (f"/districts/{hub.district}{part}/guard" for part in ("", f"/sources/{hub.source}"))
    first = {"hold_days": 3, "limits": {"users": {"moved": None}}}
    for path in (district, source):
        await hub.made("PUT", path, json=first)
        once = {"kind": "blackout", "name": "Tests", "starts": "2001-04-12T00:00", "ends": "2001-04-17T00:00"}
        again = once | {"starts": "2002-04-12T00:00", "ends": "2002-04-17T00:00"}
        summer = {"kind": "rollover", "name": "Summer, 1/2", "starts": "06-15", "ends": "08-20",
                  "rules": {"limits": {"default": {"deleted": {"share": 0.6}, "moved": None}}}}  # fmt: skip
        for window in (once, again, summer):
            shown = await hub.made("POST", f"{path}/windows", json=window)
        kept = json.loads(json.dumps(shown["settings"]))
        assert [w["name"] for w in kept["windows"]] == ["Tests", "Tests", "Summer, 1/2"]
        assert [w["name"] for w in shown["calendar"]] == ["Summer, 1/2"]  # the others are over
        for body, code in (
            (once, "conflict"), (summer | {"ends": "06-15"}, "invalid_request"),
            (once | {"starts": "2003-01-01", "rules": {}}, "invalid_request"),
        ):  # fmt: skip
            assert (await hub.call("POST", f"{path}/windows", json=body)).json["code"] == code
        for query, code in (
            ({"name": "Tests"}, "conflict"), ({"name": "tests"}, "conflict"), ({"starts": "06-15"}, "invalid_request"),
            ({"name": "Summer, 1/2", "starts": "06-16"}, "conflict"),
        ):  # fmt: skip
            assert (await hub.call("DELETE", f"{path}/windows", params=query)).json["code"] == code, query
        await hub.made("DELETE", f"{path}/windows", params={"name": "Summer, 1/2"})
        shown = await hub.made("DELETE", f"{path}/windows", params={"name": "Tests", "starts": once["starts"]})
        assert shown["settings"] == kept | {"windows": kept["windows"][1:2]}
        assert shown["effective"]["hold_days"] == 3
    stored = [json.loads(r["details"])["settings"] for r in await hub.audit_rows() if r["action"].startswith("guard.")]
    assert stored[3]["windows"][2] == summer  # as it was written: what is lifted, and nothing that was left out
    assert stored[-1] == stored[5] == first | {"windows": [again]}


async def test_windows_that_come_at_the_same_time_are_all_kept(hub: AdminHub) -> None:
    path = f"/districts/{hub.district}/guard/windows"
    names = [f"Window {number}" for number in range(5)]
    window = {"kind": "additive", "starts": "04-12", "ends": "04-17"}
    await asyncio.gather(*(hub.made("POST", path, json=window | {"name": name}) for name in names))
    shown = await hub.made("GET", f"/districts/{hub.district}/guard")
    assert sorted(w["name"] for w in shown["settings"]["windows"]) == names


async def test_the_command_line(hub: AdminHub, worker: Pool, tmp_path: Path) -> None:
    run, _ = await held(hub, worker)
    run_id = run["run_id"]
    code, text = await command(hub, "runs", "list", "--state", "held")
    assert (code, text.split()[0]) == (0, run_id), text
    code, text = await command(hub, "runs", "show", run_id)
    assert "held: " in text
    assert f"{len(GONE)} deleted" in text
    assert "decide by: " in text
    code, text = await command(hub, "runs", "changes", run_id, "--entity", "enrollments")
    assert len([line for line in text.splitlines() if line.startswith("enrollments deleted ")]) == len(GONE)
    assert f"in all, enrollments: {len(GONE)} deleted" in text
    sheet = tmp_path / "changes.csv"
    assert (await command(hub, "runs", "changes", run_id, "--csv", str(sheet)))[0] == 0
    assert len((await asyncio.to_thread(sheet.read_text)).splitlines()) == len(GONE) + 1
    assert (await command(hub, "runs", "release", run_id)) == (0, f"run {run_id}: queued\n")
    await work(worker)
    code, text = await command(hub, "runs", "list", "--state", "held")
    rest = text.split()[0]
    assert (await command(hub, "runs", "approve", rest)) == (0, f"run {rest}: queued\n")
    await work(worker)
    code, text = await command(hub, "runs", "reject", rest)
    assert (code, text.startswith("conflict: Only a held run")) == (2, True), text


async def test_settings_on_the_command_line_with_windows_of_every_year(
    hub: AdminHub, worker: Pool, tmp_path: Path
) -> None:
    assert (await command(hub, "guard", "windows"))[1].startswith("no window")
    today = datetime.now(UTC).date()
    always = [("first half", "01-01", "07-01"), ("second half", "07-01T00:00", "01-01")]
    windows = [{"kind": "blackout", "name": n, "starts": s, "ends": e} for n, s, e in always]
    settings = tmp_path / "guard.json"
    await asyncio.to_thread(settings.write_text, json.dumps({"hold_days": 3, "windows": windows}))
    assert (await command(hub, "guard", "set", str(settings))) == (0, "set\n")
    code, text = await command(hub, "guard", "show", "--source", str(hub.source))
    assert (code, json.loads(text)["effective"]["hold_days"]) == (0, 3)
    now, then = ("first half", "second half") if today.month < 7 else ("second half", "first half")
    assert json.loads(text)["open_windows"] == [now]
    code, text = await command(hub, "guard", "windows")
    lines = text.splitlines()
    assert (code, [line[0] for line in lines]) == (0, ["*", " "]), text
    assert lines[0].endswith(f"  blackout  {now}")
    assert lines[1].endswith(f"  blackout  {then}")
    run = await synced(hub, worker, FIRST)
    ends = f"{today.year}-07-01" if today.month < 7 else f"{today.year + 1}-01-01"
    assert (run["state"], run["resume_at"][:10]) == ("held", ends)
    assert f"lasts until {ends} 00:00 (UTC)" in run["guard"][0]["text"]

    code, text = await command(
        hub, "guard", "add-window", "rollover", "Summer", "06-15", "08-20", "--limit", "deleted=0.6",
        "--limit", "moved=none",
    )  # fmt: skip
    assert (code, text.count("\n"), "rollover  Summer" in text) == (0, 3, True), text
    assert (await command(hub, "guard", "remove-window", "first half")) == (0, "removed\n")
    past = ("blackout", "Gone", "2001-01-01", "2001-02-01")
    assert (await command(hub, "guard", "add-window", *past))[0] == 0
    code, text = await command(hub, "guard", "windows", "--all")
    assert text.splitlines()[2] == "2001-01-01 to 2001-02-01  blackout  Gone"
    code, text = await command(hub, "guard", "show")
    kept = json.loads(text)["settings"]
    assert (kept["hold_days"], [w["name"] for w in kept["windows"]]) == (3, ["second half", "Summer", "Gone"])
    assert kept["windows"][1]["rules"]["limits"]["default"]["deleted"]["share"] == 0.6
    code, text = await command(hub, "guard", "add-window", "blackout", "x", "06-15", "08-20", "--limit", "deleted=1")
    assert (code, "no other window does" in text) == (2, True), text
    code, text = await command(hub, "guard", "remove-window", "first half")
    assert (code, text.startswith("conflict: There is no such window")) == (2, True), text

    await asyncio.to_thread(settings.write_text, "{")
    code, text = await command(hub, "guard", "set", str(settings))
    assert (code, text.startswith("invalid_request: guard.json is not JSON")) == (2, True), text
