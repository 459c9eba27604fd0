"""Telling the dispatchers of webhooks that something was committed, behind the answer to the app."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from uuid import UUID

from hub.errors import HubError
from hub.store import grants
from hub.store.database import Database

#: An app that writes many objects one by one causes one announcement in this time, not one for each.
PAUSE_SECONDS = 0.02


class Announcer:
    """Announces districts, each once for all that was committed in it within a moment.

    Nothing is lost with an announcement: dispatchers look by themselves every few seconds.
    """

    def __init__(self, db: Database, wake: Callable[[str, UUID], Awaitable[None]]) -> None:
        self._db = db
        self._wake = wake
        self._waiting: set[UUID] = set()
        self._tasks: set[asyncio.Task[None]] = set()

    def __call__(self, district_id: UUID) -> None:
        """Announces a district soon."""
        if district_id in self._waiting:
            return
        self._waiting.add(district_id)
        task = asyncio.create_task(self._announce(district_id))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def close(self) -> None:
        """Waits for announcements under way."""
        await asyncio.gather(*self._tasks)

    async def _announce(self, district_id: UUID) -> None:
        await asyncio.sleep(PAUSE_SECONDS)
        with contextlib.suppress(HubError):  # the database is away: who starts to listen again looks anyway
            async with self._db.district(district_id) as tx:
                self._waiting.discard(district_id)  # what is committed from here on wants to be told again
                await grants.announce(tx)
        self._waiting.discard(district_id)
        await self._wake("deliver", district_id)
