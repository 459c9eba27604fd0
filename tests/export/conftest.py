"""A small district with a gradebook, ready to be exported, in a database that each test gets a copy of."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path
from uuid import UUID

import pytest

from hub.clock import SystemClock
from hub.crypto import column_key
from hub.export.jobs import Workshop, work_once
from hub.export.targets import Places
from hub.settings import Settings
from hub.store import exports
from hub.store.database import Database as Pool
from hub.store.exports import Export
from hub.store.grants import Grant
from tests.databases import copy_of, kept
from tests.districts import District
from tests.export.packages import EVERY, EVERYTHING
from tests.fakes import rosters
from tests.services import MASTER_KEY, Database

LOOPBACK = Settings(export_allow="127.0.0.0/8").export_allow


@dataclass
class World:
    """A synced district and what carries out its exports."""

    district: District
    grant: Grant
    shop: Workshop
    database: Database

    async def request(self, mode: str = "bulk", version: str = "1.2") -> Export:
        """Queues what an app asks for."""
        async with self.district.db.district(self.district.district_id) as tx:
            return await exports.request(
                tx, UUID(bytes=secrets.token_bytes(16)), grant_id=self.grant.grant_id, version=version, mode=mode,
                entities=EVERY, requested_by="test",
            )  # fmt: skip

    async def get(self, export: Export) -> Export:
        async with self.district.db.district(self.district.district_id) as tx:
            return await exports.get(tx, export.export_id)

    async def work(self) -> int:
        """Carries out all that is due; how many exports that were."""
        done = 0
        while await work_once(self.shop):
            done += 1
        return done

    async def execute(self, statement: str, *values: object) -> int:
        """A statement on the district's rows."""
        async with self.district.db.district(self.district.district_id) as tx:
            return await tx.execute(statement, *values)

    async def kept(self) -> int:
        """How many parts of packages are kept."""
        async with self.district.db.district(self.district.district_id) as tx:
            return int(await tx.fetchval("SELECT count(*) FROM export_parts"))


async def _prepare(url: str) -> tuple[District, Grant]:
    db = await Pool.open(url, name="preparing", largest=2)
    district = await District(db).create()
    await district.sync(rosters.frames("1.2", rosters.clean("1.2")))
    grant = await district.grant(EVERYTHING)
    await db.close()
    return district, grant


@pytest.fixture(scope="session")
def exported(postgres: str, template: str) -> Iterator[tuple[str, District, Grant]]:
    with kept(postgres, template, "exported") as database:
        yield database.name, *asyncio.run(_prepare(database.worker))


@pytest.fixture
async def world(postgres: str, exported: tuple[str, District, Grant], tmp_path: Path) -> AsyncIterator[World]:
    template, prepared, grant = exported
    (tmp_path / "exports").mkdir()
    places = Places(tmp_path / "exports", LOOPBACK)
    async with copy_of(postgres, template) as database:
        db = await Pool.open(database.worker, name="test", largest=6)
        district = District(db, district_id=prepared.district_id, source_id=prepared.source_id)
        yield World(district, grant, Workshop(db, SystemClock(), column_key(MASTER_KEY), places), database)
        await db.close()
