"""Exports: the queue of packages that are to be made, their bytes, and what an app's last one was.

A worker claims one with a lease; every statement that changes a claimed export names the lease's token, so a worker
that was away for longer than that changes nothing. Bytes are sealed before they come here.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal
from uuid import UUID, uuid4

from hub.errors import Code, HubError
from hub.store.database import Database, Transaction

LEASE_SECONDS = 30
#: Rows are kept for so long after their end, and an app's last acknowledged one for ever.
KEPT_DAYS = 60

State = Literal["queued", "running", "ready", "delivering", "done", "failed", "expired", "withdrawn"]
OPEN: tuple[State, ...] = ("queued", "running", "delivering")


@dataclass(frozen=True, slots=True)
class Export:
    """One package for one grant, as its row says.

    ``schedule_id`` is None where an app asked for it. ``kind`` is what it became, ``policy`` a digest of all that
    decides what is in it beside the records; both come with the bytes.
    """

    export_id: UUID
    grant_id: UUID
    schedule_id: UUID | None
    version: str
    mode: str
    entities: list[str]
    state: State
    kind: str | None
    policy: bytes | None
    position: int | None
    district_position: int | None
    progress: dict[str, Any]
    rows: dict[str, int]
    omitted: dict[str, int]
    bytes: int | None
    sha256: str | None
    attempt: int
    made_by: int | None
    error_code: str | None
    error_message: str | None
    requested_by: str
    requested_at: datetime
    made_at: datetime | None
    expires_at: datetime | None
    acknowledged_at: datetime | None
    finished_at: datetime | None


@dataclass(frozen=True, slots=True)
class Claim:
    """The right to carry out one export until its lease ends."""

    district_id: UUID
    export: Export
    lease_token: UUID


@dataclass(frozen=True, slots=True)
class Outcome:
    """What was made: see ``Export``."""

    kind: str
    policy: bytes
    position: int
    district_position: int
    rows: dict[str, int]
    omitted: dict[str, int]
    bytes: int
    sha256: str


_NAMES = tuple(Export.__dataclass_fields__)
_COLUMNS = ", ".join(_NAMES)
_HELD = "district_id = $1 AND export_id = $2 AND lease_token = $3"


async def request(
    tx: Transaction, export_id: UUID, *, grant_id: UUID, version: str, mode: str, entities: Collection[str],
    requested_by: str, schedule_id: UUID | None = None,
) -> Export:  # fmt: skip
    """Queues an export. The caller rings the doorbell after commit; a worker finds it without, only later."""
    row = await tx.fetchrow(
        "INSERT INTO exports (district_id, export_id, grant_id, schedule_id, version, mode, entities, requested_by) "
        f"VALUES ($1, $2, $3, $4, $5, $6, $7, $8) RETURNING {_COLUMNS}",
        tx.district_id, export_id, grant_id, schedule_id, version, mode, sorted(entities), requested_by,
    )  # fmt: skip
    assert row is not None
    return Export(**row)


async def note(
    tx: Transaction, export_id: UUID, outcome: Outcome, *, grant_id: UUID, version: str, mode: str,
    entities: Collection[str], requested_by: str,
) -> None:  # fmt: skip
    """Writes down a package that was sent while it was made, so that it can be acknowledged."""
    await request(
        tx, export_id, grant_id=grant_id, version=version, mode=mode, entities=entities, requested_by=requested_by
    )  # fmt: skip
    await tx.execute(
        f"UPDATE exports SET state = 'done', {_OUTCOME}, made_at = now(), finished_at = now() "
        "WHERE district_id = $1 AND export_id = $2",
        tx.district_id, export_id, *_values(outcome),
    )  # fmt: skip


_OUTCOME = (
    "kind = $3, policy = $4, position = $5, district_position = $6, rows = $7, omitted = $8, bytes = $9, sha256 = $10"
)


def _values(outcome: Outcome) -> tuple[object, ...]:
    return (
        outcome.kind, outcome.policy, outcome.position, outcome.district_position, outcome.rows, outcome.omitted,
        outcome.bytes, outcome.sha256,
    )  # fmt: skip


async def get(tx: Transaction, export_id: UUID) -> Export:
    """One export. Raises HubError(NOT_FOUND)."""
    row = await tx.fetchrow(
        f"SELECT {_COLUMNS} FROM exports WHERE district_id = $1 AND export_id = $2", tx.district_id, export_id
    )
    if row is None:
        raise HubError(Code.NOT_FOUND, "This district has no such export.")
    return Export(**row)


async def listing(tx: Transaction, *, before: datetime | None = None, limit: int = 50) -> list[Export]:
    """Exports of the district, newest first, requested before ``before``."""
    rows = await tx.fetch(
        f"SELECT {_COLUMNS} FROM exports WHERE district_id = $1 AND ($2::timestamptz IS NULL OR requested_at < $2) "
        "ORDER BY requested_at DESC, export_id DESC LIMIT $3",
        tx.district_id, before, limit,
    )  # fmt: skip
    return [Export(**row) for row in rows]


async def last_of(tx: Transaction, schedule_id: UUID) -> Export | None:
    """The last export of a schedule."""
    row = await tx.fetchrow(
        f"SELECT {_COLUMNS} FROM exports WHERE district_id = $1 AND schedule_id = $2 "
        "ORDER BY requested_at DESC, export_id DESC LIMIT 1",
        tx.district_id, schedule_id,
    )  # fmt: skip
    return Export(**row) if row else None


async def under_way(tx: Transaction, grant_id: UUID) -> Export | None:
    """The export that an app has asked for and that is being made; the grant is locked, so that two cannot ask."""
    await tx.execute("SELECT FROM grants WHERE district_id = $1 AND grant_id = $2 FOR UPDATE", tx.district_id, grant_id)
    row = await tx.fetchrow(
        f"SELECT {_COLUMNS} FROM exports WHERE district_id = $1 AND grant_id = $2 AND schedule_id IS NULL "
        "AND state = ANY($3) LIMIT 1",
        tx.district_id, grant_id, list(OPEN),
    )  # fmt: skip
    return Export(**row) if row else None


async def replace_ready(tx: Transaction, grant_id: UUID) -> None:
    """Ends the packages that an app has asked for and not fetched yet: there is one at a time."""
    rows = await tx.fetch(
        "UPDATE exports SET state = 'expired', expires_at = NULL, finished_at = now() WHERE district_id = $1 "
        "AND grant_id = $2 AND schedule_id IS NULL AND state = 'ready' RETURNING export_id",
        tx.district_id, grant_id,
    )  # fmt: skip
    for row in rows:
        await forget_bytes(tx, row[0])


async def base(tx: Transaction, grant_id: UUID, *, schedule_id: UUID | None, version: str) -> Export | None:
    """The newest acknowledged export of this version: the app's own, or that of one of its schedules."""
    row = await tx.fetchrow(
        f"SELECT {_COLUMNS} FROM exports WHERE district_id = $1 AND grant_id = $2 AND version = $4 "
        "AND schedule_id IS NOT DISTINCT FROM $3 AND acknowledged_at IS NOT NULL "
        "ORDER BY district_position DESC, acknowledged_at DESC LIMIT 1",
        tx.district_id, grant_id, schedule_id, version,
    )  # fmt: skip
    return Export(**row) if row else None


