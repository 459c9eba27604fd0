"""The hub's own SFTP server with real clients: packages come whole or not at all, and nothing else can be done."""

from __future__ import annotations

import asyncio
import io
import os
import shutil
import zipfile
from pathlib import Path
from typing import Any

import asyncssh
import pytest

from hub.clock import SystemClock
from hub.drop import accounts, files, spool
from hub.drop.files import Files
from hub.drop.handing_over import HandingOver
from hub.drop.names import check_kind, plain
from hub.drop.pace import Pace
from hub.errors import Code, HubError
from hub.store import drops, sources, uploads
from hub.sync.engine import work_once
from tests.districts import packed, sandbox
from tests.drop.conftest import PASSWORD, Site, public

#: OpenSSH's own client, where there is one.
OPENSSH = [found for found in [shutil.which("sftp")] if found]
FRAMES = sandbox(students=100, seed=11).frames


async def package() -> bytes:
    return await asyncio.to_thread(packed, FRAMES, "1.2")


async def put(client: asyncssh.SFTPClient, name: str, data: bytes) -> None:
    async with client.open(name, "wb") as file:
        await file.write(data)


async def came(site: Site, upload_id: Any) -> bytes:
    parts: list[bytes] = []
    await uploads.read(site.district.db, site.district.district_id, upload_id, parts.append)
    return b"".join(parts)


async def test_a_package_that_is_put_down_is_synced(site: Site) -> None:
    data = await package()
    async with site.running():
        async with site.client() as client:
            await put(client, "roster.zip.part", data)
            assert await site.waiting() == ["roster.zip.part"]
            await asyncio.sleep(0.3)
            assert site.woken == []  # it has not its last name yet
            await client.rename("roster.zip.part", "/roster.zip")
            (run,) = await site.runs(1)
            await put(client, "roster.zip", data)  # the same name again
            both = await site.runs(2)
        assert await site.waiting() == []
    assert await came(site, run.upload_id) == data
    assert (run.requested_by, run.dry_run) == ("drop", False)
    assert site.woken == [("sync", site.district.district_id)] * 2
    while await work_once(site.district.db, SystemClock()):
        pass
    assert [(await site.district.run(one.run_id)).state for one in reversed(both)] == ["applied", "unchanged"]
    async with site.district.db.district(site.district.district_id) as tx:
        rows = await tx.fetch("SELECT actor, action, details FROM audit WHERE action = 'upload.create'")
    assert [row["actor"] for row in rows] == ["drop", "drop"]
    assert rows[0]["details"]["bytes"] == len(data)
    async with site.pool.district(site.district.district_id) as tx:
        assert (await drops.get(tx, site.district.source_id)).used_at is not None


async def test_tables_are_one_package_once_all_are_quiet(site: Site) -> None:
    async with site.district.db.district(site.district.district_id) as tx:
        await sources.change(tx, site.district.source_id, config={"settle_seconds": 1})
    with zipfile.ZipFile(io.BytesIO(await package())) as archive:
        contents = {name: archive.read(name) for name in archive.namelist()}
    async with site.running(), site.client() as client:
        for name, data in contents.items():
            await put(client, name, data)
        late = await client.open("late.csv.tmp", "wb")
        await late.write(b"x")
        await asyncio.sleep(1.5)
        assert len(await site.waiting()) == len(contents) + 1  # one is still open
        await late.close()
        await client.remove("late.csv.tmp")
        (run,) = await site.runs(1)
        assert await site.waiting() == []
    with zipfile.ZipFile(io.BytesIO(await came(site, run.upload_id))) as made:
        assert {name: made.read(name) for name in made.namelist()} == contents


@pytest.mark.threat("T42", "F7")
async def test_what_a_client_left_open_is_not_whole_and_can_be_resumed(site: Site) -> None:
    data = await package()
    half = len(data) // 2
    async with site.running():
        async with site.connected() as connection:
            client = await connection.start_sftp_client()
            file = await client.open("roster.zip", "wb")
            await file.write(data[:half])
            connection.abort()  # the network goes
        async with site.connected() as connection:
            client = await connection.start_sftp_client()
            file = await client.open("other.zip", "wb")
            await file.write(data[:half])
            client.exit()  # the channel ends, and no close was said
            await client.wait_closed()
            await asyncio.sleep(0.3)
            assert site.woken == []
            async with connection.start_sftp_client() as again:
                assert (await again.stat("roster.zip")).size == half
                await again.remove("other.zip")
                async with again.open("roster.zip", "r+b") as rest:  # without reading
                    await rest.seek(half)
                    await rest.write(data[half:])
        (run,) = await site.runs(1)
    assert await came(site, run.upload_id) == data


