"""A worker that makes exports and does nothing else, as a process of its own: to be killed by tests.

``python -m tests.export_process`` reads the database's address from ``TEST_DATABASE``, carries out due exports until
there is none, and ends.
"""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

from hub.clock import SystemClock
from hub.crypto import column_key
from hub.export.jobs import Workshop, work_once
from hub.export.targets import Places
from hub.store.database import Database
from tests.forks import Forked
from tests.services import MASTER_KEY


def start(database: str, *, crash_at: str, folder: Path | None = None) -> Forked:
    """Starts a worker on the database's address for the worker's login; ``crash_at``: where it is killed."""
    environment = {
        **os.environ, "TEST_DATABASE": database, "TEST_FOLDER": str(folder or ""), "HUB_CRASH_AT": crash_at,
    }  # fmt: skip
    return Forked("tests.export_process", environment=environment)


async def main() -> None:
    """Carries out due exports until there is none."""
    db = await Database.open(os.environ["TEST_DATABASE"], name="test export process", largest=4)
    folder = os.environ["TEST_FOLDER"]
    places = Places(Path(folder) if folder else None)
    try:
        while await work_once(Workshop(db, SystemClock(), column_key(MASTER_KEY), places)):
            pass
    finally:
        await db.close()


if __name__ == "__main__":
    asyncio.run(main())
