"""Errors of the admin API as RFC 9457 problems, with the hub's stable code and what to do next."""

from __future__ import annotations

from typing import Any

import orjson
import structlog
from aiohttp import web
from aiohttp.typedefs import Handler
from pydantic import BaseModel, Field, ValidationError

from hub.api.admin.route import PREFIX
from hub.api.attempts import HeldUpError
from hub.api.routing import allow
from hub.errors import HTTP_STATUS, Code, HubError, out_of_room, storage_full
from hub.logs import described

_log = structlog.get_logger()
MEDIA_TYPE = "application/problem+json"

TITLES: dict[Code, str] = {
    Code.INTERNAL: "Something is wrong with the hub",
    Code.NOT_FOUND: "Not found",
    Code.INVALID_REQUEST: "The request cannot be understood",
    Code.CONFLICT: "The object is not in the right state",
    Code.UNAUTHORIZED: "No valid token",
    Code.FORBIDDEN: "This token may not do that",
    Code.UNAVAILABLE: "The hub cannot answer right now",
    Code.STORAGE_FULL: "There is no room left",
    Code.METHOD_NOT_ALLOWED: "This address does not know that method",
    Code.TOO_LARGE: "Too large",
    Code.UNSUPPORTED_MEDIA_TYPE: "The body has the wrong media type",
    Code.TOO_MANY_ATTEMPTS: "Too many attempts",
    Code.UPLOAD_INCOMPLETE: "The upload is not whole",
    Code.DISTRICT_BUSY: "The district is busy",
    Code.RUN_HELD: "A run waits for a decision",
    Code.PAST_GONE: "The past is not kept so long",
    Code.RESYNC_REQUIRED: "Nothing can be told from that position",
    Code.RATE_LIMITED: "Too many requests",
    Code.NOT_ACCEPTABLE: "The answer is of another media type",
    Code.UPLOAD_GONE: "The upload is gone",
    Code.OFFSET_MISMATCH: "The upload goes on from another byte",
    Code.CHECKSUM_MISMATCH: "The part is not what was sent",
    Code.TUS_VERSION: "Another version of the protocol is spoken",
}
_BY_STATUS = {
    400: (Code.INVALID_REQUEST, "Look at the request line, the headers and the body, and send it again."),
    404: (Code.NOT_FOUND, f"There is nothing at this address. {PREFIX}/docs lists every route."),
    405: (Code.METHOD_NOT_ALLOWED, "Use one of the methods in the Allow header."),
    413: (Code.TOO_LARGE, "Send less at once."),
    415: (Code.UNSUPPORTED_MEDIA_TYPE, f"{PREFIX}/docs says what this route takes."),
}


class FieldError(BaseModel):
    """What is wrong with one field."""

    field: str = Field(description="Path of the field, such as `definition.schools[0]`.")
    message: str


class Problem(BaseModel):
    """The body of every error answer (RFC 9457)."""

    type: str = Field(description="Address of the code's explanation.")
    title: str
    status: int
    code: Code = Field(description="Stable: a program may rely on it.")
    detail: str = Field(description="What happened here, and what to do next.")
    errors: list[FieldError] | None = Field(default=None, description="The fields that were refused.")


def response(
    code: Code, detail: str, *, status: int | None = None, errors: list[FieldError] | None = None
) -> web.Response:
    """An error answer."""
    problem = Problem(
        type=f"{PREFIX}/docs#{code.value}",
        title=TITLES.get(code, TITLES[Code.INTERNAL]),
        status=status or HTTP_STATUS.get(code, 500),
        code=code,
        detail=detail,
        errors=errors,
    )
    headers = {"Cache-Control": "no-store"}
    if code is Code.UNAUTHORIZED:
        headers["WWW-Authenticate"] = 'Bearer realm="admin"'
    if code is Code.UNAVAILABLE:
        headers["Retry-After"] = "2"
    if code is Code.STORAGE_FULL:
        headers["Retry-After"] = "60"
    if code is Code.TUS_VERSION:
        headers["Tus-Version"] = "1.0.0"
    body = orjson.dumps(problem.model_dump(mode="json", exclude_none=True))
    return web.Response(body=body, status=problem.status, content_type=MEDIA_TYPE, headers=headers)


