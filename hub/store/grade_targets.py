"""Grade targets: the district's systems that take what apps write to the gradebook. Their rows, and leases on them.

The lease token is the fence, as for subscriptions: every statement of a worker names it, so one that was away for
longer than its lease changes nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID, uuid4

from hub.errors import Code, HubError
from hub.store import presence
from hub.store.database import Database, TakenError, Transaction

_CLAIMS_LOCK = 0x677261646573  # "grades": one claim at a time, so that the cap holds to the letter


@dataclass(frozen=True, slots=True)
class GradeTarget:
    """One target, as its row says; ``secret`` is sealed, ``login`` as in hub.passback.login.

    ``apps``: whose writes go, None for everybody's. Writes up to (``position``, ``place``) were queued. ``attempt``:
    failures of the target itself in a row; ``ready_at``: when it is tried again. ``troubled``: objects that waited for
    a person when the target was last worked on.
    """

    target_id: UUID
    source_id: UUID
    version: str
    url: str
    login: dict[str, Any]
    secret: bytes
    entities: list[str]
    apps: list[UUID] | None
    state: str
    position: int
    place: int
    attempt: int
    ready_at: datetime
    failing_since: datetime | None
    last_error: str | None
    last_status: int | None
    last_success: datetime | None
    troubled: int
    created_at: datetime


@dataclass(frozen=True, slots=True)
class Claim:
    """The right to deliver to one target until its lease ends."""

    district_id: UUID
    target_id: UUID
    lease_token: UUID


@dataclass(frozen=True, slots=True)
class Trouble:
    """A target that does not get on, for ``hub doctor``. ``failing_since`` is None where only objects wait."""

    district_id: UUID
    target_id: UUID
    state: str
    failing_since: datetime | None
    last_error: str | None
    troubled: int


_COLUMNS = ", ".join(GradeTarget.__dataclass_fields__)
_ONE = "district_id = $1 AND target_id = $2"
_HELD = f"{_ONE} AND lease_token = $3"


async def create(tx: Transaction, target_id: UUID, *, from_beginning: bool, **values: object) -> GradeTarget:
    """Adds a target with these columns. It starts with the first write ever, or behind the last one.

    Raises HubError(CONFLICT) where the source has a target already.
    """
    places = ", ".join(f"${number}" for number in range(4, 4 + len(values)))
    try:
        await tx.execute(
            f"INSERT INTO grade_targets (district_id, target_id, position, place, {', '.join(values)}) "
            f"SELECT $1, $2, CASE WHEN $3 THEN 0 ELSE d.position END, 2147483647, {places} "
            "FROM districts d WHERE d.district_id = $1",
            tx.district_id, target_id, from_beginning, *values.values(),
        )  # fmt: skip
    except TakenError:
        raise HubError(Code.CONFLICT, "This source has a grade target already. Change that one.") from None
    return await get(tx, target_id)


async def get(tx: Transaction, target_id: UUID) -> GradeTarget:
    """One target. Raises HubError(NOT_FOUND)."""
    row = await tx.fetchrow(f"SELECT {_COLUMNS} FROM grade_targets WHERE {_ONE}", tx.district_id, target_id)
    if row is None:
        raise HubError(Code.NOT_FOUND, "This district has no such grade target.")
    return GradeTarget(**row)


async def lock(tx: Transaction, target_id: UUID) -> GradeTarget:
    """One target, locked until the transaction ends: no round begins or ends meanwhile. Raises HubError(NOT_FOUND)."""
    await tx.execute(f"SELECT FROM grade_targets WHERE {_ONE} FOR UPDATE", tx.district_id, target_id)
    return await get(tx, target_id)


async def listing(tx: Transaction) -> list[GradeTarget]:
    """The district's targets, oldest first."""
    rows = await tx.fetch(
        f"SELECT {_COLUMNS} FROM grade_targets WHERE district_id = $1 ORDER BY created_at, target_id", tx.district_id
    )
    return [GradeTarget(**row) for row in rows]


async def change(tx: Transaction, target_id: UUID, **values: object) -> GradeTarget:
    """Changes columns, and has the target looked at at once. Raises HubError(NOT_FOUND)."""
    assignments = "".join(f", {name} = ${number}" for number, name in enumerate(values, start=3))
    await tx.execute(
        f"UPDATE grade_targets SET ready_at = now(), due_at = now(), attempt = 0{assignments} WHERE {_ONE}",
        tx.district_id, target_id, *values.values(),
    )  # fmt: skip
    return await get(tx, target_id)


async def delete(tx: Transaction, target_id: UUID) -> None:
    """Forgets a target and how far it was. Raises HubError(NOT_FOUND)."""
    await lock(tx, target_id)
    for table in ("grade_deliveries", "grade_targets"):
        await tx.execute(f"DELETE FROM {table} WHERE {_ONE}", tx.district_id, target_id)


