"""Grants, the views that they give, and their feeds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from hub.errors import Code, HubError
from hub.store.database import Transaction


@dataclass(frozen=True, slots=True)
class Grant:
    """A district's permission for one app. ``definition`` is the JSON of hub.scope.grants.GrantDefinition."""

    grant_id: UUID
    app_id: UUID
    definition: dict[str, Any]
    state: str
    position: int
    created_at: datetime
    changed_at: datetime


@dataclass(frozen=True, slots=True)
class Sets:
    """The serialized bitmaps of one entity of a view."""

    present: bytes
    gone: bytes
    trimmed: bytes


@dataclass(frozen=True, slots=True)
class Entry:
    """One feed entry: what changed in one entity of a view at one position, as serialized bitmaps."""

    entity: str
    entered: bytes
    updated: bytes
    departed: bytes


_COLUMNS = "grant_id, app_id, definition, state, position, created_at, changed_at"


async def create(tx: Transaction, grant_id: UUID, *, app_id: UUID, definition: dict[str, Any]) -> Grant:
    """Adds a grant with an empty view. Raises HubError(CONFLICT) when the app holds one in this district already."""
    row = await tx.fetchrow(
        "INSERT INTO grants (district_id, grant_id, app_id, definition) VALUES ($1, $2, $3, $4) "
        f"ON CONFLICT DO NOTHING RETURNING {_COLUMNS}",
        tx.district_id, grant_id, app_id, definition,
    )  # fmt: skip
    if row is None:
        raise HubError(Code.CONFLICT, "This app holds a grant in this district already. Edit that one.")
    return Grant(**row)


async def get(tx: Transaction, grant_id: UUID) -> Grant:
    """One grant. Raises HubError(NOT_FOUND)."""
    row = await tx.fetchrow(
        f"SELECT {_COLUMNS} FROM grants WHERE district_id = $1 AND grant_id = $2", tx.district_id, grant_id
    )
    if row is None:
        raise HubError(Code.NOT_FOUND, "This district has no such grant.")
    return Grant(**row)


async def of_app(tx: Transaction, app_id: UUID) -> Grant | None:
    """The active grant of an app in this district."""
    row = await tx.fetchrow(
        f"SELECT {_COLUMNS} FROM grants WHERE district_id = $1 AND app_id = $2 AND state = 'active'",
        tx.district_id,
        app_id,
    )
    return Grant(**row) if row else None


async def listing(tx: Transaction, *, living: bool = False) -> list[Grant]:
    """All grants of the district, oldest first; ``living`` leaves out revoked ones."""
    rows = await tx.fetch(
        f"SELECT {_COLUMNS} FROM grants WHERE district_id = $1 AND (NOT $2 OR state <> 'revoked') "
        "ORDER BY created_at, grant_id",
        tx.district_id, living,
    )  # fmt: skip
    return [Grant(**row) for row in rows]


async def change(
    tx: Transaction, grant_id: UUID, *, definition: dict[str, Any] | None = None, state: str | None = None
) -> Grant:
    """Changes the definition or the state. Raises HubError(NOT_FOUND)."""
    row = await tx.fetchrow(
        "UPDATE grants SET definition = coalesce($3, definition), state = coalesce($4, state), changed_at = now() "
        f"WHERE district_id = $1 AND grant_id = $2 RETURNING {_COLUMNS}",
        tx.district_id, grant_id, definition, state,
    )  # fmt: skip
    if row is None:
        raise HubError(Code.NOT_FOUND, "This district has no such grant.")
    return Grant(**row)


async def views(tx: Transaction, grant_id: UUID) -> dict[str, Sets]:
    """The sets of a grant at its position, by entity."""
    rows = await tx.fetch(
        "SELECT entity, present, gone, trimmed FROM views WHERE district_id = $1 AND grant_id = $2",
        tx.district_id,
        grant_id,
    )
    return {row["entity"]: Sets(row["present"], row["gone"], row["trimmed"]) for row in rows}


async def extra_roles(tx: Transaction, grant_id: UUID) -> dict[str, bytes]:
    """By role, the serialized set of users whom the app was ever shown with it beside their main one."""
    rows = await tx.fetch(
        "SELECT role, people FROM extra_roles WHERE district_id = $1 AND grant_id = $2", tx.district_id, grant_id
    )
    return {row["role"]: row["people"] for row in rows}


async def move(
    tx: Transaction, grant_id: UUID, position: int, *, sets: Mapping[str, Sets], entries: list[Entry],
    extra_roles: Mapping[str, bytes], at: datetime, run_id: UUID | None,
) -> None:  # fmt: skip
    """Moves a grant to ``position``: stores what changed of its sets, and its feed entries.

    The caller holds the district's lock.
    """
    await tx.executemany(
        "INSERT INTO extra_roles (district_id, grant_id, role, people) VALUES ($1, $2, $3, $4) "
        "ON CONFLICT (district_id, grant_id, role) DO UPDATE SET people = EXCLUDED.people",
        [(tx.district_id, grant_id, role, people) for role, people in extra_roles.items()],
    )
    await tx.executemany(
        "INSERT INTO views (district_id, grant_id, entity, present, gone, trimmed) VALUES ($1, $2, $3, $4, $5, $6) "
        "ON CONFLICT (district_id, grant_id, entity) DO UPDATE SET present = EXCLUDED.present, gone = EXCLUDED.gone, "
        "trimmed = EXCLUDED.trimmed",
        [(tx.district_id, grant_id, entity, s.present, s.gone, s.trimmed) for entity, s in sets.items()],
    )
    await tx.executemany(
        "INSERT INTO feed (district_id, grant_id, position, entity, at, run_id, entered, updated, departed) "
        "VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)",
        [(tx.district_id, grant_id, position, e.entity, at, run_id, e.entered, e.updated, e.departed) for e in entries],
    )
    await tx.execute(
        "UPDATE grants SET position = $3 WHERE district_id = $1 AND grant_id = $2", tx.district_id, grant_id, position
    )


async def announce(tx: Transaction) -> None:
    """Wakes the dispatchers. Only ever in a transaction of its own: a NOTIFY inside a write serialises all commits."""
    await tx.execute("SELECT pg_notify('hub_feed', $1)", str(tx.district_id))
