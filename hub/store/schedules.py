"""Schedules of exports: when a grant's package is due, and where it goes."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, time
from typing import Any
from uuid import UUID

import asyncpg

from hub.errors import Code, HubError
from hub.ids import new_id
from hub.store import exports, feed
from hub.store.database import Database, Transaction
from transforms.catalogue import CATALOGUE


@dataclass(frozen=True, slots=True)
class Schedule:
    """One schedule, as its row says.

    ``daily_at`` in ``zone``; None for after each change of the view, once it has been quiet for ``debounce`` seconds.
    ``target``: the JSON of hub.export.targets without its secret, which is sealed. ``next_at``: when it is due by the
    clock, or at somebody's word. ``looked_to``: the position of the district up to which changes have been seen.
    """

    schedule_id: UUID
    grant_id: UUID
    version: str
    mode: str
    full_days: int
    daily_at: time | None
    zone: str
    debounce: int
    target: dict[str, Any]
    secret: bytes | None
    state: str
    next_at: datetime | None
    looked_to: int
    created_at: datetime


_COLUMNS = ", ".join(Schedule.__dataclass_fields__)
#: The next time of the day ``daily_at`` in its zone.
_NEXT = (
    "CASE WHEN daily_at IS NOT NULL THEN (SELECT min(at) FROM generate_series(0, 1) AS day, LATERAL (SELECT "
    "((now() AT TIME ZONE zone)::date + day + daily_at) AT TIME ZONE zone AS at) days WHERE at > now()) END"
)


async def create(tx: Transaction, schedule_id: UUID, **values: object) -> Schedule:
    """Adds a schedule with these columns. Raises HubError(NOT_FOUND), HubError(CONFLICT) for a revoked grant."""
    state = await tx.fetchval(
        "SELECT state FROM grants WHERE district_id = $1 AND grant_id = $2", tx.district_id, values["grant_id"]
    )
    if state is None:
        raise HubError(Code.NOT_FOUND, "This district has no such grant.")
    if state == "revoked":
        raise HubError(Code.CONFLICT, "The grant was revoked: nothing is exported for it.")
    places = ", ".join(f"${number}" for number in range(3, 3 + len(values)))
    await tx.execute(
        f"INSERT INTO export_schedules (district_id, schedule_id, {', '.join(values)}) VALUES ($1, $2, {places})",
        tx.district_id, schedule_id, *values.values(),
    )  # fmt: skip
    return await timed(tx, schedule_id)


async def change(tx: Transaction, schedule_id: UUID, **values: object) -> Schedule:
    """Changes columns. Raises HubError(NOT_FOUND)."""
    assignments = ", ".join(f"{name} = ${number}" for number, name in enumerate(values, start=3))
    touched = await tx.execute(
        f"UPDATE export_schedules SET {assignments} WHERE district_id = $1 AND schedule_id = $2",
        tx.district_id, schedule_id, *values.values(),
    )  # fmt: skip
    if not touched:
        raise _missing()
    return await timed(tx, schedule_id)


async def timed(tx: Transaction, schedule_id: UUID) -> Schedule:
    """Sets when a schedule is due next by its clock. Raises HubError(INVALID_REQUEST) for an unknown time zone."""
    try:
        await tx.execute(
            f"UPDATE export_schedules SET next_at = {_NEXT} WHERE district_id = $1 AND schedule_id = $2",
            tx.district_id, schedule_id,
        )  # fmt: skip
    except asyncpg.InvalidParameterValueError:
        raise HubError(
            Code.INVALID_REQUEST, "The time zone is unknown. Write it as in Europe/Berlin or America/New_York."
        ) from None
    return await get(tx, schedule_id)


async def get(tx: Transaction, schedule_id: UUID) -> Schedule:
    """One schedule. Raises HubError(NOT_FOUND)."""
    row = await tx.fetchrow(
        f"SELECT {_COLUMNS} FROM export_schedules WHERE district_id = $1 AND schedule_id = $2",
        tx.district_id, schedule_id,
    )  # fmt: skip
    if row is None:
        raise _missing()
    return Schedule(**row)


async def listing(tx: Transaction) -> list[Schedule]:
    """All schedules of the district, oldest first."""
    rows = await tx.fetch(
        f"SELECT {_COLUMNS} FROM export_schedules WHERE district_id = $1 ORDER BY created_at, schedule_id",
        tx.district_id,
    )
    return [Schedule(**row) for row in rows]


async def run_now(tx: Transaction, schedule_id: UUID) -> Schedule:
    """Makes a schedule due. Raises HubError(NOT_FOUND), HubError(CONFLICT) while it is paused."""
    schedule = await get(tx, schedule_id)
    if schedule.state != "active":
        raise HubError(Code.CONFLICT, "The schedule is paused. Resume it first.")
    await tx.execute(
        "UPDATE export_schedules SET next_at = now() WHERE district_id = $1 AND schedule_id = $2",
        tx.district_id, schedule_id,
    )  # fmt: skip
    return await get(tx, schedule_id)


async def delete(tx: Transaction, schedule_id: UUID) -> None:
    """Ends a schedule and forgets its exports. Raises HubError(NOT_FOUND), HubError(CONFLICT) while one is made."""
    schedule = await get(tx, schedule_id)
    last = await exports.last_of(tx, schedule.schedule_id)
    if last is not None and last.state in exports.OPEN:
        raise HubError(Code.CONFLICT, "An export of this schedule is under way. Pause it, and delete it afterwards.")
    its = "district_id = $1 AND schedule_id = $2"
    for statement in (
        f"DELETE FROM export_parts WHERE district_id = $1 AND export_id IN (SELECT export_id FROM exports WHERE {its})",
        f"DELETE FROM exports WHERE {its}",
        f"DELETE FROM export_schedules WHERE {its}",
    ):
        await tx.execute(statement, tx.district_id, schedule_id)


_DUE = """
SELECT s.district_id, s.schedule_id FROM export_schedules s JOIN districts d USING (district_id)
WHERE s.state = 'active' AND d.state = 'active'
  AND (s.next_at <= now() OR s.next_at IS NULL AND s.daily_at IS NULL AND s.looked_to < d.position)
  AND NOT EXISTS (SELECT FROM exports e WHERE e.district_id = s.district_id AND e.schedule_id = s.schedule_id
                  AND e.state IN ('queued', 'running', 'delivering'))
