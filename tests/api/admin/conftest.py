"""A real server with the admin API on a real database, with one token of each role."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from uuid import UUID

import pytest
from aiohttp import ClientSession
from aiohttp.test_utils import TestServer

from hub.api import build_api
from hub.api.context import ApiContext
from hub.clock import SystemClock
from hub.ids import new_id
from hub.scope.grants import GrantDefinition
from hub.settings import Settings
from hub.store import admin_tokens, apps, districts, sources
from hub.store.audit import HUB
from hub.store.database import Database as Pool
from hub.sync import grants
from tests.api.admin.service import AdminHub
from tests.beginnings import Beginning, Beginnings
from tests.databases import copy_of, kept
from tests.fakes.receiver import receiver
from tests.services import Database

UPLOAD_LIMIT = 32_000_000


async def _token(pool: Pool, role: str, *, district: UUID | None = None, app: UUID | None = None) -> str:
    async with pool.district(HUB) as tx:
        _, token = await admin_tokens.create(
            tx, new_id(), name=f"{role} of the tests", role=role, district_id=district, app_id=app,
            expires_at=SystemClock().now() + timedelta(days=1),
        )  # fmt: skip
    return token


async def _district(pool: Pool, name: str) -> tuple[UUID, UUID]:
    district, source = new_id(), new_id()
    async with pool.district(district) as tx:
        await districts.create(tx, name)
        await sources.create(tx, source, name="SIS", kind="oneroster_csv", config={})
    return district, source


@dataclass(frozen=True)
class Administered:
    """The name of a database with two districts and an app of each that is only ever copied, and what is in it."""

    name: str
    own: tuple[UUID, UUID]
    foreign: tuple[UUID, UUID]
    apps: tuple[UUID, UUID]
    grants: tuple[UUID, UUID]
    tokens: Mapping[str, str]


@pytest.fixture(scope="session")
def administered(postgres: str, template: str) -> Iterator[Administered]:
    """Two districts with a source, an app and a grant each, and one token of each role."""
    with kept(postgres, template, "administered") as database:
        yield asyncio.run(_prepare(database))


async def _prepare(database: Database) -> Administered:
    pool, clock = await Pool.open(database.service, name="preparing", largest=2), SystemClock()
    own, foreign = await _district(pool, "Ours"), await _district(pool, "Theirs")
    vendor, stranger = new_id(), new_id()
    async with pool.district(own[0]) as tx:
        await apps.create(tx, vendor, "Math")
        await apps.create(tx, stranger, "Stranger")
        grant, _ = await grants.create(tx, vendor, GrantDefinition(), clock.now())
    async with pool.district(foreign[0]) as tx:
        foreign_grant, _ = await grants.create(tx, stranger, GrantDefinition(), clock.now())
    tokens = {
        "operator": await _token(pool, "operator"),
        "district": await _token(pool, "district", district=own[0]),
        "app": await _token(pool, "app", app=vendor),
    }
    await pool.close()
    return Administered(
        database.name, own, foreign, (vendor, stranger), (grant.grant_id, foreign_grant.grant_id), tokens
    )


@pytest.fixture(scope="session")
def beginnings(postgres: str, administered: Administered) -> Iterator[Beginnings]:
    """The databases of all that happened to our district before tests."""
    with ExitStack() as databases:
        yield Beginnings(postgres, administered.name, databases, administered.own)


@pytest.fixture
def beginning() -> Beginning | None:
    """What happened to our district before a test of a module that has a fixture of its own; else nothing."""
    return None


@pytest.fixture
async def database(
    postgres: str, administered: Administered, beginnings: Beginnings, beginning: Beginning | None
) -> AsyncIterator[Database]:
    """A copy of the districts, instead of an empty database."""
    if beginning is not None:
        async with beginnings.copy(beginning) as (begun, _):
            yield begun
    else:
        async with copy_of(postgres, administered.name) as found:
            yield found


@pytest.fixture
async def hub(database: Database, administered: Administered, tmp_path: Path) -> AsyncIterator[AdminHub]:
    pool = await Pool.open(database.service, name="tests of the admin API", largest=8)
    clock, rung = SystemClock(), []

    async def wake(kind: str, district_id: UUID) -> None:
        rung.append((kind, district_id))

    settings = Settings(
        data_dir=tmp_path, upload_max_bytes=UPLOAD_LIMIT, webhook_allow="127.0.0.0/8", wrong_credentials_burst=10_000,
        export_allow="127.0.0.0/8", export_folder=tmp_path / "out", passback_allow="127.0.0.0/8",
        source_allow="127.0.0.0/8",
    )  # fmt: skip
    there_is = administered
    async with (
        TestServer(build_api(ApiContext(pool, settings, clock, wake))) as server,
        ClientSession(base_url=server.make_url("/")) as session,
        receiver() as there,
    ):
        yield AdminHub(
            server=server, session=session, pool=pool, owner_url=database.owner, worker_url=database.worker,
            tokens=dict(there_is.tokens), rung=rung,
            district=there_is.own[0], source=there_is.own[1],
            foreign_district=there_is.foreign[0], foreign_source=there_is.foreign[1],
            app=there_is.apps[0], foreign_app=there_is.apps[1],
            grant=there_is.grants[0], foreign_grant=there_is.grants[1], there=there,
        )  # fmt: skip
    await pool.close()
