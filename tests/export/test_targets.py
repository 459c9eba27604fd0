"""Schedules take packages to folders and SFTP servers: whole or not at all, and only where they may."""

from __future__ import annotations

import asyncio
import os
import zipfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import time
from pathlib import Path
from typing import Any
from uuid import uuid4

import asyncssh
import pytest
from pydantic import ValidationError

from hub.errors import Code, HubError, Intent
from hub.export import folder, sftp, targets
from hub.export.targets import FolderPlace, Places, Secret, SftpPlace
from hub.store import exports, schedules
from hub.store.schedules import Schedule
from hub.sync import grants
from tests import export_process
from tests.districts import District
from tests.export.conftest import LOOPBACK, World
from tests.export.packages import make, rows
from tests.fakes import rosters

PASSWORD = "a password of these tests"


async def data(*parts: bytes) -> AsyncIterator[bytes]:
    for part in parts:
        yield part


async def broken(*parts: bytes) -> AsyncIterator[bytes]:
    for part in parts:
        yield part
    raise HubError(Code.CONFLICT, "gone")


# Schedules


async def schedule(world: World, target: dict[str, Any], secret: Secret | None = None, **values: Any) -> Schedule:
    number = uuid4()
    sealed = secret.sealed(world.shop.key, world.district.district_id, number) if secret else None
    columns = {
        "grant_id": world.grant.grant_id, "version": "1.2", "mode": "bulk", "full_days": 30, "daily_at": None,
        "zone": "UTC", "debounce": 0, "target": target, "secret": sealed,
    } | values  # fmt: skip
    async with world.district.db.district(world.district.district_id) as tx:
        return await schedules.create(tx, number, **columns)


async def last(world: World, one: Schedule) -> exports.Export:
    async with world.district.db.district(world.district.district_id) as tx:
        found = await exports.last_of(tx, one.schedule_id)
    assert found is not None
    return found


def inside(world: World) -> Path:
    assert world.shop.places.folder is not None
    return world.shop.places.folder / str(world.district.district_id)


async def change(world: World) -> None:
    files = rosters.clean("1.2")
    files["users"][0]["givenName"] = f"Ana {uuid4()}"
    run = await world.district.sync(rosters.frames("1.2", files))
    assert run.state == "applied"


async def test_a_view_that_changed_is_exported_once_it_is_quiet(world: World) -> None:
    one = await schedule(world, {"kind": "folder", "folder": "a/b", "filename": "roster-{time}.zip"}, mode="delta")
    assert await world.work() == 1  # what the view holds already
    (first,) = (inside(world) / "a" / "b").iterdir()
    done = await last(world, one)
    assert (done.state, done.kind) == ("done", "bulk")
    assert done.acknowledged_at is not None
    assert await world.kept() == 0
    assert first.read_bytes() == (await make(world.district, world.grant, "1.2"))[0]
    assert first.name == f"roster-{done.requested_at:%Y%m%dT%H%M%S}Z.zip"
    assert await world.work() == 0

    await change(world)
    await world.execute("UPDATE export_schedules SET debounce = 3600")
    assert await world.work() == 0
    await world.execute("UPDATE export_schedules SET debounce = 0")
    await world.execute("UPDATE exports SET requested_at = requested_at - interval '1 minute'")  # another second's name
    assert await world.work() == 1
    assert (await last(world, one)).kind == "delta"
    (second,) = {*(inside(world) / "a" / "b").iterdir()} - {first}
    assert [row["status"] for row in rows(second.read_bytes())["users"]] == ["active"]


async def test_a_daily_export_is_due_at_its_time_in_its_zone(world: World) -> None:
    one = await schedule(world, {"kind": "folder"}, daily_at=time(3, 30), zone="Europe/Berlin")
    assert one.next_at is not None
    async with world.district.db.district(world.district.district_id) as tx:
        local = await tx.fetchval("SELECT $1::timestamptz AT TIME ZONE 'Europe/Berlin'", one.next_at)
        now = await tx.fetchval("SELECT now()")
    assert (local.hour, local.minute) == (3, 30)
    assert 0 < (one.next_at - now).total_seconds() <= 25 * 3600
    assert await world.work() == 0
    await world.execute("UPDATE export_schedules SET next_at = now() - interval '1 hour'")
    assert await world.work() == 1
    assert await world.work() == 0
    async with world.district.db.district(world.district.district_id) as tx:
        again = await schedules.get(tx, one.schedule_id)
    assert again.next_at == one.next_at
    with pytest.raises(HubError) as refused:
        async with world.district.db.district(world.district.district_id) as tx:
            await schedules.change(tx, one.schedule_id, zone="Mars/Olympus")
    assert refused.value.code is Code.INVALID_REQUEST


