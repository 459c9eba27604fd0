"""Bytes that a sync's entries take in the feeds of fifty grants, as PostgreSQL counts them.

The district is made of synthetic columns and nobody syncs it: its views, their entries and the rows of the feed are
made by the code that a sync uses. It has 3.5 M enrollments, however many students were asked for. What one row for each
app and change would take, as outboxes have it, is measured beside it, of one grant.
"""

from __future__ import annotations

import asyncio
import tempfile
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

import asyncpg
import numpy as np
from pyroaring import BitMap

from hub.embedded import EmbeddedPostgres
from hub.scope.columns import Columns
from hub.scope.compile import compile_grant
from hub.scope.feed import Changed, FeedEntry, Sets, diff_view
from hub.scope.grants import GrantDefinition, Rule
from hub.scope.projection import Projection
from hub.scope.sets import rids
from hub.settings import WORKER_ROLE, role_password, role_passwords, role_url
from hub.store import districts, grants
from hub.store.database import SCHEMA, Database
from hub.store.migrate import migrate
from hub.sync.views import entry_of
from tests.benchmarks.compile import district, resolve
from tests.benchmarks.result import Result
from tests.fakes.feeds import Feeds, feeds
from tests.services import MASTER_KEY
from transforms.catalogue import CATALOGUE

GRANTS = 50
MEGABYTE = 1_000_000
#: Of all enrollments: those that look different, those that end, and those that are new.
CHANGED, ENDED, NEW = 0.008, 0.001, 0.001
ENROLLMENTS = CATALOGUE["enrollments"]
MUST, AIM = 20.0, 4.0


@dataclass(frozen=True)
class Sync:
    """A district before and after, and what a sync says of its records."""

    before: Columns
    after: Columns
    changed: Changed

    def entry(self, definition: GrantDefinition) -> FeedEntry:
        """What it does to the view of one grant."""
        old, new = (compile_grant(definition, one, resolve)["enrollments"] for one in (self.before, self.after))
        projection = Projection(definition, "enrollments")
        return diff_view(projection, Sets(old), Sets(new), self.changed, BitMap()).settle(BitMap())


def run(students: int) -> list[Result]:
    """The bytes of one sync in the feeds of grants that all see everything, and of grants as districts have them."""
    sync = one_percent(district(max(students, 500_000)))
    everything = GrantDefinition()
    some = [GrantDefinition(rules=(Rule(schools=_schools(first, 4)),)) for first in range(1, 81, 4)]
    one = [GrantDefinition(rules=(Rule(schools=_schools(first, 1), roles=("student",)),)) for first in range(101, 121)]
    kinds = {
        f"{GRANTS} grants that see everything": [sync.entry(everything)] * GRANTS,
        "10 grants see everything, 20 four schools, 20 the students of one": [
            *[sync.entry(everything)] * 10, *map(sync.entry, some), *map(sync.entry, one)
        ],
    }  # fmt: skip
    with tempfile.TemporaryDirectory(prefix="rosterhub-bench-") as name:
        folder = Path(name)
        folder.chmod(0o711)
        with EmbeddedPostgres(folder / "pg") as server:
            return asyncio.run(_measure(server.url(), sync, kinds))


def _schools(first: int, count: int) -> tuple[uuid.UUID, ...]:
    return tuple(uuid.UUID(int=number) for number in range(first, first + count))


def one_percent(columns: Columns) -> Sync:
    """A sync that touches one enrollment in a hundred, anywhere in the district."""
    rng = np.random.default_rng(2)
    every = columns.active["enrollments"]
    known = len(every) - int(len(every) * NEW)
    touched = rng.choice(known, int(len(every) * (CHANGED + ENDED)), replace=False).astype(np.int32)
    ended, updated = np.split(touched, [int(len(every) * ENDED)])
    bit = next(i for i, field in enumerate(ENROLLMENTS.body) if field.name == "endDate")
    changed = Changed(np.sort(updated), np.full(len(updated), 1 << bit, np.uint64))
    now = {"before": BitMap(range(known)), "after": every - BitMap(ended)}
    before, after = (replace(columns, active=dict(columns.active) | {"enrollments": one}) for one in now.values())
    return Sync(before, after, changed)


async def _measure(owner_url: str, sync: Sync, kinds: dict[str, Sequence[FeedEntry]]) -> list[Result]:
    await migrate(owner_url, passwords=role_passwords(MASTER_KEY))
    db = await Database.open(role_url(owner_url, WORKER_ROLE, role_password(MASTER_KEY, WORKER_ROLE)), name="benchmark")
    owner = await asyncpg.connect(owner_url, server_settings={"search_path": SCHEMA})
    results = []
    async with feeds(owner_url) as written:
        for name, entries in kinds.items():
            size, values = await _size(db, owner, written, entries)
            changes = sum(len(entry.touched) for entry in entries)
            note = f"{changes:,} changes of views, {values / MEGABYTE:.2f} MB of sets"
            results.append(Result(f"feed bytes of a 1 % sync, {name}", size, None, "MB", MUST, AIM, "ours", note))
    row = await _as_rows(owner, next(iter(kinds.values()))[0]) * GRANTS
    await db.close()
    await owner.close()
    count = len(sync.after.active["enrollments"])
    results.append(Result(
        f"the same as a row for each app and change, {GRANTS} grants that see everything", row, None, "MB",
        note=f"{count:,} enrollments; measured of one grant",
    ))  # fmt: skip
    return results


async def _size(
    db: Database, owner: asyncpg.Connection, written: Feeds, entries: Sequence[FeedEntry]
) -> tuple[float, int]:
    """Megabytes by which the table of feeds grew, its indexes and the rest included, and the bytes of the sets."""
    await owner.execute("TRUNCATE feed")
    district_id = await written.district()
    held = [await written.grant(district_id) for _ in entries]
    before = await owner.fetchval("SELECT pg_total_relation_size('feed')")
    moves = [grants.Move(grant_id, {}, [entry_of(entry)]) for grant_id, entry in zip(held, entries, strict=True)]
    async with db.district(district_id) as tx:
        await districts.lock(tx)
        position = await districts.draw_position(tx)
        await grants.move(tx, position, moves, at=datetime.now(UTC), run_id=uuid.uuid4(), cause="sync")
    await owner.execute("VACUUM ANALYZE feed")
    after, values = await owner.fetchrow(
        "SELECT pg_total_relation_size('feed'), "
        "(SELECT sum(pg_column_size(entered) + pg_column_size(updated) + pg_column_size(departed)) FROM feed)"
    )
    return (after - before) / MEGABYTE, values


async def _as_rows(owner: asyncpg.Connection, entry: FeedEntry) -> float:
    """Megabytes of one grant's changes as rows with a key."""
    await owner.execute(
        "CREATE TABLE change_rows (district_id uuid, grant_id uuid, position bigint, entity text, rid integer, "
        "operation text, PRIMARY KEY (district_id, grant_id, position))"
    )
    await owner.execute(
        "INSERT INTO change_rows SELECT $1, $1, n, 'enrollments', rid, 'updated' "
        "FROM unnest($2::integer[]) WITH ORDINALITY r(rid, n)", uuid.uuid4(), rids(entry.touched).tolist(),
    )  # fmt: skip
    size = await owner.fetchval("SELECT pg_total_relation_size('change_rows')")
    await owner.execute("DROP TABLE change_rows")
    return float(size / MEGABYTE)
