"""The server's connections: how long a client may take, how much it may send unread, how many there may be.

aiohttp expects a proxy that keeps slow clients away. Who runs the hub without one is not to be brought down by a few
thousand sockets that say nothing (T46), so each connection notes when it began to wait for its client, and one task
looks at all of them every second. What cannot be parsed is answered in OneRoster's form too.
"""

from __future__ import annotations

import asyncio
import re
import secrets
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

import structlog
from aiohttp import web
from aiohttp.http_exceptions import LineTooLong

from hub.allocator import keep_freed_memory
from hub.api.middleware import REQUEST_ID, in_form_of, of_http, places, secured
from hub.api.oneroster.errors import Minor, RefusedError, internal
from hub.settings import Settings

#: Largest request line and largest single header, in bytes. They differ, so that an error says which one it was.
LONGEST_LINE = 8_188
LONGEST_HEADER = 8_190
MOST_HEADERS = 100
#: All of a request before its body.
LARGEST_HEAD = 65_536
_BACKLOG = 1024
_SWEEP_SECONDS = 1.0
#: A body has to come at this pace, in bytes a second, once the first wait is over.
_LEAST_PACE = 500
#: Bytes of a request that are kept for the case that no more of it can be understood: enough for a service's address.
_START = 256
_ADDRESS = re.compile(rb"[A-Z]+ (?:https?://[^/ ]*)?(/[^ ?#\r\n]*)")
_AT_ONCE = 20  # connections that are looked at without a pause
_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Patience:
    """What a process bears of its clients.

    ``head_seconds``: from a request's first byte to the end of its headers. ``stall_seconds``: the first wait for a
    body, and the longest time in which a client takes nothing of its answer. ``idle_seconds``: between requests.
    ``stop_seconds``: for what has begun when the process stops.
    """

    head_seconds: float = 10
    stall_seconds: float = 20
    idle_seconds: float = 75
    stop_seconds: float = 30
    most_connections: int = 2000

    @classmethod
    def of(cls, settings: Settings) -> Patience:
        """What the operator set."""
        return cls(
            head_seconds=settings.header_seconds,
            stall_seconds=settings.stall_seconds,
            idle_seconds=settings.keepalive_seconds,
            most_connections=settings.max_connections,
        )


class Connection(web.RequestHandler):
    """One connection. Times are the loop's, None where nothing is waited for."""

    __slots__ = ("_connections", "body_bytes", "body_since", "head_bytes", "head_since", "head_start", "stalled_since")

    def __init__(self, connections: Connections) -> None:
        options: dict[str, Any] = {
            "access_log": None,  # it would hold whole addresses
            "keepalive_timeout": connections.patience.idle_seconds,
            "max_line_size": LONGEST_LINE,
            "max_field_size": LONGEST_HEADER,
            "max_headers": MOST_HEADERS,
        }
        super().__init__(connections.server, loop=connections.loop, **options)
        self._connections = connections
        self.head_since: float | None = None
        self.head_bytes = 0
        self.head_start = b""  # of the request that came last, as far as it began with a segment of its own
        self.body_since = 0.0
        self.body_bytes = 0
        self.stalled_since: float | None = None

    @property
    def waits(self) -> bool:
        """Whether no request is being answered."""
        return self._waiter is not None

    @property
    def path(self) -> str:
        """How the address of the request that came last begins, as far as it was read: errors have its form."""
        found = _ADDRESS.match(self.head_start)
        return found[1].decode("ascii", "replace") if found else ""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """A client is there, and has to say something."""
        super().connection_made(transport)
        self.head_since = self._loop.time()
        self._connections.add(self)

    def connection_lost(self, exc: BaseException | None) -> None:
        """The client is gone."""
        self._connections.drop(self)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Bytes of a head, of a body, or of later requests."""
        heads, waited = self._request_count, self._waiter is not None
        if waited and len(data) and self.head_bytes < _START:
            self.head_start = (self.head_start if self.head_bytes else b"")[:_START] + data[:_START]
        super().data_received(data)
        if self._request_count != heads:
            self.head_since, self.head_bytes = None, 0
            self.body_since, self.body_bytes = self._loop.time(), 0
        elif waited:
            if self.head_since is None:
                self.head_since = self._loop.time()
            self.head_bytes += len(data)
            if self.head_bytes > LARGEST_HEAD:
                self.refuse(RefusedError(431, Minor.INVALID_DATA, "Send fewer and shorter headers."))
        else:
            self.body_bytes += len(data)

    def pause_writing(self) -> None:
        """The client takes less than it is sent."""
        super().pause_writing()
        self.stalled_since = self._loop.time()

    def resume_writing(self) -> None:
        """The client has taken most of it."""
        self.stalled_since = None
        super().resume_writing()

    def look(self, now: float, patience: Patience) -> str:
        """Ends the connection, or the request's body, when its client was waited for long enough; what was ended."""
        if self.stalled_since is not None:
            if now - self.stalled_since > patience.stall_seconds and self.transport is not None:
                self.transport.abort()
                return "answers"
        elif self.waits:
            if self.head_since is not None and now - self.head_since > patience.head_seconds:
                if self.transport is not None and self.head_bytes:
                    self.transport.write(_as_bytes(in_form_of(self.path, _TOO_SLOW)))
                self.force_close()
                return "heads"
        elif self._reading_paused:
            self.body_since += _SWEEP_SECONDS  # we are the slow ones
        elif now - self.body_since > patience.stall_seconds + self.body_bytes / _LEAST_PACE:
            request = self._current_request
            if request is not None and not request.content.is_eof() and request.content.exception() is None:
                self._lingering_time = 0.0  # nothing more is read of it
                request.content.set_exception(web.HTTPRequestTimeout())
                return "bodies"
        return ""

    async def finish_response(
        self, request: web.BaseRequest, resp: web.StreamResponse, start_time: float | None
    ) -> tuple[web.StreamResponse, bool]:
        """Sends an answer; what aiohttp refused before any middleware saw it gets the form of all refusals."""
        if resp.status >= 300 and isinstance(resp, web.HTTPException):  # which costs more than to look at the status
            resp = _finished(of_http(resp), request.path)
        return await super().finish_response(request, resp, start_time)

    def refuse(self, refusal: RefusedError) -> None:
        """Says why, and closes."""
        if self.transport is not None:
            self.transport.write(_as_bytes(_finished(refusal, self.path)))
        self.force_close()

    def handle_error(
        self, request: web.BaseRequest, status: int = 500, exc: BaseException | None = None, message: str | None = None
    ) -> web.StreamResponse:
        """The answer to what could not be parsed, and to a defect that no middleware caught."""
        if request.writer.output_size > 0:
            raise ConnectionError("an answer was on its way already")
        if isinstance(exc, ConnectionError) and request.transport is None:
            raise exc  # the client is gone: nobody is there to be answered, and nothing is wrong
        if status >= 500:
            _log.error("request failed", kind=type(exc).__name__, at=places(exc))
        answer = _finished(internal() if status >= 500 else _unreadable(exc), self.path)
        answer.force_close()
        return answer


