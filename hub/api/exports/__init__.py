"""Exports: CSV packages of what an app's grant shows, sent at once or made first and then fetched."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable

from aiohttp import web

from hub.api.context import CONTEXT
from hub.api.exports.service import Service
from hub.api.guard import GUARD
from hub.api.permissions import Permission, declare

__all__ = ["PATH", "add_exports"]

#: Where exports stand below the hub's address.
PATH = "/d/{district}/export/v1"
_SERVICE = web.AppKey("exports", Service)
_Handler = Callable[[Service, web.Request], Awaitable[web.StreamResponse]]


def add_exports(app: web.Application) -> None:
    """Adds the routes for apps."""
    app.cleanup_ctx.append(_start)
    one = PATH + "/exports/{export}"
    for method, path, handler in (
        ("GET", PATH + "/oneroster.zip", Service.send),
        ("POST", PATH + "/exports", Service.ask),
        ("GET", one, Service.look),
        ("GET", one + "/file", Service.fetch),
        ("POST", one + "/acknowledge", Service.acknowledge),
    ):
        declare(app, method, path, _handling(handler), Permission.SCOPE)


async def _start(app: web.Application) -> AsyncIterator[None]:
    app[_SERVICE] = await Service.start(app[CONTEXT], app[GUARD])
    yield


def _handling(handler: _Handler) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
    async def handle(request: web.Request) -> web.StreamResponse:
        return await handler(request.app[_SERVICE], request)

    return handle
