"""Taking wakes from Redis with arq, for as long as Redis is there."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from typing import Any

import structlog
from arq.connections import ArqRedis
from arq.worker import Worker, func
from redis.exceptions import RedisError

from hub.worker import wire
from hub.worker.doorbell import connect

log = structlog.get_logger()

FIRST_PAUSE = 1.0
LONGEST_PAUSE = 15.0
_POLL_SECONDS = 0.1
_JOB_SECONDS = 5
_CLOSE_SECONDS = 2.0


async def take(redis_url: str, heard: Callable[[str], None]) -> None:
    """Calls ``heard(kind)`` for each wake; never returns, cancel it.

    A wake is not repeated and leaves no result. Its district is not used: what is due, and for whom, is read from
    PostgreSQL, so a payload that was swapped or made up can do no more than make us look. When Redis goes away the
    loop starts anew, after 1 to 15 seconds.
    """
    pause = FIRST_PAUSE
    while True:
        started = asyncio.get_running_loop().time()
        try:
            async with _worker(redis_url, heard) as worker:
                await worker.async_run()
        except (RedisError, OSError, RuntimeError) as error:
            log.warning("redis is away", error=type(error).__name__)
        if asyncio.get_running_loop().time() - started > LONGEST_PAUSE:
            pause = FIRST_PAUSE
        await asyncio.sleep(pause)
        pause = min(pause * 2, LONGEST_PAUSE)


class _Worker(Worker):
    """arq's worker, which goes on to take jobs for a moment when it is cancelled.

    It watches each job before it takes it. Cancelled while it gives the watching up, it would keep the connection.
    """

    starting: asyncio.Task[None] | None = None

    async def start_jobs(self, job_ids: list[bytes]) -> None:
        """Takes jobs; ``starting`` is that, until it is done."""
        self.starting = asyncio.create_task(super().start_jobs(job_ids))
        await asyncio.shield(self.starting)


@contextlib.asynccontextmanager
async def _worker(redis_url: str, heard: Callable[[str], None]) -> AsyncIterator[_Worker]:
    async def wake(ctx: dict[str, Any], *args: Any, **kwargs: Any) -> None:  # arq's shape of a job
        del ctx, kwargs
        heard(args[0])  # checked when it was read

    pool = await connect(redis_url)
    worker = _Worker(
        functions=[func(wake, name=wire.WAKE, max_tries=1, timeout=_JOB_SECONDS, keep_result=0)],
        redis_pool=pool,
        queue_name=wire.QUEUE,
        handle_signals=False,
        poll_delay=_POLL_SECONDS,
        keep_result=0,
        max_tries=1,
        retry_jobs=False,
        log_results=False,
        job_serializer=wire.dump,
        job_deserializer=wire.load,
    )
    try:
        yield worker
    finally:
        await _close(worker, pool)


async def _close(worker: _Worker, pool: ArqRedis) -> None:
    """Ends what the worker still runs and its connections; arq's own ``close`` waits for a Redis that may be away."""
    with contextlib.suppress(RedisError, OSError, TimeoutError):
        async with asyncio.timeout(_CLOSE_SECONDS):
            if worker.starting is not None:
                await asyncio.gather(worker.starting, return_exceptions=True)
            tasks = list(worker.tasks.values())
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await pool.aclose(close_connection_pool=True)
