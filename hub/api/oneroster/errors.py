"""OneRoster's error payload: the ``imsx_StatusInfo`` object, unwrapped as the official OpenAPI document has it."""

from __future__ import annotations

from enum import StrEnum

import orjson
from aiohttp import web

from hub.errors import Code

_SIGN = 'OAuth realm="oneroster"'


class Minor(StrEnum):
    """The code minors of OneRoster 1.2 that the hub answers with."""

    INVALID_FILTER = "invalid_filter_field"
    INVALID_SELECTION = "invalid_selection_field"
    BLANK_SELECTION = "invalid_blank_selection_field"  # of 1.1 alone
    INVALID_SORT = "invalid_sort_field"  # of 1.1 and of Resources
    INVALID_DATA = "invaliddata"
    UNAUTHORISED = "unauthorisedrequest"
    FORBIDDEN = "forbidden"
    BUSY = "server_busy"
    UNKNOWN_OBJECT = "unknownobject"
    INTERNAL = "internal_server_error"
    DELETE_FAILURE = "deletefailure"  # in the Gradebook service only


#: What Rostering 1.2 knows of these.
ROSTERING_MINORS = tuple(
    minor for minor in Minor if minor not in {Minor.BLANK_SELECTION, Minor.INVALID_SORT, Minor.DELETE_FAILURE}
)
#: What Gradebook 1.2 knows.
GRADEBOOK_MINORS = (*ROSTERING_MINORS, Minor.DELETE_FAILURE)


class RefusedError(Exception):
    """A request that gets an error payload; ``description`` says what to do next and repeats no value.

    ``code``: what a problem (RFC 9457) names, where the status does not say it already.
    """

    code: Code | None = None

    def __init__(self, status: int, minor: Minor, description: str, headers: dict[str, str] | None = None) -> None:
        super().__init__(description)
        self.status = status
        self.minor = minor
        self.description = description
        self.headers = headers or {}


def payload(minor: Minor, description: str) -> bytes:
    """The body of an error answer."""
    return orjson.dumps(
        {
            "imsx_codeMajor": "failure",
            "imsx_severity": "error",
            "imsx_description": description,
            "imsx_CodeMinor": {
                "imsx_codeMinorField": [
                    {"imsx_codeMinorFieldName": "TargetEndSystem", "imsx_codeMinorFieldValue": minor.value}
                ]
            },
        }
    )


def response(error: RefusedError) -> web.Response:
    """The answer for a refusal."""
    return web.Response(
        body=payload(error.minor, error.description),
        status=error.status,
        content_type="application/json",
        headers=error.headers,
    )


def invalid(description: str, minor: Minor = Minor.INVALID_DATA) -> RefusedError:
    """A request that no one may send so."""
    return RefusedError(400, minor, description)


def unknown_object() -> RefusedError:
    """The one answer for what does not exist, is outside the view, or belongs to another district."""
    return RefusedError(404, Minor.UNKNOWN_OBJECT, "There is no such object, or this app may not see it.")


def unauthorised(*, given: bool, signed: bool = False) -> RefusedError:
    """The one answer for a token that is missing, malformed, unknown, expired or revoked.

    ``signed``: the request might have been signed with OAuth 1 instead.
    """
    challenge = 'Bearer realm="oneroster"' + (', error="invalid_token"' if given else "")
    return RefusedError(
        401, Minor.UNAUTHORISED, "Send a valid access token as `Authorization: Bearer …`.",
        {"WWW-Authenticate": challenge + (f", {_SIGN}" if signed else "")},
    )  # fmt: skip


def unsigned(description: str) -> RefusedError:
    """The answer for a request that is not rightly signed with OAuth 1."""
    return RefusedError(401, Minor.UNAUTHORISED, description, {"WWW-Authenticate": _SIGN})


def forbidden(scopes: tuple[str, ...]) -> RefusedError:
    """A valid token without a scope that this read needs."""
    challenge = f'Bearer realm="oneroster", error="insufficient_scope", scope="{" ".join(scopes)}"'
    return RefusedError(
        403, Minor.FORBIDDEN, f"The token needs one of these scopes: {', '.join(scopes)}",
        {"WWW-Authenticate": challenge},
    )  # fmt: skip


def withdrawn() -> RefusedError:
    """A grant that the app did hold and does not any more."""
    return RefusedError(403, Minor.FORBIDDEN, "The district has suspended or withdrawn this app's access. Ask it.")


def internal(request_id: str = "") -> RefusedError:
    """A defect of the hub, with the id by which its log is searched."""
    named = f" for request {request_id}" if request_id else ""
    return RefusedError(500, Minor.INTERNAL, f"The hub failed to answer; its log says why{named}.")


def busy(status: int, seconds: int, description: str) -> RefusedError:
    """Try again in some seconds."""
    return RefusedError(status, Minor.BUSY, description, {"Retry-After": str(seconds)})
