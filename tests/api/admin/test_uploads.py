"""Packages on their way in: streamed, bounded, and never half there (T42, T47)."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import io
import os
from collections.abc import AsyncIterator
from uuid import uuid4

import aiohttp
import asyncpg
import psutil
import pytest

from hub.api.admin.route import PREFIX
from hub.store import uploads
from tests.api.admin.conftest import UPLOAD_LIMIT
from tests.api.admin.service import AdminHub, Answer, package
from tests.full_disk import cannot_grow

FORM = {"Content-Type": "multipart/form-data; boundary=b"}
CHUNK = bytes(1 << 16)
ZIP = {"Content-Type": "application/zip"}


async def _send(hub: AdminHub, **options: object) -> Answer:
    options = {"headers": ZIP, **options}
    return await hub.call("POST", f"/districts/{hub.district}/sources/{hub.source}/uploads", **options)


async def _rows(hub: AdminHub) -> tuple[list[str], int]:
    """States of all uploads, and how many parts are kept."""
    connection = await asyncpg.connect(hub.owner_url)
    try:
        states = [row["state"] for row in await connection.fetch("SELECT state FROM hub.uploads ORDER BY created_at")]
        return states, await connection.fetchval("SELECT count(*) FROM hub.upload_parts")
    finally:
        await connection.close()


async def _stored(hub: AdminHub, upload_id: str) -> bytes:
    parts: list[bytes] = []
    await uploads.read(hub.pool, hub.district, upload_id, parts.append)
    return b"".join(parts)


async def test_a_raw_package_arrives_byte_for_byte(hub: AdminHub) -> None:
    content = os.urandom(2_500_000)
    digest = base64.b64encode(hashlib.sha256(content).digest()).decode()
    headers = {**ZIP, "Content-Digest": f"sha-256=:{digest}:"}
    answer = await _send(hub, data=io.BytesIO(content), params={"filename": "spring.zip"}, headers=headers)

    assert answer.status == 201
    assert (answer.json["filename"], answer.json["bytes"]) == ("spring.zip", len(content))
    assert answer.json["sha256"] == hashlib.sha256(content).hexdigest()
    assert await _stored(hub, answer.json["upload_id"]) == content
    path = f"/districts/{hub.district}/uploads/{answer.json['upload_id']}"
    assert (await hub.made("GET", path, role="district"))["state"] == "complete"


async def test_a_form_is_read_as_well_and_its_file_name_is_no_path(hub: AdminHub) -> None:
    form = aiohttp.FormData(quote_fields=False)
    form.add_field("comment", "not a file")
    form.add_field("file", package(), filename="../exports/roster.zip", content_type="application/zip")
    answer = await _send(hub, data=form, headers={})

    assert answer.status == 201, answer.body
    assert answer.json["filename"] == "roster.zip"
    assert await _stored(hub, answer.json["upload_id"]) == package()


@pytest.mark.parametrize(
    ("options", "status", "code"),
    [
        ({"data": b""}, 400, "invalid_request"),
        ({"data": b"x", "headers": {"Content-Type": "text/plain"}}, 415, "unsupported_media_type"),
        ({"json": {"a": 1}, "headers": {}}, 415, "unsupported_media_type"),
        ({"data": b"x", "params": {"filename": "../../etc/passwd"}}, 400, "invalid_request"),
        ({"data": b"x", "params": {"name": "a"}}, 400, "invalid_request"),
        ({"data": b"x", "headers": {**ZIP, "Content-Digest": "sha-256=:AAAA:"}}, 409, "upload_incomplete"),
        ({"data": b"x", "headers": {**ZIP, "Content-Digest": "sha-256=:%:"}}, 400, "invalid_request"),
        ({"data": b"no form", "headers": {"Content-Type": "multipart/form-data"}}, 400, "invalid_request"),
        (
            {
                "data": b"--b\r\n\r\nno file\r\n--b--\r\n",
                "headers": {"Content-Type": "multipart/form-data; boundary=b"},
            },
            400,
            "invalid_request",
        ),
    ],
)
@pytest.mark.threat("T47")
async def test_what_is_no_package_is_refused_and_leaves_nothing(
    hub: AdminHub, options: dict[str, object], status: int, code: str
) -> None:
    answer = await _send(hub, **options)

    assert (answer.status, answer.json["code"]) == (status, code)
    states, parts = await _rows(hub)
    assert "complete" not in states
    assert parts == 0
    assert await hub.audit_rows() == []


@pytest.mark.threat("T47")
async def test_a_stream_without_a_length_is_stopped_at_the_limit(hub: AdminHub) -> None:
    sent = 0

    async def endless() -> AsyncIterator[bytes]:
        nonlocal sent
        while sent < 4 * UPLOAD_LIMIT:
            sent += len(CHUNK)
            yield CHUNK

    answer = await _send(hub, data=endless())

    assert (answer.status, answer.json["code"]) == (413, "too_large")
    assert sent < 2 * UPLOAD_LIMIT
    assert (await _rows(hub))[1] == 0


@pytest.mark.threat("T47")
async def test_a_large_package_is_never_whole_in_memory(hub: AdminHub) -> None:
    process, peak = psutil.Process(), 0

    async def chunks() -> AsyncIterator[bytes]:
        nonlocal peak
        for _ in range(UPLOAD_LIMIT // len(CHUNK)):
            peak = max(peak, process.memory_info().rss)
            yield CHUNK

    before = process.memory_info().rss
    answer = await _send(hub, data=chunks())

    assert answer.json["bytes"] == UPLOAD_LIMIT // len(CHUNK) * len(CHUNK)
    assert peak - before < UPLOAD_LIMIT / 2


@pytest.mark.threat("T47")
async def test_a_length_beyond_the_limit_is_refused_before_anything_is_sent(hub: AdminHub) -> None:
    reader, writer = await asyncio.open_connection(*_place(hub))
    writer.write(_request(hub, f"Content-Type: application/zip\r\nContent-Length: {UPLOAD_LIMIT + 1}"))
    answer = await asyncio.wait_for(reader.readuntil(b"}"), 5)
    writer.close()

    assert b"413" in answer.splitlines()[0]
    assert b'"too_large"' in answer
    assert await _rows(hub) == ([], 0)


def _place(hub: AdminHub) -> tuple[str, int]:
    return hub.server.host, hub.server.port or 0


def _request(hub: AdminHub, head: str) -> bytes:
    path = f"{PREFIX}/districts/{hub.district}/sources/{hub.source}/uploads"
    token = hub.tokens["district"]
    return f"POST {path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\n{head}\r\n\r\n".encode()


@pytest.mark.parametrize(
    ("head", "sent"),
    [
        ("Content-Type: application/zip\r\nContent-Length: 2000000", b"x" * 1_500_000),
        ("Content-Type: application/zip\r\nTransfer-Encoding: chunked", b"100000\r\n" + b"x" * 1_048_576 + b"\r\n"),
        (
            "Content-Type: multipart/form-data; boundary=b\r\nContent-Length: 2000000",
            b'--b\r\nContent-Disposition: form-data; name="file"; filename="a.zip"\r\n\r\n' + b"x" * 1_500_000,
        ),
    ],
)
@pytest.mark.threat("T42", "F7")
async def test_an_upload_that_is_cut_short_leaves_nothing_to_sync(hub: AdminHub, head: str, sent: bytes) -> None:
    good = await hub.upload()
    _, writer = await asyncio.open_connection(*_place(hub))
    writer.write(_request(hub, head) + sent)
    await writer.drain()
    await asyncio.sleep(0.2)
    writer.transport.abort()
    for _ in range(100):
        states, parts = await _rows(hub)
        if "deleted" in states:
            break
        await asyncio.sleep(0.05)

    assert (states, parts) == (["complete", "deleted"], 1)
    assert await _stored(hub, good["upload_id"]) == package()
    assert [row["action"] for row in await hub.audit_rows()] == ["upload.create"]


@pytest.mark.threat("T42")
async def test_a_form_that_ends_inside_its_file_is_incomplete(hub: AdminHub) -> None:
    body = b'--b\r\nContent-Disposition: form-data; name="file"; filename="a.zip"\r\n\r\nPK-and-then-nothing'
    answer = await _send(hub, data=body, headers=FORM)

    assert (answer.status, answer.json["code"]) == (409, "upload_incomplete")
    assert (await _rows(hub))[1] == 0


@pytest.mark.threat("T42")
async def test_no_run_starts_from_an_upload_that_is_not_whole(hub: AdminHub) -> None:
    upload_id = uuid4()
    async with hub.pool.district(hub.district) as tx:
        await uploads.begin(tx, upload_id, source_id=hub.source, filename="half.zip")
    answer = await hub.call("POST", f"/districts/{hub.district}/runs", json={"upload_id": str(upload_id)})

    assert (answer.status, answer.json["code"]) == (409, "upload_incomplete")
    assert "again" in answer.json["detail"]


@pytest.mark.threat("F16")
async def test_an_upload_that_finds_no_room_leaves_nothing(hub: AdminHub) -> None:
    async with cannot_grow(hub.owner_url, "upload_parts", toast=True):
        answer = await _send(hub, data=io.BytesIO(os.urandom(2_500_000)))

        assert (answer.status, answer.json["code"], answer.headers["Retry-After"]) == (507, "storage_full", "60")
        assert "disk" in answer.json["detail"]
        assert await _rows(hub) == (["deleted"], 0)


async def test_a_missing_source_takes_no_upload(hub: AdminHub) -> None:
    for source in (uuid4(), hub.foreign_source):
        path = f"/districts/{hub.district}/sources/{source}/uploads"
        assert (await hub.call("POST", path, data=package(), headers=ZIP)).status == 404
    assert await _rows(hub) == ([], 0)
