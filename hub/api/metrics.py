"""``/metrics`` of the API: for this machine itself, or with a token. The worker's has what PostgreSQL knows."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress

from aiohttp import web

from hub.api.context import CONTEXT
from hub.api.oneroster.errors import Minor, RefusedError
from hub.api.permissions import Permission, declare
from hub.metrics import exposition
from hub.metrics.sampling import sample

_CLASSES = (
    ("/admin/", "admin"), ("/oauth/", "oauth"), ("/.well-known/", "oauth"), ("/healthz", "health"),
    ("/readyz", "health"), ("/metrics", "health"),
)  # fmt: skip
_known: dict[str, str] = {}


def add_metrics(app: web.Application) -> None:
    """Adds the route, and looks at the process while it serves."""
    declare(app, "GET", "/metrics", _metrics, Permission.MACHINE)
    app.cleanup_ctx.append(_sampled)


async def _sampled(app: web.Application) -> AsyncIterator[None]:
    task = asyncio.create_task(sample({"api": app[CONTEXT].db}))
    yield
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task


async def _metrics(request: web.Request) -> web.Response:
    settings = request.app[CONTEXT].settings
    token = settings.metrics_token.get_secret_value() if settings.metrics_token is not None else None
    if not exposition.admitted(request, token):
        raise RefusedError(403, Minor.FORBIDDEN, exposition.REFUSAL)
    headers = {"Content-Type": exposition.CONTENT_TYPE, "Cache-Control": "no-store"}
    return web.Response(body=await exposition.exposed(), headers=headers)


def class_of(route: str) -> str:
    """The class of a route by its pattern, as metrics name it."""
    found = _known.get(route)
    if found is None:
        found = _known[route] = _class_of(route)
    return found


def _class_of(route: str) -> str:
    for prefix, name in _CLASSES:
        if route.startswith(prefix):
            return name
    if route.endswith("/changes"):
        return "changes"
    if "/export/" in route:
        return "export"
    return "oneroster" if "/ims/oneroster/" in route else "other"
