"""What a worker that starts does first."""

from __future__ import annotations

import asyncio
import contextlib
import time
from typing import Any

import pytest

from hub.worker import lanes, process


async def _begun(monkeypatch: pytest.MonkeyPatch, caught_up: asyncio.Event, stop: asyncio.Event) -> float:
    """Seconds until all that is no delivery begins."""
    begun = asyncio.Event()

    async def run(*_: Any) -> None:
        begun.set()

    monkeypatch.setattr(lanes, "run", run)
    started = time.monotonic()
    parts: Any = None
    async with contextlib.AsyncExitStack() as stack:
        await process._beside(stack, parts, stop, None, caught_up)
    assert begun.is_set()
    return time.monotonic() - started


@pytest.mark.parametrize("which", ["caught up", "stop"])
async def test_all_else_begins_once_nothing_is_due_for_delivery(monkeypatch: pytest.MonkeyPatch, which: str) -> None:
    monkeypatch.setattr(process, "DELIVERIES_FIRST_SECONDS", 60)
    caught_up, stop = asyncio.Event(), asyncio.Event()
    asyncio.get_running_loop().call_later(0.2, (caught_up if which == "caught up" else stop).set)
    assert 0.2 <= await _begun(monkeypatch, caught_up, stop) < 30


async def test_all_else_does_not_wait_for_long(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process, "DELIVERIES_FIRST_SECONDS", 0.3)
    assert await _begun(monkeypatch, asyncio.Event(), asyncio.Event()) >= 0.3
