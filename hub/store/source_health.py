"""How the sources of a district are doing: the last success, what is wrong now, and whom that has to be told.

Noted in the transaction that ends a run, so that neither an end without its notice nor a notice without its end exists.
Only what changes is told: of a source that fails every five minutes there is one notice, and another one each day.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from hub.store import notices
from hub.store.database import Database, Transaction
from hub.store.expected import Expectation
from hub.store.notices import Event

#: What is wrong is told again after this long.
AGAIN_HOURS = 24
#: Ends of a run that show that the source is well.
GOOD = frozenset({"applied", "unchanged"})
TROUBLES = frozenset({"held", "failed"})
LATE = "late"
#: The columns of a schedule that say how often packages are expected.
EXPECTATION = "expected_every_hours, grace_minutes, expected_days, zone"


@dataclass(frozen=True, slots=True)
class Trouble:
    """What is wrong with a source: ``kind`` is held, failed or late; ``code`` that of the error or of the reason."""

    kind: str
    code: str
    since: datetime
    times: int
    run_id: UUID | None


@dataclass(frozen=True, slots=True)
class Health:
    """The last good run of a source. ``rows`` are those of its last package that was read to the end."""

    succeeded_at: datetime
    succeeded_run: UUID
    rows: int
    prepare_seconds: float | None
    apply_seconds: float | None


async def ended(
    tx: Transaction, source_id: UUID, run_id: UUID, state: str, *, code: str, counts: Mapping[str, Any] | None,
    timings: Mapping[str, float] | None,
) -> None:  # fmt: skip
    """Notes how a run ended that was to be applied. ``code``: of its error, or of the first reason that holds it."""
    if state in GOOD:
        await _succeeded(tx, source_id, run_id, counts, timings or {})
    elif state in TROUBLES:
        await troubled(tx, source_id, state, code, run_id)


_SUCCEEDED = """
WITH health AS (
    INSERT INTO source_health AS h (district_id, source_id, succeeded_at, succeeded_run, rows, prepare_seconds,
        apply_seconds)
    SELECT $1, $2, now(), $3, coalesce($4, 0),
        CASE WHEN attempt = 1 AND $5::float8 IS NOT NULL
             THEN extract(epoch FROM clock_timestamp() - started_at) - $5 END, $5
    FROM runs WHERE district_id = $1 AND run_id = $3
    ON CONFLICT (district_id, source_id) DO UPDATE SET succeeded_at = now(), succeeded_run = $3,
        rows = coalesce($4, h.rows), prepare_seconds = coalesce(EXCLUDED.prepare_seconds, h.prepare_seconds),
        apply_seconds = coalesce($5, h.apply_seconds)),
schedule AS (
    UPDATE source_schedules SET late_from = NULL
    WHERE district_id = $1 AND source_id = $2 AND late_from IS NOT NULL AND expected_every_hours IS NULL)
