"""Sync runs: the queue of record. A worker claims one with a lease and a fence; Redis only wakes it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any
from uuid import UUID, uuid4

import asyncpg
import polars as pl

from hub.errors import Code, HubError
from hub.metrics.known import SYNCS
from hub.store import differences, districts, source_health, stuck
from hub.store.database import Database, Transaction

LEASE_SECONDS = 30
MAX_ATTEMPTS = 5
#: The part of a run's task that an attempt left for the next one.
SEEN = "seen"
#: How long a claim waits for the district's lock, which a worker that hangs may hold until PostgreSQL ends it.
LOCK_SECONDS = 2
#: The guard's code for changes that wait until it is decided on older ones.
OLDER_WAITS = "older_run_waits"
#: Of a zipped package, for an estimate.
BYTES_PER_ROW = 20
#: How many findings of one run are kept row by row; the report counts all of them.
KEPT_ISSUES = 50_000


@dataclass(frozen=True, slots=True)
class Run:
    """One run, as its row says. ``kind``: "sync" for a source's package; ``task``: what a run of another kind is about.

    ``source_id``: the source that the run is of; runs of other kinds may have none. ``decide_by``: when a held run
    expires; ``resume_at``: when one that only waits for a blackout to end goes on.
    """

    run_id: UUID
    kind: str
    task: dict[str, Any]
    source_id: UUID | None
    upload_id: UUID | None
    dry_run: bool
    state: str
    stage: str
    progress: dict[str, Any]
    counts: dict[str, Any]
    guard: list[Any]
    approved: dict[str, Any] | None
    report: dict[str, Any]
    timings: dict[str, Any]
    position: int | None
    attempt: int
    error_code: str | None
    error_message: str | None
    requested_by: str
    requested_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    decide_by: datetime | None
    resume_at: datetime | None
    cancelled_by: str | None
    expected_rows: int


_COLUMNS = ", ".join(Run.__dataclass_fields__)


@dataclass(frozen=True, slots=True)
class Claim:
    """The right to carry out one run until the lease ends. ``fence`` outdates every earlier claim of the district."""

    district_id: UUID
    run: Run
    lease_token: UUID
    fence: int = field(default=0)


async def request(
    tx: Transaction, run_id: UUID, *, source_id: UUID | None, upload_id: UUID | None, dry_run: bool, requested_by: str,
    kind: str = "sync", task: dict[str, Any] | None = None,
) -> Run:  # fmt: skip
    """Queues a run. The caller rings the doorbell after commit; a worker finds it without, only later.

    How large it will be is estimated: as the source's last package, or by the bytes of the upload.
    """
    row = await tx.fetchrow(
        "INSERT INTO runs "
        "(district_id, run_id, source_id, upload_id, dry_run, requested_by, kind, task, expected_rows) "
        "VALUES ($1, $2, $3, $4, $5, $6, $7, $8, greatest(0, "
        "(SELECT rows FROM source_health WHERE district_id = $1 AND source_id = $3), "
        f"(SELECT bytes / {BYTES_PER_ROW} FROM uploads WHERE district_id = $1 AND upload_id = $4))) "
        f"RETURNING {_COLUMNS}",
        tx.district_id, run_id, source_id, upload_id, dry_run, requested_by, kind, task or {},
    )  # fmt: skip
    assert row is not None
    return Run(**row)


async def get(tx: Transaction, run_id: UUID) -> Run:
    """One run. Raises HubError(NOT_FOUND)."""
    row = await tx.fetchrow(
        f"SELECT {_COLUMNS} FROM runs WHERE district_id = $1 AND run_id = $2", tx.district_id, run_id
    )
    if row is None:
        raise HubError(Code.NOT_FOUND, "This district has no such run.")
    return Run(**row)


async def of_upload(tx: Transaction, upload_id: UUID) -> UUID | None:
    """The newest run of an upload."""
    found: UUID | None = await tx.fetchval(
        "SELECT run_id FROM runs WHERE district_id = $1 AND upload_id = $2 ORDER BY requested_at DESC LIMIT 1",
        tx.district_id, upload_id,
    )  # fmt: skip
    return found


async def listing(tx: Transaction, *, before: datetime | None = None, limit: int = 50) -> list[Run]:
    """Runs of the district, newest first, requested before ``before``."""
    rows = await tx.fetch(
        f"SELECT {_COLUMNS} FROM runs WHERE district_id = $1 AND ($2::timestamptz IS NULL OR requested_at < $2) "
        "ORDER BY requested_at DESC, run_id DESC LIMIT $3",
        tx.district_id, before, limit,
    )  # fmt: skip
    return [Run(**row) for row in rows]


_CLAIM = f"""
WITH due AS (
    SELECT r.district_id, r.run_id, r.expected_rows FROM runs r
    WHERE r.state IN ('queued', 'running') AND coalesce(r.lease_until, '-infinity') < now()
      AND NOT EXISTS (SELECT FROM runs o WHERE o.district_id = r.district_id AND o.run_id <> r.run_id
                      AND (o.state = 'running' AND o.lease_until >= now()
                           OR o.state IN ('queued', 'running')
                              AND (o.requested_at, o.run_id) < (r.requested_at, r.run_id)))
      AND ($3::bigint IS NULL OR r.expected_rows <= $3)
    ORDER BY greatest(r.requested_at, (
        SELECT o.finished_at FROM runs o
        WHERE o.district_id = r.district_id AND o.requested_at < r.requested_at
        ORDER BY o.requested_at DESC LIMIT 1)), r.run_id
    LIMIT 1 FOR UPDATE OF r SKIP LOCKED)
