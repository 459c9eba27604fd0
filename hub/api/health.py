"""``/healthz``: the process runs. ``/readyz``: it can answer, since the database is there and has the right schema."""

from __future__ import annotations

import orjson
from aiohttp import web

from hub.api.context import CONTEXT
from hub.api.permissions import Permission, declare
from hub.errors import HubError
from hub.store.migrate import check_schema

_HEADERS = {"Cache-Control": "no-store"}


def add_health(app: web.Application) -> None:
    """Adds both routes; they need no token and tell nothing but yes or no."""
    declare(app, "GET", "/healthz", _live, Permission.PUBLIC)
    declare(app, "GET", "/readyz", _ready, Permission.PUBLIC)


async def _live(_: web.Request) -> web.Response:
    return _state("ok", 200)


async def _ready(request: web.Request) -> web.Response:
    try:
        async with request.app[CONTEXT].db.shared() as tx:
            await check_schema(tx)
    except HubError as error:
        return _state(error.code.value, 503)
    return _state("ok", 200)


def _state(state: str, status: int) -> web.Response:
    body = orjson.dumps({"status": state})
    return web.Response(body=body, status=status, content_type="application/json", headers=_HEADERS)
