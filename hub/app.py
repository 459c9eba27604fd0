"""The composition root: which servers, which logins, which parts. Nothing else chooses implementations.

Each process imports its own parts alone: to import those of all of them takes longer than most processes' start.
"""

from __future__ import annotations

import asyncio
import contextlib
import resource
import signal
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from functools import partial
from uuid import UUID

import structlog
from aiohttp import web

from hub.allocator import give_back_freed_memory
from hub.clock import SystemClock
from hub.collector import settle
from hub.embedded import EmbeddedPostgres, EmbeddedRedis
from hub.errors import Code, HubError
from hub.settings import SERVICE_ROLE, WORKER_ROLE, Settings, database_urls, master_keys, role_passwords
from hub.store.database import Database
from hub.store.migrate import check, migrate

log = structlog.get_logger()
#: Longest statement of an API process; a read that takes longer is a bug or an attack.
STATEMENT_SECONDS = 30
#: Open files beside those of connections: the pool, listening sockets, what libraries hold.
OTHER_FILES = 500


@dataclass(frozen=True, slots=True)
class Services:
    """The addresses of PostgreSQL, by login, and of Redis."""

    owner_url: str
    database_urls: dict[str, str]
    redis_url: str


@contextlib.contextmanager
def services(settings: Settings) -> Iterator[Services]:
    """The servers that ``settings`` name; embedded ones run for as long as somebody uses them.

    Raises HubError(UNAVAILABLE) when an embedded server cannot run here.
    """
    with contextlib.ExitStack() as stack:
        if settings.database_url is not None:
            owner_url = settings.database_url.get_secret_value()
        else:
            owner_url = stack.enter_context(EmbeddedPostgres(settings.data_dir)).url()
        if settings.redis_url is not None:
            redis_url = settings.redis_url.get_secret_value()
        else:
            redis_url = stack.enter_context(EmbeddedRedis(settings.data_dir)).url()
        yield Services(owner_url, dict(database_urls(settings, owner_url)), redis_url)


async def migrate_all(settings: Settings, found: Services) -> list[str]:
    """Applies the schema steps that are missing; their names."""
    return await migrate(found.owner_url, passwords=role_passwords(master_keys(settings)[-1]))


@contextlib.asynccontextmanager
async def api(settings: Settings, found: Services) -> AsyncIterator[web.Application]:
    """The API's application with its pool and its doorbell; closes them at the end.

    Raises HubError(SCHEMA_OUTDATED | ROLE_TOO_STRONG | UNAVAILABLE).
    """
    from hub.api import build_api
    from hub.api.context import ApiContext
    from hub.worker.doorbell import Doorbell

    url = found.database_urls[SERVICE_ROLE]
    await check(url)
    db = await Database.open(
        url, name="hub api", largest=settings.service_pool_size, statement_seconds=STATEMENT_SECONDS
    )
    doorbell = Doorbell(found.redis_url)

    async def wake(kind: str, district_id: UUID) -> None:
        await doorbell.wake(kind, district_id)

    try:
        yield build_api(ApiContext(db, settings, SystemClock(), wake, listen_url=url))
    finally:
        await doorbell.close()
        await db.close()


async def serve(settings: Settings, *, ready: Callable[[str], None] | None = None) -> None:
    """Serves the API until SIGTERM or SIGINT; then lets requests end, 30 s at most.

    ``ready`` is called with the public address once it answers.
    """
    from hub.api.connections import Patience, listening

    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    with services(settings) as found:
        if settings.embedded_postgres:
            await migrate_all(settings, found)
        async with api(settings, found) as application:
            _allow_files(settings.max_connections + OTHER_FILES)
            async with listening(application, settings.host, settings.port, Patience.of(settings), reuse_port=True):
                settle()
                if ready is not None:
                    ready(settings.public_url)
                await stop.wait()


def _allow_files(wanted: int) -> None:
    """Raises the process's own limit of open files, as far as it may, so that all connections find room."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY:
        wanted = min(wanted, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


async def take_files(settings: Settings, *, ready: Callable[[int], None] | None = None) -> None:
    """Takes what vendors put down by SFTP until SIGTERM or SIGINT.

    ``ready`` is called with the port. Raises HubError(SETTINGS_CONTRADICT | SCHEMA_OUTDATED | ROLE_TOO_STRONG |
    UNAVAILABLE).
    """
    from hub.drop import server as drop
    from hub.worker.doorbell import Doorbell

    if settings.sftp_port is None:
        raise HubError(Code.SETTINGS_CONTRADICT, "Set HUB_SFTP_PORT: the port that vendors reach.")
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    with services(settings) as found:
        if settings.embedded_postgres:
            await migrate_all(settings, found)
        url = found.database_urls[SERVICE_ROLE]
        await check(url)
        db = await Database.open(url, name="hub sftp", largest=settings.service_pool_size)
        doorbell = Doorbell(found.redis_url)
        try:
            async with drop.serving(settings, db, doorbell.wake, port=settings.sftp_port) as listener:
                if ready is not None:
                    ready(listener.get_port())
                await stop.wait()
        finally:
            await doorbell.close()
            await db.close()


def keep_working(settings: Settings, live: Callable[[Services, int], None], *, processes: int) -> int:
    """Keeps processes that work, each in ``live``, until SIGTERM or SIGINT; the exit code (hub.worker.supervisor).

    Raises HubError as ``services`` does.
    """
    import hub.worker.process  # noqa: F401 - once, for all processes that are forked from this one
    from hub.worker.supervisor import supervise

    with services(settings) as found:
        settle()
        give_back_freed_memory()
        return supervise(partial(live, found), processes=processes)


async def work(settings: Settings, found: Services, tie: int) -> None:
    """Carries out syncs and delivers webhooks until SIGTERM or SIGINT, or until the file ``tie`` can be read from.

    Raises HubError(SCHEMA_OUTDATED | ROLE_TOO_STRONG | UNAVAILABLE).
    """
    from hub.worker.process import run_worker

    stop, loop = asyncio.Event(), asyncio.get_running_loop()

    def told() -> None:
        loop.remove_reader(tie)
        stop.set()

    loop.add_reader(tie, told)
    if settings.embedded_postgres:  # here, as it loads the column engine, whose threads no fork takes along
        await migrate_all(settings, found)
    url = found.database_urls[WORKER_ROLE]
    await check(url)
    await run_worker(settings, database_url=url, redis_url=found.redis_url, stop=stop)
