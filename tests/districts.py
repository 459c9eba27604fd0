"""A district in a real database, synced by the real engine: what the tests of sync, API and webhooks start from."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from uuid import UUID, uuid4

import polars as pl

from connectors.oneroster_csv import write_package
from hub.clock import Clock, SystemClock
from hub.sandbox import District as SandboxDistrict
from hub.sandbox import DistrictPlan, generate
from hub.scope.grants import GrantDefinition
from hub.store import apps, districts, runs, sources, uploads
from hub.store.database import Database
from hub.store.grants import Grant
from hub.store.runs import Run
from hub.sync import grants
from hub.sync.engine import work_once
from transforms.catalogue import CATALOGUE, Version

Frames = Mapping[str, pl.DataFrame]
EVERYTHING = GrantDefinition.model_validate(
    {
        "entities": [entity.name for entity in CATALOGUE.entities],
        "privacy": ["contact", "demographic", "credential"],
    }
)


@cache
def sandbox(
    students: int = 200, seed: int = 7, version: Version = "1.2", *, gradebook: bool = False
) -> SandboxDistrict:
    """A clean sandbox district; made once a session."""
    return generate(DistrictPlan(students=students, seed=seed, version=version, dirt=0, gradebook=gradebook))


def without(frames: Frames, file: str, keys: list[str]) -> dict[str, pl.DataFrame]:
    """The frames without some rows of one file."""
    return dict(frames) | {file: frames[file].filter(~pl.col("sourcedId").is_in(keys))}


def changed(frames: Frames, file: str, key: str, **values: str | None) -> dict[str, pl.DataFrame]:
    """The frames with some values of one row changed."""
    here = pl.col("sourcedId") == key
    columns = [pl.when(here).then(pl.lit(v)).otherwise(pl.col(n)).alias(n) for n, v in values.items()]
    return dict(frames) | {file: frames[file].with_columns(columns)}


@dataclass
class District:
    """One district with one CSV source. ``db`` logs in as the worker."""

    db: Database
    version: Version = "1.2"
    clock: Clock = field(default_factory=SystemClock)
    district_id: UUID = field(default_factory=uuid4)
    source_id: UUID = field(default_factory=uuid4)

    async def create(self) -> District:
        async with self.db.district(self.district_id) as tx:
            await districts.create(tx, "Test district")
            await sources.create(tx, self.source_id, name="SIS", kind="oneroster_csv", config={})
        return self

    async def upload(self, package: Frames | bytes) -> UUID:
        """Stores a package as the admin API would; the upload's id."""
        data = package if isinstance(package, bytes) else await asyncio.to_thread(packed, package, self.version)
        upload_id = uuid4()

        async def chunks() -> AsyncIterator[bytes]:
            yield data

        async with self.db.district(self.district_id) as tx:
            await uploads.begin(tx, upload_id, source_id=self.source_id, filename="package.zip")
        size, sha256 = await uploads.receive(self.db, self.district_id, upload_id, chunks(), limit=1 << 30)
        async with self.db.district(self.district_id) as tx:
            await uploads.complete(tx, upload_id, size=size, sha256=sha256)
        return upload_id

    async def request(self, package: Frames | bytes, *, dry_run: bool = False) -> UUID:
        """Queues a run of a package; the run's id."""
        upload_id, run_id = await self.upload(package), uuid4()
        async with self.db.district(self.district_id) as tx:
            await runs.request(
                tx, run_id, source_id=self.source_id, upload_id=upload_id, dry_run=dry_run, requested_by="test"
            )
        return run_id

    async def sync(self, package: Frames | bytes, *, dry_run: bool = False) -> Run:
        """Carries out a run of a package; its row afterwards."""
        run_id = await self.request(package, dry_run=dry_run)
        while await work_once(self.db, self.clock):
            pass
        return await self.run(run_id)

    async def run(self, run_id: UUID) -> Run:
        async with self.db.district(self.district_id) as tx:
            return await runs.get(tx, run_id)

    async def grant(self, definition: GrantDefinition = EVERYTHING, *, name: str | None = None) -> Grant:
        """A new app's grant."""
        async with self.db.shared() as tx:
            app = await apps.create(tx, uuid4(), name or f"app {uuid4()}")
        async with self.db.district(self.district_id) as tx:
            grant, _ = await grants.create(tx, app.app_id, definition, self.clock.now())
        return grant

    async def counts(self) -> dict[str, tuple[int, int]]:
        """Active and tobedeleted records of each table that has any."""
        out = {}
        async with self.db.district(self.district_id) as tx:
            for table in (entity.table for entity in CATALOGUE.entities):
                row = await tx.fetchrow(
                    f"SELECT count(*) FILTER (WHERE active) AS a, count(*) FILTER (WHERE NOT active) AS g FROM {table}"
                )
                assert row is not None
                if any(row):
                    out[table] = (row["a"], row["g"])
        return out

    async def state(self) -> list[tuple[object, ...]]:
        """All that readers can see, row by row, with the version of each row: equal means that nothing was written."""
        found: list[tuple[object, ...]] = []
        async with self.db.district(self.district_id) as tx:
            own = ("source_records", "changes", "history", "views", "feed", "grants")
            for table in (*(entity.table for entity in CATALOGUE.entities), *own):
                rows = await tx.fetch(f"SELECT '{table}' AS t, xmin::text, ctid::text FROM {table} ORDER BY ctid")
                found += [tuple(row) for row in rows]
        return found


def packed(frames: Frames, version: Version) -> bytes:
    """A package as bytes."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "package.zip"
        write_package(path, version, frames)
        return path.read_bytes()
