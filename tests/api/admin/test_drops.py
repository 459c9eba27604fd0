"""The logins of sources at the hub's SFTP server: made, shown once, replaced, taken away."""

from __future__ import annotations

import asyncio
from pathlib import Path

import asyncpg
import asyncssh
import pytest

from hub.api.context import CONTEXT
from hub.drop import server
from tests.api.admin.commands import command
from tests.api.admin.service import AdminHub, package


def path(hub: AdminHub, more: str = "") -> str:
    return f"/districts/{hub.district}/sources/{hub.source}/drop{more}"


@pytest.mark.threat("T21", "T29")
async def test_a_login_is_shown_once_and_good_until_it_is_replaced(hub: AdminHub) -> None:
    own = asyncssh.generate_private_key("ssh-ed25519")
    line = own.export_public_key().decode()
    made = await hub.made("POST", path(hub), role="district", json={"public_keys": [line]})
    assert (made["has_password"], made["public_keys"], made["used_at"]) == (True, [" ".join(line.split()[:2])], None)
    shown = await hub.call("GET", path(hub), role="district")
    assert "password" not in shown.json
    owner = await asyncpg.connect(hub.owner_url)
    kept = await owner.fetchval("SELECT password_hash FROM hub.drops")
    await owner.close()
    assert made["password"] not in f"{shown.body!r} {await hub.audit_rows()} {kept}"
    assert (await hub.call("POST", path(hub), json={})).status == 409

    async def wake(*_: object) -> None:
        """Rings nobody."""

    async def logged_in(password: str) -> bool:
        try:
            async with asyncssh.connect(
                "127.0.0.1", port, username=made["username"], password=password, client_keys=None, agent_path=None,
                known_hosts=([asyncssh.import_public_key(made["host_key"])], [], []), config=[],
            ) as connection, connection.start_sftp_client() as client:  # fmt: skip
                await client.put(str(local), "a.zip")
                return True
        except asyncssh.PermissionDenied:
            return False

    settings = hub.server.app[CONTEXT].settings
    local = settings.data_dir / "local.zip"
    await asyncio.to_thread(local.write_bytes, package())
    async with server.serving(settings, hub.pool, wake, port=0) as listener:
        port = listener.get_port()
        assert await logged_in(made["password"])
        anew = await hub.made("POST", path(hub, "/rotate"), role="district", json={})
        assert anew["username"] == made["username"]
        assert anew["public_keys"] == []
        assert not await logged_in(made["password"])
        assert await logged_in(anew["password"])
        shown = await hub.call("GET", path(hub), role="district")
        assert shown.json["used_at"] is not None
        assert (await hub.call("DELETE", path(hub), role="district")).status == 204
        assert not await logged_in(anew["password"])
    assert (await hub.call("GET", path(hub))).status == 404
    assert (await hub.call("DELETE", path(hub))).status == 404
    actions = [row["action"] for row in await hub.audit_rows()]
    assert [one for one in actions if one.startswith("drop.")] == ["drop.create", "drop.rotate", "drop.remove"]


async def test_what_makes_no_login_is_refused(hub: AdminHub) -> None:
    for body in ({"password": False}, {"public_keys": ["nothing"]}, {"public_keys": [""]}, {"unknown": 1}):
        assert (await hub.call("POST", path(hub), json=body)).status == 400
    pulled = {
        "name": "SIS", "kind": "oneroster_rest",
        "config": {"url": "https://sis.example", "version": "1.1", "login": {"kind": "bearer"}},
    }  # fmt: skip
    source = (await hub.made("POST", f"/districts/{hub.district}/sources", json=pulled))["source_id"]
    refused = await hub.call("POST", f"/districts/{hub.district}/sources/{source}/drop", json={})
    assert (refused.status, refused.json["code"]) == (409, "conflict")


async def test_the_command(hub: AdminHub, tmp_path: Path) -> None:
    key = tmp_path / "id.pub"
    key.write_bytes(asyncssh.generate_private_key("ssh-ed25519").export_public_key())
    source = ("--source", str(hub.source))
    code, out = await command(hub, "drop", "create", *source, "--key", str(key))
    assert code == 0, out
    assert "rh_cs_" in out
    assert "public key   ssh-ed25519" in out
    assert "fingerprint  SHA256:" in out
    code, out = await command(hub, "drop", "show", *source)
    assert ("rh_cs_" in out, "last login   never" in out) == (False, True)
    code, out = await command(hub, "drop", "rotate", *source, "--no-password")
    assert (code, "public_keys" in out) == (2, True)
    code, out = await command(hub, "drop", "remove", *source)
    assert (code, out.strip()) == (0, "The login is gone.")
