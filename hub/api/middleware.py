"""Around every request: an id, one line in the log, security headers, and errors in the form of the path's protocol.

Neither queries nor ids nor values are logged: the line names the route's pattern. A caller's own id is taken over where
it can be nothing but a random number: a UUID or 32 hexadecimal digits as ``X-Request-ID``, and the trace's id of a W3C
``traceparent``. Anything else a caller may choose could be a name (T48).
"""

from __future__ import annotations

import asyncio
import itertools
import re
import secrets

import orjson
import structlog
from aiohttp import web
from aiohttp.hdrs import METH_ALL
from aiohttp.typedefs import Handler, Middleware

from hub.api import problems
from hub.api.attempts import HeldUpError
from hub.api.limits import QUOTA
from hub.api.metrics import class_of
from hub.api.oneroster.bindings import version_of
from hub.api.oneroster.errors import Minor, RefusedError, busy, internal, invalid, response
from hub.api.oneroster.v1p1 import errors as v1p1
from hub.api.routing import allow
from hub.errors import Code, HubError
from hub.metrics.known import REQUEST_SECONDS, REQUESTS

REQUEST_ID = "X-Request-ID"
_SECURITY = {
    "Server": "RosterHub",  # aiohttp would name its version and Python's
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "X-Frame-Options": "DENY",
    "Strict-Transport-Security": "max-age=31536000",
}
_RANDOM = re.compile(r"[0-9a-f]{32}|[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)
_TRACE = re.compile(r"[0-9a-f]{2}-([0-9a-f]{32})-[0-9a-f]{16}-[0-9a-f]{2}.{0,200}")
_LONGEST_ID = 36
_RETRY_SECONDS = 2
_FULL_SECONDS = 60
_UNREAD = frozenset({408, 413})  # the rest of the body would be taken for the next request
_GONE = 499  # the caller went away before the answer
#: A body that breaks off in the middle of its coding, or never was in it.
UNREADABLE = "The body ended early, or is not coded as its headers say."
_log = structlog.get_logger(__name__)


#: The id of a request, for whoever wants to tell it.
ID = web.RequestKey("id", str)


def observing(stopping: asyncio.Event) -> Middleware:
    """The middleware that gives a request its id, writes its line, answers OPTIONS, and finishes the headers.

    No connection is kept once ``stopping`` is set.
    """
    log = structlog.get_logger(__name__).bind()  # bound once: structlog's proxy would bind anew for each line
    process, count = secrets.token_hex(4), itertools.count(1)

    @web.middleware
    async def observe(request: web.Request, handler: Handler) -> web.StreamResponse:
        now = asyncio.get_running_loop().time
        started = now()
        given = request.headers.get(REQUEST_ID)
        own = given is None or len(given) > _LONGEST_ID or not _RANDOM.fullmatch(given)
        request_id = f"{process}{next(count):06x}" if own or given is None else given
        request[ID] = request_id
        status = _GONE
        try:
            error = request.match_info.http_exception if request.method == "OPTIONS" else None
            if error is not None and isinstance(error, web.HTTPMethodNotAllowed):
                answer = _allowed(error)
            else:
                answer = await handler(request)
            status = answer.status
        except web.HTTPException as error:
            status = error.status
            error.headers[REQUEST_ID] = request_id
            raise
        finally:
            seconds, route = now() - started, _route(request)
            milliseconds, kind = round(seconds * 1000, 1), class_of(route)
            REQUESTS.count(kind, str(status))
            REQUEST_SECONDS.took(seconds, kind)
            log.info(
                "request", id=request_id, method=_method(request), route=route, status=status,
                ms=milliseconds, **_traced(request),
            )  # fmt: skip
        if not answer.prepared:
            dress(request, answer)
            if stopping.is_set():
                answer.force_close()
        return answer

    return observe


def dress(request: web.Request, answer: web.StreamResponse) -> None:
    """Adds the headers that every answer to a request carries; what is sent in a stream needs them before its body."""
    answer.headers[REQUEST_ID] = request[ID]
    secured(answer)
    quota = request.get(QUOTA)
    if quota is not None:
        answer.headers.extend(quota.headers())


def secured(answer: web.StreamResponse) -> None:
    """Adds what every answer carries."""
    headers = answer.headers
    for name, value in _SECURITY.items():
        headers.setdefault(name, value)


def _allowed(error: web.HTTPMethodNotAllowed) -> web.StreamResponse:
    """The answer to OPTIONS: what the address knows. Other origins' pages may not call the hub, so nothing on CORS."""
    return web.Response(status=204, headers={"Allow": allow(error)})


@web.middleware
async def refusals(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Turns errors outside the admin API, which has its own form, into answers."""
    try:
        return await handler(request)
    except RefusedError as error:
        return _answer(request, error)
    except HeldUpError as error:
        return _answer(request, _held_up(error))
    except HubError as error:
        if error.code is Code.UNAVAILABLE:
            return _answer(request, busy(503, _RETRY_SECONDS, error.message))
        if error.code is Code.STORAGE_FULL:
            return _answer(request, busy(503, _FULL_SECONDS, error.message))
        _log.error("request failed", route=_route(request), code=error.code.value)
        return _answer(request, internal(request[ID]))
    except web.HTTPException as error:
        return _answer(request, of_http(error))
    except web.RequestPayloadError:
        answer = _answer(request, invalid(UNREADABLE))
        answer.force_close()  # aiohttp closes anyhow, and a client that knows does not send its next request into that
        return answer
    except ConnectionError:
        raise  # the caller is gone: nobody would read an answer
    except Exception as error:
        _log.error("request failed", route=_route(request), kind=type(error).__name__, at=places(error))
        return _answer(request, internal(request[ID]))


def _held_up(error: HeldUpError) -> RefusedError:
    refusal = busy(429, error.seconds, error.text)
    refusal.code = Code.TOO_MANY_ATTEMPTS
    return refusal


def _answer(request: web.Request, error: RefusedError) -> web.Response:
    if not request.path.startswith("/oauth/"):
        answer = in_form_of(request.path, error)
        answer.headers["Cache-Control"] = "no-store"
        if error.status in _UNREAD:
            answer.force_close()
        return answer
    name = "temporarily_unavailable" if error.status in {429, 503} else "invalid_request"
    return web.Response(
        body=orjson.dumps({"error": name, "error_description": error.description}),
        status=error.status,
        content_type="application/json",
        headers={"Cache-Control": "no-store", **error.headers},
    )


def in_form_of(path: str, error: RefusedError) -> web.Response:
    """The answer for a refusal, in the form of the version of OneRoster that a path begins with, or as a problem."""
    if problems.has_problems(path):
        return problems.response(error)
    return (v1p1.response if version_of(path) == "1.1" else response)(error)


def of_http(error: web.HTTPException) -> RefusedError:
    """The refusal that stands for an error of aiohttp."""
    match error.status:
        case 404:
            return RefusedError(404, Minor.UNKNOWN_OBJECT, "There is nothing at this address.")
        case 405:
            known = allow(error) if isinstance(error, web.HTTPMethodNotAllowed) else error.headers.get("Allow", "")
            return RefusedError(405, Minor.INVALID_DATA, f"This address knows {known} only.", {"Allow": known})
        case 408:
            return RefusedError(408, Minor.INVALID_DATA, "The body came too slowly.")
        case 413:
            return RefusedError(413, Minor.INVALID_DATA, "Send less at once.")
        case 417:
            return RefusedError(417, Minor.INVALID_DATA, "Expect may ask for 100-continue only.")
        case status if status < 500:
            refusal = invalid("The request cannot be understood.")
            return RefusedError(status, refusal.minor, refusal.description)
        case _:
            return internal()


def _route(request: web.Request) -> str:
    resource = request.match_info.route.resource
    return resource.canonical if resource is not None else "?"


def _method(request: web.Request) -> str:
    """The method, where it is one: a caller may send any word."""
    return request.method if request.method in METH_ALL else "?"


def _traced(request: web.Request) -> dict[str, str]:
    """The id of the trace that a request is part of."""
    given = request.headers.get("traceparent")
    found = _TRACE.fullmatch(given) if given is not None else None
    return {"trace": found[1]} if found else {}


def places(error: BaseException | None) -> str:
    """Where it failed: lines of code, never the texts of errors, which may quote values."""
    found = []
    trace = error.__traceback__ if error is not None else None
    while trace is not None:
        found.append(f"{trace.tb_frame.f_code.co_filename.rpartition('/')[2]}:{trace.tb_lineno}")
        trace = trace.tb_next
    return " < ".join(reversed(found))
