"""What the dispatcher does with subscriptions: claim with a lease, freeze a batch, note what came of it.

The lease token is the fence. Every statement that changes a claimed subscription names it, so a worker that was away
for longer than its lease changes nothing: its result is thrown away, and the one who holds the lease sends the same
batch again.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID, uuid4

from hub.store import attempts
from hub.store.attempts import KEPT_DAYS, Tried
from hub.store.database import Database, Transaction

#: The class of errors that are not counted: see hub.webhooks.failure.Failure.PROXY.
EXCUSED = "proxy"
_CLAIMS_LOCK = 0x686F6F6B73  # "hooks": one claim at a time, so that the caps hold to the letter


@dataclass(frozen=True, slots=True)
class Claim:
    """The right to deliver for one subscription until its lease ends."""

    district_id: UUID
    subscription_id: UUID
    lease_token: UUID


@dataclass(frozen=True, slots=True)
class Held:
    """A claimed subscription, its row locked. ``secret`` and ``certificate`` are sealed.

    ``inside``: as in hub.changes.window.Place.
    """

    grant_id: UUID
    url: str
    state: str
    secret: bytes
    certificate: bytes | None
    position: int
    window_to: int | None
    inside: dict[str, Any] | None
    batch_id: str | None
    attempt: int
    failing_told: datetime | None


@dataclass(frozen=True, slots=True)
class Batch:
    """A frozen batch. ``inside``: where the window stands once it is acknowledged; None when it is through then."""

    batch_id: str
    window_to: int
    inside: dict[str, Any] | None
    changes: int
    body: bytes


@dataclass(frozen=True, slots=True)
class Failing:
    """How long a subscription has failed, in seconds, including now; ``apart``: from first to last-but-one failure."""

    failing: float
    apart: float


_BEHIND = "(s.batch_id IS NOT NULL OR s.window_to IS NOT NULL OR s.looked_to < d.position)"
_CLAIM = f"""
WITH busy AS (
    SELECT district_id, count(*) AS n FROM subscriptions WHERE lease_until >= now() GROUP BY district_id),
due AS (
    SELECT s.district_id, s.subscription_id, s.ready_at,
           row_number() OVER (PARTITION BY s.district_id ORDER BY s.ready_at) + coalesce(b.n, 0) AS place
    FROM subscriptions s JOIN districts d USING (district_id) LEFT JOIN busy b USING (district_id)
    WHERE s.state = 'active' AND d.state = 'active' AND s.ready_at <= now()
      AND (s.lease_until IS NULL OR s.lease_until < now()) AND {_BEHIND}),
chosen AS (
    SELECT s.district_id, s.subscription_id
    FROM subscriptions s JOIN due USING (district_id, subscription_id)
    WHERE due.place <= $2
    ORDER BY due.ready_at LIMIT $1 FOR UPDATE OF s SKIP LOCKED)
UPDATE subscriptions s SET lease_token = $3, lease_until = now() + make_interval(secs => $4)
FROM chosen c WHERE s.district_id = c.district_id AND s.subscription_id = c.subscription_id
RETURNING s.district_id, s.subscription_id, s.lease_token
"""
_NEXT = f"""
SELECT extract(epoch FROM min(s.ready_at) - now())::float8
FROM subscriptions s JOIN districts d USING (district_id)
WHERE s.state = 'active' AND d.state = 'active' AND s.ready_at > now() AND {_BEHIND}
"""


async def claim(db: Database, *, limit: int, per_district: int, lease_seconds: float) -> list[Claim]:
    """Claims up to ``limit`` subscriptions that have something to send, over all districts, longest waiting first.

    No district has more than ``per_district`` leases at a time, whatever the number of workers.
    """
    async with db.shared() as tx:
        await tx.execute("SELECT pg_advisory_xact_lock($1)", _CLAIMS_LOCK)
        rows = await tx.fetch(_CLAIM, limit, per_district, uuid4(), lease_seconds)
    return [Claim(**row) for row in rows]


async def next_due(db: Database) -> float | None:
    """Seconds until the next subscription that waits for its time; None when none does."""
    async with db.shared() as tx:
        seconds: float | None = await tx.fetchval(_NEXT)
    return seconds


async def hold(tx: Transaction, claim: Claim, *, lease_seconds: float) -> Held | None:
    """Renews the lease and locks the row; None when the lease is somebody else's now or the row is gone."""
    row = await tx.fetchrow(
        "UPDATE subscriptions SET lease_until = now() + make_interval(secs => $4) "
        "WHERE district_id = $1 AND subscription_id = $2 AND lease_token = $3 "
        f"RETURNING {', '.join(Held.__dataclass_fields__)}",
        claim.district_id, claim.subscription_id, claim.lease_token, lease_seconds,
    )  # fmt: skip
    return Held(**row) if row else None


