"""A hub at work, API, worker and receivers, on servers of its own that a test stops, kills and empties."""

from __future__ import annotations

import asyncio
import ipaddress
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID, uuid4

from aiohttp import ClientSession
from aiohttp.test_utils import TestServer
from pydantic import SecretStr
from redis.asyncio import Redis
from yarl import URL

from hub.api import build_api
from hub.api.context import ApiContext
from hub.api.oneroster.scopes import SCOPES
from hub.clock import Clock, SystemClock
from hub.crypto import column_key
from hub.embedded import EmbeddedPostgres, EmbeddedRedis
from hub.errors import Code, HubError
from hub.scope.grants import GrantDefinition
from hub.settings import Settings
from hub.store import apps, runs
from hub.store.database import Database as Pool
from hub.sync import grants
from hub.sync.engine import work_once
from hub.webhooks import subscriptions
from hub.webhooks.terms import Terms
from hub.worker import run_worker
from hub.worker.doorbell import Doorbell
from tests import worker_process
from tests.api.oneroster.rosters import USUAL, issue
from tests.districts import District
from tests.fakes.proxy import Proxy, over_tcp, proxy
from tests.fakes.receiver import Receiver, receiver
from tests.services import MASTER_KEY, Database, database_at

KEY = column_key(MASTER_KEY)
ALLOW = (ipaddress.IPv4Network("127.0.0.0/8"),)
KILLED = 137


@dataclass(frozen=True)
class Granted:
    """A new app: its grant, a token, and where it is told of changes after a position."""

    grant_id: UUID
    token: str
    told: Receiver
    secret: str
    position: int
    subscription_id: UUID


@dataclass
class Site:
    """``db`` is the tests' own way in; ``working`` lets the worker carry out runs."""

    postgres: EmbeddedPostgres
    redis: EmbeddedRedis
    way: Proxy
    stack: AsyncExitStack
    bell: Doorbell
    working: asyncio.Event = field(default_factory=asyncio.Event)
    db: Pool = field(init=False)
    session: ClientSession = field(init=False)

    @property
    def database(self) -> Database:
        """Where the database is to be found, whichever port PostgreSQL has now."""
        return database_at(self.way.url(self.postgres.url()))

    async def restart(self) -> None:
        """PostgreSQL crashes and comes back; returns when everybody can be answered again."""
        await asyncio.to_thread(self.postgres.stop, immediate=True)
        await asyncio.to_thread(self.postgres.start)
        self.way.target = over_tcp(self.postgres.url())
        async with asyncio.timeout(30):
            while not await self._answers():
                await asyncio.sleep(0.05)

    async def _answers(self) -> bool:
        try:
            async with self.db.shared() as tx:
                await tx.fetchval("SELECT 1")
            async with self.session.get("/readyz") as response:
                return response.status == 200
        except HubError as error:
            if error.code is not Code.UNAVAILABLE:
                raise
            return False

    async def flush(self) -> None:
        """Redis forgets everything."""
        async with Redis.from_url(self.redis.url()) as client:
            await client.flushall()

    async def killed(self, place: str) -> None:
        """A worker process carries out what is due, and dies where it comes by the place; its lease runs out."""
        worker = worker_process.start(self.database.worker, crash_at=place)
        assert await worker_process.ended(worker) in {0, KILLED}

    async def time_passes(self, district: District) -> None:
        """As if leases, and waits after failures, had run out."""
        async with self.db.district(district.district_id) as tx:
            await tx.execute("UPDATE runs SET lease_until = now() - interval '1 second' WHERE lease_until IS NOT NULL")
            await tx.execute("UPDATE subscriptions SET ready_at = now()")

    async def done(self, district: District, run_id: UUID, *, flush: bool, crash: float | None) -> runs.Run:
        """What became of a run that the site's own worker carries out; who has to approve it does so.

        ``flush``: nobody hears that there is something to do. ``crash``: after how many seconds PostgreSQL does.
        """
        self.working.set()
        await self.bell.wake("sync", district.district_id)
        if flush:
            await self.flush()
        if crash is not None:
            await asyncio.sleep(crash)
            await self.restart()
            await self.time_passes(district)
        async with asyncio.timeout(60):
            while (run := await district.run(run_id)).state in {"queued", "running", "held"}:
                if run.state == "held":
                    async with self.db.district(district.district_id) as tx:
                        await runs.decide(tx, run_id, approve=True, actor="test")
                    await self.bell.wake("sync", district.district_id)
                await asyncio.sleep(0.02)
        self.working.clear()
        return run

    async def grant(self, district: District, definition: GrantDefinition, terms: Terms) -> Granted:
        """A new app with a grant, a token and a subscription."""
        app_id, client_id = uuid4(), apps.new_client_id()
        async with self.db.shared() as tx:
            await apps.create(tx, app_id, f"app {app_id}")
            await apps.create_client(tx, client_id, app_id=app_id, secret_hash="", scopes=list(SCOPES))
        token = await issue(self.db, client_id, list(SCOPES))
        told = await self.stack.enter_async_context(receiver())
        async with self.db.district(district.district_id) as tx:
            grant, _ = await grants.create(tx, app_id, definition, district.clock.now())
            made, secret = await subscriptions.create(
                tx, grant_id=grant.grant_id, url=told.url, key=KEY, allow=ALLOW, terms=terms
            )
        assert secret is not None
        return Granted(grant.grant_id, token, told, secret, made.position, made.subscription_id)

    async def page(self, address: str, token: str) -> tuple[int, Any, str | None]:
        """One page: status, body, and the address of the next one."""
        async with self.session.get(URL(address, encoded=True), headers={"Authorization": f"Bearer {token}"}) as got:
            link = got.links.get("next", {}).get("url")
            body = await got.json()
            return got.status, body, str(link.relative()) if link is not None else None


@asynccontextmanager
async def site(postgres: EmbeddedPostgres, redis: EmbeddedRedis) -> AsyncIterator[Site]:
    """Opens a site over servers that run."""
    stop = asyncio.Event()
    async with AsyncExitStack() as stack:
        way = await stack.enter_async_context(proxy(postgres.url()))
        bell = Doorbell(redis.url())
        stack.push_async_callback(bell.close)
        here = Site(postgres, redis, way, stack, bell)
        here.db = await Pool.open(here.database.worker, name="test worker", largest=4)
        stack.push_async_callback(here.db.close)
        pool = await Pool.open(here.database.service, name="tests of the API", largest=4)
        stack.push_async_callback(pool.close)
        server = TestServer(build_api(ApiContext(pool, Settings(**USUAL), SystemClock(), bell.wake)))
        await stack.enter_async_context(server)
        here.session = await stack.enter_async_context(ClientSession(base_url=server.make_url("/")))
        task = asyncio.create_task(_worker(here, stop))
        try:
            yield here
        finally:
            stop.set()
            await asyncio.wait_for(task, 30)


async def _worker(here: Site, stop: asyncio.Event) -> None:
    settings = Settings(
        database_url=SecretStr(here.database.owner), master_key=SecretStr(MASTER_KEY.decode()),
        webhook_allow=ALLOW, webhook_timeout_seconds=1.5, webhook_lease_seconds=2,  # a crash leaves one behind
    )  # fmt: skip

    async def work(db: Pool, clock: Clock) -> bool:
        return here.working.is_set() and await work_once(db, clock, key=KEY)

    await run_worker(settings, database_url=here.database.worker, redis_url=here.redis.url(), stop=stop, work=work)
