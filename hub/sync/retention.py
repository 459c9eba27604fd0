"""How long each kind of data is kept, and the purge that removes what was kept long enough."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime, timedelta
from typing import Final, Self
from uuid import UUID

import structlog

from hub.clock import Clock
from hub.settings import Settings
from hub.store import attempts, districts, shown_ids, traces, uploads
from hub.store import retention as store
from hub.store.database import Database
from hub.sync import feed_retention
from transforms.catalogue import CATALOGUE

log = structlog.get_logger()
#: Rows that one transaction removes at most: readers and syncs wait for none of them long.
MOST: Final = 5_000
#: Each district is purged once in this time.
EVERY: Final = timedelta(days=1)
#: Least days of each kind. Walks over pages (of a day) and deltas read the past; a mistake in a
#: file is found within weeks.
LEAST: Final = {"history_days": 30, "ended_days": 30, "issue_days": 1, "upload_days": 1, "trace_days": 1,
         "feed_days": 365, "step_days": 2}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Retention:
    """Days for which each kind of data is kept, see docs/retention.md."""

    history_days: int
    ended_days: int
    issue_days: int
    upload_days: int
    trace_days: int
    feed_days: int
    step_days: int

    @classmethod
    def of(cls, settings: Settings) -> Self:
        """What the hub is set to."""
        return cls(**{name: getattr(settings, name) for name in LEAST})

    def within(self, own: Mapping[str, int]) -> Retention:
        """The same with what a district has set for itself."""
        return replace(self, **{name: days for name, days in own.items() if name in LEAST})

    def as_json(self) -> dict[str, int]:
        """The days by name."""
        return asdict(self)


@dataclass(slots=True)
class Purged:
    """What a purge removed, or would: images of records, ended records by entity, findings, uploads, traces.

    ``feeds``: how many feeds were compacted.
    """

    history: int = 0
    records: dict[str, int] = field(default_factory=dict)
    issues: int = 0
    uploads: int = 0
    traces: int = 0
    feeds: int = 0

    def __bool__(self) -> bool:
        return any(asdict(self).values())


async def purge_once(db: Database, clock: Clock, retention: Retention) -> bool:
    """Purges a district that is due; whether there was one. A worker that dies leaves the rest to the next day."""
    now = clock.now()
    district_id = await store.due(db, now - EVERY)
    if district_id is None:
        return False
    async with db.district(district_id, wait_seconds=30) as tx:
        if not await store.take(tx, now - EVERY, now):
            return True
    purged = await purge(db, district_id, now, retention)
    if purged:
        log.info("purged", district=str(district_id), **asdict(purged))
    return True


async def purge(
    db: Database, district_id: UUID, now: datetime, retention: Retention, *, dry_run: bool = False
) -> Purged:
    """Removes what one district has kept long enough, or counts it."""
    async with db.district(district_id, wait_seconds=30) as tx:
        kept = retention.within(await store.own(tx))
        position = await store.last_before(tx, now - timedelta(days=kept.history_days))
        if not dry_run:
            # Nobody may read the past while it goes: first all are told, then it goes.
            await districts.lock(tx)
            await store.forget_before(tx, position)
            await attempts.forget(tx)
    purged = Purged()
    purged.history = await _history(db, district_id, position, dry_run=dry_run)
    # A record that is bare was over at every moment of the past that is kept.
    over = now - timedelta(days=max(kept.ended_days, kept.history_days))
    for entity in CATALOGUE.entities:
        if count := await _ended(db, district_id, entity.name, over, dry_run=dry_run):
            purged.records[entity.name] = count
        if not dry_run:
            async with db.district(district_id, wait_seconds=30) as tx:
                await shown_ids.forget_ended(tx, entity, over)
    purged.issues = await _issues(db, district_id, now - timedelta(days=kept.issue_days), dry_run=dry_run)
    purged.uploads = await _uploads(db, district_id, now - timedelta(days=kept.upload_days), dry_run=dry_run)
    async with db.district(district_id, wait_seconds=30) as tx:
        purged.traces = await traces.purge(tx, now - timedelta(days=kept.trace_days), dry_run=dry_run)
    purged.feeds = await feed_retention.compact(
        db, district_id, now - timedelta(days=kept.step_days), now - timedelta(days=kept.feed_days), dry_run=dry_run
    )
    return purged


async def _history(db: Database, district_id: UUID, position: int, *, dry_run: bool) -> int:
    total = 0
    while True:
        async with db.district(district_id, wait_seconds=30) as tx:
            if dry_run:
                return await store.old_images(tx, position)
            count = await store.history(tx, position, MOST)
        total += count
        if count < MOST:
            return total


async def _ended(db: Database, district_id: UUID, name: str, before: datetime, *, dry_run: bool) -> int:
    total, after = 0, -1
    while True:
        async with db.district(district_id, readonly=True, wait_seconds=30) as tx:  # goes through the whole table
            rids = await store.ended(tx, CATALOGUE[name], before, after=after, most=MOST)
        if rids and not dry_run:
            async with db.district(district_id, wait_seconds=30) as tx:
                await districts.lock(tx)
                still = await store.ended_still(tx, CATALOGUE[name], before, rids)
                await store.strip(tx, CATALOGUE[name], still)
        total += len(rids)
        if len(rids) < MOST:
            return total
        after = rids[-1]


async def _issues(db: Database, district_id: UUID, before: datetime, *, dry_run: bool) -> int:
    total = 0
    while True:
        async with db.district(district_id, wait_seconds=30) as tx:
            if dry_run:
                return await store.old_issues(tx, before)
            count = await store.issues(tx, before, MOST)
        total += count
        if count < MOST:
            return total


async def _uploads(db: Database, district_id: UUID, before: datetime, *, dry_run: bool) -> int:
    async with db.district(district_id, wait_seconds=30) as tx:
        old = await store.uploads(tx, before)
        for upload_id in () if dry_run else old:
            await uploads.discard(tx, upload_id)
    return len(old)