async def last_bulk(tx: Transaction, grant_id: UUID, *, schedule_id: UUID, version: str) -> datetime | None:
    """When the last acknowledged bulk package of a schedule was made."""
    at: datetime | None = await tx.fetchval(
        "SELECT max(made_at) FROM exports WHERE district_id = $1 AND grant_id = $2 AND schedule_id = $3 "
        "AND version = $4 AND kind = 'bulk' AND acknowledged_at IS NOT NULL",
        tx.district_id, grant_id, schedule_id, version,
    )  # fmt: skip
    return at


async def acknowledge(tx: Transaction, export_id: UUID) -> Export:
    """Notes that an app has a package, and deletes its bytes; a second time changes nothing.

    Raises HubError(NOT_FOUND), HubError(CONFLICT) for one that was never made.
    """
    export = await get(tx, export_id)
    if export.made_at is None:
        raise HubError(Code.CONFLICT, f"Only a package that was made can be acknowledged; this one is {export.state}.")
    await tx.execute(
        "UPDATE exports SET acknowledged_at = coalesce(acknowledged_at, now()), expires_at = NULL, "
        "state = CASE WHEN state = 'ready' THEN 'done' ELSE state END, finished_at = coalesce(finished_at, now()) "
        "WHERE district_id = $1 AND export_id = $2",
        tx.district_id, export_id,
    )  # fmt: skip
    await forget_bytes(tx, export_id)
    return await get(tx, export_id)


