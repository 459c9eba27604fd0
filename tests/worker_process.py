"""A worker that syncs and does nothing else, as a process of its own: to be killed, stopped and raced by tests.

It is forked from a process that has imported all that a worker needs and done nothing else: a worker's start is most of
what it costs to kill one. It carries out due runs until there is none, and ends.
"""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from hub.clock import SystemClock
from hub.crypto import column_key
from hub.store import database, runs
from hub.store.database import Database
from hub.sync.engine import work_once
from tests.forks import FORKS
from tests.services import MASTER_KEY
from tests.services import Database as Addresses

ROOT = Path(__file__).parents[1]
USUAL_LEASE_SECONDS = runs.LEASE_SECONDS


class Worker:
    """A worker process, with the face of ``subprocess.Popen`` as far as tests need it."""

    def __init__(self, **environment: str) -> None:
        self._process = FORKS.Process(target=_live, args=(environment,))
        self._process.start()
        assert self._process.pid is not None
        self.pid = self._process.pid

    def wait(self, timeout: float | None = None) -> int:
        """The exit code, -9 after SIGKILL. Raises subprocess.TimeoutExpired."""
        self._process.join(timeout)
        if self._process.exitcode is None:
            raise subprocess.TimeoutExpired("worker", timeout or 0)
        return self._process.exitcode

    def poll(self) -> int | None:
        """The exit code, or None."""
        return self._process.exitcode

    def send_signal(self, number: int) -> None:
        """Sends a signal."""
        os.kill(self.pid, number)

    def kill(self) -> None:
        """Sends SIGKILL."""
        self._process.kill()


def _live(environment: dict[str, str]) -> None:
    os.environ.update(environment)
    tempfile.tempdir = None  # asked anew: TMPDIR may be another one
    asyncio.run(main())


def start(
    database: str, *, crash_at: str = "", temporary: Path | None = None, lease_seconds: int = runs.LEASE_SECONDS,
    until_idle_seconds: float = 0,
) -> Worker:  # fmt: skip
    """Starts a worker on the database's address for the worker's login.

    ``crash_at`` arms a place to be killed at, ``temporary`` is where it puts its files. It goes on looking until it has
    found nothing for ``until_idle_seconds``.
    """
    place = {} if temporary is None else {"TMPDIR": str(temporary)}
    return Worker(
        TEST_DATABASE=database, HUB_CRASH_AT=crash_at, TEST_LEASE=str(lease_seconds), TEST_IDLE=str(until_idle_seconds),
        **place,
    )  # fmt: skip


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


async def ended(process: Worker | subprocess.Popen[bytes], *, seconds: float = 60) -> int:
    """Waits for a worker's end; its exit code."""
    return await asyncio.to_thread(process.wait, seconds)


async def main() -> None:
    """Carries out due runs until there is none."""
    runs.LEASE_SECONDS = int(os.environ["TEST_LEASE"])
    # A worker that is stopped in a transaction holds its locks until PostgreSQL ends that: as much sooner as the lease.
    database.IDLE_SECONDS *= runs.LEASE_SECONDS / USUAL_LEASE_SECONDS
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