@pytest.mark.threat("F1", "T42")
async def test_what_was_acknowledged_survives_a_kill(site: Site) -> None:
    data = await package()
    site.quiet = 3600
    async with site.running(), site.client() as client:
        await put(client, "a.zip", data)
        file = await client.open("b.zip", "wb")
        await file.write(b"half")
        await file.fsync()
        kept = site.settings.data_dir / "kept"
        await asyncio.to_thread(shutil.copytree, site.settings.data_dir / "drop", kept)  # as a kill leaves it
        await client.remove("a.zip")
        await file.close()
    await asyncio.to_thread(shutil.rmtree, site.settings.data_dir / "drop")
    await asyncio.to_thread(kept.rename, site.settings.data_dir / "drop")
    batch = await asyncio.to_thread(site.folder.take, ["a.zip"])  # and in the middle of handing over
    await asyncio.to_thread(batch.rename, batch.with_name("draft-x"))
    site.quiet = 0
    async with site.running():
        (run,) = await site.runs(1)
        assert await site.waiting() == ["b.zip"]
    assert await came(site, run.upload_id) == data
    assert await asyncio.to_thread(site.folder.sweep, 0) == ["b.zip"]
    assert not await asyncio.to_thread(site.folder.path.exists)


@pytest.mark.threat("T39")
async def test_nothing_is_read_and_nobody_leaves_the_folder(site: Site) -> None:
    site.quiet = 3600
    async with site.running(), site.client() as client:
        await put(client, "a.zip", b"secret")
        assert [n for n in await client.listdir("/") if n not in {".", ".."}] == ["a.zip"]
        assert (await client.stat("a.zip")).size == 6
        assert await client.realpath("../../etc") == "/etc"
        for act in (
            client.open("a.zip", "rb"), client.open("/etc/passwd", "rb"), client.get("a.zip", "/dev/null"),
            client.readlink("a.zip"), client.symlink("/etc/passwd", "b.zip"), client.link("a.zip", "b.zip"),
            client.mkdir("in"), client.rmdir("/"), client.listdir("/etc"), client.stat("/etc/passwd"),
            client.statvfs("/"), client.rename("a.zip", "../b.zip"),
            client.rename("a.zip", "a.exe"), put(client, "../b.zip", b"x"), put(client, "in/b.zip", b"x"),
            put(client, "b.exe", b"x"), put(client, "con.zip", b"x"), put(client, "x" * 130 + ".zip", b"x"),
            client.remove("nothing.zip"), client.rename("nothing.zip", "b.zip"),
        ):  # fmt: skip
            with pytest.raises((asyncssh.SFTPError, OSError)):
                await act
        both = await client.open("a.zip", "r+b")
        with pytest.raises(asyncssh.SFTPPermissionDenied):
            await both.read()
        with pytest.raises(asyncssh.SFTPError):
            await client.remote_copy("a.zip", "b.zip")
        await both.close()
        assert await site.waiting() == ["a.zip"]


def test_every_operation_is_answered_by_us() -> None:
    known = {n for n, v in vars(asyncssh.SFTPServer).items() if callable(v) and not n.startswith("_")}
    harmless = {"convert_attrs", "format_user", "format_group", "format_longname"}
    assert known - harmless - set(vars(Files)) == set()


async def test_no_shell_no_forwarding_no_scp_nothing_compressed(site: Site) -> None:
    async with site.running(), site.connected(compression_algs=["zlib@openssh.com", "none"]) as connection:
        assert [connection.get_extra_info(f"{way}_compression") for way in ("send", "recv")] == ["none", "none"]
        with pytest.raises(asyncssh.ChannelOpenError):
            await connection.run("id", check=True)
        with pytest.raises(asyncssh.ChannelOpenError):
            await connection.open_connection("127.0.0.1", site.port)
        with pytest.raises((asyncssh.ChannelListenError, asyncssh.ChannelOpenError)):
            await connection.forward_remote_port("", 0, "127.0.0.1", site.port)
        with pytest.raises((asyncssh.Error, OSError)):
            await asyncssh.scp(__file__, (connection, "a.zip"))


