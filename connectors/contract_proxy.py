"""A proxy that stands before a system and lets answers go wrong: what the contract suite's faults are made with.

The system behind it stays whole; it has to make absolute links from the ``Host`` header.
"""

from __future__ import annotations

import http.client
import socket
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from email.utils import formatdate
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

_HOP = frozenset({"connection", "keep-alive", "transfer-encoding", "content-length", "date", "server"})


@dataclass(frozen=True)
class Asked:
    """One request. ``number``: of those of its ``kind`` so far, from 0. ``kind`` as the case's ``kind_of`` says."""

    method: str
    path: str
    kind: str | None
    number: int


@dataclass(frozen=True)
class Reply:
    """An answer as it goes out. ``length``: what ``Content-Length`` says, None for the truth; ``chunked``: none at all.

    ``then``: what happens to the connection after the body: "keep", or "close", or "reset".
    """

    status: int
    headers: Mapping[str, str]
    body: bytes = field(repr=False)
    length: int | None = None
    chunked: bool = False
    then: str = "keep"


@dataclass
class Exchange:
    """One request under way, for a fault to meddle with.

    ``reply``: what the system answered. ``before``: its answers to earlier requests of the same kind, the oldest first.
    ``wire``: the socket, for faults that go below HTTP. ``pause``: how long a hang lasts.
    """

    asked: Asked
    reply: Reply
    before: list[Reply]
    wire: socket.socket
    pause: float

    def with_body(self, body: bytes, **headers: str) -> Reply:
        """The answer with another body."""
        return replace(self.reply, body=body, headers={**self.reply.headers, **headers})


#: Gives the answer that goes out, or None where it has written to the wire itself and the connection is over.
Fault = Callable[[Exchange], Reply | None]


@dataclass
class FaultyProxy:
    """``script`` says which fault meets a request, if one does. ``url``: where the connector is sent.

    ``told``: what the system answered with 200, by request: one pull asks what the one before it has asked, hundreds of
    times in a suite, and a system that stands still would say the same each time.
    """

    upstream: str
    kind_of: Callable[[str, str], str | None]
    script: Callable[[Asked], Fault | None] = lambda _asked: None
    pause: float = 1.0
    url: str = ""
    asked: list[Asked] = field(default_factory=list)
    before: dict[str | None, list[Reply]] = field(default_factory=dict)
    told: dict[tuple[str, str, bytes | None], Reply] = field(default_factory=dict)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def begin_again(self, script: Callable[[Asked], Fault | None] = lambda _asked: None) -> None:
        """Counts from the beginning, with another script."""
        with self.lock:
            self.script, self.asked, self.before = script, [], {}

    def pages(self) -> int:
        """How many pages of data were asked for."""
        return sum(one.kind is not None for one in self.asked)

    def note(self, method: str, path: str) -> Asked:
        """Counts a request."""
        with self.lock:
            kind = self.kind_of(method, path)
            one = Asked(method, path, kind, sum(asked.kind is not None for asked in self.asked))
            self.asked.append(one)
            return one


@contextmanager
def standing(proxy: FaultyProxy) -> Iterator[FaultyProxy]:
    """The proxy, on a free port of this machine, until the end of the block."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Bound", (_Handler,), {"proxy": proxy}))
    server.daemon_threads = True
    proxy.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield proxy
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class _Handler(BaseHTTPRequestHandler):
    """One connection of the connector, and one to the system."""

    proxy: FaultyProxy
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    upstream: http.client.HTTPConnection | None = None

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 # the standard library's name
        """Says nothing."""

    def finish(self) -> None:
        """Ends both connections."""
        if self.upstream is not None:
            self.upstream.close()
        with suppress(OSError):
            super().finish()

    def _pass(self) -> None:
        asked = self.proxy.note(self.command, self.path)
        fault = self.proxy.script(asked)
        reply = self._forwarded()
        if fault is not None:
            before = self.proxy.before.get(asked.kind, [])
            changed = fault(Exchange(asked, reply, before, self.connection, self.proxy.pause))
            if changed is None:
                self.close_connection = True
                return
            self._send(changed)
        else:
            self._send(reply)
        with self.proxy.lock:
            self.proxy.before.setdefault(asked.kind, []).append(reply)

    do_GET = do_POST = do_PUT = do_DELETE = _pass  # noqa: N815 # the standard library's names

    def _forwarded(self) -> Reply:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0)) or None
        request = (self.command, self.path, body)
        known = self.proxy.told.get(request)
        if known is not None:
            return replace(known, headers={**known.headers, "Date": formatdate(usegmt=True)})
        reply = self._asked(body)
        if reply.status == HTTPStatus.OK:
            self.proxy.told[request] = reply
        return reply

    def _asked(self, body: bytes | None) -> Reply:
        """What the system answers."""
        headers = {name: value for name, value in self.headers.items() if name.lower() not in _HOP}
        headers["Accept-Encoding"] = "identity"
        if self.upstream is None:
            self.upstream = http.client.HTTPConnection(urlsplit(self.proxy.upstream).netloc)
        self.upstream.request(self.command, self.path, body=body, headers=headers)
        answer = self.upstream.getresponse()
        kept: dict[str, str] = {}
        for name, value in answer.getheaders():
            if name.lower() not in _HOP - {"date"}:
                kept[name] = f"{kept[name]}, {value}" if name in kept and name.lower() != "set-cookie" else value
        return Reply(answer.status, kept, answer.read())

    def _send(self, reply: Reply) -> None:
        with suppress(ConnectionError):  # who asked may have had enough
            self.send_response_only(reply.status)
            for name, value in reply.headers.items():
                self.send_header(name, value)
            if not reply.chunked:
                length = len(reply.body) if reply.length is None else reply.length
                self.send_header("Content-Length", str(length))
            if reply.then != "keep":
                self.send_header("Connection", "close")
            self.end_headers()
            self.wfile.write(reply.body)
            self.wfile.flush()
        if reply.then != "keep" or reply.chunked:
            self.close_connection = True
        if reply.then == "reset":
            reset(self.connection)


def reset(wire: socket.socket) -> None:
    """Ends a connection by RST."""
    with suppress(OSError):
        wire.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\x00\x00\x00\x00\x00\x00\x00")
        wire.close()
