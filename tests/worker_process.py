"""A worker that syncs and does nothing else, as a process of its own: to be killed, stopped and raced by tests.

``python -m tests.worker_process`` reads the database's address from ``TEST_DATABASE``, carries out due runs until there
is none, and ends.
"""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from hub.clock import SystemClock
from hub.crypto import column_key
from hub.store import runs
from hub.store.database import Database
from hub.sync.engine import work_once
from tests.services import MASTER_KEY
from tests.services import Database as Addresses

ROOT = Path(__file__).parents[1]


def start(
    database: str, *, crash_at: str = "", temporary: Path | None = None, lease_seconds: int = runs.LEASE_SECONDS,
    until_idle_seconds: float = 0,
) -> subprocess.Popen[bytes]:  # fmt: skip
    """Starts a worker on the database's address for the worker's login.

    ``crash_at`` arms a place to be killed at, ``temporary`` is where it puts its files. It goes on looking until it has
    found nothing for ``until_idle_seconds``.
    """
    environment = {
        **os.environ, "TEST_DATABASE": database, "HUB_CRASH_AT": crash_at, "PYTHONPATH": str(ROOT),
        "TEST_LEASE": str(lease_seconds), "TEST_IDLE": str(until_idle_seconds),
    }  # fmt: skip
    if temporary is not None:
        environment["TMPDIR"] = str(temporary)
    command = [sys.executable, "-m", "tests.worker_process"]
    return subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.DEVNULL)


@contextmanager
def hub_worker(database: Addresses, folder: Path, **settings: str) -> Iterator[subprocess.Popen[bytes]]:
    """``hub worker`` itself as a process, without Redis; ``settings`` by the names of their variables."""
    environment = {
        **os.environ, "HUB_DATABASE_URL": database.owner, "HUB_WORKER_DATABASE_URL": database.worker,
        "HUB_MASTER_KEY": MASTER_KEY.decode(), "HUB_REDIS_URL": "redis://127.0.0.1:1/0", "HUB_DATA_DIR": str(folder),
        **settings,
    }  # fmt: skip
    process = subprocess.Popen([str(Path(sys.executable).parent / "hub"), "worker"], cwd=ROOT, env=environment)
    try:
        yield process
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(30)


async def ended(process: subprocess.Popen[bytes], *, seconds: float = 60) -> int:
    """Waits for a worker's end; its exit code."""
    return await asyncio.to_thread(process.wait, seconds)


async def main() -> None:
    """Carries out due runs until there is none."""
    runs.LEASE_SECONDS = int(os.environ["TEST_LEASE"])
    patience = float(os.environ["TEST_IDLE"])
    db = await Database.open(os.environ["TEST_DATABASE"], name="test worker process", largest=4)
    idle_since = time.monotonic()
    try:
        while True:
            if await work_once(
                db, SystemClock(), key=column_key(MASTER_KEY), heartbeat_seconds=min(1, runs.LEASE_SECONDS / 6)
            ):
                idle_since = time.monotonic()
            elif time.monotonic() - idle_since >= patience:
                break
            else:
                await asyncio.sleep(0.2)
    finally:
        await db.close()


if __name__ == "__main__":
    asyncio.run(main())
