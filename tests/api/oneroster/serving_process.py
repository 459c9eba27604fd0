"""An API server as a process of its own, to be killed by tests.

``python -m tests.api.oneroster.serving_process`` reads the database's address from ``TEST_DATABASE`` and prints its
port.
"""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from uuid import UUID

from aiohttp import web
from pydantic import SecretStr

from hub.api import ApiContext, build_api
from hub.clock import SystemClock
from hub.settings import Settings
from hub.store.database import Database
from tests.services import MASTER_KEY

ROOT = Path(__file__).parents[3]


@dataclass
class Serving:
    """A server that runs. ``url``: where it answers."""

    process: asyncio.subprocess.Process
    url: str

    async def ended(self) -> int:
        """Its exit code, once it has ended."""
        return await asyncio.wait_for(self.process.wait(), 30)


@asynccontextmanager
async def serving(database: str, *, crash_at: str = "") -> AsyncIterator[Serving]:
    """A server on the database's address for the service's login; killed at the end if it still runs."""
    environment = {**os.environ, "TEST_DATABASE": database, "HUB_CRASH_AT": crash_at, "PYTHONPATH": str(ROOT)}
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.api.oneroster.serving_process", env=environment, cwd=ROOT,
        stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    try:
        assert process.stdout is not None
        port = int(await asyncio.wait_for(process.stdout.readline(), 60))
        yield Serving(process, f"http://127.0.0.1:{port}")
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


async def main() -> None:
    """Serves until it is killed."""

    async def wake(kind: str, district_id: UUID) -> None:
        """Nobody sleeps here."""

    pool = await Database.open(os.environ["TEST_DATABASE"], name="test serving process", largest=4)
    settings = Settings(master_key=SecretStr(MASTER_KEY.decode()))
    runner = web.AppRunner(build_api(ApiContext(pool, settings, SystemClock(), wake)), access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    sys.stdout.write(f"{runner.addresses[0][1]}\n")
    sys.stdout.flush()
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main())