async def release(tx: Transaction, claim: Claim, *, wait_seconds: float = 0, looked_to: int | None = None) -> None:
    """Gives the lease back; the subscription is not claimed again for ``wait_seconds``."""
    await tx.execute(
        "UPDATE subscriptions SET lease_token = NULL, lease_until = NULL, "
        "ready_at = now() + make_interval(secs => $4), looked_to = greatest(looked_to, $5) "
        "WHERE district_id = $1 AND subscription_id = $2 AND lease_token = $3",
        claim.district_id, claim.subscription_id, claim.lease_token, wait_seconds, looked_to or 0,
    )  # fmt: skip


async def drop(tx: Transaction, claim: Claim) -> None:
    """Ends a subscription whose grant was revoked: nothing that is queued is ever sent."""
    await tx.execute(
        "DELETE FROM batches WHERE district_id = $1 AND subscription_id = $2 AND delivered_at IS NULL",
        claim.district_id, claim.subscription_id,
    )  # fmt: skip
    await tx.execute(
        "UPDATE subscriptions SET state = 'disabled', last_error = 'revoked', window_to = NULL, inside = NULL, "
        "batch_id = NULL, attempt = 0, lease_token = NULL, lease_until = NULL "
        "WHERE district_id = $1 AND subscription_id = $2 AND lease_token = $3",
        claim.district_id, claim.subscription_id, claim.lease_token,
    )  # fmt: skip


async def frozen(tx: Transaction, claim: Claim, batch_id: str) -> Batch:
    """The frozen batch that waits for its acknowledgement."""
    row = await tx.fetchrow(
        "SELECT batch_id, window_to, inside, changes, body FROM batches "
        "WHERE district_id = $1 AND subscription_id = $2 AND batch_id = $3",
        claim.district_id, claim.subscription_id, batch_id,
    )  # fmt: skip
    assert row is not None
    return Batch(**row)


async def freeze(tx: Transaction, claim: Claim, batch: Batch, *, looked_to: int) -> None:
    """Writes a batch down before its first attempt. ``looked_to``: the district's position that was looked up to."""
    await tx.execute(
        "INSERT INTO batches (district_id, subscription_id, batch_id, window_to, inside, changes, body) "
        "VALUES ($1, $2, $3, $4, $5, $6, $7)",
        claim.district_id, claim.subscription_id, batch.batch_id, batch.window_to, batch.inside, batch.changes,
        batch.body,
    )  # fmt: skip
    await tx.execute(
        "UPDATE subscriptions SET batch_id = $4, window_to = $5, looked_to = greatest(looked_to, $6) "
        "WHERE district_id = $1 AND subscription_id = $2 AND lease_token = $3",
        claim.district_id, claim.subscription_id, claim.lease_token, batch.batch_id, batch.window_to, looked_to,
    )  # fmt: skip