UPDATE runs r SET state = 'running', lease_token = $1, lease_until = now() + make_interval(secs => $2),
    started_at = coalesce(started_at, now())
FROM due WHERE r.district_id = due.district_id AND r.run_id = due.run_id
  AND ($4::bigint IS NULL OR due.expected_rows <= $4)
RETURNING r.district_id, {", ".join(f"r.{c}" for c in Run.__dataclass_fields__)}
"""


async def claim(db: Database, *, small: int | None = None, free: int | None = None) -> Claim | None:
    """Claims a due run that is the oldest of its district, which has none running; None when there is nothing to do.

    A district's runs go in the order of their requests, also while one waits to be tried again: older data never comes
    after newer. Districts take turns: one goes behind those that have waited since before its last run ended. Whoever
    held the run before, or still believes so, has an older fence and writes nothing any more.

    ``small``: only runs of which no more rows are expected. ``free``: so many rows have room; where the run whose turn
    it is has more, none is claimed, so that it is not passed by for ever.
    """
    token = uuid4()
    async with db.statement() as tx:
        row = await tx.fetchrow(_CLAIM, token, LEASE_SECONDS, small, free)
    if row is None:
        return None
    values = dict(row)
    claim = Claim(values.pop("district_id"), Run(**values), token)
    try:
        return await _fenced_off(db, claim)
    except asyncpg.LockNotAvailableError:
        await stuck.end(db)  # whoever has the district may have been stopped
        await release(db, claim, wait_seconds=LOCK_SECONDS)
        return None


async def _fenced_off(db: Database, claim: Claim) -> Claim | None:
    """Outdates all earlier claims of the district and counts the attempt; None when somebody else has the run by now.

    Raises asyncpg.LockNotAvailableError.
    """
    async with db.district(claim.district_id, lock_seconds=LOCK_SECONDS) as tx:
        _, fence = await districts.lock(tx)
        attempt = await tx.fetchval(
            "UPDATE runs SET fence = $4, attempt = attempt + 1 "
            "WHERE district_id = $1 AND run_id = $2 AND lease_token = $3 RETURNING attempt",
            claim.district_id, claim.run.run_id, claim.lease_token, fence + 1,
        )  # fmt: skip
        if attempt is not None:
            await tx.execute("UPDATE districts SET fence = $2 WHERE district_id = $1", claim.district_id, fence + 1)
    if attempt is None:
        return None
    return replace(claim, run=replace(claim.run, attempt=attempt), fence=fence + 1)


async def heartbeat(db: Database, claim: Claim, *, stage: str, progress: dict[str, Any]) -> None:
    """Extends the lease and shows progress. Raises HubError(FENCED) when the lease is somebody else's now."""
    async with db.district(claim.district_id, wait_seconds=LEASE_SECONDS / 3) as tx:
        touched = await tx.execute(
            "UPDATE runs SET lease_until = now() + make_interval(secs => $4), stage = $5, progress = $6 "
            "WHERE district_id = $1 AND run_id = $2 AND lease_token = $3 AND state = 'running'",
            claim.district_id, claim.run.run_id, claim.lease_token, LEASE_SECONDS, stage, progress,
        )  # fmt: skip
    if not touched:
        raise _fenced()


def _fenced() -> HubError:
    return HubError(Code.FENCED, "Another worker has taken over this run.")


