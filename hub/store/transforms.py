"""Transforms of sources: every version that was saved, and which one acts."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from hub.errors import Code, HubError
from hub.store.database import Transaction


@dataclass(frozen=True, slots=True)
class Transform:
    """One saved version. ``active``: whether it is the one that acts."""

    version: int
    definition: dict[str, Any]
    note: str
    created_by: str
    created_at: datetime
    active: bool


_ACTIVE = "t.version IS NOT DISTINCT FROM s.transform_version AS active"
_COLUMNS = f"t.version, t.definition, t.note, t.created_by, t.created_at, {_ACTIVE}"
_FROM = "FROM source_transforms t JOIN sources s USING (district_id, source_id)"


async def active(tx: Transaction, source_id: UUID) -> Transform | None:
    """The version that acts; None where rows are taken as they come."""
    row = await tx.fetchrow(
        f"SELECT {_COLUMNS} {_FROM} WHERE t.district_id = $1 AND t.source_id = $2 AND t.version = s.transform_version",
        tx.district_id, source_id,
    )  # fmt: skip
    return None if row is None else Transform(**row)


async def get(tx: Transaction, source_id: UUID, version: int) -> Transform:
    """One version. Raises HubError(NOT_FOUND)."""
    row = await tx.fetchrow(
        f"SELECT {_COLUMNS} {_FROM} "
        "WHERE t.district_id = $1 AND t.source_id = $2 AND t.version = $3",
        tx.district_id, source_id, version,
    )  # fmt: skip
    if row is None:
        raise HubError(Code.NOT_FOUND, "This source has no such version of its transform.")
    return Transform(**row)


async def listing(tx: Transaction, source_id: UUID) -> list[Transform]:
    """All versions, newest first."""
    rows = await tx.fetch(
        f"SELECT {_COLUMNS} {_FROM} "
        "WHERE t.district_id = $1 AND t.source_id = $2 ORDER BY t.version DESC",
        tx.district_id, source_id,
    )  # fmt: skip
    return [Transform(**row) for row in rows]


async def add(tx: Transaction, source_id: UUID, definition: dict[str, Any], *, note: str, created_by: str) -> Transform:
    """Saves a new version, which acts from the next run on. Raises HubError(NOT_FOUND)."""
    await _lock(tx, source_id)
    version = await tx.fetchval(
        "INSERT INTO source_transforms (district_id, source_id, version, definition, note, created_by) "
        "SELECT $1, $2, coalesce(max(version), 0) + 1, $3, $4, $5 FROM source_transforms "
        "WHERE district_id = $1 AND source_id = $2 RETURNING version",
        tx.district_id, source_id, definition, note, created_by,
    )  # fmt: skip
    return await _activate(tx, source_id, int(version))


async def revert(tx: Transaction, source_id: UUID, version: int) -> Transform:
    """Lets a version that was saved before act again. Raises HubError(NOT_FOUND)."""
    await _lock(tx, source_id)
    await get(tx, source_id, version)
    return await _activate(tx, source_id, version)


async def _lock(tx: Transaction, source_id: UUID) -> None:
    found = await tx.fetchval(
        "SELECT true FROM sources WHERE district_id = $1 AND source_id = $2 FOR UPDATE", tx.district_id, source_id
    )
    if not found:
        raise HubError(Code.NOT_FOUND, "This district has no such source.")


async def _activate(tx: Transaction, source_id: UUID, version: int) -> Transform:
    await tx.execute(
        "UPDATE sources SET transform_version = $3 WHERE district_id = $1 AND source_id = $2",
        tx.district_id, source_id, version,
    )  # fmt: skip
    return await get(tx, source_id, version)
