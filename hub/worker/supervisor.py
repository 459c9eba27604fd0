"""The process that keeps a worker's processes at their number, and does nothing else.

They are forked from it after it has imported what delivers: whoever takes the place of one that was killed goes on
within a fraction of a second, where a process of its own first imports for two. What all of them import lies in memory
once. A pipe that nobody writes to ties them to it: they end when its other end is closed, which the kernel does where
the process that keeps them is killed itself.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from multiprocessing.connection import wait
from multiprocessing.context import ForkProcess
from types import FrameType

import structlog

log = structlog.get_logger()

#: Who works longer than this has started: connecting to a database that does not answer is given up before.
STARTED_SECONDS = 30.0
#: In one place processes start this long after each other at the least, whatever ends them; twice as long after each
#: that ended sooner than that by itself, for the database may be away.
AGAIN_SECONDS, LONGEST_AGAIN_SECONDS = 1.0, 30.0
#: A process ends within 30 s of being told to; what is there then is killed.
STOP_SECONDS = 33.0

_SIGNALS = (signal.SIGTERM, signal.SIGINT)
_FORKED = multiprocessing.get_context("fork")


@dataclass(slots=True)
class _Place:
    """Where one process follows the other. ``started``: when the last one did, monotonic; ``failed``: in a row."""

    process: ForkProcess | None = None
    started: float = float("-inf")
    failed: int = 0

    @property
    def due(self) -> float:
        """When the next one may start, monotonic."""
        return self.started + min(AGAIN_SECONDS * 2.0 ** min(self.failed, 10), LONGEST_AGAIN_SECONDS)

    @property
    def steady(self) -> bool:
        """Whether the process has worked for a while."""
        return self.process is not None and time.monotonic() - self.started >= STARTED_SECONDS

    def fill(self, live: Callable[[], None]) -> None:
        """Starts a process if there is none and it is not too soon."""
        if self.process is not None or time.monotonic() < self.due:
            return
        self.started = time.monotonic()
        process = _FORKED.Process(target=live)
        try:
            process.start()
        except OSError as error:  # no memory, or too many processes: likely where one was killed for want of it
            self.failed += 1
            log.warning("a process of the worker cannot be started", error=error.strerror)
        else:
            self.process = process

    def ended(self) -> int | None:
        """The exit code of the process if it has ended, once; -9 where it was killed."""
        code = self.process.exitcode if self.process is not None else None
        if code is not None:
            self.failed = self.failed + 1 if code > 0 and not self.steady else 0
            self.process = None
        return code


def supervise(work: Callable[[int], None], *, processes: int) -> int:
    """Keeps that many processes at ``work`` until SIGTERM or SIGINT; the exit code of the worker.

    ``work`` gets the number of a file that can be read from as soon as it shall stop. Whoever is killed, or fails, is
    followed by another one; but where one fails at its start before any has worked for a while, the worker cannot
    start, and ends with its exit code. Call it where no other thread runs: a fork takes their locks along, and not
    them. Further signals are ignored when it returns: whoever called it is about to end.
    """
    tie, hold = os.pipe()
    places = [_Place() for _ in range(processes)]
    with _told() as (stop, bell):

        def live() -> None:
            _leave(hold)
            work(tie)

        try:
            return _keep(places, live, stop, bell)
        finally:
            os.close(hold)
            _end(places)
            os.close(tie)


def _keep(places: Sequence[_Place], live: Callable[[], None], stop: list[int], bell: int) -> int:
    started = False
    while not stop:
        for place in places:
            place.fill(live)
        sentinels = [place.process.sentinel for place in places if place.process is not None]
        soonest = min((place.due for place in places if place.process is None), default=None)
        if bell in wait([*sentinels, bell], None if soonest is None else max(0.0, soonest - time.monotonic())):
            os.read(bell, 64)
        started = started or any(place.steady for place in places)
        for place in places:
            code = place.ended()
            if code is None or stop:
                continue
            if code > 0 and not started:
                return code
            log.warning("a process of the worker ended: another takes its place", exit_code=code)
    return 0


def _end(places: Sequence[_Place]) -> None:
    """Waits for those that are still there, who know already, and kills who does not end."""
    latest = time.monotonic() + STOP_SECONDS
    for process in [place.process for place in places if place.process is not None]:
        process.join(max(0.0, latest - time.monotonic()))
        if process.exitcode is None:
            process.kill()
            process.join()


@contextlib.contextmanager
def _told() -> Iterator[tuple[list[int], int]]:
    """What SIGTERM and SIGINT are noted in, and a file that can be read from at each: waiting for it misses none."""
    stop: list[int] = []  # and no lock: one signal may come while another one is noted
    bell, ring = os.pipe()
    os.set_blocking(ring, False)

    def heed(number: int, _frame: FrameType | None) -> None:
        stop.append(number)

    waking = signal.set_wakeup_fd(ring, warn_on_full_buffer=False)
    for number in _SIGNALS:
        signal.signal(number, heed)
    try:
        yield stop, bell
    finally:
        for number in _SIGNALS:
            signal.signal(number, signal.SIG_IGN)
        signal.set_wakeup_fd(waking)
        os.close(ring)
        os.close(bell)


def _leave(hold: int) -> None:
    """What a process does first: signals mean what they mean to any, and it holds the pipe's other end no longer."""
    signal.set_wakeup_fd(-1)
    for number in _SIGNALS:
        signal.signal(number, signal.SIG_DFL)
    os.close(hold)
