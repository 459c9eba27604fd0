"""A receiver of webhooks that costs next to nothing, as a process of its own: ``python -m tests.benchmarks.sink``.

It prints its port, answers every POST with 204 and counts what it was told; GET answers with the counts. With faults it
answers one in ten with 500, and one in fifty never.
"""

from __future__ import annotations

import asyncio
import json
import random
import re
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp

_LENGTH = re.compile(rb"content-length: *(\d+)", re.IGNORECASE)
_TAKEN = b"HTTP/1.1 204 No Content\r\n\r\n"
_BROKEN = b"HTTP/1.1 500 Internal Server Error\r\ncontent-length: 0\r\n\r\n"


class Counts:
    """What arrived. ``bytes_`` and ``changes`` of requests that were taken."""

    def __init__(self, *, faults: bool) -> None:
        self.faults = faults
        self.chance = random.Random(7)
        self.requests = self.taken = self.changes = self.bytes_ = 0
        self.last = 0.0

    def answer(self, body: bytes) -> bytes | None:
        """The answer to a body; None for none."""
        self.requests += 1
        if self.faults:
            drawn = self.chance.random()
            if drawn < 0.12:
                return None if drawn < 0.02 else _BROKEN
        self.taken += 1
        self.changes += body.count(b'"sourcedId":')
        self.bytes_ += len(body)
        self.last = time.monotonic()
        return _TAKEN

    def shown(self) -> bytes:
        """The counts as an answer to GET."""
        found = {"requests": self.requests, "taken": self.taken, "changes": self.changes, "bytes": self.bytes_,
                 "ago": time.monotonic() - self.last}  # fmt: skip
        body = json.dumps(found).encode()
        return b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%b" % (len(body), body)


class Connection(asyncio.Protocol):
    """One connection; requests come one after the other."""

    def __init__(self, counts: Counts) -> None:
        self.counts = counts
        self.came = bytearray()

    def connection_made(self, transport: Any) -> None:
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.came += data
        while (end := self.came.find(b"\r\n\r\n")) >= 0:
            head = bytes(self.came[:end])
            found = _LENGTH.search(head)
            length = int(found[1]) if found else 0
            if len(self.came) < end + 4 + length:
                return
            body = bytes(self.came[end + 4 : end + 4 + length])
            del self.came[: end + 4 + length]
            answer = self.counts.shown() if head.startswith(b"GET") else self.counts.answer(body)
            if answer is not None:
                self.transport.write(answer)


async def main() -> None:
    """Serves until it is ended."""
    counts = Counts(faults="faults" in sys.argv)
    server = await asyncio.get_running_loop().create_server(lambda: Connection(counts), "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


class Sink:
    """A running sink, seen from outside."""

    def __init__(self, port: int) -> None:
        self.url = f"http://127.0.0.1:{port}/hook"

    async def counts(self) -> dict[str, float]:
        """What arrived so far."""
        async with aiohttp.ClientSession() as session, session.get(self.url) as answer:
            found: dict[str, float] = await answer.json()
        return found


@asynccontextmanager
async def sink(*, faults: bool = False) -> AsyncIterator[Sink]:
    """A sink as a process."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.benchmarks.sink", *(["faults"] if faults else []), stdout=asyncio.subprocess.PIPE,
        cwd=Path(__file__).parents[2],
    )  # fmt: skip
    try:
        assert process.stdout is not None
        yield Sink(int(await process.stdout.readline()))
    finally:
        process.kill()
        await process.wait()


if __name__ == "__main__":
    asyncio.run(main())
