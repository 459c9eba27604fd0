"""A worker that syncs and does nothing else, as a process of its own: to be killed, stopped and raced by tests.

``python -m tests.worker_process`` reads the database's address from ``TEST_DATABASE``, carries out due runs until there
is none, and ends.
"""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from pathlib import Path

from hub.clock import SystemClock
from hub.crypto import column_key
from hub.store.database import Database
from hub.sync.engine import work_once
from tests.services import MASTER_KEY

ROOT = Path(__file__).parents[1]


def start(database: str, *, crash_at: str = "", temporary: Path | None = None) -> subprocess.Popen[bytes]:
    """Starts a worker on the database's address for the worker's login.

    ``crash_at`` arms a place to be killed at, ``temporary`` is where it puts its files.
    """
    environment = {**os.environ, "TEST_DATABASE": database, "HUB_CRASH_AT": crash_at, "PYTHONPATH": str(ROOT)}
    if temporary is not None:
        environment["TMPDIR"] = str(temporary)
    command = [sys.executable, "-m", "tests.worker_process"]
    return subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.DEVNULL)


async def ended(process: subprocess.Popen[bytes], *, seconds: float = 60) -> int:
    """Waits for a worker's end; its exit code."""
    return await asyncio.to_thread(process.wait, seconds)


async def main() -> None:
    """Carries out due runs until there is none."""
    db = await Database.open(os.environ["TEST_DATABASE"], name="test worker process", largest=4)
    try:
        while await work_once(db, SystemClock(), key=column_key(MASTER_KEY)):
            pass
    finally:
        await db.close()


if __name__ == "__main__":
    asyncio.run(main())
