"""Cancelling a task at a chosen one of its awaits, as a client that goes away or a worker that stops would."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Generator
from typing import Any


class Interrupted:
    """Awaits a coroutine and cancels the task where it waits for the ``at``-th time (from 0). ``waits`` counts them."""

    def __init__(self, coroutine: Coroutine[Any, Any, object], at: int) -> None:
        self._coroutine = coroutine
        self._at = at
        self.waits = 0

    def __await__(self) -> Generator[Any, Any, None]:
        task = asyncio.current_task()
        assert task is not None
        inner = self._coroutine.__await__()
        resume, value = inner.send, None
        while True:
            try:
                waited_for = resume(value)
            except StopIteration:
                return
            if self.waits == self._at:
                task.cancel()
            self.waits += 1
            try:
                value = yield waited_for
                resume = inner.send
            except BaseException as error:
                value = error
                resume = inner.throw


async def interrupted(coroutine: Coroutine[Any, Any, object], at: int) -> int | None:
    """Runs a coroutine in a task that is cancelled at one await; how often it waited if it ended before, else None."""
    wrapped = Interrupted(coroutine, at)

    async def run() -> None:
        await wrapped

    task = asyncio.create_task(run())
    await asyncio.wait([task])
    if task.cancelled():
        return None
    task.result()
    return wrapped.waits
