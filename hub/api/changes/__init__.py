"""What changed in the views of an app, for whoever asks: one district's, or all of them. Push tells the same."""

from __future__ import annotations

from collections.abc import AsyncIterator

from aiohttp import web

from hub.api.changes.asyncapi import serve_document
from hub.api.changes.everywhere import Everywhere
from hub.api.changes.service import District
from hub.api.changes.waiting import WAITING, start_waiting, stop_waiting
from hub.api.context import CONTEXT
from hub.api.guard import GUARD
from hub.api.permissions import Permission, declare

__all__ = ["ASYNCAPI", "EVERYWHERE", "PATH", "add_changes"]

#: Where the changes of one district, and those of all, are told.
PATH = "/d/{district}/changes"
EVERYWHERE = "/changes"
#: Where every message is described.
ASYNCAPI = "/asyncapi.json"
_DISTRICT = web.AppKey("changes", District)
_ALL = web.AppKey("changes everywhere", Everywhere)


def add_changes(app: web.Application) -> None:
    """Adds the routes for apps, and the document."""
    app.cleanup_ctx.append(start_waiting)
    app.cleanup_ctx.append(_start)
    app.on_shutdown.append(stop_waiting)
    declare(app, "GET", PATH, _district, Permission.SCOPE)
    declare(app, "GET", EVERYWHERE, _everywhere, Permission.SCOPE)
    declare(app, "GET", ASYNCAPI, serve_document, Permission.PUBLIC)


async def _start(app: web.Application) -> AsyncIterator[None]:
    service = app[_DISTRICT] = District(app[CONTEXT], app[GUARD], app[WAITING])
    app[_ALL] = Everywhere(service.context, service.guard, service.waiting, service.reader)
    yield


async def _district(request: web.Request) -> web.Response:
    return await request.app[_DISTRICT].answer(request)


async def _everywhere(request: web.Request) -> web.Response:
    return await request.app[_ALL].answer(request)
