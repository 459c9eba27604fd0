"""What a worker does beside delivering: loops for syncs, exports and the like, pass-back, notices, and the bell."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from functools import partial
from typing import Any

import structlog

from hub.clock import Clock
from hub.crypto import Keys
from hub.dispatcher import Dispatcher as Telling
from hub.errors import HubError
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
from hub.store.database import Database
from hub.sync import schedules
from hub.sync.engine import work_once
from hub.sync.matching import match_once
from hub.sync.retention import Retention, purge_once
from hub.sync.room import Room
from hub.sync.tokenising import tokenise_once
from hub.sync.watch import Watch
from hub.webhooks.egress import Egress
from hub.worker import bells
from hub.worker.parts import Parts, Work, database
from hub.worker.together import end, together

log = structlog.get_logger()

#: How long due runs wait when nobody rings.
LOOK_SECONDS = 5.0
AWAY_SECONDS = 1.0
#: One to read from, one to write to, one for the lease.
EXPORT_CONNECTIONS = 3
PASSBACK_CONNECTIONS = 2

#: Recipients of notices that a worker tells at a time.
NOTICES_AT_A_TIME = 8


async def run(stack: contextlib.AsyncExitStack, parts: Parts, stop: asyncio.Event, work: Work | None) -> None:
    """Runs all of it until ``stop``. ``work``: as for hub.worker.process.run_worker."""
    settings, syncs, clock, key = parts.settings, parts.syncs, parts.clock, parts.key
    shop = await _workshop(stack, settings, parts.database_url, clock, key)
    porter = await _porter(stack, settings, parts.database_url, key)
    passback = Passback(porter, listen_url=parts.database_url)
    due, asked = asyncio.Event(), asyncio.Event()
    heard = _heard({"sync": [due.set], "export": [asked.set], "deliver": [parts.deliver, passback.wake]})
    teller = await _teller(parts)
    services = [
        passback.run(stop),
        *_syncs(settings, syncs, clock, key, due, stop, work),
        _carry_out("exports", lambda: make_exports(shop), asked, stop),
        _look_after("schedules", lambda: _schedules(settings, parts.deliveries, clock, due), stop),
        *_watch(settings, parts.deliveries, due, stop),
        Telling(Notices(teller), in_process=NOTICES_AT_A_TIME).run(stop),
        _carry_out("matching", lambda: _match(syncs, due), asyncio.Event(), stop),
        _carry_out("agreements", lambda: tokenise_once(syncs, key), asyncio.Event(), stop),
        _carry_out("purges", lambda: purge_once(syncs, clock, Retention.of(settings)), asyncio.Event(), stop),
    ]
    await together(services, stop, bell=bells.take(parts.redis_url, heard) if parts.redis_url else None)


def _heard(bells_of: Mapping[str, Sequence[Callable[[], None]]]) -> Callable[[str], None]:
    """Rings all bells of a kind of work."""

    def heard(kind: str) -> None:
        for ring in bells_of[kind]:
            ring()

    return heard


async def _teller(parts: Parts) -> Teller:
    settings = parts.settings
    mail = await asyncio.to_thread(mailer, settings, parts.clock)
    return Teller(
        parts.deliveries, parts.egress, mail, parts.clock, parts.key, settings.public_url, settings.notice_pause_seconds
    )


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
    db = await database(stack, url, "hub worker exports", EXPORT_CONNECTIONS)
    return Workshop(db, clock, key, Places(settings.export_folder, settings.export_allow), settings.export_keep_hours)


async def _porter(stack: contextlib.AsyncExitStack, settings: Settings, url: str, key: Keys) -> Porter:
    db = await database(stack, url, "hub worker pass-back", PASSBACK_CONNECTIONS)
    timeout = settings.passback_timeout_seconds
    most = IN_PROCESS * settings.passback_concurrency
    egress = await stack.enter_async_context(Egress(allow=settings.passback_allow, timeout=timeout, concurrency=most))
    return Porter(db, egress, Proofs(egress), key, timeout, settings.passback_concurrency)


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
    await end(tasks)
