"""The guard's settings of a district and its sources, and what their last runs did."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID

from hub.errors import Code, HubError
from hub.store.database import Transaction


async def of_district(tx: Transaction, *, to_edit: bool = False) -> dict[str, Any]:
    """What the district has set. Raises HubError(NOT_FOUND). ``to_edit``: nobody else sets it before ``tx`` ends."""
    lock = " FOR UPDATE" if to_edit else ""
    found = await tx.fetchval(f"SELECT guard FROM districts WHERE district_id = $1{lock}", tx.district_id)
    if found is None:
        raise HubError(Code.NOT_FOUND, "There is no such district.")
    settings: dict[str, Any] = found
    return settings


async def of_run(tx: Transaction, source_id: UUID | None) -> tuple[dict[str, Any], dict[str, Any]]:
    """What the district and a run's source have set. Raises HubError(NOT_FOUND)."""
    row = await tx.fetchrow(
        "SELECT d.guard, s.guard FROM districts d LEFT JOIN sources s ON s.district_id = d.district_id "
        "AND s.source_id = $2 WHERE d.district_id = $1",
        tx.district_id, source_id,
    )  # fmt: skip
    if row is None or (source_id is not None and row[1] is None):
        raise HubError(Code.NOT_FOUND, "There is no such district, or it has no such source.")
    return row[0], row[1] if source_id is not None else {}


async def of_source(tx: Transaction, source_id: UUID, *, to_edit: bool = False) -> dict[str, Any]:
    """What was set for one source; ``to_edit`` as in ``of_district``. Raises HubError(NOT_FOUND)."""
    lock = " FOR UPDATE" if to_edit else ""
    found = await tx.fetchval(
        f"SELECT guard FROM sources WHERE district_id = $1 AND source_id = $2{lock}", tx.district_id, source_id
    )
    if found is None:
        raise HubError(Code.NOT_FOUND, "This district has no such source.")
    settings: dict[str, Any] = found
    return settings


async def set_of_district(tx: Transaction, settings: dict[str, Any]) -> None:
    """Replaces the district's settings. Raises HubError(NOT_FOUND)."""
    await of_district(tx)
    await tx.execute("UPDATE districts SET guard = $2 WHERE district_id = $1", tx.district_id, settings)


async def set_of_source(tx: Transaction, source_id: UUID, settings: dict[str, Any]) -> None:
    """Replaces a source's settings. Raises HubError(NOT_FOUND)."""
    await of_source(tx, source_id)
    await tx.execute(
        "UPDATE sources SET guard = $3 WHERE district_id = $1 AND source_id = $2", tx.district_id, source_id, settings
    )


async def last_counts(tx: Transaction, source_id: UUID | None, limit: int) -> list[dict[str, Any]]:
    """The counts of the last runs of a source (None: of the district) that were applied, or changed nothing.

    Runs that somebody had to approve were not usual.
    """
    rows = await tx.fetch(
        "SELECT counts FROM runs WHERE district_id = $1 AND ($2::uuid IS NULL OR source_id = $2) AND NOT dry_run "
        "AND state IN ('applied', 'unchanged') AND approved IS NULL AND counts <> '{}' "
        "ORDER BY requested_at DESC LIMIT $3",
        tx.district_id, source_id, limit,
    )  # fmt: skip
    return [row["counts"] for row in rows]


async def approved_subjects(tx: Transaction, source_id: UUID | None, code: str, since: datetime) -> frozenset[str]:
    """What somebody approved of a source's runs (None: of the district's own) that were applied since a moment.

    The subjects of their reasons of one code.
    """
    rows = await tx.fetch(
        "SELECT DISTINCT r.value ->> 'subject' AS subject FROM runs, jsonb_array_elements(approved -> 'reasons') r "
        "WHERE district_id = $1 AND source_id IS NOT DISTINCT FROM $2 AND state = 'applied' AND finished_at > $3 "
        "AND r.value ->> 'code' = $4",
        tx.district_id, source_id, since, code,
    )  # fmt: skip
    return frozenset(row["subject"] for row in rows)
