"""A worker process for tests: ``python -m tests.webhooks.worker DATABASE_URL REDIS_URL``; settings from HUB_…."""

from __future__ import annotations

import asyncio
import sys

from hub.clock import Clock
from hub.settings import load
from hub.store.database import Database
from hub.worker import run_worker


async def nothing(_db: Database, _clock: Clock) -> bool:
    """There is no sync to carry out."""
    return False


def main() -> None:
    """Run until a signal or a crash point."""
    database_url, redis_url = sys.argv[1:]
    asyncio.run(run_worker(load(), database_url=database_url, redis_url=redis_url or None, work=nothing))


if __name__ == "__main__":
    main()
