"""An egress proxy: opens tunnels where a test says, or fails in the ways that proxies fail in."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from urllib.parse import urlsplit


@dataclass
class ConnectProxy:
    """``targets``: by host and port as they were asked for, where a tunnel really leads.

    ``answer``: what CONNECT gets instead of a tunnel (b"" hangs up); ``deaf``: it gets nothing.
    """

    url: str = ""
    targets: dict[str, tuple[str, int]] = field(default_factory=dict)
    answer: bytes | None = None
    deaf: bool = False
    asked: list[str] = field(default_factory=list)
    logins: list[str | None] = field(default_factory=list)

    def leads(self, name: str, url: str) -> str:
        """Makes ``name`` the way to the server of ``url``; the address to use."""
        parts = urlsplit(url)
        assert parts.hostname
        assert parts.port
        self.targets[f"{name}:{parts.port}"] = (parts.hostname, parts.port)
        return f"{parts.scheme}://{name}:{parts.port}{parts.path}"

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        async with contextlib.AsyncExitStack() as ends:
            ends.push_async_callback(_end, writer)
            ends.enter_context(contextlib.suppress(OSError, asyncio.IncompleteReadError))
            head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
            fields = {name.lower(): value for name, _, value in (line.partition(": ") for line in head[1:])}
            self.asked.append(head[0].removesuffix(" HTTP/1.1"))
            self.logins.append(fields.get("proxy-authorization"))
            if self.deaf:
                await asyncio.sleep(3600)
            if self.answer is not None:
                writer.write(self.answer)
                await writer.drain()
                return
            far_reader, far_writer = await asyncio.open_connection(*self.targets[head[0].split(" ")[1]])
            ends.push_async_callback(_end, far_writer)
            writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
            await asyncio.gather(_copy(reader, far_writer), _copy(far_reader, writer))


async def _end(writer: asyncio.StreamWriter) -> None:
    writer.close()
    with contextlib.suppress(OSError):
        await writer.wait_closed()


async def _copy(source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while data := await source.read(65_536):
            target.write(data)
            await target.drain()
    target.close()


@asynccontextmanager
async def connect_proxy() -> AsyncIterator[ConnectProxy]:
    """A proxy on a free port of 127.0.0.1."""
    made = ConnectProxy()
    tasks: set[asyncio.Task[None]] = set()

    def accepted(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.create_task(made.serve(reader, writer))
        tasks.add(task)
        task.add_done_callback(tasks.discard)

    server = await asyncio.start_server(accepted, "127.0.0.1", 0)
    made.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    try:
        yield made
    finally:
        server.close()
        for task in list(tasks):
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
