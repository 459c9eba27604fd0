"""Many requests over a few connections, byte by byte: a client library would cost more than the hub's answer."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field

#: Bytes of one line or part of an answer that are read at once.
_LIMIT = 2**24
_LONGEST_SECONDS = 120
#: Differ from one answer to the next, whatever was asked.
_OWN = {"date", "x-request-id", "ratelimit", "x-ratelimit-remaining", "x-ratelimit-reset", "connection"}


@dataclass(frozen=True)
class Ask:
    """One request. ``label`` says in failures which case it is."""

    method: str
    path: str
    headers: tuple[str, ...] = ()
    body: bytes = b""
    label: tuple[str, ...] = ()

    def bytes(self) -> bytes:
        length = (f"Content-Length: {len(self.body)}",) if self.body or self.method in {"POST", "PUT", "PATCH"} else ()
        lines = [f"{self.method} {self.path} HTTP/1.1", "Host: hub", *self.headers, *length, "", ""]
        return "\r\n".join(lines).encode("latin-1") + self.body


@dataclass(frozen=True)
class Told:
    """One answer."""

    ask: Ask
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def shown(self) -> tuple[int, tuple[tuple[str, str], ...], bytes]:
        """All that a caller can tell answers apart by."""
        return self.status, tuple(sorted((n, v) for n, v in self.headers.items() if n not in _OWN)), self.body

    def __str__(self) -> str:
        return f"{' '.join(self.ask.label)}: {self.ask.method} {self.ask.path} → {self.status} {self.body[:200]!r}"


@dataclass
class Wire:
    """Sends to a port of this machine over ``width`` connections."""

    port: int
    width: int = 16
    count: int = field(default=0)

    async def all(self, asks: Sequence[Ask]) -> list[Told]:
        """The answers, in the order of the requests."""
        todo = iter(enumerate(asks))
        found: dict[int, Told] = {}

        async def line() -> None:
            link: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None
            try:
                for number, ask in todo:
                    async with asyncio.timeout(_LONGEST_SECONDS):
                        if link is None:
                            link = await asyncio.open_connection("127.0.0.1", self.port, limit=_LIMIT)
                        link[1].write(ask.bytes())
                        told = found[number] = await _read(link[0], ask)
                    if told.headers.get("connection") == "close":
                        link[1].close()
                        link = None
            finally:
                if link is not None:
                    link[1].close()

        async with asyncio.TaskGroup() as group:
            for _ in range(min(self.width, len(asks))):
                group.create_task(line())
        self.count += len(asks)
        return [found[number] for number in range(len(asks))]

    async def one(self, ask: Ask) -> Told:
        """The answer to one request."""
        return (await self.all([ask]))[0]


async def _read(reader: asyncio.StreamReader, ask: Ask) -> Told:
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
    first, *lines = head.strip().split("\r\n")
    headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
    status = int(first.split(" ")[1])
    body = b""
    if ask.method != "HEAD" and status not in {204, 304}:
        chunked = headers.get("transfer-encoding") == "chunked"
        body = await _chunks(reader) if chunked else await reader.readexactly(int(headers["content-length"]))
    return Told(ask, status, headers, body)


async def _chunks(reader: asyncio.StreamReader) -> bytes:
    found = bytearray()
    while size := int(await reader.readline(), 16):
        found += await reader.readexactly(size)
        await reader.readline()
    await reader.readline()
    return bytes(found)
