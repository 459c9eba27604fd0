"""Removing what was kept long enough, a bounded number of rows in each statement.

Of a record that ended long ago its number, its sourcedId and the time of its end stay: numbers are never used again,
and apps are told of tombstones by them. All that it said goes, and with it what its sources called it.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID

from hub.store import agreement_tokens, departures, statement_history
from hub.store.database import Database, Transaction
from hub.store.schema import of_rids, value_columns
from transforms.catalogue import CATALOGUE, Entity

#: The runs that have ended, and will not look at their findings or their upload again.
_OVER = "('applied', 'unchanged', 'previewed', 'rejected', 'failed', 'expired', 'superseded', 'cancelled')"
#: What is kept of runs row by row: findings and differences.
_ROWS_OF_RUNS = ("run_issues", "run_changes")


async def due(db: Database, before: datetime) -> UUID | None:
    """A district that was not purged since a time; None when there is none."""
    async with db.shared() as tx:
        found: UUID | None = await tx.fetchval(
            "SELECT district_id FROM districts WHERE coalesce(purged_at, created_at) < $1 "
            "ORDER BY coalesce(purged_at, created_at) LIMIT 1",
            before,
        )
    return found


async def take(tx: Transaction, before: datetime, now: datetime) -> bool:
    """Whether the district is still due: notes that it is being purged, so that nobody else begins."""
    taken = await tx.execute(
        "UPDATE districts SET purged_at = $3 WHERE district_id = $1 AND coalesce(purged_at, created_at) < $2",
        tx.district_id, before, now,
    )  # fmt: skip
    return bool(taken)


async def own(tx: Transaction) -> dict[str, Any]:
    """The days that a district has set for itself, by kind of data."""
    found: dict[str, Any] | None = await tx.fetchval(
        "SELECT retention FROM districts WHERE district_id = $1", tx.district_id
    )
    return found or {}


async def set_own(tx: Transaction, days: dict[str, int]) -> None:
    """Sets the days of a district, by kind of data."""
    await tx.execute("UPDATE districts SET retention = $2 WHERE district_id = $1", tx.district_id, days)


async def last_before(tx: Transaction, before: datetime) -> int:
    """The last position that changed records before a time; 0 without one."""
    position: int = await tx.fetchval(
        "SELECT coalesce(max(position), 0) FROM changes WHERE district_id = $1 AND at < $2", tx.district_id, before
    )
    return position


async def forget_before(tx: Transaction, position: int) -> None:
    """From now on nobody asks what records said before a position. Under the district's lock."""
    await tx.execute(
        "UPDATE districts SET history_from = greatest(history_from, $2::bigint) WHERE district_id = $1",
        tx.district_id, position,
    )  # fmt: skip


async def history(tx: Transaction, position: int, most: int) -> int:
    """Deletes images of records, and of what sources said, from up to a position, ``most`` of each; how many."""
    await departures.forget(tx, position)
    said = await statement_history.purge(tx, position, most)
    return said + await tx.execute(
        "DELETE FROM history WHERE ctid = ANY(ARRAY(SELECT ctid FROM history WHERE district_id = $1 AND position <= $2 "
        "LIMIT $3)) AND district_id = $1",
        tx.district_id, position, most,
    )  # fmt: skip


async def old_images(tx: Transaction, position: int) -> int:
    """How many images there are from up to a position."""
    said = await statement_history.old_images(tx, position)
    found: int = await tx.fetchval(
        "SELECT count(*) FROM history WHERE district_id = $1 AND position <= $2", tx.district_id, position
    )
    return said + found


def _bare(entity: Entity) -> str:
    """That a record ended before $2, says something still, and that none of its sources still has it."""
    return (
        "t.district_id = $1 AND NOT t.active AND t.date_last_modified < $2 AND (t.doc <> '' OR t.doc_private <> '') "
        f"AND NOT EXISTS (SELECT FROM source_records s WHERE s.district_id = $1 AND s.entity = '{entity.name}' "
        "AND s.rid = t.rid AND s.active)"
    )


