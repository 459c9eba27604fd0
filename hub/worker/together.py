"""Services of a process: they run until they are told to stop, and where one fails all of them end."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Sequence
from typing import Any

import structlog

log = structlog.get_logger()

#: From SIGTERM until what is still running is left to others; connections then close within the rest of 30 s.
STOP_SECONDS = 22.0


async def together(
    services: Sequence[Coroutine[Any, Any, None]], stop: asyncio.Event, *, bell: Coroutine[Any, Any, None] | None = None
) -> None:
    """Runs all until ``stop``; one that fails ends the others, and its error is raised."""
    tasks = [asyncio.create_task(service) for service in services]
    ringing = asyncio.create_task(bell) if bell is not None else None
    waiting = asyncio.create_task(stop.wait())
    try:
        await asyncio.wait([*tasks, waiting], return_when=asyncio.FIRST_COMPLETED)
        stop.set()
        _, late = await asyncio.wait(tasks, timeout=STOP_SECONDS)
        if late:
            log.warning("work is left to others: it did not end in time")
    finally:
        await end([*tasks, waiting, *([ringing] if ringing else [])])
    for task in tasks:
        if not task.cancelled():
            task.result()


async def end(tasks: Sequence[asyncio.Task[Any]]) -> None:
    """Cancels tasks, and waits for them."""
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
