"""Districts for the tests of syncs: an empty one, and copies of one that was loaded once."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from uuid import UUID

import asyncpg
import pytest

from hub.scope.grants import GrantDefinition
from hub.store.database import Database as Pool
from tests.beginnings import Beginning, Beginnings, Begun
from tests.databases import copy_of, kept
from tests.districts import District, Frames, changed, sandbox, without
from tests.services import Database
from tests.snapshots import Snapshot, snapshot
from tests.sync.agreeing import OURS, THEIRS, Two

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
def beginnings(postgres: str, template: str) -> Iterator[Beginnings]:
    """The databases of all beginnings of this session's tests."""
    with ExitStack() as databases:
        yield Beginnings(postgres, template, databases)


async def small(district: District) -> None:
    """The beginning of most tests: a package of a hundred students was synced."""
    assert (await district.sync(sandbox(100, 3).frames)).state == "applied"


@pytest.fixture
def beginning() -> Beginning:
    """What happened to ``synced`` before the test. A module whose tests begin otherwise has a fixture of its own."""
    return small


@pytest.fixture
async def begun(beginnings: Beginnings, beginning: Beginning) -> AsyncIterator[tuple[Database, Begun]]:
    async with beginnings.copy(beginning) as found:
        yield found


@pytest.fixture
def synced_database(begun: tuple[Database, Begun]) -> Database:
    """The database of ``synced``."""
    return begun[0]


@pytest.fixture
async def synced(begun: tuple[Database, Begun]) -> AsyncIterator[District]:
    """A district that begins as ``beginning`` says."""
    database, ids = begun
    db = await Pool.open(database.worker, name="test worker", largest=4)
    yield District(db, district_id=ids.district_id, source_id=ids.source_id)
    await db.close()


@pytest.fixture(scope="session")
def loaded(postgres: str, template: str) -> Iterator[Loaded]:
    """A loaded district, to be copied: one of its enrollments was there once and is gone."""
    with kept(postgres, template, "loaded") as database:
        yield asyncio.run(_load(postgres, database))


async def _load(postgres: str, database: Database) -> Loaded:
    db = await Pool.open(database.worker, name="test worker", largest=4)
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
    async with copy_of(postgres, database.name) as copy:
        db = await Pool.open(copy.worker, name="test worker", largest=4)
        try:
            other = District(db, district_id=district.district_id, source_id=district.source_id)
            assert (await other.sync(change())).state == "applied"
            after = await snapshot(other)
        finally:
            await db.close()
    return Loaded(database.name, district.district_id, district.source_id, before, after)


@pytest.fixture
async def copied(postgres: str, loaded: Loaded) -> AsyncIterator[Database]:
    """A database of the test's own with the loaded district."""
    async with copy_of(postgres, loaded.name) as database:
        yield database


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

    async def load(database: Database) -> tuple[UUID, UUID]:
        db = await Pool.open(database.worker, name="test worker", largest=4)
        try:
            district = await District(db).create()
            assert (await district.sync(gradebooks())).state == "applied"
            await district.grant()
        finally:
            await db.close()
        return district.district_id, district.source_id

    with kept(postgres, template, "graded") as database:
        yield database.name, *asyncio.run(load(database))


@pytest.fixture
async def graded(postgres: str, graded_once: tuple[str, UUID, UUID]) -> AsyncIterator[District]:
    """The district of ``gradebooks``, in a database of the test's own."""
    loaded, district_id, source_id = graded_once
    async with copy_of(postgres, loaded) as database:
        db = await Pool.open(database.worker, name="test worker", largest=4)
        yield District(db, district_id=district_id, source_id=source_id)
        await db.close()


@pytest.fixture(scope="session")
def rosters(postgres: str, template: str) -> Iterator[tuple[str, UUID, UUID, UUID, UUID]]:
    """A database with two districts that have synced, to be copied: its name, and the ids of both and their sources."""

    async def load(database: Database) -> tuple[UUID, UUID, UUID, UUID]:
        worker = await Pool.open(database.worker, name="test worker", largest=4)
        try:
            old, new = await District(worker).create(), await District(worker).create()
            assert [(await one.sync(package)).state for one, package in ((old, OURS), (new, THEIRS))] == ["applied"] * 2
        finally:
            await worker.close()
        return old.district_id, old.source_id, new.district_id, new.source_id

    with kept(postgres, template, "agreeing") as database:
        yield database.name, *asyncio.run(load(database))


@pytest.fixture
async def two(postgres: str, rosters: tuple[str, UUID, UUID, UUID, UUID]) -> AsyncIterator[Two]:
    name, *ids = rosters
    async with copy_of(postgres, name) as database:
        owner = await asyncpg.connect(database.owner)
        worker = await Pool.open(database.worker, name="test worker", largest=4)
        service = await Pool.open(database.service, name="test service", largest=2)
        old, new = (District(worker, district_id=ids[n], source_id=ids[n + 1]) for n in (0, 2))
        yield Two(old, new, service, owner, database.worker)
        await owner.close()
        await worker.close()
        await service.close()
