"""The HTTP API: OneRoster for apps, OAuth, health and the admin API."""

from __future__ import annotations

import asyncio

from aiohttp import web

from hub.api.admin import add_admin
from hub.api.changes import add_changes
from hub.api.compression import compressing
from hub.api.context import CONTEXT, ApiContext
from hub.api.exports import add_exports
from hub.api.guard import add_guard
from hub.api.health import add_health
from hub.api.hints import add_hints
from hub.api.metrics import add_metrics
from hub.api.middleware import observing, refusals
from hub.api.oauth.endpoint import add_oauth
from hub.api.oneroster import add_oneroster
from hub.api.permissions import PERMISSIONS, refuse_undeclared

__all__ = ["CONTEXT", "ApiContext", "build_api"]


def build_api(context: ApiContext) -> web.Application:
    """The whole API over one database. Raises ValueError for a route without a permission."""
    stopping = asyncio.Event()
    app = web.Application(middlewares=[observing(stopping), refusals, compressing])
    app[CONTEXT] = context
    app[PERMISSIONS] = {}

    async def stop(_: web.Application) -> None:
        stopping.set()

    app.on_shutdown.append(stop)
    add_guard(app)
    add_health(app)
    add_metrics(app)
    add_oauth(app)
    add_oneroster(app)
    add_exports(app)
    add_changes(app)
    add_hints(app)
    refuse_undeclared(app)
    add_admin(app)
    return app
