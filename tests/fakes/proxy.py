"""A TCP proxy in front of a server, to delay, cut and refuse what goes through it."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from urllib.parse import parse_qsl, urlencode, urlsplit

CHUNK = 1 << 16


@dataclass
class Cut:
    """Ends the first connection that sends ``marker`` after ``armed_by``; whether the server still gets the marker."""

    armed_by: bytes
    marker: bytes
    delivered: bool


class Proxy:
    """Passes bytes between clients and ``target`` (host, port); both may be changed at any time."""

    def __init__(self, host: str, port: int) -> None:
        self.target = (host, port)
        self.delay = 0.0
        self.cut: Cut | None = None
        self.accepted = 0
        self.refusing = False
        self._writers: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None

    @property
    def port(self) -> int:
        assert self._server is not None
        port: int = self._server.sockets[0].getsockname()[1]
        return port

    def url(self, url: str) -> str:
        """The same address, through the proxy."""
        parts = urlsplit(url)
        login = parts.netloc.rpartition("@")[0]
        query = urlencode([(name, value) for name, value in parse_qsl(parts.query) if name not in {"host", "port"}])
        return parts._replace(netloc=f"{login}@127.0.0.1:{self.port}", query=query).geturl()

    def reset(self) -> None:
        """Ends all connections with a reset."""
        for writer in list(self._writers):
            _abort(writer)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.accepted += 1
        if self.refusing:
            _abort(writer)
            return
        try:
            far_reader, far_writer = await asyncio.open_connection(*self.target)
        except OSError:
            _abort(writer)
            return
        self._writers |= {writer, far_writer}
        directions = (
            asyncio.create_task(self._pass(reader, far_writer, writer)),
            asyncio.create_task(self._pass(far_reader, writer, None)),
        )
        self._tasks.update(directions)
        await asyncio.wait(directions)
        self._tasks.difference_update(directions)
        self._writers -= {writer, far_writer}
        for end in (writer, far_writer):
            end.close()

    async def _pass(
        self, source: asyncio.StreamReader, target: asyncio.StreamWriter, client: asyncio.StreamWriter | None
    ) -> None:
        """One direction, until either side ends. ``client`` is given for what the client sends."""
        seen = b""
        with contextlib.suppress(OSError):
            while data := await source.read(CHUNK):
                if self.delay:
                    await asyncio.sleep(self.delay)
                seen += data if client else b""
                cut = self.cut
                if client and cut and cut.armed_by in seen and cut.marker in seen.partition(cut.armed_by)[2]:
                    self.cut = None
                    if cut.delivered:
                        target.write(data)
                        await target.drain()
                    _abort(client)
                    break
                target.write(data)
                await target.drain()
        with contextlib.suppress(OSError, RuntimeError):
            target.write_eof()


def _abort(writer: asyncio.StreamWriter) -> None:
    writer.transport.abort()


def over_tcp(url: str) -> tuple[str, int]:
    """Host and port of a server, also where its address names a socket: the embedded PostgreSQL listens on both."""
    parts = urlsplit(url)
    port = parts.port or int(dict(parse_qsl(parts.query)).get("port", 0))
    return parts.hostname or "127.0.0.1", port


@asynccontextmanager
async def proxy(url: str) -> AsyncIterator[Proxy]:
    """A proxy in front of the server of ``url``."""
    made = Proxy(*over_tcp(url))
    made._server = await asyncio.start_server(made._serve, "127.0.0.1", 0)
    try:
        yield made
    finally:
        made._server.close()
        made.reset()
        if made._tasks:
            await asyncio.wait(list(made._tasks))
