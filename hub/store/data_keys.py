"""The keys with which columns are encrypted, each as the master keys wrap it: a district's own, and the hub's."""

from __future__ import annotations

import base64
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from hub.store.audit import HUB
from hub.store.database import Transaction

COLUMNS = "columns"


@dataclass(frozen=True, slots=True)
class DataKey:
    """One key. ``wrapped``: by the name of the master key that wraps it. ``encryptions``: counted ahead, in blocks."""

    district_id: UUID
    key_id: UUID
    purpose: str
    encryptions: int
    wrapped: dict[str, bytes]


_FIELDS = "district_id, key_id, purpose, encryptions, wrapped"


async def named(tx: Transaction, key_ids: Collection[UUID]) -> list[DataKey]:
    """Those of some keys that the transaction may see: its district's and the hub's."""
    rows = await tx.fetch(
        f"SELECT {_FIELDS} FROM data_keys WHERE district_id = ANY($1::uuid[]) AND key_id = ANY($2::uuid[])",
        [tx.district_id or HUB, HUB], list(key_ids),
    )  # fmt: skip
    return [_read(row) for row in rows]


async def listing(tx: Transaction) -> list[DataKey]:
    """All keys of the transaction's district, oldest first."""
    rows = await tx.fetch(
        f"SELECT {_FIELDS} FROM data_keys WHERE district_id = $1 ORDER BY created_at, key_id", tx.district_id
    )
    return [_read(row) for row in rows]


async def take(tx: Transaction, count: int, most: int) -> DataKey | None:
    """The district's newest data key, with ``count`` more encryptions; None where that would be more than ``most``."""
    row = await tx.fetchrow(
        "UPDATE data_keys SET encryptions = encryptions + $2 WHERE district_id = $1 AND key_id = "
        "(SELECT key_id FROM data_keys WHERE district_id = $1 AND purpose = $4 "
        "ORDER BY created_at DESC, key_id DESC LIMIT 1) "
        f"AND encryptions + $2 <= $3 RETURNING {_FIELDS}",
        tx.district_id, count, most, COLUMNS,
    )  # fmt: skip
    return _read(row) if row else None


async def add(tx: Transaction, key_id: UUID, *, purpose: str, encryptions: int, wrapped: dict[str, bytes]) -> bool:
    """Adds a key to the transaction's district; False where another one has the purpose, which is had once only."""
    touched = await tx.execute(
        # By the moment and not by the transaction: of two in one transaction, the later one is the newer.
        "INSERT INTO data_keys (district_id, key_id, purpose, encryptions, wrapped, created_at) "
        "VALUES ($1, $2, $3, $4, $5, clock_timestamp()) ON CONFLICT DO NOTHING",
        tx.district_id, key_id, purpose, encryptions, _written(wrapped),
    )  # fmt: skip
    return bool(touched)


async def fixed(tx: Transaction, purpose: str) -> DataKey | None:
    """The hub's one key of a purpose."""
    row = await tx.fetchrow(
        f"SELECT {_FIELDS} FROM data_keys WHERE district_id = $1 AND purpose = $2", HUB, purpose
    )  # fmt: skip
    return _read(row) if row else None


async def wrap(tx: Transaction, key_id: UUID, wrapped: dict[str, bytes]) -> None:
    """Keeps a key wrapped under more master keys."""
    await tx.execute(
        "UPDATE data_keys SET wrapped = wrapped || $3 WHERE district_id = $1 AND key_id = $2",
        tx.district_id, key_id, _written(wrapped),
    )  # fmt: skip


async def unwrap_all_but(tx: Transaction, master_id: str) -> int:
    """Forgets what other master keys wrap, of keys that this one wraps too; how many keys that touched."""
    return await tx.execute(
        "UPDATE data_keys SET wrapped = jsonb_build_object($2::text, wrapped -> $2::text) "
        "WHERE district_id = $1 AND wrapped ? $2 AND wrapped <> jsonb_build_object($2::text, wrapped -> $2::text)",
        tx.district_id, master_id,
    )  # fmt: skip


def _read(row: Any) -> DataKey:
    wrapped = {name: base64.b64decode(text) for name, text in row["wrapped"].items()}
    return DataKey(row["district_id"], row["key_id"], row["purpose"], row["encryptions"], wrapped)


def _written(wrapped: dict[str, bytes]) -> dict[str, str]:
    return {name: base64.b64encode(text).decode() for name, text in wrapped.items()}
