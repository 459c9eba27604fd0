"""Refusals of what is not OneRoster's own, for apps: problems (RFC 9457) with the hub's stable code."""

from __future__ import annotations

import re
from typing import Any

import orjson
from aiohttp import web

from hub.api.admin.problem import MEDIA_TYPE, TITLES
from hub.api.admin.route import PREFIX
from hub.api.oneroster.errors import Minor, RefusedError
from hub.errors import Code

#: Addresses whose refusals are problems.
_OURS = re.compile(r"(?:/d/[^/]+)?/changes(?:/.*)?|/d/[^/]+/hints/.*|/asyncapi\.json", re.DOTALL)
_CODES = {
    401: Code.UNAUTHORIZED, 403: Code.FORBIDDEN, 404: Code.NOT_FOUND, 405: Code.METHOD_NOT_ALLOWED,
    406: Code.NOT_ACCEPTABLE, 410: Code.RESYNC_REQUIRED, 413: Code.TOO_LARGE, 415: Code.UNSUPPORTED_MEDIA_TYPE,
    429: Code.RATE_LIMITED, 500: Code.INTERNAL, 503: Code.UNAVAILABLE,
}  # fmt: skip


class ResyncError(RefusedError):
    """What a reader asks for cannot be told from where it stands. ``resync`` says how to begin anew."""

    code = Code.RESYNC_REQUIRED

    def __init__(self, description: str, resync: dict[str, Any]) -> None:
        super().__init__(410, Minor.INVALID_DATA, description)
        self.resync = resync


def has_problems(path: str) -> bool:
    """Whether what goes wrong at an address is told as a problem."""
    return _OURS.fullmatch(path) is not None


def response(error: RefusedError) -> web.Response:
    """The answer for a refusal."""
    code = error.code or _CODES.get(error.status, Code.INVALID_REQUEST)
    body: dict[str, Any] = {
        "type": f"{PREFIX}/docs#{code.value}", "title": TITLES[code], "status": error.status, "code": code.value,
        "detail": error.description,
    }  # fmt: skip
    if isinstance(error, ResyncError):
        body["resync"] = error.resync
    return web.Response(
        body=orjson.dumps(body), status=error.status, content_type=MEDIA_TYPE, headers=error.headers
    )  # fmt: skip
