"""Uploads: a package is streamed into the database part by part and is never whole in memory (T47)."""

from __future__ import annotations

import base64
import binascii
from collections.abc import AsyncIterator
from contextlib import suppress
from datetime import datetime
from typing import Annotated, Literal
from uuid import UUID

from aiohttp import BodyPartReader, ClientError, web
from aiohttp.http_exceptions import HttpProcessingError
from pydantic import Field, StringConstraints

from hub.api.admin.call import Call
from hub.api.admin.forms import FORM
from hub.api.admin.route import STAFF, Route
from hub.api.admin.shapes import Asked, Shown
from hub.errors import Code, HubError
from hub.ids import new_id
from hub.store import sources
from hub.store import uploads as store

RAW = ("application/zip", "application/octet-stream", "application/x-zip-compressed")
_CHUNK = 1 << 16


class UploadQuery(Asked):
    """What is sent, where the body does not say."""

    filename: Annotated[str, StringConstraints(min_length=1, max_length=200, pattern=r"^[^\x00-\x1f\x7f/\\]+$")] = (
        Field(default="package.zip", description="Name of the file, for people. A form's own file name goes first.")
    )


class Upload(Shown):
    """One package that was sent."""

    upload_id: UUID
    source_id: UUID
    filename: str
    bytes: int
    sha256: str | None
    state: Literal["receiving", "complete", "deleted"]
    created_at: datetime


def _incomplete() -> HubError:
    return HubError(Code.UPLOAD_INCOMPLETE, "The package did not arrive whole; nothing was changed. Send it again.")


async def create(call: Call, query: UploadQuery) -> Upload:
    """Receives a package. One that is cut short leaves nothing behind that could be synced (T42)."""
    limit = call.context.settings.upload_max_bytes
    _refuse_early(call.request, limit)
    source_id, upload_id = call.id("source"), new_id()
    filename, chunks = await _content(call.request, query.filename)
    db = call.context.db
    async with db.district(call.district_id) as tx:
        await sources.get(tx, source_id)
        await store.begin(tx, upload_id, source_id=source_id, filename=filename)
    try:
        size, sha256 = await store.receive(db, call.district_id, upload_id, chunks, limit=limit)
        _compare(call.request, size, sha256)
        async with call.writing() as writing:
            upload = await store.complete(writing.tx, upload_id, size=size, sha256=sha256)
            writing.note(f"upload/{upload_id}", source=str(source_id), bytes=size, sha256=sha256)
    except BaseException as error:
        with suppress(HubError):  # the database is away, or has no room even for this: what arrived is never whole
            async with db.district(call.district_id, wait_seconds=30) as tx:
                await store.discard(tx, upload_id)
        if isinstance(error, (ConnectionError, ClientError, HttpProcessingError, ValueError)):
            raise _incomplete() from error
        raise
    return Upload.model_validate(upload)


def _refuse_early(request: web.Request, limit: int) -> None:
    if request.content_type not in (*RAW, FORM):
        raise HubError(Code.UNSUPPORTED_MEDIA_TYPE, f"Send the package as {RAW[0]} or as {FORM}.")
    if (request.content_length or 0) > limit:
        raise HubError(
            Code.TOO_LARGE, f"The package is larger than the limit of {limit} bytes. Split it or ask an operator."
        )
    if not request.body_exists:
        raise HubError(Code.INVALID_REQUEST, "Send the package as the body of the request.")


async def _content(request: web.Request, filename: str) -> tuple[str, AsyncIterator[bytes]]:
    """The file's name and its bytes as they arrive."""
    if request.content_type != FORM:
        return filename, request.content.iter_chunked(_CHUNK)
    try:
        async for part in await request.multipart():
            if isinstance(part, BodyPartReader) and part.filename:
                asked = UploadQuery.model_validate({"filename": part.filename.replace("\\", "/").rpartition("/")[2]})
                return asked.filename, _part(part)
    except (ValueError, AssertionError) as error:
        raise HubError(
            Code.INVALID_REQUEST, "The form cannot be read. Send one file in it, or the bare file."
        ) from error
    raise HubError(Code.INVALID_REQUEST, "The form holds no file. Send one file in it, or the bare file.")


async def _part(part: BodyPartReader) -> AsyncIterator[bytes]:
    while chunk := await part.read_chunk(_CHUNK):
        yield chunk
    if not part.at_eof():
        raise ValueError("the form ends inside its file")


def _compare(request: web.Request, size: int, sha256: str) -> None:
    """Holds what arrived against what was announced: Content-Length, and Content-Digest (RFC 9530) where sent."""
    if size == 0:
        raise HubError(Code.INVALID_REQUEST, "The package is empty.")
    raw = request.content_type != FORM
    if raw and request.content_length not in (None, size):
        raise _incomplete()
    for item in request.headers.get("Content-Digest", "").split(","):
        name, _, value = item.strip().partition("=")
        if name.lower() == "sha-256" and raw:
            try:
                announced = base64.b64decode(value.strip(":"), validate=True).hex()
            except binascii.Error:
                raise HubError(
                    Code.INVALID_REQUEST, "Content-Digest is not readable: write sha-256=:base64:."
                ) from None
            if announced != sha256:
                raise _incomplete()


async def get(call: Call) -> Upload:
    """One upload."""
    async with call.reading() as tx:
        return Upload.model_validate(await store.get(tx, call.id("upload")))


ROUTES = (
    Route("POST", "/districts/{district}/sources/{source}/uploads", create, "Send a package to a source", roles=STAFF,
          query=UploadQuery, streams=(*RAW[:2], FORM), answer=Upload, status=201, action="upload.create",
          errors=(Code.TOO_LARGE, Code.UNSUPPORTED_MEDIA_TYPE, Code.UPLOAD_INCOMPLETE)),
    Route("GET", "/districts/{district}/uploads/{upload}", get, "One upload", roles=STAFF, answer=Upload),
)  # fmt: skip
