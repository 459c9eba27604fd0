"""A webhook receiver that behaves well until a test says otherwise."""

from __future__ import annotations

import asyncio
import ssl
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import orjson
from aiohttp import web
from standardwebhooks.webhooks import Webhook

Behaviour = Callable[[web.Request], Awaitable[web.StreamResponse]]


@dataclass(frozen=True)
class Received:
    """One request as it arrived. ``at``: time.monotonic()."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes
    at: float

    @property
    def id(self) -> str:
        return self.headers["webhook-id"]

    @property
    def data(self) -> dict[str, Any]:
        found: dict[str, Any] = orjson.loads(self.body)["data"]
        return found

    @property
    def changes(self) -> list[tuple[str, str, str]]:
        """(collection, what happened, sourcedId) of the records, marks left out."""
        found = [(*c["type"].split("."), c["sourcedId"]) for c in self.data["changes"] if "sourcedId" in c]
        return [(entity, operation, sourced_id) for entity, operation, sourced_id in found]

    @property
    def marks(self) -> list[dict[str, Any]]:
        """What ends syncs and edits."""
        return [c for c in self.data["changes"] if "sourcedId" not in c]

    def verify(self, secret: str) -> None:
        """Raises when the signature is not one of ``secret``."""
        Webhook(secret).verify(self.body, self.headers)


@dataclass
class Receiver:
    """``behave`` answers; everything that arrived is in ``received``, in order.

    Challenges are answered as they should be, and stand in ``challenges``, unless ``mute``: then they are behaved to.
    """

    url: str
    behave: Behaviour
    received: list[Received] = field(default_factory=list)
    challenges: list[Received] = field(default_factory=list)
    mute: bool = False
    arrived: asyncio.Condition = field(default_factory=asyncio.Condition)

    async def handle(self, request: web.Request) -> web.StreamResponse:
        body = await request.read()
        headers = {name.lower(): value for name, value in request.headers.items()}
        got = Received(request.method, request.path, headers, body, time.monotonic())
        if b'"subscriptions.challenge"' in body:
            self.challenges.append(got)
            return await self.behave(request) if self.mute else web.Response(text=got.data["challenge"])
        async with self.arrived:
            self.received.append(got)
            self.arrived.notify_all()
        return await self.behave(request)

    async def wait_for(self, count: int, seconds: float = 10) -> list[Received]:
        """What arrived, once there are ``count`` requests. Raises TimeoutError."""
        return await self.until(lambda got: len(got) >= count, seconds)

    async def up_to(self, position: int, seconds: float = 10) -> list[Received]:
        """What arrived, once the last of it ends at a position of the feed. Raises TimeoutError."""
        return await self.until(lambda got: bool(got) and got[-1].data["to"] == position, seconds)

    async def until(self, enough: Callable[[list[Received]], bool], seconds: float = 10) -> list[Received]:
        """What arrived, once it is enough. Raises TimeoutError."""
        async with asyncio.timeout(seconds), self.arrived:
            await self.arrived.wait_for(lambda: enough(self.received))
        return self.received


@asynccontextmanager
async def receiver(
    behave: Behaviour | None = None, *, tls: ssl.SSLContext | None = None, host: str = "127.0.0.1", port: int = 0
) -> AsyncIterator[Receiver]:
    """A receiver at an address of this machine, on a free port (0) or a given one, at any path."""
    value = Receiver("", behave or status(204))
    app = web.Application(client_max_size=10_000_000)
    app.router.add_route("*", "/{path:.*}", value.handle)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, host, port, ssl_context=tls)
    await site.start()
    port = runner.addresses[0][1]
    value.url = f"{'https' if tls else 'http'}://{f'[{host}]' if ':' in host else host}:{port}/hook"
    try:
        yield value
    finally:
        await runner.cleanup()


def status(code: int, **headers: str) -> Behaviour:
    """Answers at once; underscores in header names stand for hyphens."""

    async def behave(_request: web.Request) -> web.Response:
        return web.Response(status=code, headers={name.replace("_", "-"): value for name, value in headers.items()})

    return behave


def in_turn(*behaviours: Behaviour) -> Behaviour:
    """Each behaviour once, then the last one for ever."""
    left = list(behaviours)

    async def behave(request: web.Request) -> web.StreamResponse:
        return await (left.pop(0) if len(left) > 1 else left[0])(request)

    return behave


async def hang(_request: web.Request) -> web.StreamResponse:
    """Never answers."""
    await asyncio.sleep(3600)
    raise AssertionError


async def hang_up(request: web.Request) -> web.StreamResponse:
    """Closes the connection without an answer."""
    assert request.transport is not None
    request.transport.abort()
    return web.Response()


def endless(total: int, *, code: int = 200, pause: float = 0, piece: bytes = b"x" * 65_536) -> Behaviour:
    """A body of ``total`` bytes, in pieces with a pause between them."""

    async def behave(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(status=code)
        await response.prepare(request)
        for _ in range(0, total, len(piece)):
            await response.write(piece)
            await asyncio.sleep(pause)
        return response

    return behave


def raw(text: bytes, *, then: float = 0) -> Behaviour:
    """Writes bytes that need not be HTTP, and hangs up after ``then`` seconds."""

    async def behave(request: web.Request) -> web.StreamResponse:
        assert request.transport is not None
        request.transport.write(text)
        await asyncio.sleep(then)
        request.transport.close()
        return web.Response()

    return behave
