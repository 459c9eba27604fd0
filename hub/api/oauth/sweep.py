"""Forgets what nobody can use any more: expired tokens, and what was remembered against replay."""

from __future__ import annotations

import asyncio
import secrets

import structlog

from hub.api.context import ApiContext
from hub.errors import HubError
from hub.logs import described
from hub.store import replays

_EVERY_SECONDS = 600
_log = structlog.get_logger(__name__)


async def sweep(context: ApiContext) -> None:
    """Deletes it all, a bounded number of rows in each transaction. Any number of processes may do so at once."""
    for table in replays.FORGETTABLE:
        more = True
        while more:
            async with context.db.shared() as tx:
                more = await replays.forget(tx, table, context.clock.now())


async def keep_sweeping(context: ApiContext) -> None:
    """Sweeps every ten minutes until it is cancelled; processes that start together do not sweep together."""
    await asyncio.sleep(secrets.randbelow(_EVERY_SECONDS))
    while True:
        try:
            await sweep(context)
        except HubError as error:
            _log.warning("expired credentials are kept for now", code=error.code.value)
        except Exception as error:  # a defect in this must not end it for good, nor the process
            _log.error("expired credentials are kept", **described(error))
        await asyncio.sleep(_EVERY_SECONDS)