async def test_a_delta_is_whole_again_after_some_days_and_paused_schedules_rest(world: World) -> None:
    one = await schedule(world, {"kind": "folder", "filename": "{mode}-{time}.zip"}, mode="delta", full_days=7)
    await world.work()
    await world.execute("UPDATE export_schedules SET next_at = now()")
    await world.work()
    assert (await last(world, one)).kind == "delta"
    await world.execute("UPDATE exports SET made_at = made_at - interval '8 days'")
    await world.execute("UPDATE export_schedules SET next_at = now()")
    await world.work()
    assert (await last(world, one)).kind == "bulk"
    await world.execute("UPDATE export_schedules SET next_at = now(), state = 'paused'")
    assert await world.work() == 0
    async with world.district.db.district(world.district.district_id) as tx:
        with pytest.raises(HubError):
            await schedules.run_now(tx, one.schedule_id)
        await schedules.delete(tx, one.schedule_id)
        assert await schedules.listing(tx) == []


@pytest.mark.threat("T18")
async def test_nothing_is_delivered_for_a_grant_that_was_withdrawn_or_changed(world: World) -> None:
    one = await schedule(world, {"kind": "folder"})
    process = export_process.start(world.database.worker, crash_at="export.made")
    assert await asyncio.wait_for(process.wait(), 60) == 137
    await world.execute("UPDATE exports SET lease_until = now() - interval '1 second'")
    async with world.district.db.district(world.district.district_id) as tx:
        await grants.set_state(tx, world.grant.grant_id, "suspended")
    await world.work()
    assert (await last(world, one)).state == "withdrawn"
    assert not inside(world).exists()
    assert await world.kept() == 0


async def test_a_worker_killed_after_delivering_delivers_the_same_again(world: World) -> None:
    one = await schedule(world, {"kind": "folder"})
    process = export_process.start(world.database.worker, crash_at="export.delivered", folder=world.shop.places.folder)
    assert await asyncio.wait_for(process.wait(), 60) == 137
    (file,) = inside(world).iterdir()
    before = file.read_bytes()
    await world.execute("UPDATE exports SET lease_until = now() - interval '1 second'")
    await world.work()
    assert (await last(world, one)).state == "done"
    (file,) = inside(world).iterdir()
    assert file.read_bytes() == before


# Folders


@pytest.mark.parametrize(
    "path", ["..", "../x", "/etc", "a/../b", "a//b", ".ssh", "a/.b", "a\\b", "a\x00b", "~", "a/", "x" * 600]
)
def test_folders_that_lead_out_are_refused(path: str) -> None:
    with pytest.raises(ValidationError):
        FolderPlace(kind="folder", folder=path)


@pytest.mark.parametrize(
    "name", ["a", "../a.zip", "a/b.zip", ".a.zip", "{x}.zip", "{mode.zip", "a.zip\n", "a" * 130 + ".zip"]
)
def test_file_names_that_are_none_are_refused(name: str) -> None:
    with pytest.raises(ValidationError):
        FolderPlace(kind="folder", filename=name)


async def test_a_symbolic_link_leads_nowhere(tmp_path: Path) -> None:
    root, outside = tmp_path / "root", tmp_path / "outside"
    (root / "d").mkdir(parents=True)
    outside.mkdir()
    (root / "d" / "link").symlink_to(outside)
    for parts in (["d", "link"], ["d", "link", "below"]):
        with pytest.raises(HubError) as refused:
            await folder.write(root, parts, "a.zip", "1", data(b"x"))
        assert refused.value.code is Code.TARGET_FAILED
    assert list(outside.iterdir()) == []
    target = outside / "file"
    target.write_bytes(b"untouched")
    (root / "d" / "a.zip").symlink_to(target)
    await folder.write(root, ["d"], "a.zip", "1", data(b"new"))
    assert target.read_bytes() == b"untouched"
    assert (root / "d" / "a.zip").read_bytes() == b"new"


async def test_a_file_appears_whole_or_not_at_all(tmp_path: Path) -> None:
    await folder.write(tmp_path, ["d"], "a.zip", "1", data(b"one", b"two"))
    assert (tmp_path / "d" / "a.zip").read_bytes() == b"onetwo"
    assert (tmp_path / "d" / "a.zip").stat().st_mode & 0o007 == 0
    with pytest.raises(HubError, match="gone"):
        await folder.write(tmp_path, ["d"], "a.zip", "2", broken(b"three"))
    assert {path.name for path in (tmp_path / "d").iterdir()} == {"a.zip"}
    assert (tmp_path / "d" / "a.zip").read_bytes() == b"onetwo"
    (tmp_path / "d" / ".a.zip.3.partial").write_bytes(b"of a worker that was killed")
    await folder.write(tmp_path, ["d"], "a.zip", "3", data(b"four"))
    assert {path.name for path in (tmp_path / "d").iterdir()} == {"a.zip"}


