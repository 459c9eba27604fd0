"""One worker process: the dispatchers, the loops that carry out syncs and exports, and the bell. Any number may run."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from functools import partial
from typing import Any

import structlog

from hub import vault
from hub.clock import Clock, SystemClock
from hub.crypto import Keys, load_key
from hub.dispatcher import Dispatcher as Telling
from hub.errors import Code, HubError
from hub.export.jobs import Workshop
from hub.export.jobs import work_once as make_exports
from hub.export.targets import Places
from hub.notices.mail import mailer
from hub.notices.tell import Notices, Teller
from hub.passback.dispatcher import IN_PROCESS
from hub.passback.dispatcher import Dispatcher as Passback
from hub.passback.proofs import Proofs
from hub.passback.rounds import Porter
from hub.settings import Settings
from hub.store import claims
from hub.store.database import Database
from hub.sync import schedules
from hub.sync.engine import work_once
from hub.sync.matching import match_once
from hub.sync.retention import Retention, purge_once
from hub.sync.room import Room
from hub.sync.tokenising import tokenise_once
from hub.sync.watch import Watch
from hub.webhooks.deliver import Courier
from hub.webhooks.dispatcher import Dispatcher, Limits
from hub.webhooks.egress import Egress
from hub.worker import bells
from hub.worker.watching import watched

log = structlog.get_logger()

#: How long due runs wait when nobody rings.
LOOK_SECONDS = 5.0
#: From SIGTERM until what is still running is left to others; connections then close within the rest of 30 s.
STOP_SECONDS = 22.0
AWAY_SECONDS = 1.0
#: One to read from, one to write to, one for the lease.
EXPORT_CONNECTIONS = 3
PASSBACK_CONNECTIONS = 2

#: Recipients of notices that a worker tells at a time.
NOTICES_AT_A_TIME = 8

#: Claims one due run and carries it out; whether there was one.
Work = Callable[[Database, Clock], Awaitable[bool]]


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
        deliveries = await _database(stack, database_url, "hub worker deliveries", share)
        syncs = await _database(
            stack, database_url, "hub worker syncs", max(settings.worker_pool_size - share, _connections(settings))
        )
        await vault.fix(syncs, key)
        egress = await stack.enter_async_context(Egress.of(settings))
        await stack.enter_async_context(watched(settings, deliveries, {"deliveries": deliveries, "syncs": syncs}))
        clock = SystemClock()
        courier = Courier(deliveries, egress, clock, key, settings.public_url, settings.webhook_lease_seconds)
        await _check_receivers(settings, deliveries)
        dispatcher = Dispatcher(courier, limits=_limits(settings), listen_url=database_url)
        shop = await _workshop(stack, settings, database_url, clock, key)
        passback = Passback(await _porter(stack, settings, database_url, key), listen_url=database_url)
        due, asked = asyncio.Event(), asyncio.Event()
        heard = _heard({"sync": [due.set], "export": [asked.set], "deliver": [dispatcher.wake, passback.wake]})
        teller = await _teller(settings, deliveries, egress, clock, key)
        services = [
            dispatcher.run(stop),
            passback.run(stop),
            *_syncs(settings, syncs, clock, key, due, stop, work),
            _carry_out("exports", lambda: make_exports(shop), asked, stop),
            _look_after("schedules", lambda: _schedules(settings, deliveries, clock, due), stop),
            *_watch(settings, deliveries, due, stop),
            Telling(Notices(teller), in_process=NOTICES_AT_A_TIME).run(stop),
            _carry_out("matching", lambda: _match(syncs, due), asyncio.Event(), stop),
            _carry_out("agreements", lambda: tokenise_once(syncs, key), asyncio.Event(), stop),
            _carry_out("purges", lambda: purge_once(syncs, clock, Retention.of(settings)), asyncio.Event(), stop),
        ]
        await _together(services, bells.take(redis_url, heard) if redis_url else None, stop)


def _heard(bells_of: Mapping[str, Sequence[Callable[[], None]]]) -> Callable[[str], None]:
    """Rings all bells of a kind of work."""

    def heard(kind: str) -> None:
        for ring in bells_of[kind]:
            ring()

    return heard


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


async def _teller(settings: Settings, db: Database, egress: Egress, clock: Clock, key: Keys) -> Teller:
    mail = await asyncio.to_thread(mailer, settings, clock)
    return Teller(db, egress, mail, clock, key, settings.public_url, settings.notice_pause_seconds)


def _connections(settings: Settings) -> int:
    """What the syncs of a worker need: one to apply with and one to stage with each, and one for their leases.

    One more compares people, and one makes tokens under agreements: reading those of a large district takes a while,
    and no lease waits for it.
    """
    return 2 * (settings.sync_concurrency + settings.sync_small_concurrency) + 3


def _syncs(
    settings: Settings,
    db: Database,
    clock: Clock,
    key: Keys,
    due: asyncio.Event,
    stop: asyncio.Event,
    work: Work | None,
) -> list[Coroutine[Any, Any, None]]:
    """The lanes of runs."""
    if work is not None:
        return [_carry_out("syncs", lambda: work(db, clock), due, stop)]
    room = Room.of(settings)
    small = [False] * settings.sync_concurrency + [True] * settings.sync_small_concurrency
    return [
        _carry_out("syncs", partial(work_once, db, clock, key=key, room=room, small=lane), due, stop) for lane in small
    ]


def _watch(
    settings: Settings, db: Database, due: asyncio.Event, stop: asyncio.Event
) -> list[Coroutine[Any, Any, None]]:
    """Looks into the folders of districts, where the operator has some watched."""
    if settings.watch_folder is None:
        return []
    watch = Watch(db, settings.watch_folder)

    async def look() -> None:
        if await watch.look():
            due.set()

    return [_look_after("watched folders", look, stop)]


async def _match(db: Database, due: asyncio.Event) -> bool:
    """Compares the people of a district; what is to be merged is a run, which is due at once."""
    found = await match_once(db)
    if found:
        due.set()
    return found


async def _schedules(settings: Settings, db: Database, clock: Clock, due: asyncio.Event) -> None:
    if await schedules.look(db, clock, spread_seconds=settings.schedule_spread_seconds):
        due.set()


async def _workshop(
    stack: contextlib.AsyncExitStack, settings: Settings, url: str, clock: Clock, key: Keys
) -> Workshop:
    db = await _database(stack, url, "hub worker exports", EXPORT_CONNECTIONS)
    return Workshop(db, clock, key, Places(settings.export_folder, settings.export_allow), settings.export_keep_hours)


async def _porter(stack: contextlib.AsyncExitStack, settings: Settings, url: str, key: Keys) -> Porter:
    db = await _database(stack, url, "hub worker pass-back", PASSBACK_CONNECTIONS)
    timeout = settings.passback_timeout_seconds
    most = IN_PROCESS * settings.passback_concurrency
    egress = await stack.enter_async_context(Egress(allow=settings.passback_allow, timeout=timeout, concurrency=most))
    return Porter(db, egress, Proofs(egress), key, timeout, settings.passback_concurrency)


async def _database(stack: contextlib.AsyncExitStack, url: str, name: str, size: int) -> Database:
    db = await Database.open(url, name=name, largest=size)
    stack.push_async_callback(db.close)
    return db


async def _together(
    services: list[Coroutine[Any, Any, None]], bell: Coroutine[Any, Any, None] | None, stop: asyncio.Event
) -> None:
    """Runs all until ``stop``; one that fails ends the others, and its error is raised."""
    tasks = [asyncio.create_task(service) for service in services]
    ringing = asyncio.create_task(bell) if bell is not None else None
    waiting = asyncio.create_task(stop.wait())
    try:
        await asyncio.wait([*tasks, waiting], return_when=asyncio.FIRST_COMPLETED)
        stop.set()
        _, late = await asyncio.wait(tasks, timeout=STOP_SECONDS)
        if late:
            log.warning("work is left to others: it did not end in time")
    finally:
        await _end([*tasks, waiting, *([ringing] if ringing else [])])
    for task in tasks:
        if not task.cancelled():
            task.result()


async def _end(tasks: list[asyncio.Task[Any]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def _carry_out(what: str, work: Callable[[], Awaitable[bool]], due: asyncio.Event, stop: asyncio.Event) -> None:
    """Carries out what is due, one after the other; looks when the bell rings, and every 5 seconds without."""
    while not stop.is_set():
        due.clear()
        pause = LOOK_SECONDS
        try:
            if await work():
                due.set()  # what had to wait for this one may go now, in whichever lane
                continue
        except HubError as error:
            log.warning("work waits", what=what, code=error.code.value)
            pause = AWAY_SECONDS
        except Exception:
            # A bug of ours must not end the loop; a lease ends and its attempts are counted.
            log.exception("work failed", what=what)
        await _first(due, stop, pause)


async def _look_after(what: str, look: Callable[[], Awaitable[None]], stop: asyncio.Event) -> None:
    """Looks every 5 seconds whether something is due by the clock."""
    while not stop.is_set():
        try:
            await look()
        except HubError as error:
            log.warning("work waits", what=what, code=error.code.value)
        except Exception:
            log.exception("work failed", what=what)  # a bug of ours; what is due stays due
        await _first(stop, stop, LOOK_SECONDS)


async def _first(one: asyncio.Event, other: asyncio.Event, seconds: float) -> None:
    """Waits until either event is set, ``seconds`` at most."""
    tasks = [asyncio.create_task(event.wait()) for event in (one, other)]
    await asyncio.wait(tasks, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
    await _end(tasks)


def _heed_signals(stop: asyncio.Event) -> None:
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        with contextlib.suppress(ValueError, RuntimeError):  # not the main thread: whoever started us sets ``stop``
            loop.add_signal_handler(number, stop.set)
