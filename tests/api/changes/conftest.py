"""Fixtures: a hub over two synced districts, and an app that follows what changes in them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import pytest
from aiohttp import ClientResponse

from hub.api.oneroster.scopes import READING
from tests.api.oneroster.conftest import roster_database, rostered
from tests.api.oneroster.rosters import Hub, Prepared, issue, running
from tests.fakes.feeds import Feeds, feeds
from tests.services import Database

__all__ = ["roster_database", "rostered"]
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
