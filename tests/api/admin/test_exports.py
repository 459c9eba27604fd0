"""Export schedules: who may say where rosters go, what is refused, and that no login is ever shown."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any
from uuid import uuid4

import asyncssh
import pytest

from hub.clock import SystemClock
from hub.crypto import load_key
from hub.export.jobs import Workshop, work_once
from hub.export.targets import Places
from hub.settings import Settings
from hub.store.database import Database as Pool
from tests.api.admin.service import AdminHub

PASSWORD = "hunter2 of these tests"
KEY = asyncssh.generate_private_key("ssh-ed25519")
SFTP = {
    "kind": "sftp", "host": "127.0.0.1", "username": "hub", "host_key": KEY.export_public_key().decode(),
    "folder": "in",
}  # fmt: skip
FOLDER = {"kind": "folder", "folder": "nightly"}


def path(hub: AdminHub, rest: str = "") -> str:
    return f"/districts/{hub.district}/export-schedules{rest}"


async def made(hub: AdminHub, **body: Any) -> Any:
    given = {"grant_id": str(hub.grant), "target": FOLDER} | body
    return await hub.made("POST", path(hub), role="district", json=given)


async def test_a_schedule_is_made_watched_and_ended(hub: AdminHub, tmp_path: Path) -> None:
    one = await made(hub, daily_at="03:30", zone="Europe/Berlin")
    assert (one["state"], one["daily_at"], one["last"]) == ("active", "03:30:00", None)
    assert one["next_at"] is not None
    assert hub.rung[-1] == ("export", hub.district)
    number = one["schedule_id"]
    assert (await hub.made("GET", path(hub)))["items"] == [one]
    paused = await hub.made("POST", path(hub, f"/{number}/pause"))
    assert paused["state"] == "paused"
    assert (await hub.call("POST", path(hub, f"/{number}/run"))).status == 409
    await hub.made("POST", path(hub, f"/{number}/resume"))
    await hub.made("POST", path(hub, f"/{number}/run"))
    worker = await Pool.open(hub.worker_url, name="tests as a worker", largest=4)
    (tmp_path / "out").mkdir()
    key = await asyncio.to_thread(load_key, Settings(data_dir=tmp_path))
    assert await work_once(Workshop(worker, SystemClock(), key, Places(tmp_path / "out")))
    await worker.close()
    last = (await hub.made("GET", path(hub, f"/{number}")))["last"]
    assert (last["state"], last["kind"], last["requested_by"]) == ("done", "bulk", f"schedule:{number}")
    assert (tmp_path / "out" / str(hub.district) / "nightly" / "oneroster.zip").exists()
    listed = await hub.made("GET", f"/districts/{hub.district}/exports?limit=1")
    assert listed["items"] == [last]
    assert await hub.made("GET", f"/districts/{hub.district}/exports/{last['export_id']}", role="district") == last
    assert (await hub.call("DELETE", path(hub, f"/{number}"))).status == 204
    assert (await hub.call("GET", path(hub, f"/{number}"))).status == 404
    actions = [row["action"] for row in await hub.audit_rows()]
    assert actions == [
        "export_schedule.create", "export_schedule.pause", "export_schedule.resume", "export_schedule.run",
        "export.make", "export.deliver", "export_schedule.delete",
    ]  # fmt: skip


@pytest.mark.threat("T29")
async def test_a_login_is_taken_and_never_shown(hub: AdminHub) -> None:
    key = KEY.export_private_key().decode()
    one = await made(hub, target=SFTP, password=PASSWORD, private_key=key)
    number = one.pop("schedule_id")
    again = await hub.call("GET", path(hub, f"/{number}"), role="district")
    rows = str(await hub.audit_rows())
    for secret in (PASSWORD, PASSWORD[:7], key.splitlines()[2]):
        assert secret not in f"{one} {again.body!r} {rows}"
    body = {"target": SFTP | {"folder": "other"}, "mode": "bulk"}
    assert (await hub.made("PUT", path(hub, f"/{number}"), role="district", json=body))["target"]["folder"] == "other"
    # The password of one server is not sent to another.
    moved = {"target": SFTP | {"port": 2222}}
    refused = await hub.call("PUT", path(hub, f"/{number}"), role="district", json=moved)
    assert (refused.status, refused.json["code"]) == (400, "invalid_request")
    await hub.made("PUT", path(hub, f"/{number}"), role="district", json=moved | {"password": "another"})
    await hub.made("PUT", path(hub, f"/{number}"), role="district", json={"target": FOLDER})
    back = await hub.call("PUT", path(hub, f"/{number}"), role="district", json=moved)
    assert back.status == 400


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ({"target": FOLDER | {"folder": "../x"}}, "target"),
        ({"target": FOLDER | {"filename": "a.txt"}}, "target"),
        ({"target": {"kind": "ftp"}}, "target"),
        ({"target": SFTP}, "password or private_key"),
        ({"target": SFTP | {"host_key": "SHA256:x"}, "password": PASSWORD}, "target"),
        ({"target": SFTP | {"host": "169.254.169.254"}, "password": PASSWORD}, "HUB_EXPORT_ALLOW"),
        ({"target": SFTP, "private_key": f"-----BEGIN {PASSWORD}-----"}, "private_key"),
        ({"target": FOLDER, "password": PASSWORD}, "needs no login"),
        ({"target": FOLDER, "mode": "delta"}, "{time}"),
        ({"target": FOLDER, "daily_at": "25:00"}, "daily_at"),
        ({"target": FOLDER, "daily_at": "03:00+02:00"}, "daily_at"),
        ({"target": FOLDER, "zone": "Mars/Olympus", "daily_at": "03:00"}, "time zone"),
        ({"target": FOLDER, "full_days": 0}, "full_days"),
        ({"target": FOLDER, "unknown": 1}, "unknown"),
    ],
)
async def test_what_could_never_work_is_refused(hub: AdminHub, body: dict[str, Any], words: str) -> None:
    refused = await hub.call("POST", path(hub), role="district", json={"grant_id": str(hub.grant)} | body)
    assert (refused.status, refused.json["code"]) == (400, "invalid_request"), refused.body
    assert words in refused.body.decode()
    assert PASSWORD not in refused.body.decode()
    assert (await hub.made("GET", path(hub)))["items"] == []


async def test_grants_that_are_not_there_and_those_revoked(hub: AdminHub) -> None:
    for grant in (hub.foreign_grant, uuid4()):
        body = {"grant_id": str(grant), "target": FOLDER}
        assert (await hub.call("POST", path(hub), role="district", json=body)).status == 404
    await hub.made("POST", f"/districts/{hub.district}/grants/{hub.grant}/revoke")
    body = {"grant_id": str(hub.grant), "target": FOLDER}
    assert (await hub.call("POST", path(hub), role="district", json=body)).status == 409