async def acknowledge(tx: Transaction, claim: Claim, batch: Batch, tried: Tried) -> bool:
    """Moves the subscription past a delivered batch; False, and nothing is written, without the lease."""
    touched = await tx.execute(
        "UPDATE subscriptions SET position = CASE WHEN $4::jsonb IS NULL THEN $5 ELSE position END, "
        "window_to = CASE WHEN $4::jsonb IS NULL THEN NULL ELSE window_to END, inside = $4, batch_id = NULL, "
        "attempt = 0, ready_at = now(), failing_since = NULL, last_error = NULL, last_status = $6 "
        "WHERE district_id = $1 AND subscription_id = $2 AND lease_token = $3",
        claim.district_id, claim.subscription_id, claim.lease_token, batch.inside, batch.window_to,
        tried.status,
    )  # fmt: skip
    if not touched:
        return False
    await attempts.add(tx, claim.subscription_id, batch.batch_id, tried, None)
    # The bytes are of no more use: what they said can be read from the feed.
    await tx.execute(
        "UPDATE batches SET delivered_at = now(), body = '' "
        "WHERE district_id = $1 AND subscription_id = $2 AND batch_id = $3",
        claim.district_id, claim.subscription_id, batch.batch_id,
    )  # fmt: skip
    if batch.inside is None:
        await _forget(tx, claim)
    return True


async def failing(tx: Transaction, claim: Claim, batch: Batch) -> Failing:
    """How long the subscription has been failing, by the database's clock, this failure included."""
    row = await tx.fetchrow(
        "SELECT extract(epoch FROM now() - coalesce(s.failing_since, now()))::float8 AS failing, "
        "coalesce(extract(epoch FROM (SELECT max(a.at) FROM attempts a WHERE a.district_id = $1 "
        "AND a.subscription_id = $2 AND a.batch_id = $3 AND a.error_class <> $4) - s.failing_since), 0)::float8 "
        "AS apart "
        "FROM subscriptions s WHERE s.district_id = $1 AND s.subscription_id = $2",
        claim.district_id, claim.subscription_id, batch.batch_id, EXCUSED,
    )  # fmt: skip
    return Failing(**row) if row else Failing(0, 0)


async def fail(
    tx: Transaction, claim: Claim, batch: Batch, tried: Tried, *, state: str, wait_seconds: float, error: str
) -> bool:
    """Notes a failed attempt and gives the lease back; False, and nothing is written, without the lease.

    ``state``: what an active subscription becomes ("active", "paused" or "disabled").
    """
    touched = await tx.execute(
        "UPDATE subscriptions SET state = CASE WHEN state = 'active' THEN $4 ELSE state END, attempt = attempt + 1, "
        "ready_at = now() + make_interval(secs => $5), failing_since = coalesce(failing_since, now()), "
        "last_error = $6, last_status = $7, lease_token = NULL, lease_until = NULL "
        "WHERE district_id = $1 AND subscription_id = $2 AND lease_token = $3",
        claim.district_id, claim.subscription_id, claim.lease_token, state, wait_seconds, error, tried.status,
    )  # fmt: skip
    if touched:
        await attempts.add(tx, claim.subscription_id, batch.batch_id, tried, error)
    return bool(touched)


async def excuse(tx: Transaction, claim: Claim, batch: Batch, tried: Tried, *, wait_seconds: float) -> None:
    """Gives the lease back after an attempt that failed through no fault of the receiver: its schedule stands still.

    Of many such attempts in a row the log has the first.
    """
    touched = await tx.fetchrow(
        "WITH before AS (SELECT last_error FROM subscriptions WHERE district_id = $1 AND subscription_id = $2) "
        "UPDATE subscriptions s SET ready_at = now() + make_interval(secs => $4), last_error = $5, last_status = NULL, "
        "lease_token = NULL, lease_until = NULL FROM before "
        "WHERE s.district_id = $1 AND s.subscription_id = $2 AND s.lease_token = $3 "
        "RETURNING before.last_error IS DISTINCT FROM $5 AS first",
        claim.district_id, claim.subscription_id, claim.lease_token, wait_seconds, EXCUSED,
    )  # fmt: skip
    if touched and touched["first"]:
        await attempts.add(tx, claim.subscription_id, batch.batch_id, tried, EXCUSED)


async def _forget(tx: Transaction, claim: Claim) -> None:
    """Ends what the log keeps of a subscription for too long."""
    await attempts.forget(tx, claim.subscription_id)
    await tx.execute(
        "DELETE FROM batches WHERE district_id = $1 AND subscription_id = $2 "
        "AND delivered_at < now() - make_interval(days => $3)",
        claim.district_id, claim.subscription_id, KEPT_DAYS,
    )  # fmt: skip
