"""A form of a JSON object and a file: for routes that look at a package which is not kept."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Final, TypeVar

from aiohttp import BodyPartReader, ClientError, MultipartReader, web
from aiohttp.http_exceptions import HttpProcessingError
from pydantic import BaseModel, ValidationError

from hub.api.admin import problem
from hub.errors import Code, HubError

FORM: Final = "multipart/form-data"
#: The names of the two parts.
BODY, FILE = "body", "file"
_LARGEST_BODY = 1 << 20
Model = TypeVar("Model", bound=BaseModel)


async def read_form(request: web.Request, model: type[Model], path: Path, *, limit: int) -> Model:
    """Writes the file of a form to ``path``, ``limit`` bytes at most; the object that comes before it.

    Raises HubError: INVALID_REQUEST, TOO_LARGE, UPLOAD_INCOMPLETE for a form that is cut short.
    """
    if (request.content_length or 0) > limit + _LARGEST_BODY:
        raise _too_large(limit)
    try:
        form = await request.multipart()
        found = _parsed(model, await _text(await _next(form, BODY)))
        await _write(await _next(form, FILE), path, limit)
    except (ConnectionError, ClientError, HttpProcessingError, ValueError, AssertionError) as error:
        text = "The form did not arrive whole, or is none; nothing was changed. Send it again."
        raise HubError(Code.UPLOAD_INCOMPLETE, text) from error
    return found


async def _next(form: MultipartReader, name: str) -> BodyPartReader:
    part = await form.next()
    if not isinstance(part, BodyPartReader) or part.name != name:
        raise HubError(Code.INVALID_REQUEST, f"The form has two parts: `{BODY}`, a JSON object, and then `{FILE}`.")
    return part


async def _text(part: BodyPartReader) -> bytes:
    found = bytearray()
    while chunk := await part.read_chunk():
        found += chunk
        if len(found) > _LARGEST_BODY:
            raise HubError(Code.TOO_LARGE, f"The part `{BODY}` is larger than {_LARGEST_BODY} bytes.")
    return bytes(found)


def _parsed(model: type[Model], text: bytes) -> Model:
    try:
        return model.model_validate_json(text)
    except ValidationError as error:
        raise problem.invalid("body", error) from None


async def _write(part: BodyPartReader, path: Path, limit: int) -> None:
    size = 0
    file = await asyncio.to_thread(path.open, "wb")
    try:
        while chunk := await part.read_chunk(1 << 16):
            size += len(chunk)
            if size > limit:
                raise _too_large(limit)
            await asyncio.to_thread(file.write, chunk)
    finally:
        await asyncio.to_thread(file.close)
    if not part.at_eof():
        raise ValueError("the form ends inside its file")
    if not size:
        raise HubError(Code.INVALID_REQUEST, "The package is empty.")


def _too_large(limit: int) -> HubError:
    return HubError(Code.TOO_LARGE, f"The package is larger than the limit of {limit} bytes. Split it.")
