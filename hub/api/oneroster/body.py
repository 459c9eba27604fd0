"""The body of a write: bytes of a request to the objects that an app sent, or the refusal of what is none."""

from __future__ import annotations

import asyncio
from typing import Any

from aiohttp import web

from hub.api.negotiation import LARGEST_BODY, check_json, parsed, read_bytes
from hub.api.oneroster.errors import Minor, RefusedError
from hub.api.oneroster.writes import Write
from transforms.faults import Fault, FaultCode
from transforms.objects import Written, read

#: Objects of one POST.
MOST_OBJECTS = 1_000
#: Bodies above this are parsed in a thread.
_LARGE = 64 * 2**10


async def read_body(request: web.Request, write: Write) -> list[Written]:
    """The objects in the body of a PUT (one) or a POST, with the faults of each.

    Raises RefusedError: 415 for another media type or coding, 413 for too much, 400 for what is not JSON.
    """
    check_json(request)
    data = await read_bytes(request, largest=LARGEST_BODY)
    return await asyncio.to_thread(_objects, data, write) if len(data) > _LARGE else _objects(data, write)


def _objects(data: bytes, write: Write) -> list[Written]:
    body: Any = parsed(data)
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
