"""What keeps processes at work, as a process of its own: it forks."""

from __future__ import annotations

import itertools
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing.reduction import DupFd
from typing import Any

import psutil
import pytest

from hub.worker import supervisor
from tests.forks import FORKS

SECONDS = 60.0


class Kept:
    """A process that keeps others, and what all of them print."""

    def __init__(self, process: Any, out: int) -> None:
        self._process, self._printed = process, os.fdopen(out, encoding="utf-8")

    def lines(self, count: int) -> list[str]:
        return [self._printed.readline().strip() for _ in range(count)]

    def tell(self, number: signal.Signals) -> None:
        os.kill(self._process.pid, number)

    def rest(self) -> tuple[list[str], int]:
        """What is printed until the last process has ended, and the exit code of the one that keeps them."""
        printed = self._printed.read().split()
        self._process.join(SECONDS)
        return printed, self._process.exitcode

    def end(self) -> None:
        self._process.kill()
        self._process.join(SECONDS)
        self._printed.close()


@contextmanager
def kept(work: Callable[[int], None], *, processes: int = 1, **bounds: float) -> Iterator[Kept]:
    """A process that keeps others at ``work``; ``bounds`` stand in place of those of the module."""
    out, into = os.pipe()
    process = FORKS.Process(target=_keep, args=(work, processes, bounds, DupFd(into)))
    process.start()
    os.close(into)
    found = Kept(process, out)
    try:
        yield found
    finally:
        found.end()


def _keep(work: Callable[[int], None], processes: int, bounds: dict[str, float], into: Any) -> None:
    os.dup2(into.detach(), 1)
    os.dup2(1, 2)
    for name, bound in bounds.items():
        setattr(supervisor, name, bound)
    sys.exit(supervisor.supervise(work, processes=processes))


def say(line: str) -> None:
    os.write(1, f"{line}\n".encode())


def waits(tie: int) -> None:
    say(f"at-work {os.getpid()}")
    os.read(tie, 1)
    say("told")


def is_killed_at_once(_tie: int) -> None:
    say(str(psutil.Process().create_time()))
    os.kill(os.getpid(), signal.SIGKILL)


def fails_where_it_is_the_second(tie: int) -> None:
    if psutil.Process(os.getppid()).children()[0].pid == os.getpid():
        os.read(tie, 1)
        say("told")
    else:
        sys.exit(7)


def fails(_tie: int) -> None:
    say("at-work")
    sys.exit(7)


def heeds_nothing(_tie: int) -> None:
    say("at-work")
    time.sleep(1000)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_all_are_told_to_stop(number: signal.Signals) -> None:
    with kept(waits, processes=3) as process:
        process.lines(3)
        process.tell(number)
        assert process.rest() == (["told"] * 3, 0)


def test_they_learn_that_the_one_that_keeps_them_was_killed() -> None:
    with kept(waits, processes=2) as process:
        process.lines(2)
        process.tell(signal.SIGKILL)
        assert process.rest() == (["told"] * 2, -signal.SIGKILL)


def test_whoever_is_killed_is_followed_by_another() -> None:
    with kept(waits, AGAIN_SECONDS=0.0) as process:
        for _ in range(3):
            [line] = process.lines(1)
            os.kill(int(line.split()[-1]), signal.SIGKILL)
            [line] = process.lines(1)
            assert "another takes its place" in line
            assert "-9" in line
        process.lines(1)
        process.tell(signal.SIGTERM)
        assert process.rest() == (["told"], 0)


def test_whoever_is_killed_at_once_is_followed_no_sooner_than_after_a_while() -> None:
    with kept(is_killed_at_once, AGAIN_SECONDS=0.5) as process:
        started = [float(line) for line in process.lines(8)[::2]]
    assert all(later - earlier > 0.3 for earlier, later in itertools.pairwise(started))


def test_one_that_fails_at_its_start_ends_all_with_its_exit_code() -> None:
    with kept(fails_where_it_is_the_second, processes=2) as process:
        assert process.rest() == (["told"], 7)


def test_one_that_fails_when_any_has_worked_for_a_while_is_followed_by_another() -> None:
    with kept(fails, STARTED_SECONDS=0.0, AGAIN_SECONDS=0.0) as process:
        assert ["at-work" in line for line in process.lines(4)] == [True, False, True, False]
        process.tell(signal.SIGTERM)
        assert process.rest()[1] == 0


def test_the_next_is_waited_for_longer_after_each_that_fails_at_its_start() -> None:
    place = supervisor._Place(started=100.0)
    waits = []
    for failed in (0, 1, 2, 3, 4, 5, 6, 2_000):
        place.failed = failed
        waits.append(place.due - place.started)
    assert waits == [1, 2, 4, 8, 16, 30, 30, 30]


def test_what_cannot_be_forked_is_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    class Full:
        def __init__(self, **_: object) -> None:
            pass

        def start(self) -> None:
            raise BlockingIOError(11, "Resource temporarily unavailable")

    monkeypatch.setattr(supervisor._FORKED, "Process", Full)
    place = supervisor._Place()
    place.fill(lambda: None)
    assert (place.process, place.failed, place.ended()) == (None, 1, None)
    assert place.due > time.monotonic()


def test_one_that_does_not_end_is_killed() -> None:
    with kept(heeds_nothing, STOP_SECONDS=0.2) as process:
        process.lines(1)
        process.tell(signal.SIGTERM)
        assert process.rest() == ([], 0)
