"""What an operator wants to know of the database server."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from hub.store.database import Transaction


@dataclass(frozen=True, slots=True)
class Facts:
    """The server's version (such as 150007) and clock, how it writes, and the size of the database in bytes."""

    version: int
    now: datetime
    fsync: bool
    bytes: int


async def facts(tx: Transaction) -> Facts:
    """The facts, as any login may read them."""
    (row,) = await tx.fetch(
        "SELECT current_setting('server_version_num')::int AS version, clock_timestamp() AS now, "
        "current_setting('fsync') = 'on' AS fsync, pg_database_size(current_database()) AS bytes"
    )
    return Facts(**row)
