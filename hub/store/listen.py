"""Hearing notifications on a connection of its own: a pooled one loses its listeners when it is released."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from typing import Any

import asyncpg

from hub.store.presence import Presence

PAUSE_SECONDS = 1.0
PROOF_SECONDS = 30.0
_ANSWER_SECONDS = 10.0


async def follow(url: str, channel: str, heard: Callable[[str], None], *, presence: Presence | None = None) -> None:
    """Calls ``heard`` with the payload of each notification on ``channel``; never returns, cancel it.

    After each (re)connection ``heard("")`` is called once: what was announced while nobody listened is gone. A dead
    server may go unnoticed, so the connection is asked for a sign of life every 30 seconds. ``url`` must lead to
    PostgreSQL itself: a pooler that hands connections out by transaction cannot listen. ``presence`` has its number
    for as long as one connection stands.
    """
    while True:
        # Away, starting or stopping: whoever listens also looks by itself every few seconds. asyncpg raises the last of
        # these where the connection is lost between two messages of one statement.
        with contextlib.suppress(OSError, asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError):
            await _once(url, channel, heard, presence)
        await asyncio.sleep(PAUSE_SECONDS)


async def _once(url: str, channel: str, heard: Callable[[str], None], presence: Presence | None) -> None:
    """Listens until the connection is lost."""
    connection: Any = await asyncpg.connect(
        url, timeout=_ANSWER_SECONDS, server_settings={"application_name": f"hub listens {channel}"}
    )
    lost = asyncio.Event()
    try:
        connection.add_termination_listener(lambda _: lost.set())
        await connection.add_listener(channel, lambda _connection, _pid, _channel, payload: heard(payload))
        if presence is not None:
            await presence.enter(connection)
        heard("")
        while not lost.is_set():
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(lost.wait(), PROOF_SECONDS)
            if not lost.is_set():
                await connection.execute("SELECT 1", timeout=_ANSWER_SECONDS)
    finally:
        if presence is not None:
            presence.leave()
        connection.terminate()