async def finish(
    tx: Transaction, claim: Claim, state: str, *, counts: dict[str, Any] | None = None,
    guard: list[Any] | None = None, report: dict[str, Any] | None = None, timings: dict[str, float] | None = None,
    position: int | None = None, error: HubError | None = None, wait_seconds: float = 0,
) -> None:  # fmt: skip
    """Ends a claimed run, or queues it again, to be claimed in ``wait_seconds`` at the earliest.

    Raises HubError(FENCED) when the lease is somebody else's now.
    """
    touched = await tx.execute(
        "UPDATE runs SET state = $4, counts = coalesce($5, counts), guard = coalesce($6, guard), "
        "report = coalesce($7, report), timings = coalesce($8, timings), position = $9, error_code = $10, "
        "error_message = $11, stage = '', lease_token = NULL, "
        "lease_until = CASE WHEN $4 = 'queued' THEN now() + make_interval(secs => $12) END, "
        "finished_at = CASE WHEN $4 IN ('queued', 'held') THEN NULL ELSE now() END "
        "WHERE district_id = $1 AND run_id = $2 AND lease_token = $3",
        tx.district_id, claim.run.run_id, claim.lease_token, state, counts, guard, report, timings, position,
        error.code.value if error else None, error.message if error else None, wait_seconds,
    )  # fmt: skip
    if not touched:
        raise _fenced()
    run = claim.run
    tx.after_commit(lambda: SYNCS.count(run.kind, state))
    if run.kind == "sync" and run.source_id is not None and not run.dry_run:
        code = error.code.value if error else str(guard[0]["code"]) if guard else ""
        await source_health.ended(tx, run.source_id, run.run_id, state, code=code, counts=counts, timings=timings)


async def release(db: Database, claim: Claim, *, wait_seconds: float = 0) -> None:
    """Gives a claimed run back untried; nothing happens when it has ended or is another's.

    The attempt does not count. Nobody claims the run for ``wait_seconds``.
    """
    async with db.district(claim.district_id) as tx:
        await tx.execute(
            "UPDATE runs SET state = 'queued', stage = '', lease_token = NULL, attempt = attempt - $4::int, "
            "lease_until = now() + make_interval(secs => $5) "
            "WHERE district_id = $1 AND run_id = $2 AND lease_token = $3",
            claim.district_id, claim.run.run_id, claim.lease_token, int(claim.fence > 0), wait_seconds,
        )  # fmt: skip


async def remember(tx: Transaction, claim: Claim, seen: Mapping[str, Any]) -> None:
    """Keeps what the run's next attempt is given; nothing happens when the lease is somebody else's now."""
    await tx.execute(
        "UPDATE runs SET task = task || $4 WHERE district_id = $1 AND run_id = $2 AND lease_token = $3",
        tx.district_id, claim.run.run_id, claim.lease_token, {SEEN: dict(seen)},
    )  # fmt: skip


async def keep_issues(tx: Transaction, run_id: UUID, issues: pl.DataFrame) -> None:
    """Replaces the findings of a run with the first ``KEPT_ISSUES`` of ``issues`` (transforms.issues.SCHEMA)."""
    await tx.execute("DELETE FROM run_issues WHERE district_id = $1 AND run_id = $2", tx.district_id, run_id)
    names = ("code", "entity", "file", "line", "field", "key", "cause")
    kept = issues.head(KEPT_ISSUES).with_columns(pl.col(pl.String).fill_null(""))
    await tx.execute(
        "INSERT INTO run_issues (district_id, run_id, seq, code, entity, file, line, field, key, cause) "
        "SELECT $1, $2, * FROM unnest($3::int[], $4::text[], $5::text[], $6::text[], $7::bigint[], $8::text[], "
        "$9::text[], $10::text[])",
        tx.district_id, run_id, list(range(kept.height)), *(kept[n].to_list() for n in names),
    )  # fmt: skip


async def held(tx: Transaction, run_id: UUID) -> Run:
    """A held run, for whoever decides on it.

    Raises HubError(NOT_FOUND), HubError(CONFLICT) when the run is not held.
    """
    # Of two who decide at once the second waits here, and then sees what the first has decided.
    await tx.execute("SELECT FROM runs WHERE district_id = $1 AND run_id = $2 FOR UPDATE", tx.district_id, run_id)
    run = await get(tx, run_id)
    if run.state != "held":
        raise HubError(Code.CONFLICT, f"Only a held run can be decided on; this one is {run.state}.")
    return run


async def decide(
    tx: Transaction, run_id: UUID, *, approve: bool, actor: str, withhold: dict[str, Any] | None = None
) -> Run:
    """Approves a held run (it is queued again with the counts and reasons that were approved) or rejects it.

    ``withhold``: what is not to be applied (see ``hub.store.holds.release``). Raises as ``held`` does.
    """
    run = await held(tx, run_id)
    approved = {"by": actor, "counts": run.counts, "reasons": run.guard} if approve else None
    if approved is not None and withhold is not None:
        approved["withhold"] = withhold
    await tx.execute(
        "UPDATE runs SET state = $3, approved = $4, decide_by = NULL, resume_at = NULL, "
        "attempt = CASE WHEN $5 THEN 0 ELSE attempt END, finished_at = CASE WHEN $5 THEN NULL ELSE now() END "
        "WHERE district_id = $1 AND run_id = $2 AND state = 'held'",
        tx.district_id, run_id, "queued" if approve else "rejected", approved, approve,
    )  # fmt: skip
    await let_followers_go(tx, run)
    if not approve:
        await differences.forget_values(tx, run_id)
    if not approve and run.source_id is not None:
        await source_health.settled(tx, run.source_id, "held")
    return await get(tx, run_id)