async def test_without_the_operators_folder_there_is_none(tmp_path: Path) -> None:
    for root, intent in ((None, Intent.ASK_HUMAN), (tmp_path / "missing", Intent.RETRY)):
        with pytest.raises(HubError) as refused:
            await folder.write(root, ["d"], "a.zip", "1", data(b"x"))
        assert refused.value.intent is intent


# SFTP


@dataclass
class Server:
    """A real SFTP server on loopback, with its own folder as its root."""

    root: Path
    port: int
    host_key: str
    logins: list[str]

    def login(self, **values: Any) -> sftp.Login:
        given = {
            "host": "127.0.0.1",
            "port": self.port,
            "username": "hub",
            "host_key": self.host_key,
            "password": PASSWORD,
        }
        return sftp.Login(**(given | values))


class _Accounts(asyncssh.SSHServer):
    def __init__(self, logins: list[str], key: asyncssh.SSHKey) -> None:
        self._logins, self._key = logins, key

    def begin_auth(self, username: str) -> bool:
        self._logins.append(username)
        return True

    def password_auth_supported(self) -> bool:
        return True

    def validate_password(self, username: str, password: str) -> bool:
        return (username, password) == ("hub", PASSWORD)

    def public_key_auth_supported(self) -> bool:
        return True

    def validate_public_key(self, username: str, key: asyncssh.SSHKey) -> bool:
        return username == "hub" and key == self._key


class _NoPosixRename(asyncssh.SFTPServer):
    def posix_rename(self, oldpath: bytes, newpath: bytes) -> None:
        raise asyncssh.SFTPOpUnsupported("not here")

    def rename(self, oldpath: bytes, newpath: bytes) -> None:
        if Path(os.fsdecode(self.map_path(newpath))).exists():
            raise asyncssh.SFTPFailure("it exists")
        super().rename(oldpath, newpath)


@pytest.fixture(scope="module")
def keys() -> tuple[asyncssh.SSHKey, asyncssh.SSHKey]:
    """The server's key and a user's."""
    return asyncssh.generate_private_key("ssh-ed25519"), asyncssh.generate_private_key("ssh-ed25519")


@asynccontextmanager
async def serving(root: Path, keys: tuple[Any, Any], kind: type[asyncssh.SFTPServer]) -> AsyncIterator[Server]:
    server_key, user_key = keys
    logins: list[str] = []
    listener = await asyncssh.listen(
        "127.0.0.1", 0, server_host_keys=[server_key],
        server_factory=lambda: _Accounts(logins, user_key.convert_to_public()),
        sftp_factory=lambda channel: kind(channel, chroot=os.fsencode(root)), config=[], agent_forwarding=False,
    )  # fmt: skip
    yield Server(root, listener.get_port(), server_key.export_public_key().decode(), logins)
    listener.close()
    await listener.wait_closed()


@pytest.fixture(params=[asyncssh.SFTPServer, _NoPosixRename], ids=["posix", "plain"])
async def server(request: pytest.FixtureRequest, tmp_path: Path, keys: Any) -> AsyncIterator[Server]:
    (tmp_path / "in").mkdir()
    async with serving(tmp_path, keys, request.param) as found:
        yield found


async def test_an_upload_appears_whole_or_not_at_all(server: Server) -> None:
    large = os.urandom(3 << 20)
    await sftp.upload(server.login(), LOOPBACK, "in", "a.zip", "1", data(large[: 1 << 20], large[1 << 20 :]))
    assert (server.root / "in" / "a.zip").read_bytes() == large
    await sftp.upload(server.login(), LOOPBACK, "/in", "a.zip", "2", data(b"new"))
    assert (server.root / "in" / "a.zip").read_bytes() == b"new"
    with pytest.raises(HubError, match="gone"):
        await sftp.upload(server.login(), LOOPBACK, "in", "a.zip", "3", broken(b"half"))
    assert {path.name for path in (server.root / "in").iterdir()} == {"a.zip"}
    assert (server.root / "in" / "a.zip").read_bytes() == b"new"


async def test_another_servers_key_is_refused_before_any_login(server: Server, keys: Any) -> None:
    other = keys[1].export_public_key().decode()
    with pytest.raises(HubError, match="key is not the one") as refused:
        await sftp.upload(server.login(host_key=other), LOOPBACK, "in", "a.zip", "1", data(b"x"))
    assert refused.value.intent is Intent.ASK_HUMAN
    assert server.logins == []


