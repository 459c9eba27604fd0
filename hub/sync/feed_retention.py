"""Old steps of feeds: first they are compacted, then nobody reads on from them any more.

Whoever reads a feed on from a step that still counts is told the same at any moment, whatever of this is done by then:
see hub.scope.feed.Compacting. So every page has a transaction of its own, a worker may end anywhere, and what it left
is done the next time. Two at once take turns.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

from pyroaring import BitMap

from hub.crashpoints import crash_point
from hub.scope.feed import Compacting, FeedEntry
from hub.scope.sets import pack, unpack
from hub.store import feed_retention as store
from hub.store.database import Database
from hub.store.feed_retention import Old, Row

#: Entries that one transaction deals with.
MOST: Final = 500
#: Each compacting writes anew what is left of all old entries: it is done once in so long, not every day.
SLACK: Final = timedelta(days=7)


async def compact(
    db: Database, district_id: UUID, whole_since: datetime, open_since: datetime, *, dry_run: bool
) -> int:
    """Compacts a district's entries from before ``whole_since``, and settles those from before ``open_since``.

    How many feeds had such entries.
    """
    async with db.district(district_id, readonly=True, wait_seconds=30) as tx:
        found = await store.old(tx, whole_since, open_since, SLACK.total_seconds())
    for old in () if dry_run else found:
        async with db.district(district_id, wait_seconds=30) as tx:
            # First all are told, then it goes.
            await store.close(tx, old.grant_id, old.settled)
            entities = await store.entities(tx, old.grant_id, old.to)
        for entity in entities:
            await _entity(db, district_id, old, entity)
    return len(found)


async def _entity(db: Database, district_id: UUID, old: Old, entity: str) -> None:
    compacting, to = Compacting(), old.to
    while True:
        async with db.district(district_id, wait_seconds=30) as tx:
            await store.alone(tx, old.grant_id)
            rows = await store.page(tx, old.grant_id, entity, to=to, most=MOST)
            left = await asyncio.to_thread(_left, compacting, entity, rows, old.settled)
            empty = [row.step for row in left if row.entered == row.updated == row.departed == _NOTHING]
            changed = [row for row, before in zip(left, rows, strict=True) if row != before]
            await store.rewrite(tx, old.grant_id, entity, changed)
            same = [row.step for row, before in zip(left, rows, strict=True) if row == before and not row.compacted]
            await store.mark(tx, old.grant_id, entity, same)
            await store.remove(tx, old.grant_id, entity, empty, before=old.settled)
        crash_point("compact.written")
        if len(rows) < MOST:
            return
        to = rows[-1].step - 1


def _left(compacting: Compacting, entity: str, rows: Sequence[Row], settled: int) -> list[Row]:
    """What is left of entries; those of which everything is are the same rows."""
    left = []
    for row in rows:
        before = FeedEntry(entity, *map(unpack, (row.entered, row.updated, row.departed)))
        after = compacting.settled(before) if row.step <= settled else compacting.kept(before)
        sets = map(pack, (after.entered, after.updated, after.left))
        left.append(row if after == before else Row(row.step, row.compacted, *sets))
    return left


_NOTHING = pack(BitMap())
