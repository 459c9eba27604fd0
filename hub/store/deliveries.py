"""What the dispatcher writes down of a claimed subscription: the frozen batch, and what came of it.

Every statement names the lease token; see hub.store.claims.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal, NamedTuple
from uuid import UUID

from hub.store import attempts
from hub.store.attempts import KEPT_DAYS, Tried
from hub.store.claims import Claim, Held, held, holding
from hub.store.database import Transaction
from hub.store.packing import unpacked

#: The class of errors that are not counted: see hub.webhooks.failure.Failure.PROXY.
EXCUSED = "proxy"


class Batch(NamedTuple):
    """A frozen batch. ``inside``: where the window stands once it is acknowledged; None when it is through then.

    ``kind``: of the feed, a parked change once more (``parked_id``), or the message that everything has to be read
    again. ``sole``: the one record that it tells of, where it is one: its entity, rid, operation and version.
    ``granted_at``: of a batch that holds records, when the grant had last changed by which the app might see them.
    ``packed``: the body as it is stored, where that is another way: hub.store.packing.
    """

    batch_id: str
    window_to: int
    inside: dict[str, Any] | None
    changes: int
    body: bytes
    kind: Literal["feed", "parked", "resync"] = "feed"
    sole: dict[str, Any] | None = None
    parked_id: UUID | None = None
    granted_at: datetime | None = None
    packed: bytes | None = None

    @property
    def stored(self) -> bytes:
        """What is written down as its body."""
        return self.packed or self.body


@dataclass(frozen=True, slots=True)
class Failing:
    """How long a subscription has failed, in seconds, including now; ``apart``: from first to last-but-one failure.

    ``since_taken``: seconds since its receiver's last 2xx; None for none.
    """

    failing: float
    apart: float
    since_taken: float | None = None


_BATCH = ", ".join(name for name in Batch._fields if name != "packed")
_MINE = "WHERE district_id = $1 AND subscription_id = $2 AND lease_token = $3"
_PASS_OVER = holding(
    "UPDATE subscriptions SET told_to = coalesce(told_to, position), position = $4, window_to = NULL, inside = NULL, "
    f"isolating = NULL, replaying_to = CASE WHEN replaying_to > $4 THEN replaying_to END {_MINE}"
)
_WITHDRAW = holding(f"UPDATE subscriptions SET batch_id = NULL, refused = 0 {_MINE}")
#: Where a window of the feed ends, the position moves; a parked change that was taken moves nothing.
_THROUGH = "$6 = 'feed' AND $4::jsonb IS NULL"
# The bytes of a delivered batch are of no more use: what they said can be read from the feed.
_ACKNOWLEDGE = holding(
    f"UPDATE subscriptions SET position = CASE WHEN {_THROUGH} THEN $5 ELSE position END, "
    f"told_to = CASE WHEN {_THROUGH} THEN NULL ELSE told_to END, "
    f"window_to = CASE WHEN {_THROUGH} THEN NULL ELSE window_to END, "
    "inside = CASE WHEN $6 = 'feed' THEN $4 ELSE inside END, batch_id = NULL, refused = 0, isolating = $8, "
    f"replaying_to = CASE WHEN {_THROUGH} AND replaying_to <= $5 THEN NULL ELSE replaying_to END, "
    "batch_changes = $9, attempt = 0, quick = 0, ready_at = least(ready_at, now()), attempted_at = now(), "
    "taken_at = now(), failing_since = NULL, last_error = NULL, "
    f"last_status = $7, lease_until = now() + make_interval(secs => $10) {_MINE}",
    "done AS (UPDATE batches b SET delivered_at = now(), body = '' FROM s "
    "WHERE b.district_id = s.district_id AND b.subscription_id = s.subscription_id AND b.batch_id = $11)",
    "logged AS (INSERT INTO attempts (district_id, subscription_id, batch_id, attempt, milliseconds, status, "
    "remote_ip, excerpt) "
    "SELECT s.district_id, s.subscription_id, $11, (SELECT coalesce(max(a.attempt), 0) + 1 FROM attempts a "
    "WHERE a.district_id = $1 AND a.subscription_id = $2 AND a.batch_id = $11), $12, $7, $13, $14 FROM s)",
)
_ASK_AGAIN = (
    "WITH s AS (UPDATE subscriptions SET attempted_at = now(), failing_since = coalesce(failing_since, now()), "
    "last_error = $5, last_status = $6, refused = $7, batch_changes = $8, ready_at = now(), "
    f"lease_until = now() + make_interval(secs => $4) {_MINE} RETURNING district_id, subscription_id) "
    "INSERT INTO attempts (district_id, subscription_id, batch_id, attempt, milliseconds, status, "
    "error_class, remote_ip, excerpt, retry_after) "
    "SELECT s.district_id, s.subscription_id, $9, (SELECT coalesce(max(a.attempt), 0) + 1 FROM attempts a "
    "WHERE a.district_id = $1 AND a.subscription_id = $2 AND a.batch_id = $9), $10, $6, $5, $11, $12, $13 FROM s"
)
_SKIP = holding(
    "UPDATE subscriptions SET inside = $4, batch_id = NULL, attempt = 0, quick = 0, refused = 0, isolating = NULL, "
    "attempted_at = now(), failing_since = NULL, last_error = $5, last_status = $6, "
    f"lease_until = now() + make_interval(secs => $7) {_MINE}"
)


async def drop(tx: Transaction, claim: Claim) -> None:
    """Ends a subscription whose grant was revoked: nothing that is queued is ever sent."""
    await tx.execute(
        "DELETE FROM batches WHERE district_id = $1 AND subscription_id = $2 AND delivered_at IS NULL",
        claim.district_id, claim.subscription_id,
    )  # fmt: skip
    await tx.execute(
        "UPDATE subscriptions SET state = 'disabled', last_error = 'revoked', window_to = NULL, inside = NULL, "
        f"batch_id = NULL, attempt = 0, lease_token = NULL, lease_until = NULL {_MINE}",
        claim.district_id, claim.subscription_id, claim.lease_token,
    )  # fmt: skip


async def frozen(tx: Transaction, claim: Claim, batch_id: str) -> Batch:
    """The frozen batch that waits for its acknowledgement."""
    row = await tx.fetchrow(
        f"SELECT {_BATCH} FROM batches WHERE district_id = $1 AND subscription_id = $2 AND batch_id = $3",
        claim.district_id, claim.subscription_id, batch_id,
    )  # fmt: skip
    assert row is not None
    return Batch(**{**row, "body": unpacked(row["body"])})


async def freeze(tx: Transaction, claim: Claim, batch: Batch, *, looked_to: int) -> None:
    """Writes a batch down before its first attempt. ``looked_to``: the district's position that was looked up to."""
    await tx.execute(
        f"WITH made AS (INSERT INTO batches (district_id, subscription_id, {_BATCH}) "
        "VALUES ($1, $2, $4, $5, $6, $7, $8, $9, $10, $11, $13)) "
        "UPDATE subscriptions SET batch_id = $4, refused = 0, looked_to = greatest(looked_to, $12), "
        f"window_to = CASE WHEN $9 = 'feed' THEN $5 ELSE window_to END {_MINE}",
        claim.district_id, claim.subscription_id, claim.lease_token, batch.batch_id, batch.window_to, batch.inside,
        batch.changes, batch.stored, batch.kind, batch.sole, batch.parked_id, looked_to, batch.granted_at,
    )  # fmt: skip


