"""Finding a route among hundreds by the parts of its path.

aiohttp tries one pattern after the other where paths begin alike, and all of a district's do: the last of them would
cost more to find than to answer.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NoReturn

from aiohttp import web
from aiohttp.typedefs import Handler
from yarl import URL

_ONEROSTER = "/ims/oneroster/"
_VARIABLE = re.compile(r"\{(\w+)\}")


@dataclass(slots=True)
class _Node:
    """What the paths with one beginning go on with. ``resources``: those that end here, whatever their variables."""

    parts: dict[str, _Node] = field(default_factory=dict)
    variable: _Node | None = None
    resources: list[_Address] = field(default_factory=list)

    def below(self, part: str) -> _Node:
        """The node after one more part of a declared path; made where it is missing."""
        if not _VARIABLE.fullmatch(part):
            return self.parts.setdefault(part, _Node())
        if self.variable is None:
            self.variable = _Node()
        return self.variable

    def find(self, parts: list[str], at: int) -> list[_Address]:
        """The resources that a path's parts from ``at`` on lead to, those with a name before those with a variable."""
        node = self
        for place in range(at, len(parts)):
            part = parts[place]
            named = node.parts.get(part)
            if named is not None and node.variable is not None:
                return [*named.find(parts, place + 1), *node.variable.find(parts, place + 1)]
            following = named or (node.variable if part else None)
            if following is None:
                return []
            node = following
        return node.resources


def allow(error: web.HTTPMethodNotAllowed) -> str:
    """What an address knows, as the header ``Allow`` says it: OPTIONS is answered everywhere."""
    return ", ".join(sorted({*error.allowed_methods, "OPTIONS"}))


class _Whole(web.AbstractResource):
    """A resource that stands for others, of which aiohttp's router asks nothing but to resolve."""

    def add_prefix(self, prefix: str) -> None:
        """Sub-applications have routers of their own."""
        raise TypeError("this resource is asked by the parts of a path only")

    def raw_match(self, path: str) -> bool:
        """Whether another route may join this resource in aiohttp's own way: none may."""
        return False

    def url_for(self, **_: str) -> URL:
        """Addresses are made where they are written."""
        raise TypeError("this resource is asked by the parts of a path only")

    def get_info(self) -> NoReturn:
        """Nobody asks."""
        raise TypeError("this resource is asked by the parts of a path only")


class _Address(web.Resource, _Whole):
    """A path with variables, asked for paths alone that it was found by: there is nothing left to compare.

    aiohttp's own makes an expression of each path, and there are more of them than Python keeps, so that each start of
    the API compiled them anew; and its variables hold no braces, which ids may.
    """

    def __init__(self, path: str) -> None:
        super().__init__()
        self._path = path
        self._variables: list[tuple[str, int]] = []
        for place, part in enumerate(path.split("/")):
            if match := _VARIABLE.fullmatch(part):
                self._variables.append((match[1], place))
            elif "{" in part:
                raise ValueError(f"a variable is a whole part of a path: {path}")

    @property
    def canonical(self) -> str:
        """The path as it was declared, behind the prefix of its application."""
        return self._path

    def add_prefix(self, prefix: str) -> None:
        """Stands below a fixed path from now on."""
        self._path = prefix + self._path
        self._variables = [(name, place + prefix.count("/")) for name, place in self._variables]

    def _match(self, path: str) -> dict[str, str]:
        parts = path.split("/")
        return {name: _unquoted(parts[place]) for name, place in self._variables}


def _unquoted(part: str) -> str:
    """What stands in a part of a ``path_safe``, in which these two are still quoted."""
    return part.replace("%2F", "/").replace("%25", "%") if "%" in part else part


class Branches(_Whole):
    """All resources whose paths begin with ``prefix``, as one resource of the router, which looks for it there."""

    def __init__(self, prefix: str) -> None:
        super().__init__()
        self._prefix = prefix
        self._root = _Node()
        self._resources: dict[str, _Address] = {}
        #: Those of which the only variable is that of the prefix, by what stands behind its part: most requests.
        self._start, _, variable = prefix.partition("{")
        self._below: dict[str, _Address] | None = {} if variable else None

    def add_route(self, method: str, path: str, handler: Handler) -> None:
        """Adds a route. Raises RuntimeError for a method that its path has already, ValueError for half a variable."""
        resource = self._resources.get(path)
        if resource is None:
            resource = self._resources[path] = _Address(path)
            node = self._root
            for part in path.split("/"):
                node = node.below(part)
            node.resources.append(resource)
            rest = path.removeprefix(self._prefix)
            if self._below is not None and "{" not in rest:
                self._below[rest] = resource
        resource.add_route(method, handler)

    @property
    def canonical(self) -> str:
        """The path by which aiohttp finds this resource."""
        return self._prefix

    def add_prefix(self, prefix: str) -> None:
        """Stands below a fixed path from now on, as what a sub-application routes does."""
        self._prefix, self._below = prefix + self._prefix, None
        first, *inner = prefix.split("/")
        below, self._root = self._root.parts.pop(first), _Node()
        node = self._root.below(first)
        for part in inner[:-1]:
            node = node.below(part)
        node.parts[inner[-1]] = below
        for resource in self._resources.values():
            resource.add_prefix(prefix)

    async def resolve(self, request: web.Request) -> tuple[web.UrlMappingMatchInfo | None, set[str]]:
        """The match for a request, and the methods that its path knows."""
        path = request.rel_url.path_safe
        if self._below is not None and path.startswith(self._start):
            part, _, rest = path[len(self._start) :].partition("/")
            if part and (known := self._below.get(rest)) is not None:
                match, _ = await known.resolve(request)
                if match is not None:
                    return match, set()
        allowed: set[str] = set()
        for resource in self._root.find(path.split("/"), 0):
            match, methods = await resource.resolve(request)
            allowed |= methods
            if match is not None:
                return match, allowed
        return None, allowed

    def __iter__(self) -> Iterator[web.AbstractRoute]:
        return (route for resource in self._resources.values() for route in resource)

    def __len__(self) -> int:
        return sum(map(len, self._resources.values()))


class Slashed(_Whole):
    """Addresses of OneRoster with a slash behind: some clients ask for ``/courses/?limit=100``.

    It stands at the root, where aiohttp looks last.
    """

    def __init__(self, router: web.UrlDispatcher) -> None:
        super().__init__()
        self._router = router

    @property
    def canonical(self) -> str:
        """The path by which aiohttp finds this resource."""
        return "/"

    async def resolve(self, request: web.Request) -> tuple[web.UrlMappingMatchInfo | None, set[str]]:
        """The match for the address without its slash, and the methods that it knows."""
        path = request.rel_url.raw_path
        bare = path.removesuffix("/")
        if bare == path or bare.endswith("/") or _ONEROSTER not in path:
            return None, set()
        found = await self._router.resolve(request.clone(rel_url=request.rel_url.with_path(bare, encoded=True)))
        if isinstance(found.http_exception, web.HTTPMethodNotAllowed):
            return None, found.http_exception.allowed_methods
        return (found, set()) if found.http_exception is None else (None, set())

    def __iter__(self) -> Iterator[web.AbstractRoute]:
        return iter(())

    def __len__(self) -> int:
        return 0
