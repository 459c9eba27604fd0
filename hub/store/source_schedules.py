"""Schedules of sources: when each is pulled, or how often a package of it is expected.

PostgreSQL remembers; who looks first after the time queues the run.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from hub.errors import Code, HubError
from hub.ids import new_id
from hub.store import runs, source_health
from hub.store.database import Database, Transaction
from hub.store.expected import Expectation

#: Schedules that are looked at together.
_SOME = 100


@dataclass(frozen=True, slots=True)
class SourceSchedule:
    """When a source is pulled: ``cron`` in ``zone``; or, where that is None, how often a package is expected.

    Of ``expected_every_hours`` those of ``expected_days`` count, days of the week in ``zone``; None for all days.

    ``next_at``: with the district's share of the spread; None while it is paused. ``due_at``: the last time that came.
    ``late_from``: without a success until then the source is late.
    """

    source_id: UUID
    cron: str | None
    zone: str
    expected_every_hours: int | None
    expected_days: list[str] | None
    grace_minutes: int
    state: str
    next_at: datetime | None
    due_at: datetime | None
    late_from: datetime | None
    created_at: datetime


#: Says when a schedule of a district is due next after a time; None for never again.
Following = Callable[[UUID, SourceSchedule, datetime], Awaitable[datetime | None]]
#: Kind and configuration of a source -> until when its system wants to be left alone; None: it may be asked now.
Quiet = Callable[[str, dict[str, Any]], Awaitable[datetime | None]]
_COLUMNS = ", ".join(SourceSchedule.__dataclass_fields__)


async def put(
    tx: Transaction, source_id: UUID, *, cron: str, zone: str, grace_minutes: int, next_at: datetime | None
) -> SourceSchedule:
    """Sets the schedule of a source; one that was paused stays so, and then ``next_at`` is not kept.

    The source must exist.
    """
    await tx.execute(
        "INSERT INTO source_schedules AS s (district_id, source_id, cron, zone, grace_minutes, next_at) "
        "VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT (district_id, source_id) DO UPDATE SET cron = $3, zone = $4, "
        "grace_minutes = $5, next_at = CASE WHEN s.state = 'active' THEN $6::timestamptz END, late_from = NULL, "
        "expected_every_hours = NULL, expected_days = NULL",
        tx.district_id, source_id, cron, zone, grace_minutes, next_at,
    )  # fmt: skip
    return await get(tx, source_id)


async def expect(tx: Transaction, source_id: UUID, expectation: Expectation, *, now: datetime) -> SourceSchedule:
    """Says how often a package of a source is expected, from its last success on, or from now without one.

    A schedule that was paused stays so. The source must exist.
    """
    health = await source_health.of(tx, source_id)
    days = None if expectation.days is None else list(expectation.days)
    late_from: datetime | None = await tx.fetchval(
        "INSERT INTO source_schedules AS s (district_id, source_id, zone, expected_every_hours, grace_minutes, "
        "expected_days, late_from) VALUES ($1, $2, $6, $3, $4, $7, $5) "
        "ON CONFLICT (district_id, source_id) DO UPDATE SET cron = NULL, zone = $6, expected_every_hours = $3, "
        "grace_minutes = $4, expected_days = $7, next_at = NULL, due_at = NULL, "
        "late_from = CASE WHEN s.state = 'active' THEN EXCLUDED.late_from END RETURNING late_from",
        tx.district_id, source_id, expectation.every_hours, expectation.grace_minutes,
        await expectation.late_from(health.succeeded_at if health else now), expectation.zone, days,
    )  # fmt: skip
    if late_from is None or late_from > now:
        await source_health.settled(tx, source_id, source_health.LATE)
    return await get(tx, source_id)


async def get(tx: Transaction, source_id: UUID) -> SourceSchedule:
    """The schedule of a source. Raises HubError(NOT_FOUND)."""
    row = await tx.fetchrow(
        f"SELECT {_COLUMNS} FROM source_schedules WHERE district_id = $1 AND source_id = $2", tx.district_id, source_id
    )
    if row is None:
        raise HubError(Code.NOT_FOUND, "This source has no schedule.")
    return SourceSchedule(**row)


async def all_of(tx: Transaction) -> dict[UUID, SourceSchedule]:
    """The schedules of the district by source."""
    rows = await tx.fetch(f"SELECT {_COLUMNS} FROM source_schedules WHERE district_id = $1", tx.district_id)
    return {row["source_id"]: SourceSchedule(**row) for row in rows}


async def pause(tx: Transaction, source_id: UUID) -> SourceSchedule:
    """Nothing is pulled by the clock any more, nor is the source late. Raises HubError(NOT_FOUND)."""
    await _set(tx, source_id, "paused", None, None)
    await source_health.settled(tx, source_id, source_health.LATE)
    return await get(tx, source_id)


async def resume(
    tx: Transaction, source_id: UUID, next_at: datetime | None, *, now: datetime | None = None
) -> SourceSchedule:
    """Goes on at ``next_at``, or (where packages are expected) from ``now`` on; what was missed is not made up for.

    Raises HubError(NOT_FOUND).
    """
    late_from = None
    row = await tx.fetchrow(
        f"SELECT {source_health.EXPECTATION} FROM source_schedules WHERE district_id = $1 AND source_id = $2 "
        "AND expected_every_hours IS NOT NULL FOR UPDATE",
        tx.district_id, source_id,
    )  # fmt: skip
    if row is not None and now is not None:
        late_from = await source_health.expectation(row).late_from(now)
    await _set(tx, source_id, "active", next_at, late_from)
    return await get(tx, source_id)


async def _set(
    tx: Transaction, source_id: UUID, state: str, next_at: datetime | None, late_from: datetime | None
) -> None:
    await tx.execute(
        "UPDATE source_schedules SET state = $3, next_at = $4, late_from = $5 "
        "WHERE district_id = $1 AND source_id = $2",
        tx.district_id, source_id, state, next_at, late_from,
    )  # fmt: skip


async def delete(tx: Transaction, source_id: UUID) -> None:
    """Ends a schedule. Raises HubError(NOT_FOUND)."""
    touched = await tx.execute(
        "DELETE FROM source_schedules WHERE district_id = $1 AND source_id = $2", tx.district_id, source_id
    )
    if not touched:
        raise HubError(Code.NOT_FOUND, "This source has no schedule.")
    await source_health.settled(tx, source_id, source_health.LATE)


async def queue_due(db: Database, now: datetime, following: Following, quiet: Quiet) -> int:
    """Queues a run for each schedule that is due; how many. One whose system wants to be left alone moves to later.

    Times that nobody looked at, because the hub was down, come to one run. Where a pull of the source waits or is under
    way already, it serves for this time too.
    """
    async with db.shared() as tx:
        due = await tx.fetch(
            "SELECT s.district_id, s.source_id FROM source_schedules s JOIN districts d USING (district_id) "
            "WHERE s.state = 'active' AND s.next_at <= $1 AND d.state = 'active' ORDER BY s.next_at LIMIT $2",
            now, _SOME,
        )  # fmt: skip
    queued = 0
    for district_id, source_id in due:
        async with db.district(district_id) as tx:
            queued += await _queue(tx, district_id, source_id, now, following, quiet)
    return queued


async def _queue(
    tx: Transaction, district_id: UUID, source_id: UUID, now: datetime, following: Following, quiet: Quiet
) -> bool:
    row = await tx.fetchrow(
        f"SELECT {_COLUMNS} FROM source_schedules WHERE district_id = $1 AND source_id = $2 AND state = 'active' "
        "AND next_at <= $3 FOR UPDATE SKIP LOCKED",
        district_id, source_id, now,
    )  # fmt: skip
    if row is None:
        return False  # another worker queues it just now
    schedule = SourceSchedule(**row)
    [(active, kind, config)] = await tx.fetch(
        "SELECT state = 'active', kind, config FROM sources WHERE district_id = $1 AND source_id = $2",
        district_id, source_id,
    )  # fmt: skip
    until = await quiet(kind, config) if active else None
    if until is not None:
        await tx.execute(
            "UPDATE source_schedules SET next_at = $3 WHERE district_id = $1 AND source_id = $2",
            district_id, source_id, until,
        )  # fmt: skip
        return False
    await tx.execute(
        "UPDATE source_schedules SET due_at = next_at, next_at = $3, "
        "late_from = CASE WHEN $4 THEN coalesce(late_from, next_at + make_interval(mins => grace_minutes)) END "
        "WHERE district_id = $1 AND source_id = $2",
        district_id, source_id, await following(district_id, schedule, now), active,
    )  # fmt: skip
    if not active or await runs.unfinished(tx, source_id) is not None:
        return False
    await runs.request(tx, new_id(), source_id=source_id, upload_id=None, dry_run=False, requested_by="schedule")
    return True