async def ended(tx: Transaction, entity: Entity, before: datetime, *, after: int, most: int) -> list[int]:
    """The rids of records that ended before a time and are not bare yet, from ``after`` on (exclusive)."""
    rows = await tx.fetch(
        f"SELECT t.rid FROM {entity.table} t WHERE {_bare(entity)} AND t.rid > $3 ORDER BY t.rid LIMIT $4",
        tx.district_id, before, after, most,
    )  # fmt: skip
    return [row[0] for row in rows]


async def ended_still(tx: Transaction, entity: Entity, before: datetime, rids: list[int]) -> list[int]:
    """Those of some records of which ``ended`` holds now, under the district's lock: nobody revives one meanwhile."""
    rows = await tx.fetch(
        f"SELECT t.rid FROM {entity.table} t WHERE {_bare(entity)} AND t.rid = ANY($3::integer[])",
        tx.district_id, before, rids,
    )  # fmt: skip
    return [row[0] for row in rows]


async def strip(tx: Transaction, entity: Entity, rids: list[int]) -> None:
    """Leaves of ended records nothing but numbers, ids and times; their images and what sources called them go too."""
    nothing = ", ".join(f'"{column}" = NULL' for column in value_columns(entity))
    await tx.execute(
        f"UPDATE {entity.table} SET {nothing}, doc = '', doc_private = '' "
        f"WHERE {of_rids()} AND NOT active",
        tx.district_id, rids,
    )  # fmt: skip
    await tx.execute(
        f"DELETE FROM history WHERE district_id = $1 AND entity = '{entity.name}' AND rid = ANY($2::integer[])",
        tx.district_id, rids,
    )  # fmt: skip
    for table in ("statements", "statement_history", "provenance", "overrides", "former_claims", "source_parts"):
        await tx.execute(
            f"DELETE FROM {table} WHERE district_id = $1 AND entity = $2::text::entity_name "
            "AND rid = ANY($3::integer[])",
            tx.district_id, entity.name, rids,
        )  # fmt: skip
    # Who shares the number of another record comes back under it as long as that one is there: it keeps its key.
    names = [] if entity.rid_of else [entity.name, *(e.name for e in CATALOGUE.entities if e.rid_of == entity.name)]
    await tx.execute(
        "DELETE FROM source_records WHERE district_id = $1 AND entity = ANY($2::text[]::entity_name[]) "
        "AND rid = ANY($3::integer[])",
        tx.district_id, names, rids,
    )  # fmt: skip
    if entity.name == "users":
        await agreement_tokens.withdraw(tx, rids)


async def issues(tx: Transaction, before: datetime, most: int) -> int:
    """Deletes findings and differences of runs that ended before a time, ``most`` of each; how many."""
    return sum([
        await tx.execute(
            f"DELETE FROM {table} WHERE ctid = ANY(ARRAY(SELECT i.ctid FROM {table} i JOIN runs r "
            "ON r.district_id = i.district_id AND r.run_id = i.run_id WHERE i.district_id = $1 AND r.finished_at < $2 "
            f"AND r.state IN {_OVER} LIMIT $3)) AND district_id = $1",
            tx.district_id, before, most,
        ) for table in _ROWS_OF_RUNS
    ])  # fmt: skip


async def old_issues(tx: Transaction, before: datetime) -> int:
    """How many findings and differences there are of runs that ended before a time."""
    return sum([
        await tx.fetchval(
            f"SELECT count(*) FROM {table} i JOIN runs r ON r.district_id = i.district_id AND r.run_id = i.run_id "
            f"WHERE i.district_id = $1 AND r.finished_at < $2 AND r.state IN {_OVER}",
            tx.district_id, before,
        ) for table in _ROWS_OF_RUNS
    ])  # fmt: skip


async def uploads(tx: Transaction, before: datetime | None) -> list[UUID]:
    """Uploads, from before a time or from any, whose bytes are there still and that no run waits for."""
    rows = await tx.fetch(
        "SELECT u.upload_id FROM uploads u WHERE u.district_id = $1 AND u.state <> 'deleted' "
        "AND ($2::timestamptz IS NULL OR u.created_at < $2 OR u.state = 'receiving' AND u.expires_at < now()) "
        "AND NOT EXISTS (SELECT FROM runs r WHERE r.district_id = $1 AND r.upload_id = u.upload_id "
        f"AND r.state NOT IN {_OVER})",
        tx.district_id, before,
    )  # fmt: skip
    return [row[0] for row in rows]
