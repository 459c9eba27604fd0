"""Where systems say that something of theirs changed: ``POST /d/{district}/hints/{source}/{secret}``.

The secret in the address is all that is looked at. What is sent with it is read to its end and thrown away: it may hold
personal data, and nothing that came without the source's own login would be believed anyway. The source is pulled soon.
"""

from __future__ import annotations

import asyncio
from datetime import timedelta
from uuid import UUID

from aiohttp import web

from hub.api.attempts import ATTEMPTS
from hub.api.caches import ByteCache
from hub.api.context import CONTEXT
from hub.api.oneroster.errors import Minor, RefusedError, unknown_object
from hub.api.permissions import Permission, declare
from hub.store import hints
from hub.store.apps import digest

PATH = "/d/{district}/hints/{source}/{secret}"
#: Bytes of what is sent with a hint.
LARGEST = 1 << 20
_LONGEST_SECRET = 100
_MOST_HEARD = 20_000
#: Hints of one source that come so soon after one that waits cost no look at the database.
_SOON_SECONDS = 1.0
#: The pull of that one begins later than they come, with some room.
_ROOM = timedelta(seconds=2 * _SOON_SECONDS)
Heard = ByteCache[tuple[UUID, UUID, bytes], float]
_HEARD = web.AppKey("heard", Heard)


def add_hints(app: web.Application) -> None:
    """Adds the route."""
    app[_HEARD] = Heard(_MOST_HEARD)
    declare(app, "POST", PATH, _hear, Permission.HINT)


async def _hear(request: web.Request) -> web.Response:
    """Notes a hint. Raises RefusedError: 404 alike for all that is wrong, 413; HeldUpError."""
    context, heard = request.app[CONTEXT], request.app[_HEARD]
    district, source = (_id(request.match_info[name]) for name in ("district", "source"))
    secret = request.match_info["secret"]
    if len(secret) > _LONGEST_SECRET:
        raise unknown_object()
    key, time = (district, source, digest(secret)), asyncio.get_running_loop().time
    if (heard.get(key) or 0.0) < time():
        attempt = request.app[ATTEMPTS].begin(request, source)
        now = context.clock.now()
        async with context.db.district(district) as tx:
            due = await hints.hear(tx, source, key[2], now)
        if due is None:
            attempt.wrong()
            raise unknown_object()
        attempt.right()
        if due - now > _ROOM:
            heard.put(key, time() + _SOON_SECONDS, 1)
    await _read_to_its_end(request)
    return web.Response(status=204, headers={"Cache-Control": "no-store"})


def _id(text: str) -> UUID:
    try:
        return UUID(text)
    except ValueError:
        raise unknown_object() from None


async def _read_to_its_end(request: web.Request) -> None:
    size = 0
    async for chunk in request.content.iter_chunked(1 << 16):
        size += len(chunk)
        if size > LARGEST:
            raise RefusedError(413, Minor.INVALID_DATA, "The hint was heard; send less with it.")
