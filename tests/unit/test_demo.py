"""What the demo's receivers make of a webhook."""

from __future__ import annotations

import time
from io import StringIO
from types import SimpleNamespace
from typing import Any, cast

import aiohttp
import orjson
from rich.console import Console

from hub.demo.story import Stage, receive
from hub.webhooks.sign import signature

SECRET = "whsec_" + "c2VjcmV0IG9mIHRoZSBkZW1v"


async def test_a_webhook_is_shown_and_answered(free_port: int) -> None:
    shown = StringIO()
    stage = cast("Stage", SimpleNamespace(console=Console(file=shown, width=200), receivers={}))
    receiver = await receive(stage, {"name": "math", "port": free_port, "secrets": {"one": SECRET}})
    # As docs/webhooks.md has it.
    changes: list[dict[str, Any]] = [
        {"type": "users.created", "sourcedId": "7", "version": 43, "href": "https://hub.example/users/7"},
        {"type": "syncs.completed", "version": 44, "at": "2026-09-01T07:30:00.000Z", "counts": {}},
    ]
    body = orjson.dumps({"type": "roster.changes", "data": {"from": 42, "to": 44, "changes": changes}})
    at = int(time.time())
    signed = {"webhook-id": "m", "webhook-timestamp": str(at), "webhook-signature": signature(SECRET, "m", at, body)}
    try:
        async with aiohttp.ClientSession() as http, http.post(receiver.url("d"), data=body, headers=signed) as answer:
            assert (answer.status, receiver.failed, receiver.refused) == (204, 0, 0)
    finally:
        await receiver.stop()
    assert "math (signature verified): 1 users created, 1 syncs completed" in shown.getvalue()
    assert [(one["entity"], one["operation"]) for one in receiver.changes()] == [("users", "created")]
