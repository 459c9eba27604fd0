"""The worker's own port: ``/metrics`` with what PostgreSQL knows beside what the process counts."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress

import structlog
from aiohttp import web

from hub.errors import HubError
from hub.metrics import exposition, known
from hub.metrics.declared import Declared
from hub.metrics.exposition import Values
from hub.metrics.sampling import Pool, sample
from hub.settings import Settings
from hub.store import watching
from hub.store.database import Database

log = structlog.get_logger()
#: However many ask, PostgreSQL is asked this often at most.
KEPT_SECONDS = 5.0


class Look:
    """What PostgreSQL says, kept for a few seconds."""

    def __init__(self, db: Database) -> None:
        self._db = db
        self._lock = asyncio.Lock()
        self._found: Mapping[Declared, Values] = {}
        self._at: float | None = None

    async def values(self) -> Mapping[Declared, Values]:
        """The gauges; none while the database is away."""
        async with self._lock:
            if self._at is None or time.monotonic() - self._at >= KEPT_SECONDS:
                try:
                    self._found = _values(await watching.watched(self._db))
                except HubError as error:
                    log.warning("metrics without the database", code=error.code.value)
                    self._found = {}
                self._at = time.monotonic()
        return self._found


def _values(found: watching.Watched) -> Mapping[Declared, Values]:
    return {
        known.SUBSCRIPTIONS: {(state,): n for state, n in found.subscriptions.items()},
        known.RUNS: {(state,): n for state, n in found.runs.items()},
        known.LAG_SECONDS: {(): found.lag_seconds},
        known.STEPS_WAITING: {(): found.steps},
        known.BEHIND: {(): found.behind},
        known.FAILING: {(): found.failing},
        known.LEASED: {(): found.leased},
        known.PARKED: {(): found.parked},
    }


@asynccontextmanager
async def watched(settings: Settings, db: Database, pools: Mapping[str, Pool]) -> AsyncIterator[None]:
    """Looks at the process, and answers on ``HUB_METRICS_PORT`` where it is set. Workers on one machine share the port.

    A port that is somebody else's is said in the log; a worker works without.
    """
    sampling = asyncio.create_task(sample(pools))
    runner = web.AppRunner(_application(settings, db), access_log=None)
    await runner.setup()
    try:
        if settings.metrics_port is not None:
            site = web.TCPSite(runner, settings.metrics_host, settings.metrics_port, reuse_port=True)
            try:
                await site.start()
            except OSError as error:
                log.warning("no metrics: their port cannot be had", port=settings.metrics_port, error=error.strerror)
        yield
    finally:
        sampling.cancel()
        with suppress(asyncio.CancelledError):
            await sampling
        await runner.cleanup()


def _application(settings: Settings, db: Database) -> web.Application:
    look = Look(db)
    token = settings.metrics_token.get_secret_value() if settings.metrics_token is not None else None

    async def metrics(request: web.Request) -> web.Response:
        if not exposition.admitted(request, token):
            return web.Response(status=403, text=exposition.REFUSAL)
        text = await exposition.exposed(await look.values())
        return web.Response(body=text, headers={"Content-Type": exposition.CONTENT_TYPE})

    app = web.Application()
    app.router.add_get("/metrics", metrics)
    return app
