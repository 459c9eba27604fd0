"""Routes are found by the parts of their paths, as aiohttp would find them one by one."""

from __future__ import annotations

import re

import pytest
from aiohttp import web
from aiohttp.test_utils import make_mocked_request

from hub.api.routing import Branches

PATHS = (
    "/d/{district}/a", "/d/{district}/a/{id}", "/d/{district}/a/{other}/b", "/d/{district}/a/named/c",
    "/d/{district}/a/named", "/d/{district}/a/{id}/b/{more}", "/d/{district}/x/v1/a/{id}",
)  # fmt: skip
ASKED = (
    "/d/1/a", "/d/1/a/2", "/d/1/a/2/b", "/d/1/a/named/b", "/d/1/a/named/c", "/d/1/a/named", "/d/1/a/2/c", "/d/1",
    "/d/1/a/", "/d//a", "/d/1/a/2%2Fb", "/d/1/%61/2", "/d/1/a/%7Bid%7D", "/d/1/a/n%61med/c", "/d/1/x/v1/a/2%252F3",
    "/d/1/a/2/b/3/", "/d/1/a/2/b/3", "/" + "d/" * 3_000, "/d/1/A", "//d/1/a",
)  # fmt: skip


async def handler(_: web.Request) -> web.Response:
    return web.Response()


async def found(router: web.UrlDispatcher, method: str, path: str) -> object:
    match = await router.resolve(make_mocked_request(method, path))
    error = match.http_exception
    if isinstance(error, web.HTTPMethodNotAllowed):
        return sorted(error.allowed_methods)
    resource = match.route.resource
    return 404 if error is not None or resource is None else (resource.canonical, dict(match))


@pytest.mark.parametrize("method", ["GET", "POST", "DELETE"])
async def test_what_is_found_is_what_aiohttp_finds(method: str) -> None:
    plain, ours, branches = web.UrlDispatcher(), web.UrlDispatcher(), Branches("/d/{district}/")
    ours.register_resource(branches)
    # aiohttp takes the first that fits: those with a name have to come first there.
    for path in sorted(PATHS, key=lambda path: "named" not in path):
        for each in ("GET", "POST") if path.endswith("}") else ("GET",):
            # Its variables hold no braces by themselves, and ids may.
            plain.add_route(each, re.sub(r"\{(\w+)\}", r"{\1:[^/]+}", path), handler)
    for path in PATHS:
        for each in ("GET", "POST") if path.endswith("}") else ("GET",):
            branches.add_route(each, path, handler)
    results = [(path, await found(ours, method, path)) for path in ASKED]
    assert results == [(path, await found(plain, method, path)) for path in ASKED]
    braces = dict(results)["/d/1/a/%7Bid%7D"]
    assert method == "DELETE" or braces == ("/d/{district}/a/{id}", {"district": "1", "id": "{id}"})
    assert any(isinstance(result, tuple if method != "DELETE" else list) for _, result in results)
    assert len(branches) == len(list(branches)) == 10


async def test_below_a_prefix_everything_is_found_as_before() -> None:
    """A sub-application's routes are moved when it is mounted."""
    outer, plain, branches = web.Application(), web.UrlDispatcher(), Branches("")
    inner = web.Application()
    inner.router.register_resource(branches)
    for path in PATHS:
        branches.add_route("GET", path, handler)
        plain.add_route("GET", "/admin/v1" + path, handler)
    inner.router.add_get("/d/fixed", handler)
    outer.add_subapp("/admin/v1", inner)
    outer.freeze()
    for path in ("/d/1/a", "/d/1/a/2", "/d/1/a/2/b/3", "/d/1/x/v1/a/2%252F3", "/d/1/x/v1/a", "/d//a", "/d/1"):
        expected = await found(plain, "GET", "/admin/v1" + path)
        assert await found(outer.router, "GET", "/admin/v1" + path) == expected
        assert await found(outer.router, "GET", path) == 404
    assert await found(outer.router, "POST", "/admin/v1/d/1/a/2") == ["GET"]
    assert await found(outer.router, "GET", "/admin/v1/d/fixed") == ("/admin/v1/d/fixed", {})


@pytest.mark.parametrize("path", ["/d/{district}.json", "/d/{district:[0-9]+}", "/d/a{district}"])
def test_a_variable_is_a_whole_part(path: str) -> None:
    with pytest.raises(ValueError, match="a whole part"):
        Branches("/d").add_route("GET", path, handler)


def test_a_route_is_added_once() -> None:
    branches = Branches("/d/{district}/")
    branches.add_route("GET", "/d/{district}/a", handler)
    with pytest.raises(RuntimeError, match="GET"):
        branches.add_route("GET", "/d/{district}/a", handler)
