"""A worker process: it delivers, and beside that syncs, exports and so on (hub.worker.lanes). Any number may run."""

from __future__ import annotations

import asyncio
import contextlib
import importlib
import signal

from hub import vault
from hub.clock import SystemClock
from hub.crypto import load_key
from hub.errors import Code, HubError
from hub.settings import Settings
from hub.store import claims
from hub.store.database import Database
from hub.webhooks.deliver import Courier
from hub.webhooks.dispatcher import Dispatcher, Limits
from hub.webhooks.egress import Egress
from hub.webhooks.schedule import LIVELY_SECONDS
from hub.worker.parts import Parts, Work, database
from hub.worker.together import end, together
from hub.worker.watching import watched

#: How long syncs and all else wait at a start for deliveries that are due.
DELIVERIES_FIRST_SECONDS = 15.0


async def run_worker(
    settings: Settings,
    *,
    database_url: str,
    redis_url: str | None,
    stop: asyncio.Event | None = None,
    work: Work | None = None,
) -> None:
    """Syncs, exports and delivers until SIGTERM, SIGINT or ``stop``; ends within 30 seconds of that.

    ``work`` carries out runs, one at a time, in place of the lanes that the settings ask for. ``database_url`` logs in
    as hub_worker and leads to PostgreSQL itself, for LISTEN. ``redis_url`` may be None, and Redis may come and go:
    wakes are then found 5 seconds later. Raises HubError(UNAVAILABLE) when PostgreSQL cannot be reached at the start;
    later it may come and go as well. Raises HubError(SETTINGS_CONTRADICT) where subscriptions contradict a setting.
    """
    stop = stop or asyncio.Event()
    _heed_signals(stop)
    key = await asyncio.to_thread(load_key, settings)
    share = max(1, settings.worker_pool_size // 2)  # pools of their own: a long sync keeps no delivery waiting
    async with contextlib.AsyncExitStack() as stack:
        deliveries = await database(stack, database_url, "hub worker deliveries", share)
        syncs = await database(
            stack, database_url, "hub worker syncs", max(settings.worker_pool_size - share, _connections(settings))
        )
        await vault.fix(syncs, key)
        egress = await stack.enter_async_context(Egress.of(settings))
        await stack.enter_async_context(watched(settings, deliveries, {"deliveries": deliveries, "syncs": syncs}))
        clock = SystemClock()
        courier = Courier(deliveries, egress, clock, key, settings.public_url, settings.webhook_lease_seconds)
        await _check_receivers(settings, deliveries)
        for url, seconds in await claims.lively(deliveries, seconds=LIVELY_SECONDS):
            courier.lively.took_before(url, seconds)
        dispatcher = Dispatcher(courier, limits=_limits(settings), listen_url=database_url)
        parts = Parts(settings, database_url, redis_url, deliveries, syncs, egress, clock, key, dispatcher.wake)
        await together([dispatcher.run(stop), _beside(stack, parts, stop, work, dispatcher.caught_up)], stop)


async def _beside(
    stack: contextlib.AsyncExitStack, parts: Parts, stop: asyncio.Event, work: Work | None, caught_up: asyncio.Event
) -> None:
    """All that is no delivery. Most of a worker's start is its import, in a thread: deliveries go out meanwhile.

    Those that have waited since a worker before this one ended come first, for some seconds.
    """
    waits = [asyncio.create_task(event.wait()) for event in (caught_up, stop)]
    try:
        await asyncio.wait(waits, timeout=DELIVERIES_FIRST_SECONDS, return_when=asyncio.FIRST_COMPLETED)
    finally:
        await end(waits)
    await asyncio.to_thread(importlib.import_module, "hub.worker.lanes")
    from hub.worker import lanes

    await lanes.run(stack, parts, stop, work)


def _limits(settings: Settings) -> Limits:
    return Limits(
        settings.webhook_concurrency, settings.webhook_district_concurrency, settings.webhook_host_concurrency
    )


async def _check_receivers(settings: Settings, db: Database) -> None:
    """Refuses to start where subscriptions contradict a setting. Raises HubError(SETTINGS_CONTRADICT)."""
    if settings.webhook_https_only and (count := await claims.plain(db)):
        raise HubError(
            Code.SETTINGS_CONTRADICT,
            f"HUB_WEBHOOK_HTTPS_ONLY is set, but {count} subscriptions go to http://. Edit or end them.",
        )


def _connections(settings: Settings) -> int:
    """What the syncs of a worker need: one to apply with and one to stage with each, and one for their leases.

    One more compares people, and one makes tokens under agreements: reading those of a large district takes a while,
    and no lease waits for it.
    """
    return 2 * (settings.sync_concurrency + settings.sync_small_concurrency) + 3


def _heed_signals(stop: asyncio.Event) -> None:
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        with contextlib.suppress(ValueError, RuntimeError):  # not the main thread: whoever started us sets ``stop``
            loop.add_signal_handler(number, stop.set)
