"""``hub`` as a process of its own against the admin API of a test, and a worker beside it."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator

from hub.api.context import CONTEXT
from hub.clock import SystemClock
from hub.crypto import load_key
from hub.store.database import Database as Pool
from hub.sync.engine import work_once
from hub.sync.room import Room
from tests.api.admin.service import AdminHub
from tests.forks import run_module


async def process(*arguments: str, **environment: str) -> tuple[int, str]:
    """The exit code and all that was printed."""
    ended = await run_module("hub.cli", *arguments, environment=os.environ | environment)
    return ended.code, ended.out


async def command(hub: AdminHub, *arguments: str, role: str = "district") -> tuple[int, str]:
    """The same of a command about our district, with a role's token."""
    url = str(hub.server.make_url("/admin/v1"))
    district = ("--district", str(hub.district))
    return await process(*arguments, *district, HUB_ADMIN_URL=url, HUB_ADMIN_TOKEN=hub.tokens[role])


@contextlib.asynccontextmanager
async def working(hub: AdminHub) -> AsyncIterator[None]:
    """A worker's loop beside the test."""
    worker = await Pool.open(hub.worker_url, name="tests as a worker")
    settings = hub.server.app[CONTEXT].settings
    key, room = await asyncio.to_thread(load_key, settings), Room.of(settings)

    async def loop() -> None:
        while True:
            if not await work_once(worker, SystemClock(), key=key, room=room):
                await asyncio.sleep(0.05)

    task = asyncio.create_task(loop())
    try:
        yield
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
        await worker.close()
