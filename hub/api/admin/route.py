"""One admin route: everything that is said about it is said here once.

From the declarations come aiohttp's routes, the permission check, the audit row's action and the OpenAPI document.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Literal

from aiohttp import web
from pydantic import BaseModel

from hub.errors import Code

PREFIX = "/admin/v1"
Method = Literal["GET", "POST", "PUT", "PATCH", "DELETE"]


class Role(StrEnum):
    """Whose hand a token is in."""

    OPERATOR = "operator"  # runs the hub for all districts and sees no roster
    DISTRICT = "district"  # one district
    APP = "app"  # one app


OPERATOR = frozenset({Role.OPERATOR})
DISTRICT = frozenset({Role.DISTRICT})
STAFF = frozenset({Role.OPERATOR, Role.DISTRICT})
EVERYONE = frozenset(Role)
PUBLIC: frozenset[Role] = frozenset()

#: Errors that every route with a token may answer with.
_ALWAYS = (
    Code.UNAUTHORIZED, Code.FORBIDDEN, Code.INVALID_REQUEST, Code.TOO_MANY_ATTEMPTS, Code.UNAVAILABLE,
    Code.STORAGE_FULL,
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Route:
    """One method on one path below ``PREFIX``.

    ``handler`` takes the call, then the parsed ``query`` and the parsed ``body`` where these are declared, and returns
    ``answer``, a whole response, or None (204). Where a route with a body also ``streams`` a form, that has the body as
    a part before the file, and the handler gets None and reads it itself. ``action`` is the audit row's action; every
    route that writes has one.
    """

    method: Method
    path: str
    handler: Callable[..., Awaitable[Any]]
    summary: str
    roles: frozenset[Role] = field(default=EVERYONE, kw_only=True)
    query: type[BaseModel] | None = field(default=None, kw_only=True)
    body: type[BaseModel] | None = field(default=None, kw_only=True)
    streams: tuple[str, ...] = field(default=(), kw_only=True)  # media types of a body that the handler reads itself
    answer: type[BaseModel] | None = field(default=None, kw_only=True)
    media: str = field(default="application/json", kw_only=True)
    status: int = field(default=200, kw_only=True)
    action: str | None = field(default=None, kw_only=True)
    writes: bool | None = field(default=None, kw_only=True)  # None: every method but GET does
    errors: tuple[Code, ...] = field(default=(), kw_only=True)
    head: bool = field(default=False, kw_only=True)  # a GET that HEAD asks for too, as a protocol says
    options: tuple[tuple[str, str], ...] | None = field(default=None, kw_only=True)  # headers that OPTIONS answers with

    @property
    def changes(self) -> bool:
        """Whether this route changes anything, and so leaves an audit row."""
        return self.method != "GET" if self.writes is None else self.writes

    @property
    def operation(self) -> str:
        """The operation's stable name, as generated clients use it."""
        return f"{self.handler.__module__.rpartition('.')[2]}_{self.handler.__name__}"

    @property
    def group(self) -> str:
        """The resource that this route belongs to."""
        return self.handler.__module__.rpartition(".")[2]

    @property
    def parameters(self) -> tuple[str, ...]:
        """Names of the path's variable parts."""
        return tuple(re.findall(r"\{(\w+)\}", self.path))

    @property
    def public(self) -> bool:
        """Whether no token is asked for."""
        return not self.roles

    @property
    def codes(self) -> tuple[Code, ...]:
        """All errors that this route may answer with."""
        codes = set(self.errors)
        if not self.public:
            codes.update(_ALWAYS)
        if self.parameters:
            codes.add(Code.NOT_FOUND)
        if self.body:
            codes.update((Code.TOO_LARGE, Code.UNSUPPORTED_MEDIA_TYPE))
        return tuple(sorted(codes))


#: The table of the running API; the pages about it are made from it.
TABLE: web.AppKey[tuple[Route, ...]] = web.AppKey("routes", tuple)


def check(routes: Iterable[Route]) -> None:
    """Refuses a table with a contradiction in it, at start and not at the first request.

    Raises ValueError.
    """
    seen: set[tuple[str, str]] = set()
    names: set[str] = set()
    for route in routes:
        place = f"{route.method} {route.path}"
        if (route.method, route.path) in seen or route.operation in names:
            raise ValueError(f"{place} is declared twice")
        if route.changes != (route.action is not None):
            raise ValueError(f"{place}: exactly the routes that write have an action for the audit log")
        if route.public and (route.method != "GET" or route.parameters):
            raise ValueError(f"{place}: only fixed pages may be public")
        if "{district}" in route.path and route.parameters[0] != "district":
            raise ValueError(f"{place}: the district comes first")
        seen.add((route.method, route.path))
        names.add(route.operation)
