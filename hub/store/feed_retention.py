"""Taking from old feeds what nobody reads any more, a bounded number of entries in each transaction.

A feed's step keeps a row as long as somebody may read on from it, whatever is left of what it said.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from hub.store.database import Transaction


@dataclass(frozen=True, slots=True)
class Old:
    """A grant of which old entries are to be dealt with: those of the steps up to ``to``.

    Nobody reads on from a step before ``settled``.
    """

    grant_id: UUID
    to: int
    settled: int


@dataclass(frozen=True, slots=True)
class Row:
    """One entry: serialized bitmaps. ``compacted``: whether it was dealt with before."""

    step: int
    compacted: bool
    entered: bytes
    updated: bytes
    departed: bytes


async def old(tx: Transaction, compact: datetime, settle: datetime, slack: float) -> list[Old]:
    """The grants with entries that are older than a time by more than ``slack`` seconds: what was done of them lately.

    Of these all entries from before ``compact`` are old, and those from before ``settle`` settled.
    """
    rows = await tx.fetch(
        "SELECT g.grant_id, coalesce(o.compact, 0) AS compact, coalesce(o.settle, 0) AS settle FROM grants g "
        "CROSS JOIN LATERAL (SELECT max(f.step) FILTER (WHERE f.at < $2) AS compact, "
        "max(f.step) FILTER (WHERE f.at < $3) AS settle, min(f.at) FILTER (WHERE f.cause <> 'compacted') AS whole, "
        "min(f.at) FILTER (WHERE f.step > g.feed_from) AS open "
        "FROM feed f WHERE f.district_id = $1 AND f.grant_id = g.grant_id) o WHERE g.district_id = $1 "
        "AND (o.whole < $2 - make_interval(secs => $4) OR o.open < $3 - make_interval(secs => $4)) ORDER BY g.grant_id",
        tx.district_id, compact, settle, slack,
    )  # fmt: skip
    return [Old(row["grant_id"], max(row["compact"], row["settle"]), row["settle"]) for row in rows]


async def alone(tx: Transaction, grant_id: UUID) -> None:
    """Waits until nobody else deals with the old entries of a grant. Of two, each might leave the other a last row."""
    await tx.execute("SELECT pg_advisory_xact_lock(hashtextextended($1, 0))", f"feed {grant_id}")


async def close(tx: Transaction, grant_id: UUID, step: int) -> None:
    """From now on nobody reads on from a step before ``step``."""
    await tx.execute(
        "UPDATE grants SET feed_from = greatest(feed_from, $3) WHERE district_id = $1 AND grant_id = $2",
        tx.district_id, grant_id, step,
    )  # fmt: skip


async def entities(tx: Transaction, grant_id: UUID, to: int) -> list[str]:
    """The entities that have entries up to a step."""
    rows = await tx.fetch(
        "SELECT DISTINCT entity FROM feed WHERE district_id = $1 AND grant_id = $2 AND step <= $3 ORDER BY entity",
        tx.district_id, grant_id, to,
    )  # fmt: skip
    return [row["entity"] for row in rows]


async def page(tx: Transaction, grant_id: UUID, entity: str, *, to: int, most: int) -> list[Row]:
    """The last entries of an entity up to a step, the newest first; they stay as they are until the end of ``tx``."""
    rows = await tx.fetch(
        "SELECT step, cause = 'compacted' AS compacted, entered, updated, departed FROM feed "
        "WHERE district_id = $1 AND grant_id = $2 AND entity = $3 AND step <= $4 "
        "ORDER BY step DESC LIMIT $5 FOR UPDATE",
        tx.district_id, grant_id, entity, to, most,
    )  # fmt: skip
    return [Row(**row) for row in rows]


async def rewrite(tx: Transaction, grant_id: UUID, entity: str, rows: Sequence[Row]) -> None:
    """Stores what is left of some entries."""
    await tx.executemany(
        "UPDATE feed SET cause = 'compacted', entered = $5, updated = $6, departed = $7 "
        "WHERE district_id = $1 AND grant_id = $2 AND entity = $3 AND step = $4",
        [(tx.district_id, grant_id, entity, row.step, row.entered, row.updated, row.departed) for row in rows],
    )


async def mark(tx: Transaction, grant_id: UUID, entity: str, steps: Sequence[int]) -> None:
    """Notes of some entries that they were dealt with."""
    await tx.execute(
        "UPDATE feed SET cause = 'compacted' "
        "WHERE district_id = $1 AND grant_id = $2 AND entity = $3 AND step = ANY($4::bigint[])",
        tx.district_id, grant_id, entity, list(steps),
    )  # fmt: skip


async def remove(tx: Transaction, grant_id: UUID, entity: str, steps: Sequence[int], *, before: int) -> int:
    """Deletes entries of which nothing is left; how many. From ``before`` on the last row of a step stays."""
    return await tx.execute(
        "DELETE FROM feed f WHERE f.district_id = $1 AND f.grant_id = $2 AND f.entity = $3 "
        "AND f.step = ANY($4::bigint[]) AND (f.step < $5 OR EXISTS (SELECT FROM feed o WHERE o.district_id = $1 "
        "AND o.grant_id = $2 AND o.step = f.step AND o.entity <> $3))",
        tx.district_id, grant_id, entity, list(steps), before,
    )  # fmt: skip