async def withdraw(tx: Transaction, claim: Claim, batch_id: str) -> Held | None:
    """Forgets a frozen batch that is not to be sent any more; None, and nothing is done, without the lease."""
    now = held(await tx.fetchrow(_WITHDRAW, claim.district_id, claim.subscription_id, claim.lease_token))
    if now is not None:
        await discard(tx, claim.subscription_id, batch_id)
    return now


async def pass_over(tx: Transaction, claim: Claim, *, to: int) -> Held | None:
    """Moves a subscription past steps of which it is told nothing. The next batch begins where the last one ended."""
    return held(await tx.fetchrow(_PASS_OVER, claim.district_id, claim.subscription_id, claim.lease_token, to))


async def require_resync(tx: Transaction, claim: Claim) -> None:
    """Notes that the feed no longer leads on from where the subscription stands."""
    await tx.execute(
        f"UPDATE subscriptions SET state = 'resync_required', window_to = NULL, inside = NULL, isolating = NULL, "
        f"replaying_to = NULL, set_back = false {_MINE}",
        claim.district_id, claim.subscription_id, claim.lease_token,
    )  # fmt: skip


async def acknowledge(
    tx: Transaction, claim: Claim, batch: Batch, tried: Tried, *, lease_seconds: float,
    batch_changes: int | None = None, isolating: int | None = None,
) -> Held | None:  # fmt: skip
    """Moves the subscription past a delivered batch, logs that and renews the lease.

    None, and nothing is written, without the lease. ``batch_changes``, ``isolating``: as of now.
    """
    now = held(
        await tx.fetchrow(
            _ACKNOWLEDGE, claim.district_id, claim.subscription_id, claim.lease_token, batch.inside, batch.window_to,
            batch.kind, tried.status, isolating, batch_changes, lease_seconds, batch.batch_id, tried.milliseconds,
            tried.remote_ip, tried.excerpt,
        )
    )  # fmt: skip
    if now is not None and batch.inside is None:
        await _forget(tx, claim)
    return now


