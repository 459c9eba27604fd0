"""Around every request: an id, one line in the log, security headers, and errors in the form of the path's protocol.

Neither queries nor ids nor values are logged: the line names the route's pattern.
"""

from __future__ import annotations

import asyncio
import itertools
import secrets

import orjson
import structlog
from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

from hub.api.oneroster.errors import Minor, RefusedError, busy, invalid, response
from hub.errors import Code, HubError

REQUEST_ID = "X-Request-ID"
_SECURITY = {
    "Server": "RosterHub",  # aiohttp would name its version and Python's
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "X-Frame-Options": "DENY",
    "Strict-Transport-Security": "max-age=31536000",
}
_RETRY_SECONDS = 2
_GONE = 499  # the caller went away before the answer
_log = structlog.get_logger(__name__)


def observing() -> Middleware:
    """The middleware that gives a request its id, writes its line, and finishes the headers."""
    log = structlog.get_logger(__name__).bind()  # bound once: structlog's proxy would bind anew for each line
    process, count = secrets.token_hex(4), itertools.count(1)

    @web.middleware
    async def observe(request: web.Request, handler: Handler) -> web.StreamResponse:
        now = asyncio.get_running_loop().time
        started = now()
        request_id = f"{process}{next(count):06x}"
        status = _GONE
        try:
            answer = await handler(request)
            status = answer.status
        except web.HTTPException as error:
            status = error.status
            error.headers[REQUEST_ID] = request_id
            raise
        finally:
            milliseconds = round((now() - started) * 1000, 1)
            log.info(
                "request", id=request_id, method=request.method, route=_route(request), status=status, ms=milliseconds
            )
        if not answer.prepared:
            answer.headers[REQUEST_ID] = request_id
            for name, value in _SECURITY.items():
                answer.headers.setdefault(name, value)
        return answer

    return observe


@web.middleware
async def refusals(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Turns errors outside the admin API, which has its own form, into answers."""
    try:
        return await handler(request)
    except RefusedError as error:
        return _answer(request, error)
    except HubError as error:
        if error.code is Code.UNAVAILABLE:
            return _answer(request, busy(503, _RETRY_SECONDS, error.message))
        _log.error("request failed", route=_route(request), code=error.code.value)
        return _answer(request, _internal())
    except web.HTTPException as error:
        return _answer(request, _of_http(error))
    except ConnectionError:
        raise  # the caller is gone: nobody would read an answer
    except Exception as error:
        _log.error("request failed", route=_route(request), kind=type(error).__name__, at=_places(error))
        return _answer(request, _internal())


def _answer(request: web.Request, error: RefusedError) -> web.Response:
    if not request.path.startswith("/oauth/"):
        answer = response(error)
        answer.headers["Cache-Control"] = "no-store"
        return answer
    name = "temporarily_unavailable" if error.status in {429, 503} else "invalid_request"
    return web.Response(
        body=orjson.dumps({"error": name, "error_description": error.description}),
        status=error.status,
        content_type="application/json",
        headers={"Cache-Control": "no-store", **error.headers},
    )


def _of_http(error: web.HTTPException) -> RefusedError:
    match error.status:
        case 404:
            return RefusedError(404, Minor.UNKNOWN_OBJECT, "There is nothing at this address.")
        case 405:
            allow = error.headers.get("Allow", "")
            return RefusedError(405, Minor.INVALID_DATA, f"This address knows {allow} only.", {"Allow": allow})
        case 413:
            return RefusedError(413, Minor.INVALID_DATA, "Send less at once.")
        case status if status < 500:
            refusal = invalid("The request cannot be understood.")
            return RefusedError(status, refusal.minor, refusal.description)
        case _:
            return _internal()


def _internal() -> RefusedError:
    return RefusedError(500, Minor.INTERNAL, "The hub failed to answer; its log says why.")


def _route(request: web.Request) -> str:
    resource = request.match_info.route.resource
    return resource.canonical if resource is not None else "?"


def _places(error: Exception) -> str:
    """Where it failed: lines of code, never the texts of errors, which may quote values."""
    places = []
    trace = error.__traceback__
    while trace is not None:
        places.append(f"{trace.tb_frame.f_code.co_filename.rpartition('/')[2]}:{trace.tb_lineno}")
        trace = trace.tb_next
    return " < ".join(reversed(places))
