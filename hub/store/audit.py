"""The audit log: who did what to which object of a district, written in the transaction of the act.

Roles may add and read rows and nothing else. Details hold neither personal data nor secrets.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from hub.store.database import Transaction

#: Acts on the hub itself (apps, tokens) stand under this id instead of a district's.
HUB = UUID(int=0)


@dataclass(frozen=True, slots=True)
class Entry:
    """One act. ``seq`` grows within the hub; a district's numbers have gaps."""

    seq: int
    at: datetime
    actor: str
    action: str
    object: str
    details: dict[str, Any]


async def add(tx: Transaction, *, actor: str, action: str, object_: str, details: dict[str, Any]) -> None:
    """Notes an act under the district that ``tx`` was opened for."""
    await tx.execute(
        "INSERT INTO audit (district_id, actor, action, object, details) VALUES ($1, $2, $3, $4, $5)",
        tx.district_id, actor, action, object_, details,
    )  # fmt: skip


async def listing(tx: Transaction, *, before: int | None = None, limit: int = 100) -> list[Entry]:
    """Acts under the transaction's district, newest first, with a ``seq`` below ``before``."""
    rows = await tx.fetch(
        "SELECT seq, at, actor, action, object, details FROM audit "
        "WHERE district_id = $1 AND ($2::bigint IS NULL OR seq < $2) ORDER BY seq DESC LIMIT $3",
        tx.district_id, before, limit,
    )  # fmt: skip
    return [Entry(**row) for row in rows]
