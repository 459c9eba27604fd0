"""Passing grades back from a synced district: a target at a fake system, and rounds that tests make by hand."""

from __future__ import annotations

import ipaddress
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

import asyncpg

from hub.crypto import column_key
from hub.ids import new_id
from hub.passback.login import sealed
from hub.passback.proofs import Proofs
from hub.passback.rounds import Porter, turn
from hub.store import grade_deliveries, grade_targets
from hub.store.database import SCHEMA
from hub.store.database import Database as Pool
from hub.store.grade_deliveries import Undelivered
from hub.store.grade_targets import GradeTarget
from hub.webhooks.egress import Egress
from tests.api.oneroster.gradebooks import Book
from tests.fakes.sis import CLIENT, SECRET, Sis, sis
from tests.services import MASTER_KEY, Database

KEY = column_key(MASTER_KEY)
LOOPBACK = (ipaddress.ip_network("127.0.0.0/8"),)
ENTITIES = ["categories", "lineItems", "results", "scoreScales"]


@dataclass
class Passing:
    """``keys``: canonical ids to the source's keys; ``ids``: what apps call an object to the hub's id."""

    book: Book
    there: Sis
    porter: Porter
    owner: Any
    keys: dict[str, str]
    target: UUID = field(default_factory=new_id)

    async def point(self, *, start: str = "beginning", **values: Any) -> UUID:
        """Makes the target; by default everything goes, from the beginning on."""
        prepared = self.book.hub.prepared
        self.target = new_id()
        login = {"kind": "oauth2", "token_url": self.there.token_url, "client_id": CLIENT, "scope": ""}
        if self.there.oauth1:
            login = {"kind": "oauth1", "client_id": CLIENT, "signature_method": self.there.oauth1}
        columns = {
            "source_id": prepared.source, "version": self.there.version, "url": self.there.url, "login": login,
            "secret": sealed(KEY, SECRET, prepared.here, self.target), "entities": ENTITIES, "apps": None,
        }  # fmt: skip
        async with self.book.service.district(prepared.here) as tx:
            await grade_targets.create(tx, self.target, from_beginning=start == "beginning", **columns | values)
        return self.target

    async def drain(self, *, most: int = 200) -> None:
        """Makes rounds for as long as anything is due."""
        for _ in range(most):
            claims = await grade_targets.claim(self.porter.db, limit=8, lease_seconds=self.porter.lease_seconds)
            if not claims:
                return
            for claim in claims:
                while await turn(self.porter, claim):
                    pass
        raise AssertionError("rounds without end")

    async def later(self) -> None:
        """Time passes: whatever waits for its next attempt is due."""
        await self.owner.execute("UPDATE grade_deliveries SET ready_at = now() WHERE state = 'waiting'")
        await self.owner.execute("UPDATE grade_targets SET ready_at = now(), due_at = now()")

    async def row(self) -> GradeTarget:
        async with self.book.service.district(self.book.district_id) as tx:
            return await grade_targets.get(tx, self.target)

    async def states(self) -> dict[str, int]:
        async with self.book.service.district(self.book.district_id) as tx:
            return await grade_deliveries.counts(tx, self.target)

    async def report(self, state: str | None = None) -> list[Undelivered]:
        async with self.book.service.district(self.book.district_id) as tx:
            return await grade_deliveries.undelivered(tx, self.target, state=state, after=None, limit=1000)

    async def id(self, entity: str, key: str, app: str = "lms") -> str:
        """The hub's own id of what an app calls ``key``."""
        found = await self.owner.fetchval(
            "SELECT sourced_id::text FROM gradebook_objects WHERE entity = $1 AND key = $2 AND app_id = $3",
            entity, key, self.book.hub.prepared.apps[app],
        )  # fmt: skip
        assert isinstance(found, str)
        return found


@asynccontextmanager
async def passing(
    book: Book, database: Database, version: str = "1.2", *, seconds: float = 5
) -> AsyncIterator[Passing]:
    """A system that knows the district's roster, without a target yet."""
    owner = await asyncpg.connect(database.owner, server_settings={"search_path": SCHEMA})
    rows = await owner.fetch(
        "SELECT entity, rid, key FROM source_records WHERE source_id = $1", book.hub.prepared.source
    )
    roster: dict[str, set[str]] = {}
    for row in rows:
        roster.setdefault(row["entity"], set()).add(row["key"])
    keys: dict[str, str] = {}
    for entity, table in {"classes": "classes", "users": "users", "orgs": "orgs", "categories": "categories",
                          "academicSessions": "academic_sessions", "lineItems": "line_items",
                          "scoreScales": "score_scales"}.items():  # fmt: skip
        found = await owner.fetch(
            f"SELECT t.sourced_id::text AS id, s.key FROM source_records s JOIN {table} t USING (district_id, rid) "
            "WHERE s.entity = $1", entity,
        )  # fmt: skip
        keys |= {row["id"]: row["key"] for row in found}
    db = await Pool.open(database.worker, name="test pass-back", largest=2)
    try:
        async with sis(version, roster) as there, Egress(allow=LOOPBACK, timeout=seconds) as egress:
            yield Passing(book, there, Porter(db, egress, Proofs(egress), KEY, seconds), owner, keys)
    finally:
        await db.close()
        await owner.close()
