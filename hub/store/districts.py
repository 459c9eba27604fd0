"""Districts: the tenants, their lock and their feed's head."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from hub.errors import Code, HubError
from hub.store.database import Transaction


@dataclass(frozen=True, slots=True)
class District:
    """One tenant. ``position`` is the head of its feed."""

    district_id: UUID
    name: str
    state: str
    position: int
    created_at: datetime


_COLUMNS = "district_id, name, state, position, created_at"


async def create(tx: Transaction, name: str) -> District:
    """Adds the district that ``tx`` was opened for."""
    row = await tx.fetchrow(
        f"INSERT INTO districts (district_id, name) VALUES ($1, $2) RETURNING {_COLUMNS}", tx.district_id, name
    )
    assert row is not None
    return District(**row)


async def get(tx: Transaction, district_id: UUID) -> District:
    """One district. Raises HubError(NOT_FOUND)."""
    row = await tx.fetchrow(f"SELECT {_COLUMNS} FROM districts WHERE district_id = $1", district_id)
    if row is None:
        raise HubError(Code.NOT_FOUND, "There is no such district.")
    return District(**row)


async def rename(tx: Transaction, name: str) -> District:
    """Changes the name of the district that ``tx`` was opened for. Raises HubError(NOT_FOUND)."""
    row = await tx.fetchrow(
        f"UPDATE districts SET name = $2 WHERE district_id = $1 RETURNING {_COLUMNS}", tx.district_id, name
    )
    if row is None:
        raise HubError(Code.NOT_FOUND, "There is no such district.")
    return District(**row)


async def listing(tx: Transaction, *, after: UUID | None = None, limit: int = 100) -> list[District]:
    """Districts in the order of their ids, from ``after`` on (exclusive)."""
    rows = await tx.fetch(
        f"SELECT {_COLUMNS} FROM districts WHERE $1::uuid IS NULL OR district_id > $1 ORDER BY district_id LIMIT $2",
        after,
        limit,
    )
    return [District(**row) for row in rows]


async def head(tx: Transaction) -> int:
    """The position of the district as this transaction sees it. Raises HubError(NOT_FOUND)."""
    position: int | None = await tx.fetchval("SELECT position FROM districts WHERE district_id = $1", tx.district_id)
    if position is None:
        raise HubError(Code.NOT_FOUND, "There is no such district.")
    return position


async def survivorship(tx: Transaction, *, to_edit: bool = False) -> dict[str, dict[str, dict[str, Any]]]:
    """Which of several values survives, by entity and field; see hub.sync.parties.

    ``to_edit``: nobody else sets them before the transaction ends.
    """
    rules: dict[str, dict[str, dict[str, Any]]] = await tx.fetchval(
        f"SELECT survivorship FROM districts WHERE district_id = $1{' FOR UPDATE' if to_edit else ''}", tx.district_id
    )
    return rules


async def set_survivorship(tx: Transaction, rules: dict[str, dict[str, dict[str, Any]]]) -> None:
    """Sets which of several values survives."""
    await tx.execute("UPDATE districts SET survivorship = $2 WHERE district_id = $1", tx.district_id, rules)


async def lock(tx: Transaction) -> tuple[int, int]:
    """Takes the district's lock until the transaction ends; (position, fence).

    Every change of records, grants or views of a district happens under this row lock, so that positions are in commit
    order and without gaps. Raises HubError(NOT_FOUND), LockTimeoutError when it takes longer than the transaction waits
    for locks.
    """
    row = await tx.fetchrow("SELECT position, fence FROM districts WHERE district_id = $1 FOR UPDATE", tx.district_id)
    if row is None:
        raise HubError(Code.NOT_FOUND, "There is no such district.")
    return row["position"], row["fence"]


async def draw_position(tx: Transaction) -> int:
    """The next position of the district's feed. The caller holds the lock."""
    position: int = await tx.fetchval(
        "UPDATE districts SET position = position + 1 WHERE district_id = $1 RETURNING position", tx.district_id
    )
    return position


async def history_from(tx: Transaction) -> int:
    """The earliest position of the district at which its records are known still."""
    position: int | None = await tx.fetchval(
        "SELECT history_from FROM districts WHERE district_id = $1", tx.district_id
    )
    return position or 0


async def next_rids(tx: Transaction) -> dict[str, int]:
    """The next free rid per entity; entities without records are missing (they start at 0)."""
    rows = await tx.fetch("SELECT entity, next_rid FROM heads WHERE district_id = $1", tx.district_id)
    return {row["entity"]: row["next_rid"] for row in rows}


async def keep_next_rids(tx: Transaction, heads: dict[str, int]) -> None:
    """Stores the next free rids; they only ever grow. The caller holds the lock."""
    await tx.executemany(
        "INSERT INTO heads (district_id, entity, next_rid) VALUES ($1, $2, $3) "
        "ON CONFLICT (district_id, entity) DO UPDATE SET next_rid = greatest(heads.next_rid, EXCLUDED.next_rid)",
        [(tx.district_id, entity, rid) for entity, rid in heads.items()],
    )


async def reserve_rids(tx: Transaction, entity: str, count: int) -> int:
    """Takes the next ``count`` rids of an entity for good; the first of them."""
    first: int = await tx.fetchval(
        "INSERT INTO heads (district_id, entity, next_rid) VALUES ($1, $2, $3) ON CONFLICT (district_id, entity) "
        "DO UPDATE SET next_rid = heads.next_rid + $3 RETURNING next_rid - $3",
        tx.district_id, entity, count,
    )  # fmt: skip
    return first


async def return_rids(tx: Transaction, entity: str, first: int, count: int) -> None:
    """Gives reserved rids back that were never used, unless others were taken behind them: those leave a hole."""
    await tx.execute(
        "UPDATE heads SET next_rid = $3 WHERE district_id = $1 AND entity = $2 AND next_rid = $3::int + $4::int",
        tx.district_id, entity, first, count,
    )  # fmt: skip