_CLAIM = f"""
WITH due AS (
    SELECT e.district_id, e.export_id FROM exports e
    WHERE e.state = ANY($3) AND coalesce(e.lease_until, '-infinity') < now()
      AND NOT EXISTS (SELECT FROM exports o WHERE o.district_id = e.district_id AND o.export_id <> e.export_id
                      AND o.state = ANY($3) AND o.lease_token IS NOT NULL AND o.lease_until >= now())
    ORDER BY e.requested_at, e.export_id LIMIT 1 FOR UPDATE OF e SKIP LOCKED)
UPDATE exports e SET state = CASE WHEN e.state = 'delivering' THEN e.state ELSE 'running' END, attempt = e.attempt + 1,
    lease_token = $1, lease_until = now() + make_interval(secs => $2)
FROM due WHERE e.district_id = due.district_id AND e.export_id = due.export_id
RETURNING e.district_id, {", ".join(f"e.{name}" for name in _NAMES)}
"""


async def claim(db: Database) -> Claim | None:
    """Claims the export that has waited longest, of a district that has none under way; None when there is none."""
    token = uuid4()
    async with db.shared() as tx:
        row = await tx.fetchrow(_CLAIM, token, LEASE_SECONDS, list(OPEN))
    if row is None:
        return None
    values = dict(row)
    return Claim(values.pop("district_id"), Export(**values), token)


async def heartbeat(tx: Transaction, claim: Claim, progress: dict[str, Any]) -> None:
    """Extends the lease and shows progress. Raises HubError(FENCED) when the lease is somebody else's now."""
    await _held(
        tx, claim, "lease_until = now() + make_interval(secs => $4), progress = $5", LEASE_SECONDS, progress
    )  # fmt: skip


async def keep_part(tx: Transaction, claim: Claim, part: int, data: bytes) -> None:
    """Keeps some bytes of a package. Raises HubError(FENCED) when the lease is somebody else's now."""
    kept = await tx.execute(
        "INSERT INTO export_parts (district_id, export_id, attempt, part, data) "
        f"SELECT $1, $2, $4, $5, $6 WHERE EXISTS (SELECT FROM exports WHERE {_HELD})",
        claim.district_id, claim.export.export_id, claim.lease_token, claim.export.attempt, part, data,
    )  # fmt: skip
    if not kept:
        raise _fenced()


async def part(tx: Transaction, export: Export, number: int) -> bytes | None:
    """One part of a package's sealed bytes; None behind the last one."""
    data: bytes | None = await tx.fetchval(
        "SELECT data FROM export_parts WHERE district_id = $1 AND export_id = $2 AND attempt = $3 AND part = $4",
        tx.district_id, export.export_id, export.made_by, number,
    )  # fmt: skip
    return data


async def made(tx: Transaction, claim: Claim, outcome: Outcome, *, state: State, keep_hours: float) -> Export:
    """Notes a package that is whole. ``state``: "ready" to be fetched, or "delivering", with the lease kept.

    Raises HubError(FENCED) when the lease is somebody else's now.
    """
    await _held(
        tx, claim, "kind = $4, policy = $5, position = $6, district_position = $7, rows = $8, omitted = $9, "
        "bytes = $10, sha256 = $11, state = $12, made_by = attempt, made_at = now(), "
        "expires_at = now() + make_interval(secs => $13), error_code = NULL, error_message = NULL, "
        "lease_token = CASE WHEN $12 = 'ready' THEN NULL ELSE lease_token END, "
        "lease_until = CASE WHEN $12 = 'ready' THEN NULL ELSE lease_until END",
        *_values(outcome), state, keep_hours * 3600,
    )  # fmt: skip
    await tx.execute(
        "DELETE FROM export_parts WHERE district_id = $1 AND export_id = $2 AND attempt <> $3",
        claim.district_id, claim.export.export_id, claim.export.attempt,
    )  # fmt: skip
    return await get(tx, claim.export.export_id)


