"""The admin API: districts, sources, runs, apps, grants, subscriptions, tokens and the audit log.

Rosters are shown to a district's own tokens alone: whoever runs the hub does not read children's data here (T55).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import orjson
from aiohttp import web
from pydantic import BaseModel, ValidationError

from hub.api.admin import problem
from hub.api.admin.access import admit
from hub.api.admin.route import PREFIX, TABLE, Route, check
from hub.api.admin.routes import ROUTES
from hub.api.admin.runs import STOPPING
from hub.api.admin.shapes import Asked
from hub.api.context import CONTEXT, SENDING
from hub.api.routing import Branches
from hub.errors import Code, HubError

__all__ = ["PREFIX", "ROUTES", "add_admin"]


def add_admin(app: web.Application) -> None:
    """Mounts the admin API below ``PREFIX``. ``app`` holds the API's context under ``CONTEXT``.

    Raises ValueError when the table of routes contradicts itself.
    """
    check(ROUTES)
    admin = web.Application(middlewares=[problem.problems])
    branches = Branches("")
    admin.router.register_resource(branches)
    for route in ROUTES:
        add_route = branches.add_route if route.parameters else admin.router.add_route
        add_route(route.method, route.path, _endpoint(route))
        if route.head:
            add_route("HEAD", route.path, _endpoint(route))
        if route.options is not None:
            add_route("OPTIONS", route.path, _options(route.options))
    admin[TABLE] = ROUTES
    admin[STOPPING] = asyncio.Event()
    admin[SENDING] = set()
    admin.on_shutdown.append(_stop)
    app.add_subapp(PREFIX, admin)


async def _stop(admin: web.Application) -> None:
    admin[STOPPING].set()


def _options(headers: Iterable[tuple[str, str]]) -> Callable[[web.Request], Any]:
    async def options(_request: web.Request) -> web.Response:
        return web.Response(status=204, headers={"Cache-Control": "no-store", **dict(headers)})

    return options


def _endpoint(route: Route) -> Callable[[web.Request], Any]:
    async def endpoint(request: web.Request) -> web.StreamResponse:
        call = await admit(request, request.config_dict[CONTEXT], route)
        arguments: list[object] = []
        if route.query is not None:
            arguments.append(_query(route.query, request))
        elif not route.public:
            _query(Asked, request)  # a `limit` that is not looked at would be taken for one that works
        if route.body is not None:
            streamed = request.content_type in route.streams
            arguments.append(None if streamed else await _body(route.body, request))
        return _answer(route, await route.handler(call, *arguments), call.headers)

    return endpoint


def _query(model: type[BaseModel], request: web.Request) -> BaseModel:
    try:
        return model.model_validate(dict(request.query))
    except ValidationError as error:
        raise problem.invalid("query", error) from None


async def _body(model: type[BaseModel], request: web.Request) -> BaseModel:
    if request.body_exists and request.content_type != "application/json":
        raise HubError(Code.UNSUPPORTED_MEDIA_TYPE, "Send the body as application/json.")
    try:
        return model.model_validate_json(await request.read() or b"{}")
    except ValidationError as error:
        raise problem.invalid("body", error) from None


def _answer(route: Route, result: object, headers: Mapping[str, str]) -> web.StreamResponse:
    if isinstance(result, web.StreamResponse):
        return result
    if result is None:
        return web.Response(status=204, headers={"Cache-Control": "no-store"})
    if not isinstance(result, BaseModel):
        raise TypeError(f"{route.operation} answers with {type(result).__name__}")
    body = orjson.dumps(result.model_dump(mode="json"))
    return web.Response(
        body=body,
        status=route.status,
        content_type="application/json",
        headers={"Cache-Control": "no-store", **headers},
    )
