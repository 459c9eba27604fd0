"""Districts for the tests of syncs: an empty one, and copies of one that was loaded once."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from uuid import UUID

import asyncpg
import pytest

from hub.scope.grants import GrantDefinition
from hub.store.database import Database as Pool
from tests.districts import District, Frames, changed, sandbox, without
from tests.services import Database, copying, database_at, in_database
from tests.snapshots import Snapshot, snapshot

STUDENTS = GrantDefinition.model_validate({"rules": [{"roles": ["student"]}], "privacy": ["contact"]})


@dataclass(frozen=True)
class Loaded:
    """A database with one loaded district and two grants. ``after``: what it shows once ``change()`` came."""

    name: str
    district_id: UUID
    source_id: UUID
    before: Snapshot
    after: Snapshot


def first() -> Frames:
    """The package that was loaded before: one demographics row is yet to come."""
    frames = sandbox(students=100, seed=11).frames
    return without(frames, "demographics", frames["demographics"]["sourcedId"].head(1).to_list())


def change() -> Frames:
    """The package that comes next: a record is new, one comes back, one has another name, three go."""
    frames = sandbox(students=100, seed=11).frames
    user = frames["demographics"]["sourcedId"][5]
    renamed = changed(frames, "users", user, givenName="Zebulon", email="zebulon@students.example")
    return without(renamed, "enrollments", frames["enrollments"]["sourcedId"].slice(3, 3).to_list())


@pytest.fixture
async def district(database: Database) -> AsyncIterator[District]:
    """An empty district."""
    db = await Pool.open(database.worker, name="test worker", largest=4)
    yield await District(db).create()
    await db.close()


@pytest.fixture
async def other_district(district: District) -> District:
    """Another empty district of the same database."""
    return await District(district.db).create()


@pytest.fixture(scope="session")
def loaded(postgres: str, template: str) -> Iterator[Loaded]:
    """A loaded district, to be copied: one of its enrollments was there once and is gone."""
    name = f"hub_loaded_{secrets.token_hex(6)}"
    asyncio.run(_execute(postgres, copying(name, template)))
    yield asyncio.run(_load(in_database(postgres, name), name))
    asyncio.run(_execute(postgres, f"DROP DATABASE {name} WITH (FORCE)"))


async def _load(url: str, name: str) -> Loaded:
    db = await Pool.open(database_at(url).worker, name="test worker", largest=4)
    try:
        district = await District(db).create()
        await district.sync(first())
        await district.grant()
        await district.grant(STUDENTS)
        gone = first()["enrollments"]["sourcedId"].head(1).to_list()
        await district.sync(without(first(), "enrollments", gone))
        before = await snapshot(district)
    finally:
        await db.close()
    copy = f"{name}_after"
    await _execute(url, copying(copy, name), elsewhere=True)
    db = await Pool.open(database_at(in_database(url, copy)).worker, name="test worker", largest=4)
    try:
        other = District(db, district_id=district.district_id, source_id=district.source_id)
        assert (await other.sync(change())).state == "applied"
        after = await snapshot(other)
    finally:
        await db.close()
    await _execute(url, f"DROP DATABASE {copy} WITH (FORCE)", elsewhere=True)
    return Loaded(name, district.district_id, district.source_id, before, after)


@pytest.fixture
async def copied(postgres: str, loaded: Loaded) -> AsyncIterator[Database]:
    """A database of the test's own with the loaded district."""
    name = f"hub_test_{secrets.token_hex(6)}"
    await _execute(postgres, copying(name, loaded.name))
    yield database_at(in_database(postgres, name))
    await _execute(postgres, f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture
async def second(copied: Database, loaded: Loaded) -> AsyncIterator[District]:
    """The loaded district, for which ``change()`` is the next package."""
    db = await Pool.open(copied.worker, name="test worker", largest=4)
    yield District(db, district_id=loaded.district_id, source_id=loaded.source_id)
    await db.close()


def gradebooks() -> Frames:
    """A package with resources, line items and results."""
    return sandbox(students=100, seed=4, gradebook=True).frames


@pytest.fixture(scope="session")
def graded_once(postgres: str, template: str) -> Iterator[tuple[str, UUID, UUID]]:
    """A database with the district of ``gradebooks`` and one app that sees everything, to be copied."""
    name = f"hub_graded_{secrets.token_hex(6)}"
    asyncio.run(_execute(postgres, copying(name, template)))

    async def load() -> tuple[UUID, UUID]:
        db = await Pool.open(database_at(in_database(postgres, name)).worker, name="test worker", largest=4)
        try:
            district = await District(db).create()
            assert (await district.sync(gradebooks())).state == "applied"
            await district.grant()
        finally:
            await db.close()
        return district.district_id, district.source_id

    yield name, *asyncio.run(load())
    asyncio.run(_execute(postgres, f"DROP DATABASE {name} WITH (FORCE)"))


@pytest.fixture
async def graded(postgres: str, graded_once: tuple[str, UUID, UUID]) -> AsyncIterator[District]:
    """The district of ``gradebooks``, in a database of the test's own."""
    loaded, district_id, source_id = graded_once
    name = f"hub_test_{secrets.token_hex(6)}"
    await _execute(postgres, copying(name, loaded))
    db = await Pool.open(database_at(in_database(postgres, name)).worker, name="test worker", largest=4)
    yield District(db, district_id=district_id, source_id=source_id)
    await db.close()
    await _execute(postgres, f"DROP DATABASE {name} WITH (FORCE)")


async def _execute(url: str, statement: str, *, elsewhere: bool = False) -> None:
    connection = await asyncpg.connect(in_database(url, "postgres") if elsewhere else url)
    try:
        await connection.execute(statement)
    finally:
        await connection.close()
