"""What became of one record, position by position, and who did it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from hub.store.asof import Row
from hub.store.database import Transaction
from transforms.catalogue import Entity


@dataclass(frozen=True, slots=True)
class Cause:
    """What made a position: a run, or an app that wrote to the gradebook."""

    position: int
    at: datetime
    run_id: UUID | None
    kind: str | None
    source_id: UUID | None
    requested_by: str | None
    task: dict[str, Any] | None
    app_id: UUID | None


_CAUSE = (
    "SELECT c.position, c.at, c.run_id, r.kind, r.source_id, r.requested_by, r.task, (SELECT w.app_id "
    "FROM gradebook_writes w WHERE w.district_id = $1 AND w.position = c.position LIMIT 1) AS app_id "
    "FROM changes c LEFT JOIN runs r ON r.district_id = c.district_id AND r.run_id = c.run_id "
    "WHERE c.district_id = $1 AND c.entity = $2"
)


async def now(tx: Transaction, entity: Entity, sourced_id: UUID) -> Row | None:
    """The record as it is; None when there is none."""
    row = await tx.fetchrow(
        "SELECT rid, sourced_id::text AS sourced_id, active, date_last_modified, doc, doc_private "
        f"FROM {entity.table} WHERE district_id = $1 AND sourced_id = $2",
        tx.district_id, sourced_id,
    )  # fmt: skip
    return None if row is None else Row(**row)


async def images(
    tx: Transaction, entity: Entity, record: Row, *, up_to: int | None, limit: int
) -> list[tuple[int, Row]]:
    """Positions, newest first from ``up_to`` on (inclusive), each with the record as it was before it."""
    rows = await tx.fetch(
        "SELECT position, rid, $5::text AS sourced_id, active, date_last_modified, doc, doc_private FROM history "
        "WHERE district_id = $1 AND entity = $2 AND rid = $3 AND ($4::bigint IS NULL OR position <= $4) "
        "ORDER BY position DESC LIMIT $6",
        tx.district_id, entity.name, record.rid, up_to, record.sourced_id, limit,
    )  # fmt: skip
    return [(position, Row(*image)) for position, *image in map(tuple, rows)]


async def causes(tx: Transaction, entity: Entity, positions: list[int]) -> dict[int, Cause]:
    """What made these positions."""
    rows = await tx.fetch(f"{_CAUSE} AND c.position = ANY($3::bigint[])", tx.district_id, entity.name, positions)
    return {row["position"]: Cause(**row) for row in rows}


async def created(tx: Transaction, entity: Entity, before: int | None) -> list[tuple[int, bytes]]:
    """Positions before another one, each with the serialized set of the records that it made."""
    rows = await tx.fetch(
        "SELECT position, created FROM changes WHERE district_id = $1 AND entity = $2 "
        "AND ($3::bigint IS NULL OR position < $3) ORDER BY position",
        tx.district_id, entity.name, before,
    )  # fmt: skip
    return [(row["position"], row["created"]) for row in rows]
