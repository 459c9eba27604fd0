"""Errors and warnings of 1.1: the array ``statusInfoSet``.

Source: OneRoster 1.1, error handling. Its code minors are written with spaces, and it knows no 422.
"""

from __future__ import annotations

import orjson
from aiohttp import web

from hub.api.oneroster.errors import Minor, RefusedError

_MINORS = {
    Minor.INVALID_DATA: "invalid data",
    Minor.UNAUTHORISED: "unauthorized",
    Minor.UNKNOWN_OBJECT: "unknown object",
    Minor.INTERNAL: None,  # 1.1 has no word for it
}
_SEMANTIC = 422


def status_info(major: str, severity: str, minor: Minor, description: str) -> dict[str, str]:
    """One member of the set."""
    told = _MINORS.get(minor, minor.value)
    code = {} if told is None else {"imsx_codeMinor": told}
    return {"imsx_codeMajor": major, "imsx_severity": severity, **code, "imsx_description": description}


def response(error: RefusedError) -> web.Response:
    """The answer for a refusal."""
    told = [status_info("failure", "error", error.minor, error.description)]
    return web.Response(
        body=orjson.dumps({"statusInfoSet": told}),
        status=400 if error.status == _SEMANTIC else error.status,
        content_type="application/json",
        headers=error.headers,
    )