async def failing(tx: Transaction, claim: Claim, batch: Batch) -> Failing:
    """How long the subscription has been failing, by the database's clock, this failure included."""
    row = await tx.fetchrow(
        "SELECT extract(epoch FROM now() - coalesce(s.failing_since, now()))::float8 AS failing, "
        "coalesce(extract(epoch FROM (SELECT max(a.at) FROM attempts a WHERE a.district_id = $1 "
        "AND a.subscription_id = $2 AND a.batch_id = $3 AND a.error_class <> $4) - s.failing_since), 0)::float8 "
        "AS apart, "
        "extract(epoch FROM now() - s.taken_at)::float8 AS since_taken "
        "FROM subscriptions s WHERE s.district_id = $1 AND s.subscription_id = $2",
        claim.district_id, claim.subscription_id, batch.batch_id, EXCUSED,
    )  # fmt: skip
    return Failing(**row) if row else Failing(0, 0)


@dataclass(frozen=True, slots=True)
class Failed:
    """What a failed attempt leads to. ``state``: of a subscription that was active ("active", "paused", "disabled").

    ``attempt``: failures in a row from now on; ``quick``: those of them that were tried again at once; ``proof``: the
    receiver took something else meanwhile. ``dissolve``: the frozen batch ends, and its changes are cut anew.
    """

    wait_seconds: float
    error: str
    state: str = "active"
    attempt: int = 1
    refused: int = 0
    isolating: int | None = None
    batch_changes: int | None = None
    dissolve: bool = False
    quick: int = 0
    proof: bool = False


