"""The body of a write: bytes of a request to the objects that an app sent, or the refusal of what is none."""

from __future__ import annotations

import asyncio
from typing import Any

import orjson
from aiohttp import web

from hub.api.oneroster.errors import Minor, RefusedError, invalid
from hub.api.oneroster.writes import Write
from transforms.faults import Fault, FaultCode
from transforms.objects import Written, read

#: Objects of one POST, and bytes of one body.
MOST_OBJECTS = 1_000
MOST_BYTES = 4 * 2**20
#: Bodies above this are parsed in a thread.
_LARGE = 64 * 2**10


async def read_body(request: web.Request, write: Write) -> list[Written]:
    """The objects in the body of a PUT (one) or a POST, with the faults of each.

    Raises RefusedError: 415 for another media type than JSON, 413 for too much, 400 for what is not JSON.
    """
    _check_type(request)
    data = await _bytes(request)
    return await asyncio.to_thread(_objects, data, write) if len(data) > _LARGE else _objects(data, write)


def _check_type(request: web.Request) -> None:
    given = request.headers.get("Content-Type")
    if given is None:  # some clients send none, and only JSON makes sense here
        return
    charset = request.charset or "utf-8"
    if request.content_type != "application/json" or charset.lower().replace("_", "-") not in {"utf-8", "utf8"}:
        raise RefusedError(415, Minor.INVALID_DATA, "Send the object as application/json in UTF-8.")


async def _bytes(request: web.Request) -> bytes:
    data = bytearray()
    if (request.content_length or 0) > MOST_BYTES:
        raise _too_large()
    async for chunk in request.content.iter_any():
        data += chunk
        if len(data) > MOST_BYTES:
            raise _too_large()
    return bytes(data)


def _too_large() -> RefusedError:
    return RefusedError(413, Minor.INVALID_DATA, f"A body may have {MOST_BYTES // 2**20} MiB at most.")


def _objects(data: bytes, write: Write) -> list[Written]:
    try:
        body: Any = orjson.loads(data)
    except orjson.JSONDecodeError:
        raise invalid("The body is not JSON.") from None
    name = write.envelope
    found = body.get(name) if isinstance(body, dict) else None
    if found is None:
        return [Written(name, faults=[Fault(name, FaultCode.MISSING)])]
    if write.method == "PUT":
        return [read(write.entity, write.version, found, place=name)]
    if not isinstance(found, list):
        return [Written(name, faults=[Fault(name, FaultCode.NOT_A_LIST)])]
    if len(found) > MOST_OBJECTS:
        raise RefusedError(413, Minor.INVALID_DATA, f"One request may bring {MOST_OBJECTS} objects at most.")
    filled = frozenset(member for member, _ in write.parents if member)
    return [
        read(write.entity, write.version, one, place=f"{name}[{number}]", filled=filled)
        for number, one in enumerate(found)
    ]
