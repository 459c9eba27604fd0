"""Uploads that are cut: they go on from what was committed, and start one run, in one step, with the last byte."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import io
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import asyncpg
import pytest

from hub.api.admin import resumable as service
from hub.api.admin.route import PREFIX
from hub.cli import upload as upload_command
from hub.clock import SystemClock
from hub.store import resumable, retention, uploads
from hub.store.resumable import Writer
from tests.api.admin.commands import command, working
from tests.api.admin.conftest import UPLOAD_LIMIT
from tests.api.admin.service import AdminHub, Answer
from tests.districts import packed, sandbox
from tests.forks import Forked, run_module
from tests.full_disk import cannot_grow

VERSION = {"Tus-Resumable": "1.0.0"}
DATA = os.urandom(2_500_000)


def metadata(**pairs: str) -> str:
    return ",".join(f"{name} {base64.b64encode(text.encode()).decode()}" for name, text in pairs.items())


async def begin(hub: AdminHub, length: int = len(DATA), **pairs: str) -> str:
    """The path of a new upload."""
    headers = {**VERSION, "Upload-Length": str(length), "Upload-Metadata": metadata(**pairs)}
    path = f"/districts/{hub.district}/sources/{hub.source}/resumable"
    answer = await hub.call("POST", path, role="district", headers=headers)
    assert (answer.status, answer.headers["Upload-Offset"]) == (201, "0"), answer.body
    place = answer.headers["Location"]
    assert place.startswith("http")
    return place.partition(PREFIX)[2]


async def add(hub: AdminHub, path: str, offset: int, data: bytes, **headers: str) -> Answer:
    given = {**VERSION, "Upload-Offset": str(offset), "Content-Type": service.MEDIA} | headers
    return await hub.call("PATCH", path, role="district", data=io.BytesIO(data), headers=given)


async def offset(hub: AdminHub, path: str) -> int:
    answer = await hub.call("HEAD", path, role="district", headers=VERSION)
    assert (answer.status, answer.headers["Cache-Control"], answer.body) == (200, "no-store", b"")
    return int(answer.headers["Upload-Offset"])


async def rows(hub: AdminHub) -> list[Any]:
    connection = await asyncpg.connect(hub.owner_url)
    try:
        return list(await connection.fetch(
            "SELECT u.state, u.bytes, u.upload_id "
            "FROM hub.uploads u ORDER BY created_at"
        ))  # fmt: skip
    finally:
        await connection.close()


def checksum(data: bytes, name: str = "sha256") -> str:
    return f"{name} {base64.b64encode(hashlib.new(name, data).digest()).decode()}"


async def test_parts_make_one_package_and_its_run(hub: AdminHub) -> None:
    path = await begin(hub, filename="../a/roster.zip", dry_run="true")
    cut = 1_300_000
    first = await add(hub, path, 0, DATA[:cut])
    assert (first.status, first.headers["Upload-Offset"], "RosterHub-Run" in first.headers) == (204, str(cut), False)
    assert await offset(hub, path) == cut
    last = await add(hub, path, cut, DATA[cut:], **{"Upload-Checksum": checksum(DATA[cut:], "sha1")})
    assert (last.status, last.headers["Upload-Offset"]) == (204, str(len(DATA)))
    found = await hub.made("GET", path, role="district", headers=VERSION)
    assert (found["offset"], found["length"], found["filename"]) == (len(DATA), len(DATA), "roster.zip")
    assert found["run_id"] == last.headers["RosterHub-Run"]
    assert await offset(hub, path) == len(DATA)
    run = await hub.made("GET", f"/districts/{hub.district}/runs/{found['run_id']}")
    assert (run["dry_run"], run["upload_id"], run["state"]) == (True, found["upload_id"], "queued")
    assert hub.rung == [("sync", hub.district)]
    parts: list[bytes] = []
    upload = await uploads.read(hub.pool, hub.district, UUID(found["upload_id"]), parts.append)
    assert b"".join(parts) == DATA
    assert upload.sha256 == hashlib.sha256(DATA).hexdigest()
    assert [row["action"] for row in await hub.audit_rows()] == ["upload.begin", "upload.create"]
    assert (await add(hub, path, len(DATA), b"x")).status == 409
    assert (await hub.call("DELETE", path, role="district", headers=VERSION)).status == 409


async def test_no_run_where_none_is_wanted(hub: AdminHub) -> None:
    path = await begin(hub, 3, run="false")
    assert "RosterHub-Run" not in (await add(hub, path, 0, b"abc")).headers
    assert (await hub.made("GET", path, headers=VERSION))["run_id"] is None
    assert (await rows(hub))[0]["state"] == "complete"


@pytest.mark.threat("T42", "F7")
async def test_a_request_that_is_cut_counts_as_far_as_it_came(hub: AdminHub) -> None:
    path = await begin(hub)
    for sent in (700_000, 1_800_000):
        at = await offset(hub, path)
        await _cut(hub, path, at, DATA[at : at + sent])
        async with asyncio.timeout(10):
            while await offset(hub, path) < at + sent - 1:
                await asyncio.sleep(0.05)
    reached = await offset(hub, path)
    assert reached == len(DATA) - 1  # the last byte alone completes an upload
    at = reached
    assert (await add(hub, path, at, DATA[at:])).status == 204
    found = await hub.made("GET", path, headers=VERSION)
    parts: list[bytes] = []
    await uploads.read(hub.pool, hub.district, UUID(found["upload_id"]), parts.append)
    assert b"".join(parts) == DATA


async def _cut(hub: AdminHub, path: str, at: int, data: bytes, head: str = "") -> None:
    """A PATCH whose connection breaks off after ``data``."""
    _, writer = await asyncio.open_connection(hub.server.host, hub.server.port or 0)
    lines = (
        f"PATCH {PREFIX}{path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {hub.tokens['district']}\r\n"
        f"Tus-Resumable: 1.0.0\r\nUpload-Offset: {at}\r\nContent-Type: {service.MEDIA}\r\n{head}"
        "Transfer-Encoding: chunked\r\n\r\n"
    )
    writer.write(lines.encode() + b"%x\r\n" % len(data) + data + b"\r\n")  # and no last chunk
    await writer.drain()
    await asyncio.sleep(0.3)
    writer.transport.abort()


@pytest.mark.threat("T42", "F7")
async def test_with_a_checksum_a_request_counts_wholly_or_not_at_all(hub: AdminHub) -> None:
    path = await begin(hub)
    wrong = await add(hub, path, 0, DATA[:1_500_000], **{"Upload-Checksum": checksum(b"other")})
    assert (wrong.status, wrong.json["code"]) == (460, "checksum_mismatch")
    assert wrong.headers["Tus-Resumable"] == "1.0.0"
    assert await offset(hub, path) == 0
    await _cut(hub, path, 0, DATA[:1_500_000], f"Upload-Checksum: {checksum(DATA)}\r\n")
    await asyncio.sleep(0.3)
    assert await offset(hub, path) == 0
    good = await add(hub, path, 0, DATA[:1_500_000], **{"Upload-Checksum": checksum(DATA[:1_500_000])})
    assert good.status == 204
    last = await add(hub, path, 1_500_000, DATA[1_500_000:], **{"Upload-Checksum": checksum(b"other")})
    assert last.status == 460
    assert [(row["state"], row["bytes"]) for row in await rows(hub)] == [("receiving", 1_500_000)]
    for bad in ("md5 AAAA", "sha256 %%%", "sha256"):
        refused = await add(hub, path, 1_500_000, b"x", **{"Upload-Checksum": bad})
        assert refused.status in {400, 460}
    last = await add(hub, path, 1_500_000, DATA[1_500_000:])
    assert last.status == 204
    parts: list[bytes] = []
    found = await hub.made("GET", path, headers=VERSION)
    await uploads.read(hub.pool, hub.district, UUID(found["upload_id"]), parts.append)
    assert b"".join(parts) == DATA


@pytest.mark.threat("F1", "F2")
async def test_what_counts_is_what_was_committed(hub: AdminHub) -> None:
    """As a kill in the middle of a request leaves it: parts that do not count, and a writer that is no more."""
    path = await begin(hub)
    upload_id, now = UUID(path.rpartition("/")[2]), SystemClock().now()
    keep = timedelta(hours=1)
    dead = await Writer.take(hub.pool, hub.district, upload_id, 0, now=now, keep=keep)
    await dead.add(DATA[:1000], counts=True, at=now)
    await dead.add(b"never counted" * 1000, counts=False, at=now)
    assert await offset(hub, path) == 1000
    assert (await add(hub, path, 1000, DATA[1000:])).status == 204
    with pytest.raises(Exception, match="offset_mismatch"):
        await dead.add(b"late", counts=True, at=now)
    found = await hub.made("GET", path, headers=VERSION)
    parts: list[bytes] = []
    await uploads.read(hub.pool, hub.district, UUID(found["upload_id"]), parts.append)
    assert b"".join(parts) == DATA


async def test_of_two_requests_at_once_the_later_one_goes_on(hub: AdminHub) -> None:
    path = await begin(hub)
    answers = await asyncio.gather(*(add(hub, path, 0, DATA) for _ in range(4)))
    assert min(one.status for one in answers) == 204
    assert {one.status for one in answers} <= {204, 409}
    assert [one.status for one in answers].count(204) == 1
    assert [(row["state"], row["bytes"]) for row in await rows(hub)] == [("complete", len(DATA))]
    assert len([row for row in await hub.audit_rows() if row["action"] == "upload.create"]) == 1


@pytest.mark.threat("T47")
async def test_what_cannot_be_is_refused_and_leaves_nothing(hub: AdminHub) -> None:
    base = f"/districts/{hub.district}/sources/{hub.source}/resumable"
    for headers, status, code in (
        ({}, 412, "tus_version"), ({"Tus-Resumable": "0.2.2", "Upload-Length": "1"}, 412, "tus_version"),
        (VERSION, 400, "invalid_request"), ({**VERSION, "Upload-Length": "-1"}, 400, "invalid_request"),
        ({**VERSION, "Upload-Length": "0"}, 400, "invalid_request"),
        ({**VERSION, "Upload-Defer-Length": "1"}, 400, "invalid_request"),
        ({**VERSION, "Upload-Length": str(UPLOAD_LIMIT + 1)}, 413, "too_large"),
        ({**VERSION, "Upload-Length": "1", "Upload-Metadata": "filename %"}, 400, "invalid_request"),
        ({**VERSION, "Upload-Length": "1", "Upload-Metadata": metadata(dry_run="perhaps")}, 400, "invalid_request"),
    ):  # fmt: skip
        answer = await hub.call("POST", base, headers=headers)
        assert (answer.status, answer.json["code"]) == (status, code), headers
    assert (await hub.call("POST", base)).headers["Tus-Version"] == "1.0.0"
    assert await rows(hub) == []

    path = await begin(hub, 1000)
    for answer, status in (
        (await add(hub, path, 0, bytes(1001)), 413), (await add(hub, path, 5, b"x"), 409),
        (await add(hub, path, 0, b"x", **{"Content-Type": "application/zip"}), 415),
        (await add(hub, path, 0, b"x", **{"Upload-Offset": "x"}), 400),
        (await add(hub, path, 0, b"x", **{"Tus-Resumable": "2"}), 412),
        (await hub.call("GET", path), 412), (await hub.call("HEAD", path), 412),
        (await hub.call("GET", f"/districts/{hub.foreign_district}/resumable/{path[-36:]}", headers=VERSION), 404),
    ):  # fmt: skip
        assert answer.status == status
    assert await offset(hub, path) == 0


async def test_options_say_what_is_spoken(hub: AdminHub) -> None:
    path = f"/districts/{hub.district}/sources/{hub.source}/resumable"
    answer = await hub.call("OPTIONS", path, role=None)
    assert answer.status == 204
    assert answer.headers["Tus-Version"] == "1.0.0"
    assert answer.headers["Tus-Extension"] == "creation,expiration,checksum,termination"


async def test_uploads_end_expire_and_are_bounded(hub: AdminHub, monkeypatch: pytest.MonkeyPatch) -> None:
    path = await begin(hub)
    await add(hub, path, 0, DATA[:100])
    assert (await hub.call("DELETE", path, role="district", headers=VERSION)).status == 204
    for answer in (
        await add(hub, path, 100, b"x"), await hub.call("GET", path, headers=VERSION),
        await hub.call("DELETE", path, headers=VERSION),
    ):  # fmt: skip
        assert (answer.status, answer.json["code"]) == (410, "upload_gone")
    path = await begin(hub)
    await add(hub, path, 0, DATA[:100])
    owner = await asyncpg.connect(hub.owner_url)
    await owner.execute("UPDATE hub.uploads SET expires_at = now() - interval '1 second' WHERE state = 'receiving'")
    await owner.close()
    assert (await hub.call("HEAD", path, headers=VERSION)).status == 410
    async with hub.pool.district(hub.district) as tx:
        old = await retention.uploads(tx, SystemClock().now() - timedelta(days=7))
        assert [str(one) for one in old] == [path[-36:]]
    monkeypatch.setattr(resumable, "MOST_UNFINISHED", 2)
    await begin(hub)
    await begin(hub)
    headers = {**VERSION, "Upload-Length": "5"}
    refused = await hub.call("POST", f"/districts/{hub.district}/sources/{hub.source}/resumable", headers=headers)
    assert (refused.status, refused.json["code"]) == (409, "conflict")
    monkeypatch.undo()
    monkeypatch.setattr(resumable, "MOST_EXTRA_PARTS", 1)
    for length in (4, 1_000):  # however many parts of this size would be needed
        path = await begin(hub, length)
        assert [(await add(hub, path, at, b"x")).status for at in range(3)] == [204, 204, 413]
    path = await begin(hub, 1 << 20)
    assert [(await add(hub, path, at, b"x")).status for at in range(4)] == [204, 204, 204, 413]


async def test_an_upload_that_becomes_whole_while_it_is_ended_stays(
    hub: AdminHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, cut = await begin(hub), 2_000_000
    await add(hub, path, 0, DATA[:cut])
    looked, go_on, real = asyncio.Event(), asyncio.Event(), resumable.get

    async def slow(*args: Any) -> Any:
        found = await real(*args)
        monkeypatch.undo()
        looked.set()
        await go_on.wait()
        return found

    monkeypatch.setattr(resumable, "get", slow)
    ending = asyncio.create_task(hub.call("DELETE", path, role="district", headers=VERSION))
    await looked.wait()
    last = await add(hub, path, cut, DATA[cut:])
    go_on.set()
    answer = await ending
    assert (last.status, answer.status, answer.json["code"]) == (204, 409, "conflict")
    assert [tuple(row)[:2] for row in await rows(hub)] == [("complete", len(DATA))]
    run = await hub.made("GET", f"/districts/{hub.district}/runs/{last.headers['RosterHub-Run']}")
    async with hub.pool.district(hub.district) as tx:
        parts = await tx.fetchval("SELECT sum(length(data)) FROM upload_parts")
    assert (run["state"], parts) == ("queued", len(DATA))


@pytest.mark.threat("F16")
async def test_a_part_that_finds_no_room_does_not_count(hub: AdminHub) -> None:
    path = await begin(hub)
    async with cannot_grow(hub.owner_url, "upload_parts", toast=True):
        answer = await add(hub, path, 0, DATA)
        assert (answer.status, answer.json["code"]) == (507, "storage_full")
    assert await offset(hub, path) == 0


async def test_the_command_goes_on_where_it_was_cut(hub: AdminHub, tmp_path: Path) -> None:
    content = await asyncio.to_thread(packed, sandbox(students=100, seed=11).frames, "1.2")
    file = tmp_path / "roster.zip"
    await asyncio.to_thread(file.write_bytes, content)
    home = {"HOME": str(tmp_path), "XDG_CONFIG_HOME": str(tmp_path / "config")}
    arguments = (str(file), "--source", str(hub.source), "--dry-run")
    here = str(hub.server.make_url("/admin/v1"))
    given = {"HUB_ADMIN_URL": here, "HUB_ADMIN_TOKEN": hub.tokens["district"], **home}
    refusing = {**given, "HUB_ADMIN_URL": "http://127.0.0.1:9/admin/v1"}
    away = await run_module(
        "hub.cli", "upload", *arguments, "--district", str(hub.district), "--patience", "0",
        environment=os.environ | refusing,
    )  # fmt: skip
    assert (away.code, "unavailable" in away.out) == (2, True)
    async with working(hub):
        ended = await run_module(
            "hub.cli", "upload", *arguments, "--district", str(hub.district), environment=os.environ | given
        )
    assert ended.code == 0, ended.out
    assert "previewed" in ended.out
    assert list((tmp_path / "config" / "rosterhub" / "uploads").iterdir()) == []
    code, out = await command(hub, "upload", str(file), "--source", str(hub.source), "--no-run")
    assert (code, out.strip()) == (0, "The package is there; no run was started.")


@dataclass
class Relay:
    """A way to the hub that counts what goes there, and lets no more than ``most`` bytes through."""

    hub: AdminHub
    most: int
    gone: int = 0
    full: asyncio.Event = field(default_factory=asyncio.Event)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[str]:
        """Its address, in place of the admin API's."""
        server = await asyncio.start_server(self._between, "127.0.0.1", 0)
        async with server:
            yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}{PREFIX}"

    async def _between(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        from_hub, to_hub = await asyncio.open_connection(self.hub.server.host, self.hub.server.port)
        back = asyncio.create_task(_copied(from_hub, writer))
        try:
            while data := await reader.read(1 << 16):
                if self.gone + len(data) > self.most:
                    self.full.set()
                    await reader.read(-1)  # until who sends is gone
                    break
                self.gone += len(data)
                to_hub.write(data)
                await to_hub.drain()
        except ConnectionError:
            pass  # who sent was killed
        finally:
            back.cancel()
            to_hub.transport.abort()
            writer.transport.abort()


async def _copied(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(1 << 16):
        writer.write(data)
        await writer.drain()


@pytest.mark.threat("T42")
async def test_a_command_that_is_killed_goes_on_in_another_process_where_it_was(hub: AdminHub, tmp_path: Path) -> None:
    data, part = os.urandom(20_000_000), upload_command._PART_BYTES
    package = tmp_path / "roster.zip"
    await asyncio.to_thread(package.write_bytes, data)
    relay = Relay(hub, most=part + part // 2)  # the first part, and half of the second
    async with relay.running() as address:
        environment = os.environ | {
            "XDG_CONFIG_HOME": str(tmp_path / "config"), "HUB_ADMIN_URL": address,
            "HUB_ADMIN_TOKEN": hub.tokens["district"],
        }  # fmt: skip
        arguments = ("upload", str(package), "--source", str(hub.source), "--district", str(hub.district), "--no-run")
        first = Forked("hub.cli", *arguments, environment=environment)
        async with asyncio.timeout(60):
            await relay.full.wait()
        first.kill()
        assert await first.wait() == -9
        (upload,) = await rows(hub)
        assert (upload["state"], upload["bytes"]) == ("receiving", part)

        before, relay.most = relay.gone, 10 * len(data)
        second = await run_module("hub.cli", *arguments, environment=environment)
    assert second.code == 0, second.out
    assert len(data) - part <= relay.gone - before < len(data) - part + 20_000  # and some headers
    (upload,) = await rows(hub)
    assert (upload["state"], upload["bytes"]) == ("complete", len(data))
    parts: list[bytes] = []
    await uploads.read(hub.pool, hub.district, upload["upload_id"], parts.append)
    assert b"".join(parts) == data
