"""What a district has set for rules, and what a source's last run found."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any
from uuid import UUID

from hub.errors import Code, HubError
from hub.store.database import Transaction


async def of_district(tx: Transaction, *, to_edit: bool = False) -> dict[str, Any]:
    """What the district has set, by code. Raises HubError(NOT_FOUND). ``to_edit``: nobody else sets it before."""
    lock = " FOR UPDATE" if to_edit else ""
    found = await tx.fetchval(f"SELECT rules FROM districts WHERE district_id = $1{lock}", tx.district_id)
    if found is None:
        raise HubError(Code.NOT_FOUND, "There is no such district.")
    settings: dict[str, Any] = found
    return settings


async def set_of_district(tx: Transaction, settings: dict[str, Any]) -> None:
    """Replaces what the district has set. Raises HubError(NOT_FOUND)."""
    await of_district(tx)
    await tx.execute("UPDATE districts SET rules = $2 WHERE district_id = $1", tx.district_id, settings)


async def last_found(tx: Transaction, source_id: UUID | None, entities: Collection[str]) -> dict[str, dict[str, int]]:
    """How often each rule found something about some entities in the last applied run of a source that brought them.

    By entity and code; entities that no run of the source has brought are left out.
    """
    rows = await tx.fetch(
        "SELECT e.entity, r.report FROM unnest($3::text[]) AS e(entity) CROSS JOIN LATERAL (SELECT report FROM runs "
        "WHERE district_id = $1 AND source_id IS NOT DISTINCT FROM $2 AND NOT dry_run "
        "AND state IN ('applied', 'unchanged') AND report ? 'rules' AND counts ? e.entity "
        "ORDER BY requested_at DESC LIMIT 1) r",
        tx.district_id, source_id, list(entities),
    )  # fmt: skip
    found: dict[str, dict[str, int]] = {}
    for row in rows:
        codes = found.setdefault(row["entity"], {})
        for rule in row["report"]["rules"]:
            if rule["entity"] == row["entity"]:
                codes[rule["code"]] = codes.get(rule["code"], 0) + rule["count"]
    return found
