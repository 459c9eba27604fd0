"""Districts, grants and feed entries written straight into the tables, so that webhooks are tested without a sync."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from typing import Any
from uuid import UUID

import asyncpg
from pyroaring import BitMap

from hub.ids import new_id
from hub.store.database import SCHEMA
from hub.sync.minting import mint
from transforms.catalogue import CATALOGUE


class Feeds:
    """Writes as the owner, who sees all districts. ``ids``: (district, entity) to its sourcedIds by rid."""

    def __init__(self, connection: Any) -> None:
        self.connection = connection
        self.ids: dict[tuple[UUID, str], list[str]] = {}

    async def district(self, name: str = "Elm Valley") -> UUID:
        """A new district without records."""
        made = new_id()
        await self.connection.execute("INSERT INTO districts (district_id, name) VALUES ($1, $2)", made, name)
        return made

    async def grant(self, district: UUID) -> UUID:
        """An active grant of a new app."""
        app, made = new_id(), new_id()
        await self.connection.execute("INSERT INTO apps (app_id, name) VALUES ($1, $2)", app, str(app))
        await self.connection.execute(
            "INSERT INTO grants (district_id, grant_id, app_id, definition) VALUES ($1, $2, $3, '{}')",
            district, made, app,
        )  # fmt: skip
        return made

    async def records(self, district: UUID, entity: str, count: int) -> list[str]:
        """The first records of an entity, rids from 0; their sourcedIds."""
        ids = mint(count).to_list()
        await self.connection.execute(
            f"INSERT INTO {CATALOGUE[entity].table} (district_id, rid, sourced_id, active, date_last_modified, doc, "
            "doc_private) SELECT $1, row_number() OVER () - 1, id, true, now(), ',\"givenName\":\"Ana Canary\"', '' "
            "FROM unnest($2::uuid[]) AS id",
            district, ids,
        )  # fmt: skip
        self.ids[district, entity] = ids
        return ids

    async def move(
        self, district: UUID, grant: UUID | None, entity: str = "users", *, entered: Iterable[int] = (),
        updated: Iterable[int] = (), left: Iterable[int] = (),
    ) -> int:  # fmt: skip
        """One more position of the district: a step of a grant's feed, its number, or a hidden change."""
        step = 0
        async with self.connection.transaction():
            position = await self.connection.fetchval(
                "UPDATE districts SET position = position + 1 WHERE district_id = $1 RETURNING position", district
            )
            if grant is not None:
                step = await self.connection.fetchval(
                    "UPDATE grants SET steps = steps + 1 WHERE district_id = $1 AND grant_id = $2 RETURNING steps",
                    district, grant,
                )  # fmt: skip
                await self.connection.execute(
                    "INSERT INTO feed (district_id, grant_id, position, step, entity, at, entered, updated, departed) "
                    "VALUES ($1, $2, $3, $8, $4, now(), $5, $6, $7)",
                    district, grant, position, entity,
                    *(BitMap(rids).serialize() for rids in (entered, updated, left)), step,
                )  # fmt: skip
        return step

    async def announce(self, district: UUID) -> None:
        """What a sync does after its commit."""
        await self.connection.execute("SELECT pg_notify('hub_feed', $1)", str(district))

    async def subscription(self, subscription_id: UUID) -> Any:
        """The row as it is."""
        return await self.connection.fetchrow("SELECT * FROM subscriptions WHERE subscription_id = $1", subscription_id)


@asynccontextmanager
async def feeds(owner_url: str) -> AsyncIterator[Feeds]:
    """The writer for one database."""
    connection = await asyncpg.connect(owner_url, server_settings={"search_path": SCHEMA})
    try:
        yield Feeds(connection)
    finally:
        await connection.close()
