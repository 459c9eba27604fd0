"""Sandbox districts: which one belongs to which app. They hold made-up people only."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any
from uuid import UUID

from hub.errors import Code, HubError
from hub.store import districts
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
        "SELECT s.sandbox_district AS district_id, d.name, s.plan FROM sandboxes s "
        "JOIN districts d ON d.district_id = s.sandbox_district WHERE s.app_id = $1", app_id,
    )  # fmt: skip
    return Sandbox(**row) if row else None


async def create(tx: Transaction, name: str, *, app_id: UUID, plan: dict[str, Any]) -> Sandbox:
    """Adds the district that ``tx`` was opened for as an app's sandbox.

    Raises HubError(CONFLICT) when the app got one in this moment.
    """
    district = await districts.create(tx, name)
    made = await tx.execute(
        "INSERT INTO sandboxes (app_id, sandbox_district, plan) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING",
        app_id, district.district_id, plan,
    )  # fmt: skip
    if not made:
        raise HubError(Code.CONFLICT, "Another call makes this sandbox right now. Ask again in a moment.")
    return Sandbox(district.district_id, name, plan)
