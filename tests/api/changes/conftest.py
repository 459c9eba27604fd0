"""Fixtures: a hub over two synced districts, and an app that follows what changes in them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import orjson
import pytest
from aiohttp import ClientResponse

from hub.api.oneroster.scopes import READING
from hub.clock import SystemClock
from hub.crypto import column_key
from hub.store import claims
from hub.store.database import Database as Pool
from hub.webhooks import subscriptions
from hub.webhooks.deliver import Courier, deliver
from hub.webhooks.egress import Egress
from hub.webhooks.terms import Terms
from tests.api.oneroster.rosters import Hub, Prepared, issue, running
from tests.fakes.feeds import Feeds, feeds
from tests.fakes.receiver import receiver
from tests.services import MASTER_KEY, Database
from tests.webhooks.conftest import ALLOW

Answer = tuple[int, Any, Mapping[str, str]]


@dataclass
class Follower:
    """An app that asks for changes. ``feeds`` writes steps straight into the tables."""

    hub: Hub
    feeds: Feeds
    token: str

    @property
    def here(self) -> UUID:
        return self.hub.prepared.here

    @property
    def grant(self) -> UUID:
        return self.hub.prepared.grants["lms"]

    async def ask(self, path: str = "", *, token: str | None = None, method: str = "GET", **query: Any) -> Answer:
        """Status, body and headers of a request for changes, of the first district unless ``path`` says otherwise."""
        path = path or f"/d/{self.here}/changes"
        headers = {"Authorization": f"Bearer {token or self.token}"}
        given = {name: str(value) for name, value in query.items()}
        async with self.hub.session.request(method, path, headers=headers, params=given) as response:
            return response.status, await parsed(response), response.headers

    async def told(self, path: str = "", **query: Any) -> dict[str, Any]:
        """The body of an answer that must be 200."""
        status, body, _ = await self.ask(path, **query)
        assert status == 200, body
        found: dict[str, Any] = body
        return found

    async def follow(self, after: Any, path: str = "", **query: Any) -> tuple[list[dict[str, Any]], str]:
        """All changes from a position to the head, over as many answers as it takes; where that leads."""
        changes: list[dict[str, Any]] = []
        while True:
            body = await self.told(path, after=after, **query)
            changes += body["changes"]
            after = body["next"]
            if not body["more"]:
                return changes, after

    async def move(self, entity: str = "users", **sets: Any) -> int:
        """One more step of the app's feed, announced."""
        step = await self.feeds.move(self.here, self.grant, entity, **sets)
        await self.feeds.announce(self.here)
        return step


@asynccontextmanager
async def pushing(
    follower: Follower, database: Database, **terms: Any
) -> AsyncIterator[Callable[..., Awaitable[list[Any]]]]:
    """What delivers webhooks of the follower's grant from a step on, all or ``most``, and returns their bodies."""
    key = column_key(MASTER_KEY)
    db = await Pool.open(database.worker, name="test worker", largest=2)
    async with receiver() as there, Egress(allow=ALLOW, timeout=5) as egress:
        courier = Courier(db, egress, SystemClock(), key, follower.hub.settings.public_url, 20)
        async with db.district(follower.here) as tx:
            made, _ = await subscriptions.create(
                tx, grant_id=follower.grant, url=there.url, key=key, allow=ALLOW, terms=Terms(**terms)
            )

        async def push(step: int, most: int = 1_000) -> list[Any]:
            there.received.clear()
            await follower.feeds.connection.execute(
                "UPDATE subscriptions SET position = $2, told_to = NULL, looked_to = 0, window_to = NULL, "
                "inside = NULL, batch_id = NULL, ready_at = now() WHERE subscription_id = $1",
                made.subscription_id, step,
            )  # fmt: skip
            for claim in await claims.claim(db, limit=10, per_district=10, lease_seconds=20):
                while len(there.received) < most and await deliver(courier, claim):
                    pass
            return [orjson.loads(one.body) for one in there.received]

        try:
            yield push
        finally:
            await db.close()


async def parsed(response: ClientResponse) -> Any:
    data = await response.read()
    return await response.json(content_type=None) if data else None


@pytest.fixture
async def follower(roster_database: Database, rostered: tuple[str, Prepared]) -> AsyncIterator[Follower]:
    """Over a hub that hears notifications."""
    async with following(roster_database, rostered[1], listen=True) as found:
        yield found


@asynccontextmanager
async def following(
    database: Database, prepared: Prepared, *, listen: bool = True, **settings: Any
) -> AsyncIterator[Follower]:
    """A follower over a hub of its own."""
    async with running(database, prepared, listen=listen, **settings) as hub, feeds(database.owner) as writer:
        token = await issue(hub.db, prepared.clients["lms"][0], list(READING))
        yield Follower(hub, writer, token)