async def let_followers_go(tx: Transaction, run: Run) -> None:
    """Has newer changes of the same source looked at again that wait for what becomes of a held run."""
    await tx.execute(
        "UPDATE runs SET resume_at = now() WHERE district_id = $1 AND source_id = $2 AND state = 'held' "
        "AND run_id <> $3 AND guard @> $4",
        tx.district_id, run.source_id, run.run_id, [{"code": OLDER_WAITS}],
    )  # fmt: skip


async def cancel(tx: Transaction, run_id: UUID, *, actor: str) -> Run:
    """Ends a run that waits or is being carried out.

    Its lease is taken away: the worker that has it learns so within seconds, and cannot commit before it does. One that
    commits at this moment is waited for, and then it is too late. Raises HubError(NOT_FOUND), HubError(CONFLICT) for a
    run that is held or over.
    """
    touched = await tx.execute(
        "UPDATE runs SET state = 'cancelled', stage = '', cancelled_by = $3, lease_token = NULL, lease_until = NULL, "
        "finished_at = now() WHERE district_id = $1 AND run_id = $2 AND state IN ('queued', 'running')",
        tx.district_id, run_id, actor,
    )  # fmt: skip
    run = await get(tx, run_id)
    if not touched:
        mend = " Reject it instead." if run.state == "held" else ""
        raise HubError(
            Code.CONFLICT, f"Only a run that waits or is under way can be cancelled; this one is {run.state}.{mend}"
        )
    return run


async def alone(tx: Transaction, run: Run) -> bool:
    """Whether the bytes of a run's upload serve it alone: a preview leaves them for the run that may follow."""
    others = await tx.fetchval(
        "SELECT count(*) FROM runs WHERE district_id = $1 AND upload_id = $2 AND run_id <> $3 "
        "AND state IN ('queued', 'running', 'held')",
        tx.district_id, run.upload_id, run.run_id,
    )  # fmt: skip
    return not others and not run.dry_run


async def unfinished(
    tx: Transaction, source_id: UUID, *, states: tuple[str, ...] = ("queued", "running")
) -> Run | None:
    """The oldest pull of a source that is in one of the states; dry runs and uploads do not count."""
    row = await tx.fetchrow(
        f"SELECT {_COLUMNS} FROM runs WHERE district_id = $1 AND source_id = $2 AND kind = 'sync' AND NOT dry_run "
        "AND upload_id IS NULL AND state = ANY($3) ORDER BY requested_at, run_id LIMIT 1",
        tx.district_id, source_id, list(states),
    )  # fmt: skip
    return Run(**row) if row else None


async def reported(tx: Transaction, source_id: UUID, *, limit: int) -> list[Run]:
    """The last runs of a source that read its package to the end, newest first; dry runs do not count."""
    rows = await tx.fetch(
        f"SELECT {_COLUMNS} FROM runs WHERE district_id = $1 AND source_id = $2 AND kind = 'sync' AND NOT dry_run "
        "AND state NOT IN ('queued', 'running') AND report <> '{}' ORDER BY requested_at DESC, run_id DESC LIMIT $3",
        tx.district_id, source_id, limit,
    )  # fmt: skip
    return [Run(**row) for row in rows]


async def issues(
    tx: Transaction, run_id: UUID, *, code: str | None = None, after: int = -1, limit: int = 100
) -> list[dict[str, Any]]:
    """Kept findings of a run in order, from ``seq`` ``after`` on (exclusive)."""
    rows = await tx.fetch(
        "SELECT seq, code, entity, file, line, field, key, cause FROM run_issues "
        "WHERE district_id = $1 AND run_id = $2 AND seq > $3 AND ($4::text IS NULL OR code = $4) ORDER BY seq LIMIT $5",
        tx.district_id, run_id, after, code, limit,
    )  # fmt: skip
    return [dict(row) for row in rows]


async def queue(db: Database) -> dict[str, int]:
    """How many runs wait and how many are being carried out, over all districts."""
    async with db.shared() as tx:
        rows = await tx.fetch(
            "SELECT state, count(*) AS n FROM runs WHERE state IN ('queued', 'running') GROUP BY state"
        )
    return {row["state"]: row["n"] for row in rows}
