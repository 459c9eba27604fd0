"""Processes that are forked from one that has imported what they need and done nothing else.

An interpreter's start with all its imports is most of what a short process costs.
"""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import runpy
import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from multiprocessing.reduction import DupFd
from typing import NamedTuple

FORKS = multiprocessing.get_context("forkserver")
FORKS.set_forkserver_preload(["tests.worker_process", "tests.preloaded"])


class Ended(NamedTuple):
    """The exit code of a process (-9 after SIGKILL), and what it printed."""

    code: int
    out: str
    errors: str


class Forked:
    """``python -m MODULE`` as a process that runs, with the face of ``asyncio.subprocess.Process``."""

    def __init__(
        self, module: str, *arguments: str, environment: Mapping[str, str], pipes: tuple[int, int] | None = None
    ) -> None:
        given = tuple(map(DupFd, pipes)) if pipes else ()
        self._process = FORKS.Process(target=_run, args=(module, arguments, dict(environment), given))
        self._process.start()
        assert self._process.pid is not None
        self.pid = self._process.pid

    @property
    def returncode(self) -> int | None:
        """The exit code, or None."""
        return self._process.exitcode

    async def wait(self) -> int:
        """The exit code, once it has ended."""
        await asyncio.to_thread(self._process.join)
        assert self._process.exitcode is not None
        return self._process.exitcode

    def send_signal(self, number: int) -> None:
        """Sends a signal."""
        os.kill(self.pid, number)

    def terminate(self) -> None:
        """Sends SIGTERM."""
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """Sends SIGKILL, if it still runs."""
        self._process.kill()


async def run_module(
    module: str, *arguments: str, environment: Mapping[str, str], apart: bool = False, seconds: float = 60
) -> Ended:
    """Runs a module as ``python -m`` does, with nothing on its standard input, and waits for its end.

    ``apart``: errors are not among what is printed. Raises subprocess.TimeoutExpired, after which it is killed.
    """
    (out, to_out), (errors, to_errors) = os.pipe(), os.pipe()
    process = Forked(module, *arguments, environment=environment, pipes=(to_out, to_errors if apart else to_out))
    os.close(to_out)
    os.close(to_errors)
    try:
        async with asyncio.timeout(seconds):
            printed = await asyncio.gather(*(asyncio.to_thread(_read, end) for end in (out, errors)))
            return Ended(await process.wait(), *printed)
    except TimeoutError:
        raise subprocess.TimeoutExpired(module, seconds) from None
    finally:
        process.kill()


def _read(end: int) -> str:
    with os.fdopen(end, encoding="utf-8") as printed:
        return printed.read()


def _run(module: str, arguments: tuple[str, ...], environment: dict[str, str], pipes: tuple[DupFd, ...]) -> None:
    os.environ.clear()
    os.environ.update(environment)
    tempfile.tempdir = None  # asked anew: TMPDIR may be another one
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    for number, pipe in enumerate(pipes, 1):
        os.dup2(pipe.detach(), number)
    sys.stdin = open(0, encoding="utf-8")  # noqa: SIM115 - it lives as long as the process
    sys.argv = [module, *arguments]
    runpy.run_module(module, run_name="__main__", alter_sys=True)
