"""Which permission each route and method needs, stated beside the route; the app does not start with an undeclared one.

HEAD has the permission of GET. Sub-applications (the admin API) keep a table of their own, checked in the same way.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from enum import StrEnum

from aiohttp import web

from hub.api.routing import Branches

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Permission(StrEnum):
    """Who may call a route."""

    PUBLIC = "public"  # anyone: nothing of a district is told
    MACHINE = "machine"  # this machine itself, or whoever has the token of metrics
    CLIENT = "client"  # whoever has an OAuth client's secret
    HINT = "hint"  # whoever has the secret address of a source
    SCOPE = "scope"  # an access token with one of the operation's scopes, and a grant in the district


#: How the paths of everything that belongs to one district begin.
DISTRICT = "/d/{district}/"
#: Where aiohttp looks for the paths with variables that are of no district: behind all that is nearer to an address.
OTHERS = "/"
BRANCHES = web.AppKey("branches", dict[str, Branches])
PERMISSIONS = web.AppKey("permissions", dict[tuple[str, str], Permission])


def declare(app: web.Application, method: str, path: str, handler: Handler, permission: Permission) -> None:
    """Adds a route with its permission; a GET can be asked with HEAD too."""
    methods = ("GET", "HEAD") if method == "GET" else (method,)
    for each in methods:
        if "{" in path:
            _branches(app, DISTRICT if path.startswith(DISTRICT) else OTHERS).add_route(each, path, handler)
        else:
            app.router.add_route(each, path, handler)
        app[PERMISSIONS][each, path] = permission


def _branches(app: web.Application, prefix: str) -> Branches:
    if BRANCHES not in app:
        app[BRANCHES] = {}
    branches = app[BRANCHES]
    if prefix not in branches:
        branches[prefix] = Branches(prefix)
        app.router.register_resource(branches[prefix])
    return branches[prefix]


def refuse_undeclared(app: web.Application) -> None:
    """Raises ValueError for a route without a permission, and for a permission without a route."""
    routed = {
        (route.method, route.resource.canonical)
        for resource in app.router.resources()
        if not isinstance(resource, web.PrefixedSubAppResource)
        for route in resource
        if route.resource is not None
    }
    if routed != app[PERMISSIONS].keys():
        raise ValueError(f"routes and permissions differ: {sorted(routed ^ app[PERMISSIONS].keys())}")
