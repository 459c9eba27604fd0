"""The API and the worker as child processes of the demo."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
from pathlib import Path
from typing import Self

from hub.errors import Code, HubError

STOP_SECONDS = 40


class Process:
    """One ``hub`` command with a log file of its own; ended with the demo."""

    def __init__(self, name: str, command: list[str], log: Path, environment: dict[str, str]) -> None:
        self.name, self.command, self.log, self.environment = name, command, log, environment
        self.child: asyncio.subprocess.Process | None = None

    async def __aenter__(self) -> Self:
        log = await asyncio.to_thread(self.log.open, "ab")
        try:
            self.child = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "hub.cli", *self.command,
                stdin=asyncio.subprocess.DEVNULL, stdout=log, stderr=log, env=os.environ | self.environment,
                start_new_session=True,  # Ctrl-C reaches the demo, which then stops its children in order
            )  # fmt: skip
        finally:
            log.close()
        return self

    async def __aexit__(self, *_: object) -> None:
        if self.child is None or self.child.returncode is not None:
            return
        with contextlib.suppress(ProcessLookupError):
            self.child.send_signal(signal.SIGTERM)
        try:
            await asyncio.wait_for(self.child.wait(), STOP_SECONDS)
        except TimeoutError:
            self.child.kill()
            await self.child.wait()

    def check(self) -> None:
        """Raises HubError(UNAVAILABLE) when the process has ended by itself."""
        if self.child is not None and self.child.returncode is not None:
            raise HubError(Code.UNAVAILABLE, f"The {self.name} process ended. Its log is {self.log}.")