ORDER BY s.next_at NULLS LAST LIMIT 50
"""


async def queue_due(db: Database) -> int:
    """Queues the exports of schedules that are due; how many."""
    async with db.shared() as tx:
        due = await tx.fetch(_DUE)
    queued = 0
    for district_id, schedule_id in due:
        async with db.district(district_id) as tx:
            queued += await _queue(tx, schedule_id)
    return queued


async def _queue(tx: Transaction, schedule_id: UUID) -> bool:
    """Queues an export of a schedule, unless another worker does just now or its view has not been quiet for long."""
    row = await tx.fetchrow(
        f"SELECT {_COLUMNS}, next_at <= now() AS by_clock FROM export_schedules "
        "WHERE district_id = $1 AND schedule_id = $2 AND state = 'active' FOR UPDATE SKIP LOCKED",
        tx.district_id, schedule_id,
    )  # fmt: skip
    if row is None:
        return False
    by_clock = bool(row["by_clock"])
    schedule = Schedule(**{name: row[name] for name in Schedule.__dataclass_fields__})
    last = await exports.last_of(tx, schedule_id)
    if last is not None and last.state in exports.OPEN:
        return False
    head = await feed.head(tx, schedule.grant_id)
    if head is None or head.grant_state != "active":
        return False
    if not by_clock and not await _changed(tx, schedule, head):
        return False
    entities = [e.name for e in CATALOGUE.entities if e.csv_file and schedule.version in e.versions]
    await exports.request(
        tx, new_id(), grant_id=schedule.grant_id, version=schedule.version, mode=schedule.mode, entities=entities,
        requested_by=f"schedule:{schedule_id}", schedule_id=schedule_id,
    )  # fmt: skip
    await _seen(tx, schedule_id, head.district_position)
    await timed(tx, schedule_id)
    return True


async def _changed(tx: Transaction, schedule: Schedule, head: feed.Head) -> bool:
    """Whether the view has changed and then been quiet for long enough; notes it where it has not changed at all."""
    quiet = await tx.fetchval(
        "SELECT max(at) <= now() - make_interval(secs => $4) FROM feed "
        "WHERE district_id = $1 AND grant_id = $2 AND position > $3",
        tx.district_id, schedule.grant_id, schedule.looked_to, schedule.debounce,
    )  # fmt: skip
    if quiet is None:
        await _seen(tx, schedule.schedule_id, head.district_position)
    return bool(quiet)


async def _seen(tx: Transaction, schedule_id: UUID, position: int) -> None:
    await tx.execute(
        "UPDATE export_schedules SET looked_to = greatest(looked_to, $3) WHERE district_id = $1 AND schedule_id = $2",
        tx.district_id, schedule_id, position,
    )  # fmt: skip


def _missing() -> HubError:
    return HubError(Code.NOT_FOUND, "This district has no such schedule.")