@pytest.mark.threat("T25")
async def test_guessing_is_held_up_and_names_tell_nothing(site: Site) -> None:
    async with site.running():
        for name in (site.username, "nobody"):
            with pytest.raises(asyncssh.PermissionDenied):
                async with site.connected(name, password="wrong", client_keys=None):
                    pass
        with pytest.raises(asyncssh.PermissionDenied):
            async with site.connected(password="wrong", client_keys=None):
                pass
        with pytest.raises(asyncssh.PermissionDenied):
            async with site.connected():  # the right one is not looked at any more from here
                pass
    assert accounts.network("2001:db8::1") == accounts.network("2001:db8::2")
    assert accounts.network("::ffff:10.0.0.1") == "10.0.0.1"


async def test_keys_of_the_vendor(site: Site) -> None:
    own, other = (asyncssh.generate_private_key("ssh-ed25519") for _ in range(2))
    async with site.running(), site.connected(password=PASSWORD, client_keys=None):
        pass
    async with site.pool.district(site.district.district_id) as tx:
        await drops.change(tx, site.district.source_id, password_hash=None, public_keys=[public(own)])
    async with site.running():
        async with site.connected(client_keys=[own]) as connection:
            assert await (await connection.start_sftp_client()).listdir() == [".", ".."]
        for wrong in ({"client_keys": [other]}, {"client_keys": None, "password": PASSWORD}):
            with pytest.raises(asyncssh.PermissionDenied):
                async with site.connected(**wrong):
                    pass


@pytest.mark.threat("T18")
async def test_a_login_that_is_changed_or_removed_is_over_at_once(site: Site) -> None:
    async with site.running():
        async with site.client() as client:
            own = asyncssh.generate_private_key("ssh-ed25519")
            async with site.pool.district(site.district.district_id) as tx:
                await drops.change(tx, site.district.source_id, password_hash=None, public_keys=[public(own)])
            with pytest.raises((asyncssh.Error, OSError)):
                await put(client, "a.zip", b"x")
        async with site.connected(client_keys=[own]):
            pass
        async with site.pool.district(site.district.district_id) as tx:
            await drops.delete(tx, site.district.source_id)
        with pytest.raises(asyncssh.PermissionDenied):
            async with site.connected(client_keys=[own]):
                pass
    assert await site.waiting() == []


