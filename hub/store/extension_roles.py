"""Which ``ext:`` roles the users of a district have: words that no vocabulary lists."""

from __future__ import annotations

from hub.store.conditions import WITH_UNSURE_ROLE
from hub.store.database import Transaction
from hub.store.gate import ClosedError, Gate
from hub.store.records import table_at
from transforms.catalogue import CATALOGUE


async def extension_roles(tx: Transaction, gate: Gate, *, before: int | None = None) -> list[str]:
    """These roles, in order; ``before`` as in ``records.matching``. Raises ClosedError."""
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
