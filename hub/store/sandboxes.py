"""Sandbox districts: which one belongs to which app. They hold made-up people only."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any
from uuid import UUID

from hub.errors import Code, HubError
from hub.store.database import Transaction


@dataclass(frozen=True, slots=True)
class Sandbox:
    """The sandbox district of an app. ``plan``: what it is made from."""

    district_id: UUID
    name: str
    plan: dict[str, Any]


async def find(tx: Transaction, app_id: UUID) -> Sandbox | None:
    """An app's sandbox, or None."""
    row = await tx.fetchrow(
        "SELECT district_id, name, sandbox_plan AS plan FROM districts WHERE sandbox_of = $1", app_id
    )
    return Sandbox(**row) if row else None


async def create(tx: Transaction, name: str, *, app_id: UUID, plan: dict[str, Any]) -> Sandbox:
    """Adds the district that ``tx`` was opened for as an app's sandbox.

    Raises HubError(CONFLICT) when the app got one in this moment.
    """
    row = await tx.fetchrow(
        "INSERT INTO districts (district_id, name, sandbox_of, sandbox_plan) VALUES ($1, $2, $3, $4) "
        "ON CONFLICT (sandbox_of) WHERE sandbox_of IS NOT NULL DO NOTHING "
        "RETURNING district_id, name, sandbox_plan AS plan",
        tx.district_id, name, app_id, plan,
    )  # fmt: skip
    if row is None:
        raise HubError(Code.CONFLICT, "Another call makes this sandbox right now. Ask again in a moment.")
    return Sandbox(**row)
