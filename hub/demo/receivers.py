"""The apps' own webhook receivers: they verify each signature, keep what came, and look records up with their token."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import orjson
from aiohttp import web

from hub.webhooks.sign import verify

Seen = Callable[[str, dict[str, Any]], None]


@dataclass
class Receiver:
    """One app's receiver on a loopback port. ``secrets`` are by subscription id.

    ``failed``: webhooks that were answered with an error of its own, so that the hub sends them again.
    """

    app: str
    port: int
    secrets: dict[str, str]
    show: Seen
    events: list[dict[str, Any]] = field(default_factory=list)
    refused: int = 0
    failed: int = 0
    news: asyncio.Event = field(default_factory=asyncio.Event)
    _runner: web.AppRunner | None = None

    def url(self, district: str) -> str:
        """Where the hub is to send what changes for this app in one district."""
        return f"http://127.0.0.1:{self.port}/hooks/{district}"

    async def start(self) -> None:
        """Begins to listen."""
        application = web.Application(client_max_size=1 << 20)
        application.router.add_post("/hooks/{district}", self._receive)
        self._runner = web.AppRunner(application, access_log=None)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", self.port).start()

    async def stop(self) -> None:
        """Ends listening."""
        if self._runner is not None:
            await self._runner.cleanup()

    async def _receive(self, request: web.Request) -> web.Response:
        body = await request.read()
        if b'"subscriptions.challenge"' in body:  # comes before the secret is known, and asks for an echo only
            return web.json_response({"challenge": orjson.loads(body)["data"]["challenge"]})
        headers = {name.lower(): value for name, value in request.headers.items()}
        if not any(verify(s, headers, body, now=time.time()) for s in self.secrets.values()):
            self.refused += 1
            return web.Response(status=401, text="The signature does not fit.")
        event = orjson.loads(body)
        if event["type"] == "roster.changes":
            self.failed += 1  # until it was shown
            self.show(self.app, event["data"])
            self.failed -= 1
            self.events.append(event["data"])
            self.news.set()
        return web.Response(status=204)

    def changes(self) -> list[dict[str, Any]]:
        """Every change of a record that came so far, in order: its ``entity``, its ``operation``, and what was told."""
        told = [change for event in self.events for change in event["changes"] if "sourcedId" in change]
        return [dict(zip(("entity", "operation"), c["type"].split("."), strict=True)) | c for c in told]
