"""The bell that an API process rings after it has committed work for the workers."""

from __future__ import annotations

import asyncio
import time
from uuid import UUID

from arq.connections import ArqRedis, RedisSettings, create_pool
from redis.exceptions import RedisError

from hub.worker import wire

_PATIENCE_SECONDS = 1.0
_SILENCE_SECONDS = 5.0
_EXPIRY_SECONDS = 60


async def connect(url: str) -> ArqRedis:
    """Connections to the queue of wakes, without arq's own retries: whoever calls has better things to do.

    Raises RedisError, OSError or RuntimeError when Redis is away.
    """
    settings = RedisSettings.from_dsn(url)
    settings.conn_retries = 0
    return await create_pool(
        settings, job_serializer=wire.dump, job_deserializer=wire.load, default_queue_name=wire.QUEUE
    )


class Doorbell:
    """Rings the workers. Never raises; while Redis is away it does nothing and tries again every 5 seconds."""

    def __init__(self, redis_url: str) -> None:
        self._url = redis_url
        self._pool: ArqRedis | None = None
        self._silent_until = 0.0
        self._connecting = asyncio.Lock()

    async def wake(self, kind: str, district_id: UUID) -> None:
        """Tells a worker to look now. Takes at most a second; a wake that is lost costs the work 5 seconds."""
        if time.monotonic() < self._silent_until:
            return
        try:
            async with asyncio.timeout(_PATIENCE_SECONDS):
                pool = await self._connected()
                await pool.enqueue_job(wire.WAKE, kind, str(district_id), _expires=_EXPIRY_SECONDS)
        except (RedisError, OSError, RuntimeError):
            self._silent_until = time.monotonic() + _SILENCE_SECONDS

    async def close(self) -> None:
        """Closes the connections."""
        if self._pool is not None:
            await self._pool.aclose(close_connection_pool=True)
            self._pool = None

    async def _connected(self) -> ArqRedis:
        async with self._connecting:
            if self._pool is None:
                self._pool = await connect(self._url)
            return self._pool
