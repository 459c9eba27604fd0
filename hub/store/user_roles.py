"""The roles of users, for a version that has others: entries side by side, and which ``ext:`` words there are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from hub.store.conditions import WITH_UNSURE_ROLE
from hub.store.database import Transaction
from hub.store.gate import ClosedError, Gate
from hub.store.records import literal, table_at
from transforms.catalogue import CATALOGUE, Entity


@dataclass(frozen=True, slots=True)
class RoleRow:
    """A user's role entries, side by side in the order of the document."""

    rid: int
    sourced_id: str
    roles: list[str]
    types: list[str]
    orgs: list[int]
    primary_org: int | None


async def role_rows(
    tx: Transaction, gate: Gate, users: Entity, rids: Sequence[int], *, before: int | None = None
) -> list[RoleRow]:
    """The roles of some users, of which there is at least one; ``before`` as in ``matching``. Raises ClosedError."""
    table, free, values = table_at(users, before)
    rows = await tx.fetch(
        "SELECT t.rid, t.sourced_id::text, t.roles_role, t.roles_role_type, t.roles_org_rids, t.primary_org_rid "
        f"FROM {table} t WHERE t.district_id = $1 AND t.rid = ANY(${free}::text::integer[]) AND {gate.condition} "
        "ORDER BY t.rid",
        *gate.values(tx), *values, literal(rids),
    )  # fmt: skip
    if not rows:
        raise ClosedError
    return [RoleRow(row[0], row[1], row[2] or [], row[3] or [], row[4] or [], row[5]) for row in rows]


async def extension_roles(tx: Transaction, gate: Gate, *, before: int | None = None) -> list[str]:
    """The ``ext:`` roles that users of the district have, in order; ``before`` as in ``records.matching``.

    Raises ClosedError.
    """
    table, _, values = table_at(CATALOGUE["users"], before)
    found = (
        f"SELECT DISTINCT r.role FROM {table} t CROSS JOIN LATERAL unnest(t.roles_role) r(role) "
        f"WHERE t.district_id = $1 AND {WITH_UNSURE_ROLE.sql} AND starts_with(r.role, 'ext:')"
    )
    roles: list[str] | None = await tx.fetchval(
        f"SELECT CASE WHEN {gate.condition} THEN ARRAY({found}) END", *gate.values(tx), *values
    )
    if roles is None:
        raise ClosedError
    return sorted(roles)