DELETE FROM source_troubles WHERE district_id = $1 AND source_id = $2 RETURNING kind, code, since, times
"""


async def _succeeded(
    tx: Transaction, source_id: UUID, run_id: UUID, counts: Mapping[str, Any] | None, timings: Mapping[str, float]
) -> None:
    rows = None
    if counts:
        names = ("created", "updated", "unchanged", "quarantined")
        rows = sum(int(of.get(name, 0)) for of in counts.values() for name in names)
    over = await tx.fetch(_SUCCEEDED, tx.district_id, source_id, run_id, rows, timings.get("apply"))
    await _expect_next(tx, source_id)
    if over:
        worst = min(over, key=lambda row: row["since"])
        event = Event("recovered", worst["kind"], sum(row["times"] for row in over), worst["since"], source_id, run_id)
        await notices.queue(tx, event)


async def _expect_next(tx: Transaction, source_id: UUID) -> None:
    """Expects the next package of a source, if somebody sends it, as long after the one that came now as ever."""
    row = await tx.fetchrow(
        f"SELECT {EXPECTATION}, now() AS at FROM source_schedules WHERE district_id = $1 AND source_id = $2 "
        "AND late_from IS NOT NULL AND expected_every_hours IS NOT NULL FOR UPDATE",
        tx.district_id, source_id,
    )  # fmt: skip
    if row is not None:
        await _set_late_from(tx, source_id, await expectation(row).late_from(row["at"]))


async def _set_late_from(tx: Transaction, source_id: UUID, late_from: datetime | None) -> None:
    await tx.execute(
        "UPDATE source_schedules SET late_from = $3 WHERE district_id = $1 AND source_id = $2",
        tx.district_id, source_id, late_from,
    )  # fmt: skip


def expectation(row: Any) -> Expectation:
    """What the columns ``EXPECTATION`` say, of a schedule that expects packages."""
    return Expectation(row["expected_every_hours"], row["grace_minutes"], row["expected_days"], row["zone"])


async def troubled(
    tx: Transaction, source_id: UUID, kind: str, code: str, run_id: UUID | None, since: datetime | None = None
) -> None:
    """Notes that a source has a trouble, once more if it had it already."""
    row = await tx.fetchrow(
        "INSERT INTO source_troubles AS t (district_id, source_id, kind, code, run_id, since, told_at) "
        "VALUES ($1, $2, $3, $4, $5, coalesce($6, now()), now()) "
        "ON CONFLICT (district_id, source_id, kind) DO UPDATE SET times = t.times + 1, code = $4, run_id = $5, "
        "told_at = CASE WHEN t.told_at < now() - make_interval(hours => $7) THEN now() ELSE t.told_at END "
        "RETURNING times, since, told_at = now() AS tell",
        tx.district_id, source_id, kind, code, run_id, since, AGAIN_HOURS,
    )  # fmt: skip
    assert row is not None
    if row["tell"]:
        await notices.queue(tx, Event(kind, code, row["times"], row["since"], source_id, run_id))


async def settled(tx: Transaction, source_id: UUID, kind: str) -> None:
    """Notes that a person has seen to a trouble; nobody has to be told."""
    await tx.execute(
        "DELETE FROM source_troubles WHERE district_id = $1 AND source_id = $2 AND kind = $3",
        tx.district_id, source_id, kind,
    )  # fmt: skip


_LATE = (
    f"SELECT {EXPECTATION}, c.late_from, s.state = 'active' AS tells FROM source_schedules c JOIN sources s "
    "USING (district_id, source_id) WHERE c.district_id = $1 AND c.source_id = $2 AND c.state = 'active' "
    "AND c.late_from <= $3 FOR UPDATE OF c SKIP LOCKED"
)


async def note_late(db: Database, now: datetime) -> int:
    """Notes which sources are late by their schedule; how many that were not before. Paused sources are not."""
    async with db.shared() as tx:
        late = await tx.fetch(
            "SELECT district_id, source_id FROM source_schedules WHERE state = 'active' AND late_from <= $1 "
            "ORDER BY late_from LIMIT 100",
            now,
        )
    noted = 0
    for district_id, source_id in late:
        async with db.district(district_id) as tx:
            row = await tx.fetchrow(_LATE, district_id, source_id, now)
            if row is None:
                continue  # another worker notes it just now
            # What is expected to be sent is late anew each time that it was not; by cron, when it is due again.
            sent = row["expected_every_hours"] is not None
            again = await expectation(row).late_again(row["late_from"], now) if sent else None
            await _set_late_from(tx, source_id, again)
            if row["tells"]:
                await troubled(tx, source_id, LATE, LATE, None, row["late_from"])
                noted += 1
    return noted


async def of(tx: Transaction, source_id: UUID) -> Health | None:
    """The last good run of a source; None when there was none."""
    row = await tx.fetchrow(
        f"SELECT {', '.join(Health.__dataclass_fields__)} FROM source_health WHERE district_id = $1 AND source_id = $2",
        tx.district_id, source_id,
    )  # fmt: skip
    return Health(**row) if row else None


async def all_of(tx: Transaction) -> dict[UUID, Health]:
    """The last good run of each source of the district that had one."""
    rows = await tx.fetch(
        f"SELECT source_id, {', '.join(Health.__dataclass_fields__)} FROM source_health WHERE district_id = $1",
        tx.district_id,
    )
    return {row["source_id"]: Health(**{name: row[name] for name in Health.__dataclass_fields__}) for row in rows}


async def troubles(tx: Transaction) -> dict[UUID, list[Trouble]]:
    """What is wrong with the sources of the district, oldest first."""
    rows = await tx.fetch(
        f"SELECT source_id, {', '.join(Trouble.__dataclass_fields__)} FROM source_troubles WHERE district_id = $1 "
        "ORDER BY since, kind",
        tx.district_id,
    )
    found: dict[UUID, list[Trouble]] = {}
    for row in rows:
        trouble = Trouble(**{name: row[name] for name in Trouble.__dataclass_fields__})
        found.setdefault(row["source_id"], []).append(trouble)
    return found