_BEHIND = "(t.looked_to < d.position OR t.due_at <= now())"
_CLAIM = f"""
WITH chosen AS (
    SELECT t.district_id, t.target_id FROM grade_targets t JOIN districts d USING (district_id)
    WHERE t.state = 'active' AND d.state = 'active' AND t.ready_at <= now()
      AND (t.lease_until IS NULL OR t.lease_until < now() OR {presence.abandoned("t.lease_token")}) AND {_BEHIND}
    ORDER BY t.ready_at LIMIT $1 FOR UPDATE OF t SKIP LOCKED)
UPDATE grade_targets t SET lease_token = $2, lease_until = now() + make_interval(secs => $3)
FROM chosen c WHERE t.district_id = c.district_id AND t.target_id = c.target_id
RETURNING t.district_id, t.target_id, t.lease_token
"""
_NEXT = """
SELECT extract(epoch FROM min(at) - now())::float8 FROM (
    SELECT CASE WHEN t.looked_to < d.position THEN t.ready_at ELSE greatest(t.ready_at, t.due_at) END AS at
    FROM grade_targets t JOIN districts d USING (district_id)
    WHERE t.state = 'active' AND d.state = 'active' AND (t.looked_to < d.position OR t.due_at IS NOT NULL)) due
WHERE at > now()
"""


async def claim(db: Database, token: UUID | None = None, *, limit: int, lease_seconds: float) -> list[Claim]:
    """Claims up to ``limit`` targets that have something to take, over all districts, longest waiting first.

    ``token``: as hub.store.claims.claim has it.
    """
    async with db.shared() as tx:
        await tx.execute("SELECT pg_advisory_xact_lock($1)", _CLAIMS_LOCK)
        rows = await tx.fetch(_CLAIM, limit, token or uuid4(), lease_seconds)
    return [Claim(**row) for row in rows]


async def next_due(db: Database) -> float | None:
    """Seconds until the next target that waits for its time; None when none does."""
    async with db.shared() as tx:
        seconds: float | None = await tx.fetchval(_NEXT)
    return seconds


async def hold(tx: Transaction, claim: Claim, *, lease_seconds: float) -> GradeTarget | None:
    """Renews the lease and locks the row; None when the lease is somebody else's now or the row is gone."""
    row = await tx.fetchrow(
        f"UPDATE grade_targets SET lease_until = now() + make_interval(secs => $4) WHERE {_HELD} RETURNING {_COLUMNS}",
        claim.district_id, claim.target_id, claim.lease_token, lease_seconds,
    )  # fmt: skip
    return GradeTarget(**row) if row else None


async def queued(tx: Transaction, claim: Claim, position: int, place: int) -> None:
    """Notes that writes up to here are queued."""
    await tx.execute(
        f"UPDATE grade_targets SET position = $4, place = $5 WHERE {_HELD}",
        claim.district_id, claim.target_id, claim.lease_token, position, place,
    )  # fmt: skip


async def succeed(tx: Transaction, claim: Claim) -> None:
    """Notes that the target took something."""
    await tx.execute(
        "UPDATE grade_targets SET attempt = 0, failing_since = NULL, last_error = NULL, last_status = NULL, "
        f"last_success = now() WHERE {_HELD}",
        claim.district_id, claim.target_id, claim.lease_token,
    )  # fmt: skip


async def fail(tx: Transaction, claim: Claim, *, wait_seconds: float, error: str, status: int | None) -> None:
    """Notes that the target itself failed: nothing is sent to it for ``wait_seconds``."""
    await tx.execute(
        "UPDATE grade_targets SET attempt = attempt + 1, ready_at = now() + make_interval(secs => $4), "
        f"failing_since = coalesce(failing_since, now()), last_error = $5, last_status = $6 WHERE {_HELD}",
        claim.district_id, claim.target_id, claim.lease_token, wait_seconds, error, status,
    )  # fmt: skip


async def release(
    tx: Transaction, claim: Claim, *, wait_seconds: float | None = None, looked_to: int | None = None
) -> None:
    """Gives the lease back, with when the next object is due and how many wait for a person.

    ``wait_seconds``: not to be claimed sooner; None leaves ``ready_at`` alone. ``looked_to``: nothing is left to queue
    up to this position of the district. Only here may a target become one that has nothing to do: after a crash it is
    still due.
    """
    await tx.execute(
        "UPDATE grade_targets SET lease_token = NULL, lease_until = NULL, looked_to = greatest(looked_to, $5), "
        "ready_at = CASE WHEN $4::float8 IS NULL THEN ready_at ELSE now() + make_interval(secs => $4) END, "
        "due_at = (SELECT min(q.ready_at) FROM grade_deliveries q "
        "WHERE q.district_id = $1 AND q.target_id = $2 AND q.state = 'waiting'), "
        "troubled = (SELECT count(*) FROM grade_deliveries q "
        "WHERE q.district_id = $1 AND q.target_id = $2 AND q.state IN ('blocked', 'refused', 'failed')) "
        f"WHERE {_HELD}",
        claim.district_id, claim.target_id, claim.lease_token, wait_seconds, looked_to or 0,
    )  # fmt: skip


async def troubles(db: Database, *, seconds: float) -> Sequence[Trouble]:
    """Targets of all districts that are paused, have failed for ``seconds``, or have objects that wait for a person."""
    async with db.shared() as tx:
        rows = await tx.fetch(
            f"SELECT {', '.join(Trouble.__dataclass_fields__)} FROM grade_targets WHERE state = 'paused' "
            "OR troubled > 0 OR failing_since < now() - make_interval(secs => $1) ORDER BY district_id, target_id",
            seconds,
        )  # fmt: skip
    return [Trouble(**row) for row in rows]
