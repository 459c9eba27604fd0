"""Hints of systems that something changed: whose secret was shown, and when the source is pulled for it.

PostgreSQL remembers; who looks first after the time queues the run. Of hints nothing is kept but when the last came.
"""

from __future__ import annotations

import hmac
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from hub.errors import Code, HubError
from hub.ids import new_id
from hub.store import runs
from hub.store.database import Database, Transaction
from hub.store.source_schedules import Quiet

#: What changes together comes in many hints: so long is waited for the rest of them.
SETTLE = timedelta(seconds=10)
#: A pull that is under way may have read what a hint is about: whether it has ended is looked at so much later.
LATER = timedelta(seconds=30)
_SOME = 100


@dataclass(frozen=True, slots=True)
class Hints:
    """How a source hears of changes. ``distance_seconds``: at least between two pulls for hints."""

    source_id: UUID
    distance_seconds: int
    created_at: datetime
    changed_at: datetime
    subscribed_at: datetime | None
    heard_at: datetime | None
    due_at: datetime | None
    queued_at: datetime | None


_COLUMNS = ", ".join(Hints.__dataclass_fields__)
_ITS = "district_id = $1 AND source_id = $2"


async def create(tx: Transaction, source_id: UUID, *, secret_hash: bytes, distance_seconds: int) -> Hints:
    """Has a source hear hints. Raises HubError(CONFLICT) where it does already. The source must exist."""
    row = await tx.fetchrow(
        "INSERT INTO source_hints (district_id, source_id, secret_hash, distance_seconds) VALUES ($1, $2, $3, $4) "
        f"ON CONFLICT (district_id, source_id) DO NOTHING RETURNING {_COLUMNS}",
        tx.district_id, source_id, secret_hash, distance_seconds,
    )  # fmt: skip
    if row is None:
        raise HubError(Code.CONFLICT, "The source hears hints already. Rotate its address, or turn them off first.")
    return Hints(**row)


async def get(tx: Transaction, source_id: UUID) -> Hints:
    """How a source hears of changes. Raises HubError(NOT_FOUND)."""
    row = await tx.fetchrow(f"SELECT {_COLUMNS} FROM source_hints WHERE {_ITS}", tx.district_id, source_id)
    if row is None:
        raise _none()
    return Hints(**row)


async def change(tx: Transaction, source_id: UUID, *, secret_hash: bytes, distance_seconds: int | None) -> Hints:
    """Sets another secret, and the distance where one is given. Raises HubError(NOT_FOUND)."""
    row = await tx.fetchrow(
        "UPDATE source_hints SET secret_hash = $3, distance_seconds = coalesce($4, distance_seconds), "
        f"changed_at = clock_timestamp(), subscribed_at = NULL WHERE {_ITS} RETURNING {_COLUMNS}",
        tx.district_id, source_id, secret_hash, distance_seconds,
    )  # fmt: skip
    if row is None:
        raise _none()
    return Hints(**row)


async def subscribed(tx: Transaction, source_id: UUID, changed_at: datetime) -> None:
    """Notes that the system was told the address that was made then."""
    await tx.execute(
        f"UPDATE source_hints SET subscribed_at = clock_timestamp() WHERE {_ITS} AND changed_at = $3",
        tx.district_id, source_id, changed_at,
    )  # fmt: skip


async def delete(tx: Transaction, source_id: UUID) -> None:
    """Hears none any more. Raises HubError(NOT_FOUND)."""
    if not await tx.execute(f"DELETE FROM source_hints WHERE {_ITS}", tx.district_id, source_id):
        raise _none()


async def hear(tx: Transaction, source_id: UUID, secret_hash: bytes, now: datetime) -> datetime | None:
    """When the source is pulled for a hint that came with this secret; None where it is not the source's.

    Hints that come while one waits come to the same pull.
    """
    row = await tx.fetchrow(
        "SELECT h.secret_hash, s.state FROM source_hints h JOIN sources s USING (district_id, source_id) "
        "WHERE h.district_id = $1 AND h.source_id = $2",
        tx.district_id, source_id,
    )  # fmt: skip
    right = hmac.compare_digest(row["secret_hash"] if row is not None else bytes(len(secret_hash)), secret_hash)
    if row is None or not right or row["state"] == "departed":
        return None
    due: datetime | None = await tx.fetchval(
        "UPDATE source_hints SET heard_at = $3, due_at = coalesce(due_at, greatest($3::timestamptz + $4::interval, "
        f"queued_at + make_interval(secs => distance_seconds))) WHERE {_ITS} RETURNING due_at",
        tx.district_id, source_id, now, SETTLE,
    )  # fmt: skip
    return due


async def queue_due(db: Database, now: datetime, quiet: Quiet) -> int:
    """Queues a run for each source whose hints are due; how many. One whose system wants to be left alone waits.

    A pull that waits already serves for them. One that is under way does not: it may have read what they are about.
    """
    async with db.shared() as tx:
        due = await tx.fetch(
            "SELECT h.district_id, h.source_id FROM source_hints h JOIN districts d USING (district_id) "
            "WHERE h.due_at <= $1 AND d.state = 'active' ORDER BY h.due_at LIMIT $2",
            now, _SOME,
        )  # fmt: skip
    queued = 0
    for district_id, source_id in due:
        async with db.district(district_id) as tx:
            queued += await _queue(tx, source_id, now, quiet)
    return queued


async def _queue(tx: Transaction, source_id: UUID, now: datetime, quiet: Quiet) -> bool:
    distance = await tx.fetchval(
        f"SELECT distance_seconds FROM source_hints WHERE {_ITS} AND due_at <= $3 FOR UPDATE SKIP LOCKED",
        tx.district_id, source_id, now,
    )  # fmt: skip
    if distance is None:
        return False  # another worker queues it just now
    [(active, kind, config)] = await tx.fetch(
        f"SELECT state = 'active', kind, config FROM sources WHERE {_ITS}", tx.district_id, source_id
    )
    later = now + timedelta(seconds=distance) if not active else await quiet(kind, config)
    waiting = await runs.unfinished(tx, source_id)
    if later is None and waiting is not None and waiting.state == "running":
        later = now + LATER
    if later is not None:
        await tx.execute(f"UPDATE source_hints SET due_at = $3 WHERE {_ITS}", tx.district_id, source_id, later)
        return False
    await tx.execute(
        f"UPDATE source_hints SET due_at = NULL, queued_at = $3 WHERE {_ITS}", tx.district_id, source_id, now
    )
    if waiting is not None:
        return False
    await runs.request(tx, new_id(), source_id=source_id, upload_id=None, dry_run=False, requested_by="hints")
    return True


def _none() -> HubError:
    return HubError(Code.NOT_FOUND, "This source hears no hints.")