class InvalidError(Exception):
    """A query or a body that its model refuses."""

    def __init__(self, what: str, errors: list[FieldError]) -> None:
        super().__init__(what)
        self.what = what
        self.errors = errors


def invalid(what: str, error: ValidationError, *, under: str = "") -> InvalidError:
    """The refusal for a model's complaints, with paths below ``under``; what was sent is not repeated in it."""
    details = error.errors(include_input=False, include_url=False, include_context=False)
    above = (under,) if under else ()
    texts = [_text(d["type"], d["msg"]) for d in details]
    fields = [FieldError(field=_path((*above, *d["loc"])), message=m) for d, m in zip(details, texts, strict=True)]
    return InvalidError(what, fields)


def _text(kind: str, said: str) -> str:
    """A model's complaint in plain words: of texts that have to look in some way it shows the pattern alone."""
    if kind == "string_pattern_mismatch":
        return f"not written as expected: it has to fit {said.removeprefix('String should match pattern ')}"
    return said.removeprefix("Value error, ")


def _path(loc: tuple[int | str, ...]) -> str:
    text = ""
    for part in loc:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else part
    return text


@web.middleware
async def problems(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Turns every error below the admin API into a problem."""
    answer = await _answered(request, handler)
    if "Tus-Resumable" in request.headers and not answer.prepared:  # that protocol wants it with errors, too
        answer.headers["Tus-Resumable"] = "1.0.0"
    return answer


async def _answered(request: web.Request, handler: Handler) -> web.StreamResponse:
    try:
        return await handler(request)
    except HubError as error:
        return _refused(error)
    except HeldUpError as error:
        answer = response(Code.TOO_MANY_ATTEMPTS, error.text)
        answer.headers["Retry-After"] = str(error.seconds)
        return answer
    except InvalidError as error:
        names = ", ".join(e.field or e.message for e in error.errors[:5])
        return response(Code.INVALID_REQUEST, f"Mend the {error.what} and send it again: {names}.", errors=error.errors)
    except web.HTTPException as error:
        return _of_http(error)
    except web.RequestPayloadError:
        answer = response(Code.INVALID_REQUEST, "The body ended early, or is not coded as its headers say.")
        answer.force_close()
        return answer
    except ConnectionError:
        raise  # the caller is gone: nobody would read an answer
    except Exception as error:
        if out_of_room(error):
            return _refused(storage_full("the hub's temporary files (TMPDIR)"))
        _failed(request, error)
        return response(Code.INTERNAL, "The hub failed to answer; its log says why. Try again, then tell the operator.")


def _refused(error: HubError) -> web.Response:
    # Messages of other codes may tell of the inside (settings, schema): the log has them, the caller does not.
    if error.code is Code.NOT_FOUND:  # one text for what is missing and for what is somebody else's
        return response(error.code, "There is no such object, or this token may not reach it. Check the ids.")
    if error.code in TITLES and error.code is not Code.INTERNAL:
        return response(error.code, error.message, status=error.http_status)
    _log.error("admin request failed", **described(error))
    return response(Code.INTERNAL, "The hub failed to answer; its log says why. Try again, then tell the operator.")


def _of_http(error: web.HTTPException) -> web.StreamResponse:
    if error.status not in _BY_STATUS:
        raise error
    code, detail = _BY_STATUS[error.status]
    answer = response(code, detail)
    if isinstance(error, web.HTTPMethodNotAllowed):
        answer.headers["Allow"] = allow(error)
    return answer


def _failed(request: web.Request, error: Exception) -> None:
    """Logs where it failed, never the texts of errors, which may quote values."""
    resource: Any = request.match_info.route.resource
    route = resource.canonical if resource is not None else None
    _log.error("admin request failed", method=request.method, route=route, **described(error))