async def test_sizes_counts_and_connections_are_bounded(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    site.quiet = 3600
    monkeypatch.setattr(files, "MOST_FILES", 2)
    site.settings = site.settings.model_copy(update={"sftp_connections": 10})
    async with site.running():
        async with site.client() as client:
            with pytest.raises(asyncssh.SFTPError, match="no more than 1,000,000"):
                await put(client, "a.zip", bytes(1_000_001))
            far = await client.open("b.zip", "wb")
            with pytest.raises(asyncssh.SFTPError):
                await far.write(b"x", offset=1 << 40)
            with pytest.raises(asyncssh.SFTPError, match="not whole"):
                await far.close()
            with pytest.raises(asyncssh.SFTPError, match="No more than 2"):
                await put(client, "c.zip", b"x")
        async with site.connected(), site.connected():
            with pytest.raises((asyncssh.Error, OSError)):  # a tenth of ten, but two at least
                async with site.connected():
                    pass
        async with site.connected():  # their places are free again
            pass


async def test_sessions_of_one_connection_are_bounded(site: Site) -> None:
    async with site.running(), site.connected() as connection:
        for _ in range(3):  # places are given back
            clients = [await connection.start_sftp_client() for _ in range(8)]
            with pytest.raises(asyncssh.ChannelOpenError):
                await connection.start_sftp_client()
            for client in clients:
                assert await client.listdir("/") == [".", ".."]
                client.exit()
                await client.wait_closed()


@pytest.mark.threat("F16")
async def test_a_full_disk_is_told_and_keeps_nothing_as_whole(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(files, "_write", full)
    async with site.running(), site.client() as client:
        file = await client.open("a.zip", "wb")
        with pytest.raises(asyncssh.SFTPError, match="disk is full"):
            await file.write(b"x" * 100)
        monkeypatch.undo()
        await file.write(await package(), 0)
        await file.close()
        await site.runs(1)


async def test_a_database_that_is_away_keeps_files_waiting(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    away = True
    real = uploads.begin

    async def begin(*arguments: Any, **more: Any) -> None:
        if away:
            raise HubError(Code.UNAVAILABLE, "away")
        await real(*arguments, **more)

    monkeypatch.setattr(uploads, "begin", begin)
    async with site.running(), site.client() as client:
        await put(client, "a.zip", await package())
        await asyncio.sleep(0.4)
        assert len(await asyncio.to_thread(site.folder.batches)) == 1
        away = False
        await site.runs(1)


async def test_packages_of_one_source_come_only_so_often(site: Site) -> None:
    handing = HandingOver(
        site.pool, site.settings.data_dir / "drop", lambda *_: asyncio.sleep(0), 1 << 20, quiet_seconds=0
    )
    for number in range(33):

        def make(number: int = number) -> None:
            os.close(site.folder.open(f"{number}.zip", fresh=True))
            site.folder.finish(f"{number}.zip", site.folder.open(f"{number}.zip", fresh=False))
            site.folder.take([f"{number}.zip"])

        await asyncio.to_thread(make)
    assert await handing.look() == 30
    assert await handing.look() == 0
    assert len(await asyncio.to_thread(site.folder.batches)) == 3


async def test_a_paused_source_keeps_the_package_and_starts_nothing(site: Site) -> None:
    async with site.district.db.district(site.district.district_id) as tx:
        await sources.change(tx, site.district.source_id, state="paused")
    async with site.running(), site.client() as client:
        await put(client, "a.zip", await package())
        async with asyncio.timeout(10):
            while not site.woken:
                await asyncio.sleep(0.1)
    assert await site.runs(0) == []
    async with site.district.db.district(site.district.district_id) as tx:
        assert await uploads.last_of(tx, site.district.source_id) is not None


async def test_two_on_one_folder_are_refused(site: Site) -> None:
    async with site.running():
        with pytest.raises(HubError, match="Another"):
            async with site.running():
                pass


async def test_the_server_keeps_its_key(site: Site) -> None:
    async with site.running():
        first = site.host_key
    site.settings = site.settings.model_copy(update={"data_dir": site.settings.data_dir / "elsewhere"})
    async with site.running():
        assert site.host_key == first


@pytest.mark.parametrize("program", OPENSSH)
async def test_openssh_puts_resumes_and_renames(site: Site, tmp_path: Path, program: str) -> None:
    own = asyncssh.generate_private_key("ssh-ed25519")
    key, known, local, half, batch = (tmp_path / name for name in ("key", "known", "local.zip", "half", "batch"))
    data = await package()

    def prepare() -> None:
        key.touch(mode=0o600)
        key.write_bytes(own.export_private_key())
        local.write_bytes(data)
        half.write_bytes(data[: len(data) // 2])
        os.utime(local, (1_700_000_000, 1_700_000_000))
        known.write_text(f"[127.0.0.1]:{site.port} {site.host_key.export_public_key().decode()}")
        batch.write_text(f"put -p {half} a.part\nreput {local} a.part\nrename a.part a.zip\nls -l\n-get a.zip\n")

    async with site.pool.district(site.district.district_id) as tx:
        await drops.change(tx, site.district.source_id, password_hash=None, public_keys=[public(own)])
    async with site.running():
        await asyncio.to_thread(prepare)
        options = ["-oBatchMode=yes", "-oIdentitiesOnly=yes", f"-oUserKnownHostsFile={known}", f"-oIdentityFile={key}"]
        process = await asyncio.create_subprocess_exec(
            program, "-F", "none", "-P", str(site.port), *options, "-b", str(batch), f"{site.username}@127.0.0.1",
            stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT, cwd=tmp_path,
        )  # fmt: skip
        out, _ = await process.communicate()
        assert process.returncode == 0, out
        (run,) = await site.runs(1)
    assert await came(site, run.upload_id) == data, out
    assert not (tmp_path / "a.zip").exists()


def test_names_and_pace() -> None:
    for good in (b"a.zip", b"/a.zip", b".a.zip.1.partial", b"Users.CSV", "schüler.csv".encode()):
        check_kind(plain(good))
    for bad in (b"", b"/", b"a/b.zip", b"../a.zip", b"\xff.zip", b"a\x00.zip", b"..", b".. .zip/x", b"aux.csv"):
        with pytest.raises(asyncssh.SFTPError):
            plain(bad)
    now = 0.0
    pace = Pace(100, lambda: now)
    assert [pace.owed(100), pace.owed(50)] == [0.0, 0.5]
    now = 10.0
    assert [pace.owed(100), pace.owed(100)] == [0.0, 1.0]
    assert PASSWORD.startswith("rh_cs_")


def test_a_folder_knows_its_files_by_any_name(tmp_path: Path) -> None:
    from uuid import uuid4  # noqa: PLC0415

    folder = spool.Folder(tmp_path, uuid4(), uuid4())
    for name in ("ä ö.zip", "-x.csv", "=.zip"):
        folder.finish(name, folder.open(name, fresh=True))
    assert [item.name for item in folder.items()] == ["-x.csv", "=.zip", "ä ö.zip"]
    assert [f.source_id for f in spool.folders(tmp_path)] == [folder.source_id]