class Connections:
    """All connections of a process. ``accept`` is the protocol factory of its listening sockets."""

    def __init__(self, server: web.Server, patience: Patience) -> None:
        self.server = server
        self.patience = patience
        self.loop = asyncio.get_running_loop()
        self._held: dict[Connection, None] = {}  # in the order of their coming

    def __len__(self) -> int:
        return len(self._held)

    def accept(self) -> Connection:
        """A connection for a client that has come."""
        return Connection(self)

    def add(self, connection: Connection) -> None:
        """Counts a connection. Where there are too many, those go that have waited longest without a request."""
        self._held[connection] = None
        if len(self._held) <= self.patience.most_connections:
            return
        waiting = [one for one in self._held if one.waits]
        for one in waiting[: max(1, len(waiting) // 100)] or [connection]:
            one.force_close()
            self.drop(one)

    def drop(self, connection: Connection) -> None:
        """Forgets a connection that has ended."""
        self._held.pop(connection, None)

    async def watch(self) -> None:
        """Looks at all connections, for ever. What it ends is one line in the log, since it may be thousands."""
        while True:
            await asyncio.sleep(_SWEEP_SECONDS)
            now, ended = self.loop.time(), Counter[str]()
            for number, connection in enumerate(list(self._held)):
                ended[connection.look(now, self.patience)] += 1
                if number % _AT_ONCE == 0:
                    await asyncio.sleep(0)  # whoever has something to ask is not to wait for the silent ones
            del ended[""]
            if ended:
                _log.info("slow clients cut off", **ended)


@asynccontextmanager
async def listening(
    application: web.Application, host: str, port: int, patience: Patience, *, reuse_port: bool = False
) -> AsyncIterator[tuple[str, int]]:
    """Serves an application; the address that it listens on (``port`` 0: any free one).

    At the end no new request is taken, and those that have begun get ``patience.stop_seconds``.
    """
    keep_freed_memory()
    loop = asyncio.get_running_loop()
    runner = web.AppRunner(application, access_log=None, shutdown_timeout=patience.stop_seconds)
    await runner.setup()
    if runner.server is None:
        raise RuntimeError("the application did not start")
    connections = Connections(runner.server, patience)
    watch = None
    try:
        server = await loop.create_server(connections.accept, host, port, reuse_port=reuse_port, backlog=_BACKLOG)
        watch = asyncio.create_task(connections.watch())
        try:
            yield server.sockets[0].getsockname()[:2]
        finally:
            server.close()
    finally:
        await runner.cleanup()
        if watch is not None:
            watch.cancel()
            with suppress(asyncio.CancelledError):
                await watch


def _finished(refusal: RefusedError, path: str) -> web.Response:
    """The answer for a request that reached no route, with all that the others have, and its line in the log."""
    answer = in_form_of(path, refusal)
    request_id = secrets.token_hex(8)
    answer.headers[REQUEST_ID] = request_id
    answer.headers["Cache-Control"] = "no-store"
    secured(answer)
    _log.info("request", id=request_id, method="?", route="?", status=refusal.status, ms=0.0)
    return answer


def _as_bytes(answer: web.Response) -> bytes:
    """An answer where no request is there to send it."""
    lines = [f"HTTP/1.1 {answer.status} {HTTPStatus(answer.status).phrase}", "Connection: close"]
    lines += [f"{name}: {value}" for name, value in answer.headers.items()]
    body = answer.body if isinstance(answer.body, bytes) else b""
    return "\r\n".join([*lines, f"Content-Length: {len(body)}", "", ""]).encode() + body


def _unreadable(error: BaseException | None) -> RefusedError:
    if isinstance(error, LineTooLong):
        if error.args[1:2] == (LONGEST_LINE,):
            return RefusedError(414, Minor.INVALID_DATA, f"The address is longer than {LONGEST_LINE} bytes.")
        return RefusedError(431, Minor.INVALID_DATA, f"A header is longer than {LONGEST_HEADER} bytes.")
    if str(error).endswith("Too many headers received"):
        return RefusedError(431, Minor.INVALID_DATA, f"There are more than {MOST_HEADERS} headers.")
    return RefusedError(400, Minor.INVALID_DATA, "This is not a request of HTTP/1.1.")


_TOO_SLOW = RefusedError(408, Minor.INVALID_DATA, "The request came too slowly.")