async def end(
    tx: Transaction, claim: Claim, state: State, *, error: HubError | None = None, acknowledged: bool = False
) -> None:
    """Ends a claimed export and deletes its bytes. Raises HubError(FENCED) when the lease is somebody else's now."""
    await _held(
        tx, claim, "state = $4, error_code = $5, error_message = $6, finished_at = now(), lease_token = NULL, "
        "lease_until = NULL, expires_at = NULL, "
        "acknowledged_at = CASE WHEN $7 THEN now() ELSE acknowledged_at END",
        state, error.code.value if error else None, error.message if error else None, acknowledged,
    )  # fmt: skip
    await forget_bytes(tx, claim.export.export_id)


async def again(tx: Transaction, claim: Claim, wait_seconds: float, error: HubError | None = None) -> None:
    """Gives a claimed export back, to be claimed in ``wait_seconds`` at the earliest; without an error, untried."""
    # The next attempt may have this one's number: its parts must find their places free.
    await tx.execute(
        "DELETE FROM export_parts WHERE district_id = $1 AND export_id = $2 AND attempt = $4 "
        f"AND EXISTS (SELECT FROM exports WHERE {_HELD} AND state = 'running')",
        claim.district_id, claim.export.export_id, claim.lease_token, claim.export.attempt,
    )  # fmt: skip
    await tx.execute(
        "UPDATE exports SET lease_token = NULL, lease_until = now() + make_interval(secs => $4), "
        "state = CASE WHEN state = 'running' THEN 'queued' ELSE state END, attempt = attempt - $5::int, "
        "error_code = coalesce($6, error_code), error_message = coalesce($7, error_message) "
        f"WHERE {_HELD}",
        claim.district_id, claim.export.export_id, claim.lease_token, wait_seconds, int(error is None),
        error.code.value if error else None, error.message if error else None,
    )  # fmt: skip


async def _held(tx: Transaction, claim: Claim, assignments: str, *values: object) -> None:
    touched = await tx.execute(
        f"UPDATE exports SET {assignments} WHERE {_HELD}",
        claim.district_id, claim.export.export_id, claim.lease_token, *values,
    )  # fmt: skip
    if not touched:
        raise _fenced()


def _fenced() -> HubError:
    return HubError(Code.FENCED, "Another worker has taken over this export.")


async def forget_bytes(tx: Transaction, export_id: UUID) -> None:
    """Deletes the bytes of a package; its row stays."""
    await tx.execute("DELETE FROM export_parts WHERE district_id = $1 AND export_id = $2", tx.district_id, export_id)


async def overdue(db: Database) -> list[tuple[UUID, UUID]]:
    """District and id of exports whose bytes have been kept for long enough, and of rows that are of no more use."""
    async with db.shared() as tx:
        rows = await tx.fetch(
            "SELECT district_id, export_id FROM exports WHERE expires_at < now() AND state <> 'delivering' "
            f"OR finished_at < now() - make_interval(days => {KEPT_DAYS}) AND acknowledged_at IS NULL LIMIT 100"
        )
    return [(row[0], row[1]) for row in rows]


async def expire(tx: Transaction, export_id: UUID) -> None:
    """Deletes the bytes of an overdue export, and the row of an old one."""
    await forget_bytes(tx, export_id)
    await tx.execute(
        "UPDATE exports SET state = CASE WHEN state = 'ready' THEN 'expired' ELSE state END, expires_at = NULL, "
        "finished_at = coalesce(finished_at, now()) "
        "WHERE district_id = $1 AND export_id = $2 AND expires_at < now() AND state <> 'delivering'",
        tx.district_id, export_id,
    )  # fmt: skip
    await tx.execute(
        "DELETE FROM exports WHERE district_id = $1 AND export_id = $2 AND acknowledged_at IS NULL "
        f"AND finished_at < now() - make_interval(days => {KEPT_DAYS})",
        tx.district_id, export_id,
    )  # fmt: skip
