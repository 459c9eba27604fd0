"""Uploads that go on after a cut: the protocol tus 1.0 (tus.io), which clients exist for in most languages.

Core, creation, expiration, checksum and termination. What counts is what was committed: after a kill in the middle of
a request, the offset is that of the last part that is in the database. With a checksum a request counts as a whole or
not at all. The last byte completes the upload, and queues its run, in the transaction that stores it.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import hashlib
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from email.utils import format_datetime
from typing import Any
from uuid import UUID

from aiohttp import ClientError, web
from aiohttp.http_exceptions import HttpProcessingError
from pydantic import Field

from hub.api.admin.call import Call
from hub.api.admin.route import PREFIX, STAFF, Route
from hub.api.admin.shapes import Shown
from hub.api.admin.uploads import UploadQuery
from hub.errors import Code, HubError
from hub.ids import new_id
from hub.store import resumable as store
from hub.store import runs, sources, uploads
from hub.store.resumable import Resumable, Writer
from hub.store.uploads import PART_BYTES

VERSION = "1.0.0"
MEDIA = "application/offset+octet-stream"
_ALGORITHMS = {"sha1": hashlib.sha1, "sha256": hashlib.sha256}
_CHUNK = 1 << 16
_LONGEST_METADATA = 4_000
_CUT = (ConnectionError, ClientError, HttpProcessingError, ValueError)
#: What a client may ask for beforehand (OPTIONS).
TOLD = (
    ("Tus-Resumable", VERSION), ("Tus-Version", VERSION), ("Tus-Checksum-Algorithm", ",".join(_ALGORITHMS)),
    ("Tus-Extension", "creation,expiration,checksum,termination"),
)  # fmt: skip


class Progress(Shown):
    """How far an upload is. The same stands in the headers, which HEAD answers with alone."""

    upload_id: UUID
    source_id: UUID
    filename: str
    offset: int = Field(description="Bytes that count: go on from here.")
    length: int
    expires_at: datetime
    run_id: UUID | None = Field(description="The run that its last byte started.")


def _check_version(request: web.Request) -> None:
    """Raises HubError(TUS_VERSION)."""
    if request.headers.get("Tus-Resumable") != VERSION:
        raise HubError(Code.TUS_VERSION, f"Send the header Tus-Resumable: {VERSION}; no other version is spoken.")


def _number(request: web.Request, name: str) -> int:
    """A header that is a number. Raises HubError(INVALID_REQUEST)."""
    text = request.headers.get(name, "")
    if not (text.isascii() and text.isdigit() and len(text) <= 15):
        raise HubError(Code.INVALID_REQUEST, f"Send the header {name} with a number of bytes.")
    return int(text)


def _metadata(request: web.Request) -> dict[str, str]:
    """``Upload-Metadata``: pairs of a name and a value in base64. Raises HubError(INVALID_REQUEST)."""
    text = request.headers.get("Upload-Metadata", "")
    found = {}
    try:
        for pair in filter(None, (one.strip() for one in text[:_LONGEST_METADATA].split(","))):
            name, _, value = pair.partition(" ")
            found[name] = base64.b64decode(value.strip(), validate=True).decode()
    except ValueError:
        text = "Upload-Metadata cannot be read: names with values in base64, commas between them."
        raise HubError(Code.INVALID_REQUEST, text) from None
    return found


def _flag(metadata: dict[str, str], name: str, *, default: bool) -> bool:
    value = metadata.get(name, str(default)).lower()
    if value not in {"true", "false"}:
        raise HubError(Code.INVALID_REQUEST, f"{name} in Upload-Metadata is true or false.")
    return value == "true"


async def create(call: Call) -> web.Response:
    """Begins an upload of Upload-Length bytes; Location says where its parts go.

    Upload-Metadata: `filename`; `dry_run` (`true`: the run changes nothing); `run` (`false`: no run is started).
    """
    request, settings = call.request, call.context.settings
    _check_version(request)
    length, metadata = _number(request, "Upload-Length"), _metadata(request)
    if length > settings.upload_max_bytes:
        text = f"The package is larger than the limit of {settings.upload_max_bytes} bytes. Ask an operator."
        raise HubError(Code.TOO_LARGE, text)
    if not length:
        raise HubError(Code.INVALID_REQUEST, "The package is empty.")
    filename = UploadQuery.model_validate({"filename": _filename(metadata)}).filename
    source_id, upload_id = call.id("source"), new_id()
    async with call.writing() as writing:
        source = await sources.get(writing.tx, source_id)
        if source.state == "departed":
            raise HubError(Code.CONFLICT, "The source has departed.")
        made = await store.begin(
            writing.tx, upload_id, source_id=source_id, filename=filename, length=length,
            starts=_flag(metadata, "run", default=True), dry_run=_flag(metadata, "dry_run", default=False),
            expires_at=call.context.clock.now() + _kept(call),
        )  # fmt: skip
        writing.note(f"upload/{upload_id}", source=str(source_id), length=length)
    place = f"{settings.public_url}{PREFIX}/districts/{call.district_id}/resumable/{upload_id}"
    return web.Response(status=201, headers={"Location": place, "Upload-Offset": "0", **_headers(made)})


def _filename(metadata: dict[str, str]) -> str:
    name = metadata.get("filename", "").replace("\\", "/").rpartition("/")[2]
    return "".join(c for c in name if c.isprintable())[:200] or "package.zip"


def _kept(call: Call) -> timedelta:
    return timedelta(hours=call.context.settings.upload_resume_hours)


def _headers(upload: Resumable) -> dict[str, str]:
    return {
        "Tus-Resumable": VERSION, "Cache-Control": "no-store",
        "Upload-Expires": format_datetime(upload.expires_at, usegmt=True),
    }  # fmt: skip


async def get(call: Call) -> Progress:
    """How far an upload is. Go on from its offset."""
    _check_version(call.request)
    upload_id = call.id("resumable")
    async with call.reading() as tx:
        found = await store.get(tx, upload_id, call.context.clock.now())
        run_id = await runs.of_upload(tx, upload_id)
    call.headers.update({"Upload-Offset": str(found.bytes), "Upload-Length": str(found.length), **_headers(found)})
    return Progress(
        upload_id=upload_id, source_id=found.source_id, filename=found.filename, offset=found.bytes,
        length=found.length, expires_at=found.expires_at, run_id=run_id,
    )  # fmt: skip


@dataclass(slots=True)
class _Checksum:
    """What Upload-Checksum announces; ``hash``: of what came."""

    announced: bytes
    hash: Any

    @classmethod
    def of(cls, request: web.Request) -> _Checksum | None:
        """None where there is none. Raises HubError(INVALID_REQUEST)."""
        text = request.headers.get("Upload-Checksum")
        if text is None:
            return None
        name, _, value = text.partition(" ")
        if name not in _ALGORITHMS:
            raise HubError(Code.INVALID_REQUEST, f"Upload-Checksum: use one of {', '.join(_ALGORITHMS)}.")
        try:
            return cls(base64.b64decode(value.strip(), validate=True), _ALGORITHMS[name]())
        except binascii.Error:
            raise HubError(Code.INVALID_REQUEST, "Upload-Checksum cannot be read: a name and base64.") from None

    def check(self) -> None:
        """Raises HubError(CHECKSUM_MISMATCH)."""
        if self.hash.digest() != self.announced:
            raise HubError(Code.CHECKSUM_MISMATCH, "The part did not arrive as it was sent; nothing of it counts.")


async def add(call: Call) -> web.Response:
    """Adds to an upload at Upload-Offset. The last byte completes it and queues its run."""
    request, context = call.request, call.context
    _check_version(request)
    if request.content_type != MEDIA:
        raise HubError(Code.UNSUPPORTED_MEDIA_TYPE, f"Send the part as {MEDIA}.")
    checksum = _Checksum.of(request)
    writer = await Writer.take(
        context.db, call.district_id, call.id("resumable"), _number(request, "Upload-Offset"), now=context.clock.now(),
        keep=_kept(call),
    )  # fmt: skip
    if (request.content_length or 0) > writer.upload.length - writer.offset:
        raise _too_much()
    run_id = await _Adding(call, writer, checksum).run()
    if run_id is not None:
        await context.wake("sync", call.district_id)
    headers = {"Upload-Offset": str(writer.offset), **_headers(writer.upload)}
    if run_id is not None:
        headers["RosterHub-Run"] = str(run_id)
    return web.Response(status=204, headers=headers)


def _too_much() -> HubError:
    return HubError(Code.TOO_LARGE, "That would be more bytes than Upload-Length said. Begin a new upload.")


class _Adding:
    """One request that adds to an upload. ``held``: what came and is not stored yet."""

    def __init__(self, call: Call, writer: Writer, checksum: _Checksum | None) -> None:
        self._call, self._writer, self._checksum = call, writer, checksum
        self._held = bytearray()

    async def run(self) -> UUID | None:
        """Stores what comes; the run that the last byte started. Raises HubError."""
        writer, checksum = self._writer, self._checksum
        try:
            async for chunk in self._chunks():
                self._held += chunk
                if writer.offset + len(self._held) > writer.upload.length:
                    raise _too_much()
                while len(self._held) >= PART_BYTES and writer.offset + PART_BYTES < writer.upload.length:
                    await self._store(PART_BYTES)
        except asyncio.CancelledError:  # so the server says that the client is gone
            await self._keep_what_came()
            raise
        except _CUT as error:
            await self._keep_what_came()
            text = "The part did not arrive whole. Ask for the upload's offset (HEAD), and go on from there."
            raise HubError(Code.UPLOAD_INCOMPLETE, text) from error
        if checksum is not None:
            checksum.check()
        if writer.offset + len(self._held) == writer.upload.length:
            return await self._finish()
        await self._end()
        return None

    async def _keep_what_came(self) -> None:
        """Stores what is as good as what comes, but for the last byte: that completes the upload."""
        size = min(len(self._held), self._writer.upload.length - self._writer.offset - 1)
        if self._checksum is None and size > 0:
            with suppress(HubError):  # the client sends it again
                await self._store(size)

    async def _chunks(self) -> AsyncIterator[bytes]:
        async for chunk in self._call.request.content.iter_chunked(_CHUNK):
            if self._checksum is not None:
                self._checksum.hash.update(chunk)
            yield chunk

    async def _store(self, size: int) -> None:
        now = self._call.context.clock.now()
        await self._writer.add(bytes(self._held[:size]), counts=self._checksum is None, at=now)
        del self._held[:size]

    async def _end(self) -> None:
        """Stores the rest, and lets all of it count."""
        writer, last = self._writer, bytes(self._held)
        if not last and writer.offset == writer.upload.bytes:
            return
        async with self._call.context.db.district(self._call.district_id, wait_seconds=30) as tx:
            if last:
                await writer.put(tx, last)
            await writer.count(tx, self._call.context.clock.now(), last=len(last), more=bool(last))
        if last:
            writer.added(len(last))

    async def _finish(self) -> UUID | None:
        """Stores the rest, completes the upload and queues its run, in one transaction."""
        writer, last, call = self._writer, bytes(self._held), self._call
        digest = hashlib.sha256()
        await writer.read(digest.update)
        digest.update(last)
        upload, run_id = writer.upload, None
        async with call.writing() as writing:
            tx = writing.tx
            await writer.put(tx, last)
            await writer.count(tx, call.context.clock.now(), last=len(last), more=True)
            await uploads.complete(tx, upload.upload_id, size=upload.length, sha256=digest.hexdigest())
            source = await sources.get(tx, upload.source_id)
            if upload.starts and source.state == "active":
                run = await runs.request(
                    tx, new_id(), source_id=upload.source_id, upload_id=upload.upload_id, dry_run=upload.dry_run,
                    requested_by=call.actor_name,
                )  # fmt: skip
                run_id = run.run_id
            writing.note(
                f"upload/{upload.upload_id}", source=str(upload.source_id), bytes=upload.length,
                sha256=digest.hexdigest(), run=str(run_id) if run_id else None,
            )  # fmt: skip
        writer.added(len(last))
        return run_id


async def end(call: Call) -> web.Response:
    """Ends an upload that is not whole; its bytes are gone."""
    _check_version(call.request)
    upload_id = call.id("resumable")
    async with call.writing() as writing:
        found = await store.end(writing.tx, upload_id, call.context.clock.now())
        await uploads.discard(writing.tx, upload_id)
        writing.note(f"upload/{upload_id}", source=str(found.source_id), bytes=found.bytes)
    return web.Response(status=204, headers={"Tus-Resumable": VERSION})


_UPLOAD = "/districts/{district}/resumable/{resumable}"
ROUTES = (
    Route("POST", "/districts/{district}/sources/{source}/resumable", create, "Begin an upload that may be cut (tus)",
          roles=STAFF, action="upload.begin", status=201, options=TOLD,
          errors=(Code.TUS_VERSION, Code.TOO_LARGE, Code.CONFLICT)),
    Route("GET", _UPLOAD, get, "How far an upload is (tus, also HEAD)", roles=STAFF, answer=Progress, head=True,
          errors=(Code.TUS_VERSION, Code.UPLOAD_GONE)),
    Route("PATCH", _UPLOAD, add, "Add to an upload (tus)", roles=STAFF, streams=(MEDIA,), action="upload.create",
          errors=(Code.TUS_VERSION, Code.UPLOAD_GONE, Code.OFFSET_MISMATCH, Code.CHECKSUM_MISMATCH, Code.TOO_LARGE,
                  Code.UNSUPPORTED_MEDIA_TYPE, Code.UPLOAD_INCOMPLETE)),
    Route("DELETE", _UPLOAD, end, "End an upload (tus)", roles=STAFF, action="upload.end",
          errors=(Code.TUS_VERSION, Code.UPLOAD_GONE, Code.CONFLICT)),
)  # fmt: skip
