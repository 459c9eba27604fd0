"""Sources: the connections of a district to its systems."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from uuid import UUID

from hub.errors import Code, HubError
from hub.store.database import Transaction

#: A week: what pulls of changes missed is found by then.
FULL_HOURS = 168


@dataclass(frozen=True, slots=True)
class Source:
    """One connection to one system of one district.

    ``digest`` is that of the files that were applied last, ``archive`` that of the uploaded bytes they came in.
    ``speaks_for``: the entities that it may speak for, with their fields (None: all of them); None for everything.
    ``key_space``: sources of one space call the same object by the same key; None: a space of its own. ``links``: by
    which fields of an entity its objects are recognised among the records of other sources. ``joined``: the rids of
    enrollments that stand for several rows of its last whole package. ``parts``: the entities of which all component
    rows are kept that it sent last. ``secrets``: by name, as hub.sync.source_secrets seals them.
    ``full_hours``: after so long a source that tells what changed is pulled whole.
    """

    source_id: UUID
    name: str
    kind: str
    config: dict[str, Any]
    priority: int
    state: str
    cursor: dict[str, Any] | None
    digest: str | None
    archive: str | None
    files: list[str]
    created_at: datetime
    speaks_for: dict[str, list[str] | None] | None
    key_space: str | None
    links: dict[str, list[str]]
    joined: list[int]
    parts: list[str]
    secrets: dict[str, str] = field(repr=False)
    full_hours: int


_COLUMNS = ", ".join(Source.__dataclass_fields__)


async def create(
    tx: Transaction, source_id: UUID, *, name: str, kind: str, config: dict[str, Any], priority: int = 100,
    speaks_for: dict[str, list[str] | None] | None = None, key_space: str | None = None,
    links: dict[str, list[str]] | None = None, secrets: dict[str, str] | None = None, full_hours: int = FULL_HOURS,
) -> Source:  # fmt: skip
    """Adds a source to the transaction's district."""
    row = await tx.fetchrow(
        "INSERT INTO sources (district_id, source_id, name, kind, config, priority, speaks_for, key_space, links, "
        f"secrets, full_hours) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11) RETURNING {_COLUMNS}",
        tx.district_id, source_id, name, kind, config, priority, speaks_for, key_space, links or {}, secrets or {},
        full_hours,
    )  # fmt: skip
    assert row is not None
    return Source(**row)


async def get(tx: Transaction, source_id: UUID) -> Source:
    """One source. Raises HubError(NOT_FOUND)."""
    row = await tx.fetchrow(
        f"SELECT {_COLUMNS} FROM sources WHERE district_id = $1 AND source_id = $2", tx.district_id, source_id
    )
    if row is None:
        raise HubError(Code.NOT_FOUND, "This district has no such source.")
    return Source(**row)


async def listing(tx: Transaction) -> list[Source]:
    """All sources of the district, oldest first."""
    rows = await tx.fetch(
        f"SELECT {_COLUMNS} FROM sources WHERE district_id = $1 ORDER BY created_at, source_id", tx.district_id
    )
    return [Source(**row) for row in rows]


async def change(
    tx: Transaction, source_id: UUID, *, name: str | None = None, config: dict[str, Any] | None = None,
    priority: int | None = None, state: str | None = None, secrets: dict[str, str] | None = None,
    full_hours: int | None = None,
) -> Source:  # fmt: skip
    """Changes what is not None. A change of the configuration makes the next run compare row by row.

    Raises HubError(NOT_FOUND).
    """
    row = await tx.fetchrow(
        "UPDATE sources SET name = coalesce($3, name), config = coalesce($4, config), "
        "priority = coalesce($5, priority), "
        "state = coalesce($6, state), digest = CASE WHEN $4::jsonb IS NULL THEN digest END, "
        "archive = CASE WHEN $4::jsonb IS NULL THEN archive END, secrets = coalesce($7, secrets), "
        "full_hours = coalesce($8, full_hours) "
        f"WHERE district_id = $1 AND source_id = $2 RETURNING {_COLUMNS}",
        tx.district_id, source_id, name, config, priority, state, secrets, full_hours,
    )  # fmt: skip
    if row is None:
        raise HubError(Code.NOT_FOUND, "This district has no such source.")
    return Source(**row)


async def set_parts(
    tx: Transaction, source_id: UUID, *, speaks_for: dict[str, list[str] | None] | None, key_space: str | None,
    links: dict[str, list[str]],
) -> Source:  # fmt: skip
    """Sets what a source may speak for and how its objects are recognised. The next run compares row by row.

    Raises HubError(NOT_FOUND).
    """
    row = await tx.fetchrow(
        "UPDATE sources SET speaks_for = $3, key_space = $4, links = $5, digest = NULL, archive = NULL "
        f"WHERE district_id = $1 AND source_id = $2 RETURNING {_COLUMNS}",
        tx.district_id, source_id, speaks_for, key_space, links,
    )  # fmt: skip
    if row is None:
        raise HubError(Code.NOT_FOUND, "This district has no such source.")
    return Source(**row)


async def hold(tx: Transaction, source_id: UUID) -> None:
    """Keeps others from changing the source, or from holding it, until the transaction ends."""
    await tx.execute(
        "SELECT FROM sources WHERE district_id = $1 AND source_id = $2 FOR UPDATE", tx.district_id, source_id
    )


async def returned(tx: Transaction, source_id: UUID, state: str) -> None:
    """Brings a source that departed back to a state. Its next run pulls all and compares row by row."""
    await tx.execute(
        "UPDATE sources SET state = $3, digest = NULL, archive = NULL, cursor = NULL "
        "WHERE district_id = $1 AND source_id = $2",
        tx.district_id, source_id, state,
    )  # fmt: skip


async def applied(
    tx: Transaction,
    source_id: UUID,
    *,
    digest: str,
    archive: str | None,
    files: list[str],
    cursor: dict[str, Any] | None,
    joined: list[int] | None,
    parts: list[str],
) -> None:
    """Notes what was applied last, in the transaction that applies it.

    ``joined``: None leaves them as they are. ``parts``: entities to be added to those.
    """
    await tx.execute(
        "UPDATE sources SET digest = $3, archive = $4, files = $5, cursor = $6, joined = coalesce($7, joined), "
        "parts = ARRAY(SELECT unnest(parts) UNION SELECT unnest($8::text[])) "
        "WHERE district_id = $1 AND source_id = $2",
        tx.district_id, source_id, digest, archive, files, cursor, joined, parts,
    )  # fmt: skip


async def seen(tx: Transaction, source_id: UUID, *, cursor: dict[str, Any]) -> None:
    """Notes where the next pull of changes begins after one that found nothing new."""
    await tx.execute(
        "UPDATE sources SET cursor = $3 WHERE district_id = $1 AND source_id = $2", tx.district_id, source_id, cursor
    )