async def test_logins_with_a_key_and_those_that_are_refused(server: Server, keys: Any) -> None:
    private = keys[1].export_private_key().decode()
    await sftp.upload(server.login(password=None, private_key=private), LOOPBACK, "in", "k.zip", "1", data(b"x"))
    assert (server.root / "in" / "k.zip").exists()
    for wrong, words in (
        ({"password": "wrong"}, "refuses the login"), ({"password": None}, "refuses the login"),
        ({"username": "other"}, "refuses the login"),
    ):  # fmt: skip
        with pytest.raises(HubError, match=words):
            await sftp.upload(server.login(**wrong), LOOPBACK, "in", "a.zip", "1", data(b"x"))
    with pytest.raises(HubError, match="no such folder"):
        await sftp.upload(server.login(), LOOPBACK, "missing", "a.zip", "1", data(b"x"))
    with pytest.raises(HubError) as away:
        await sftp.upload(server.login(port=1), LOOPBACK, "in", "a.zip", "1", data(b"x"))
    assert away.value.intent is Intent.RETRY


@pytest.mark.threat("T31")
@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "169.254.169.254", "10.0.0.1", "::1", "::ffff:127.0.0.1"])
async def test_addresses_inside_are_not_dialled(server: Server, host: str) -> None:
    with pytest.raises(HubError, match="HUB_EXPORT_ALLOW"):
        await sftp.upload(server.login(host=host), (), "in", "a.zip", "1", data(b"x"))
    assert server.logins == []


async def test_a_schedule_uploads_to_its_server_and_says_why_it_cannot(world: World, tmp_path: Path, keys: Any) -> None:
    root = tmp_path / "server"
    root.mkdir()
    async with serving(root, keys, asyncssh.SFTPServer) as server:
        place = SftpPlace(
            kind="sftp", host="127.0.0.1", port=server.port, username="hub",
            host_key=f"[127.0.0.1]:1 {server.host_key}", filename="{version}-{mode}.zip",
        )  # fmt: skip
        secret = Secret.model_validate({"password": PASSWORD})
        one = await schedule(world, place.model_dump(), secret)
        assert PASSWORD.encode() not in (one.secret or b"")
        assert PASSWORD not in repr(targets.Target.of(one, world.shop.key, world.district.district_id))
        await world.work()
        with zipfile.ZipFile(root / "1.2-bulk.zip") as archive:
            assert "manifest.csv" in archive.namelist()
        world.shop = replace(world.shop, places=Places())
        await world.execute("UPDATE export_schedules SET next_at = now()")
        await world.work()
    failed = await last(world, one)
    assert (failed.state, failed.error_code) == ("failed", "target_failed")
    assert "HUB_EXPORT_ALLOW" in str(failed.error_message)
    world.shop = replace(world.shop, places=Places(None, LOOPBACK))
    await world.execute("UPDATE export_schedules SET next_at = now()")
    await world.work()
    waiting = await last(world, one)
    assert (waiting.state, waiting.attempt) == ("delivering", 1)  # nobody listens there now: it is tried again
    assert await world.kept() > 0


@pytest.mark.threat("T26")
async def test_a_login_opens_in_its_own_row_alone(world: World) -> None:
    one = await schedule(world, {"kind": "folder"}, Secret.model_validate({"password": PASSWORD}))
    with pytest.raises(HubError, match="cannot be decrypted"):
        targets.Target.of(replace(one, schedule_id=uuid4()), world.shop.key, world.district.district_id)


@pytest.mark.parametrize("values", [
    {"private_key": "-----BEGIN NOTHING-----"}, {"unknown": "x"},
])  # fmt: skip
def test_logins_that_cannot_work_are_refused_without_being_repeated(values: dict[str, str]) -> None:
    with pytest.raises(ValidationError) as refused:
        Secret.model_validate(values)
    assert "NOTHING" not in str(refused.value)


def test_a_host_key_is_one(keys: Any) -> None:
    line = keys[0].export_public_key().decode().strip()
    for text in (line, f"host.example {line}", f"{line} a comment"):
        assert sftp.read_host_key(text) == keys[0].convert_to_public()
    for text in ("", "ssh-ed25519", "SHA256:abc", "host.example ssh-ed25519 AAAA"):
        with pytest.raises(ValueError, match="host key"):
            sftp.read_host_key(text)


async def test_schedules_of_another_district_are_not_seen(world: World) -> None:
    one = await schedule(world, {"kind": "folder"})
    other = await District(world.district.db).create()
    async with other.db.district(other.district_id) as tx:
        with pytest.raises(HubError):
            await schedules.get(tx, one.schedule_id)
