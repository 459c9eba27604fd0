"""A district with users and a grant, a receiver that is subscribed, and a dispatcher to run."""

from __future__ import annotations

import asyncio
import ipaddress
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, replace
from typing import Any
from uuid import UUID

import pytest

from hub.clock import SystemClock
from hub.crypto import column_key
from hub.store import subscriptions as store
from hub.store.database import Database
from hub.webhooks import subscriptions
from hub.webhooks.deliver import Courier
from hub.webhooks.dispatcher import Dispatcher, Limits
from hub.webhooks.egress import Egress
from hub.webhooks.terms import Terms
from tests.fakes.feeds import Feeds, feeds
from tests.fakes.receiver import Behaviour, Receiver, receiver
from tests.services import MASTER_KEY
from tests.services import Database as Addresses

ALLOW = (ipaddress.ip_network("127.0.0.0/8"),)
KEY = column_key(MASTER_KEY)
BASE = "https://hub.example"


@dataclass(frozen=True)
class Subscribed:
    """A receiver with its subscription."""

    there: Receiver
    district: UUID
    grant: UUID
    id: UUID
    secret: str
    users: list[str]


@dataclass(frozen=True)
class World:
    """One database with what tests do to it."""

    addresses: Addresses
    feeds: Feeds
    db: Database

    async def subscribe(
        self, there: Receiver, *, district: UUID | None = None, users: int = 10, **terms: Any
    ) -> Subscribed:
        """Subscribes a receiver to a new grant of a district (a new one unless given)."""
        if district is None:
            district = await self.feeds.district()
            await self.feeds.records(district, "users", users)
        grant = await self.feeds.grant(district)
        async with self.db.district(district) as tx:
            made, secret = await subscriptions.create(
                tx, grant_id=grant, url=there.url, key=KEY, allow=ALLOW, terms=Terms(**terms)
            )
        return Subscribed(there, district, grant, made.subscription_id, secret, self.feeds.ids[district, "users"])

    async def edit(self, some: Subscribed, *, url: str | None = None, **terms: Any) -> None:
        """Changes a subscription's receiver or settings."""
        async with self.db.district(some.district) as tx:
            row = await store.get(tx, some.id)
            if url is not None:
                row = await subscriptions.point(tx, some.id, url, subscriptions.PROVEN)
            await subscriptions.edit(tx, some.id, replace(subscriptions.terms_of(row), **terms))

    @asynccontextmanager
    async def courier(self, *, seconds: float = 5, lease: float = 20, key: bytes = KEY) -> AsyncIterator[Courier]:
        """What deliveries need, with connections of its own."""
        db = await Database.open(self.addresses.worker, name="test worker")
        try:
            async with Egress(allow=ALLOW, timeout=seconds) as egress:
                yield Courier(db, egress, SystemClock(), key, BASE, lease)
        finally:
            await db.close()

    @asynccontextmanager
    async def running(
        self, *, seconds: float = 5, lease: float = 20, limits: Limits | None = None, listen: bool = True
    ) -> AsyncIterator[Dispatcher]:
        """A dispatcher that runs beside the test."""
        async with self.courier(seconds=seconds, lease=lease) as courier:
            stop = asyncio.Event()
            url = self.addresses.worker if listen else None
            dispatcher = Dispatcher(courier, limits=limits or Limits(), listen_url=url)
            task = asyncio.create_task(dispatcher.run(stop))
            try:
                yield dispatcher
            finally:
                stop.set()
                await asyncio.wait_for(task, 30)


@pytest.fixture
async def world(database: Addresses) -> AsyncIterator[World]:
    async with feeds(database.owner) as writer:
        db = await Database.open(database.service, name="test service")
        try:
            yield World(database, writer, db)
        finally:
            await db.close()


@pytest.fixture
def receivers() -> Callable[..., AbstractAsyncContextManager[Receiver]]:
    """Starts receivers: ``async with receivers(behaviour) as there``."""

    def start(behave: Behaviour | None = None) -> AbstractAsyncContextManager[Receiver]:
        return receiver(behave)

    return start