async def fail(tx: Transaction, claim: Claim, batch: Batch, failed: Failed, tried: Tried) -> bool:
    """Notes a failed attempt and gives the lease back; False, and nothing is written, without the lease."""
    touched = await tx.execute(
        "UPDATE subscriptions SET state = CASE WHEN state = 'active' THEN $4 ELSE state END, attempt = $5, "
        "ready_at = now() + make_interval(secs => $6), attempted_at = now(), "
        "failing_since = coalesce(failing_since, now()), last_error = $7, last_status = $8, refused = $9, "
        "isolating = $10, batch_changes = $11, batch_id = CASE WHEN $12 THEN NULL ELSE batch_id END, quick = $13, "
        "taken_at = CASE WHEN $14 THEN now() ELSE taken_at END, "
        f"lease_token = NULL, lease_until = NULL {_MINE}",
        claim.district_id, claim.subscription_id, claim.lease_token, failed.state, failed.attempt, failed.wait_seconds,
        failed.error, tried.status, failed.refused, failed.isolating, failed.batch_changes, failed.dissolve,
        failed.quick, failed.proof,
    )  # fmt: skip
    if not touched:
        return False
    await attempts.add(tx, claim.subscription_id, batch.batch_id, tried, failed.error)
    if failed.dissolve:
        await discard(tx, claim.subscription_id, batch.batch_id)
    return True


async def ask_again(
    tx: Transaction, claim: Claim, batch: Batch, tried: Tried, *, lease_seconds: float, error: str, refused: int,
    batch_changes: int | None,
) -> bool:  # fmt: skip
    """Notes a failed attempt after which the same batch is sent again at once, under the lease, which is renewed.

    It does not count as a failure in a row. False, and nothing is written, without the lease.
    """
    touched = await tx.execute(
        _ASK_AGAIN, claim.district_id, claim.subscription_id, claim.lease_token, lease_seconds, error, tried.status,
        refused, batch_changes, batch.batch_id, tried.milliseconds, tried.remote_ip, tried.excerpt, tried.retry_after,
    )  # fmt: skip
    return touched > 0


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


async def skip(
    tx: Transaction, claim: Claim, batch: Batch, inside: dict[str, Any], tried: Tried, *, lease_seconds: float,
    error: str,
) -> Held | None:  # fmt: skip
    """Goes on behind a batch that is given up: to ``inside``, in the window that stays open; None without the lease."""
    now = held(
        await tx.fetchrow(
            _SKIP,
            claim.district_id,
            claim.subscription_id,
            claim.lease_token,
            inside,
            error,
            tried.status,
            lease_seconds,
        )
    )
    if now is None:
        return None
    await attempts.add(tx, claim.subscription_id, batch.batch_id, tried, error)
    await discard(tx, claim.subscription_id, batch.batch_id)
    return now


async def discard(tx: Transaction, subscription_id: UUID, batch_id: str | None = None) -> None:
    """Forgets a frozen batch, or (None) whichever there is: it is not sent again."""
    await tx.execute(
        "DELETE FROM batches WHERE district_id = $1 AND subscription_id = $2 AND delivered_at IS NULL "
        "AND ($3::text IS NULL OR batch_id = $3)",
        tx.district_id, subscription_id, batch_id,
    )  # fmt: skip


async def discard_records(tx: Transaction) -> None:
    """Forgets all frozen batches of the district that hold records: they are cut anew from what is there now.

    Whoever delivers one at the moment loses the lease.
    """
    frozen_ones = (
        "(SELECT b.batch_id FROM batches b WHERE b.district_id = $1 AND b.delivered_at IS NULL "
        "AND position('\"record\":'::bytea IN b.body) > 0)"
    )
    await tx.execute(
        "UPDATE subscriptions SET batch_id = NULL, refused = 0, lease_token = NULL, lease_until = NULL "
        f"WHERE district_id = $1 AND batch_id IN {frozen_ones}",
        tx.district_id,
    )
    await tx.execute(f"DELETE FROM batches WHERE district_id = $1 AND batch_id IN {frozen_ones}", tx.district_id)


async def _forget(tx: Transaction, claim: Claim) -> None:
    """Ends what the log keeps of a subscription for too long."""
    await attempts.forget(tx, claim.subscription_id)
    await tx.execute(
        "DELETE FROM batches WHERE district_id = $1 AND subscription_id = $2 "
        "AND delivered_at < now() - make_interval(days => $3)",
        claim.district_id, claim.subscription_id, KEPT_DAYS,
    )  # fmt: skip
