"""Keeping a lease for as long as the work under it takes."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable

import structlog

from hub.errors import Code, HubError

log = structlog.get_logger()


@contextlib.asynccontextmanager
async def kept(
    beat: Callable[[], Awaitable[None]], pause: Callable[[], float], *, ending: Callable[[], bool] = lambda: False
) -> AsyncIterator[None]:
    """Calls ``beat`` every ``pause()`` seconds while the body runs; ends the body when the lease was lost.

    ``beat`` raises HubError(FENCED) then, which is what the body ends with. The database is the judge: a beat that
    failed otherwise only matters once somebody else has the lease. ``ending``: the body is giving the lease up, and
    looks itself whether it holds it.
    """
    body = asyncio.current_task()
    assert body is not None
    lost: list[HubError] = []

    async def beats() -> None:
        while True:
            await asyncio.sleep(pause())
            try:
                await beat()
            except HubError as error:
                if ending():
                    return
                if error.code is Code.FENCED:
                    lost.append(error)
                    body.cancel()
                    return

    task = asyncio.create_task(beats())
    try:
        yield
    except asyncio.CancelledError:
        if lost and not body.uncancel():  # else somebody else cancelled it as well
            raise lost[0] from None
        raise
    finally:
        task.cancel()
        await asyncio.wait([task])
        if not task.cancelled() and (broken := task.exception()) is not None:
            log.error("heartbeat failed", error=type(broken).__name__)
