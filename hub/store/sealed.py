"""Every column that holds ciphertexts, and how they are read and replaced in batches.

A ciphertext's first byte is its version, and the next sixteen name its data key where that is 2: see hub/crypto.py.
"""

from __future__ import annotations

import base64
from dataclasses import dataclass
from uuid import UUID

from hub.store.audit import HUB
from hub.store.database import Transaction

_NIL = UUID(int=0)


@dataclass(frozen=True, slots=True)
class Value:
    """One ciphertext. ``row``: as it was sealed; ``key``: of the row that it stands in; ``name``: inside a document."""

    row: str
    key: UUID | str
    sealed: bytes
    name: str | None = None


@dataclass(frozen=True, slots=True)
class Column:
    """A column of ciphertexts. ``sealed_as``: the column that they are bound to, where it is another one."""

    table: str
    column: str
    key: str
    key_type: str = "uuid"
    sealed_as: str | None = None
    document: bool = False

    @property
    def of_the_hub(self) -> bool:
        """Whether the table has no districts."""
        return self.table in {"clients", "agreement_keys"}

    @property
    def bound_to(self) -> str:
        """The column's name in the place that ciphertexts are bound to."""
        return self.sealed_as or self.column


COLUMNS = (
    Column("subscriptions", "secret", "subscription_id"),
    Column("subscriptions", "certificate", "subscription_id"),
    Column("recipients", "secret", "recipient_id"),
    Column("grade_targets", "secret", "target_id"),
    Column("export_schedules", "secret", "schedule_id"),
    Column("grants", "id_key", "grant_id"),
    Column("sources", "secrets", "source_id", document=True),
    Column("agreement_keys", "key", "agreement_id"),
    Column("clients", "oauth1_secret", "client_id", "text"),
    Column("clients", "oauth1_old_secret", "client_id", "text", "oauth1_secret"),
)
#: Parts of packages that wait to be fetched: they are gone within days, and are not sealed anew.
PASSING = ("export_parts", "data")


async def batch(tx: Transaction, column: Column, after: UUID | str | None, limit: int) -> list[Value]:
    """The ciphertexts of the next rows behind ``after``, which stay locked; an empty list behind the last one."""
    mine = "true" if column.of_the_hub else "district_id = $1"
    first: UUID | str = "" if column.key_type == "text" else _NIL
    rows = await tx.fetch(
        f"SELECT {column.key} AS key, {column.column} AS value FROM {column.table} "
        f"WHERE {mine} AND ($1::uuid IS NOT NULL) AND {column.key} > $2::{column.key_type} "
        f"AND {column.column} IS NOT NULL ORDER BY {column.key} LIMIT $3 FOR UPDATE",
        tx.district_id or HUB, first if after is None else after, limit,
    )  # fmt: skip
    found = []
    for row in rows:
        if column.document:
            found += [
                Value(f"{row['key']}|{name}", row["key"], base64.b64decode(text), name)
                for name, text in row["value"].items()
            ] or [Value("", row["key"], b"")]
        else:
            found.append(Value(str(row["key"]), row["key"], row["value"]))
    return found


async def replace(tx: Transaction, column: Column, made: list[tuple[Value, bytes]]) -> None:
    """Writes other ciphertexts in place of those that ``batch`` gave in the same transaction."""
    mine = "true" if column.of_the_hub else "district_id = $1"
    value = "$3::bytea"
    if column.document:
        value = f"{column.column} || jsonb_build_object($4::text, encode($3::bytea, 'base64'))"
    for old, new in made:
        values = [tx.district_id or HUB, old.key, new, *([old.name] if column.document else [])]
        await tx.execute(
            f"UPDATE {column.table} SET {column.column} = {value} "
            f"WHERE {mine} AND ($1::uuid IS NOT NULL) AND {column.key} = $2::{column.key_type}",
            *values,
        )


async def older(tx: Transaction) -> int:
    """Parts of packages that are sealed with a key of the master key's own; they pass."""
    table, column = PASSING
    count: int = await tx.fetchval(
        f"SELECT count(*) FROM {table} WHERE district_id = $1 AND get_byte({column}, 0) = 1", tx.district_id
    )
    return count
