"""What a process looks at by itself each second: whether its event loop is late, and its pools of connections."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Protocol

from hub.metrics.known import CONNECTIONS, LOOP_LAG

SECONDS = 1.0


class Pool(Protocol):
    """A pool of connections."""

    def usage(self) -> tuple[int, int, int]:
        """Connections in use, idle ones, and the most that there may be."""


async def sample(pools: Mapping[str, Pool]) -> None:
    """Looks each second, until it is cancelled."""
    loop = asyncio.get_running_loop()
    due = loop.time()
    while True:
        due += SECONDS
        await asyncio.sleep(max(0.0, due - loop.time()))
        LOOP_LAG.took(max(0.0, loop.time() - due))
        due = max(due, loop.time() - SECONDS)
        for name, pool in pools.items():
            for state, number in zip(("used", "idle", "most"), pool.usage(), strict=True):
                CONNECTIONS.is_now(number, name, state)
