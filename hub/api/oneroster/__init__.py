"""OneRoster: what an app reads, and what it writes to the gradebook. Everything goes through the view of one grant."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable

from aiohttp import web

from hub import vault
from hub.api.caches import ByteCache
from hub.api.context import CONTEXT
from hub.api.guard import GUARD
from hub.api.oneroster.bindings import BINDINGS
from hub.api.oneroster.discovery import add_discovery
from hub.api.oneroster.endpoints import add_endpoints
from hub.api.oneroster.everywhere import Everywhere
from hub.api.oneroster.operations import Operation
from hub.api.oneroster.service import Service
from hub.api.oneroster.walks import Walks
from hub.api.oneroster.writes import WRITES, Write
from hub.api.oneroster.writing import Writing
from hub.api.permissions import Permission, declare
from hub.api.routing import Slashed
from hub.api.views import Views
from hub.crypto import WALKS, load_key
from hub.gradebook.announcer import Announcer
from hub.gradebook.gradebook import Gradebook

__all__ = ["add_oneroster"]
_SERVICE = web.AppKey("service", Service)
_EVERYWHERE = web.AppKey("everywhere", Everywhere)
_WRITING = web.AppKey("writing", Writing)
_SETS_BYTES = 64 * 2**20


def add_oneroster(app: web.Application) -> None:
    """Adds all reads and writes, and the discovery documents."""
    app.cleanup_ctx.append(_start)
    for binding in BINDINGS:
        for operation in binding.operations:
            declare(app, "GET", binding.path + operation.path, _reading(operation), Permission.SCOPE)
            declare(app, "GET", binding.everywhere + operation.path, _everywhere(operation), Permission.SCOPE)
    for write in WRITES:
        declare(app, write.method, write.address, _writing(write), Permission.SCOPE)
    add_discovery(app)
    add_endpoints(app)
    app.router.register_resource(Slashed(app.router))


async def _start(app: web.Application) -> AsyncIterator[None]:
    context, views = app[CONTEXT], Views()
    keys = await asyncio.to_thread(load_key, context.settings)
    await vault.fix(context.db, keys)
    service = app[_SERVICE] = Service(context, app[GUARD], views, Walks(keys.fixed(WALKS), context, views))
    app[_EVERYWHERE] = Everywhere.beside(service)
    announcer = Announcer(context.db, context.wake)
    gradebook = Gradebook(context.db, context.clock, ByteCache(_SETS_BYTES), announcer)
    app[_WRITING] = Writing(context, app[GUARD], gradebook)
    yield
    await announcer.close()


def _reading(operation: Operation) -> Callable[[web.Request], Awaitable[web.Response]]:
    async def handle(request: web.Request) -> web.Response:
        return await request.app[_SERVICE].answer(request, operation)

    return handle


def _everywhere(operation: Operation) -> Callable[[web.Request], Awaitable[web.Response]]:
    async def handle(request: web.Request) -> web.Response:
        return await request.app[_EVERYWHERE].answer(request, operation)

    return handle


def _writing(write: Write) -> Callable[[web.Request], Awaitable[web.Response]]:
    async def handle(request: web.Request) -> web.Response:
        return await request.app[_WRITING].answer(request, write)

    return handle
