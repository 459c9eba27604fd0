"""Notices: events that wait to be told, and the recipients that are told them, all that waits in one message.

A message is begun by writing its id beside the notices that it holds; until it is acknowledged, the same notices are
sent again under the same id. The lease token fences as in ``hub.store.deliveries``.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID, uuid4

from hub.store.database import Database, Transaction
from hub.store.schema import NIL_DISTRICT

#: What is told of sources.
KINDS = ("held", "failed", "late", "recovered")
#: What is told of subscriptions; parked: of changes that a receiver does not take.
SUBSCRIPTION_KINDS = (
    "subscriptions.disabled", "subscriptions.paused", "subscriptions.resync_required", "subscriptions.failing",
    "subscriptions.parked",
    "subscriptions.recovered", "subscriptions.rotated",
)  # fmt: skip
ALL_KINDS = (*KINDS, *SUBSCRIPTION_KINDS)
#: What happens within this time of an event goes in the same message.
GATHER_SECONDS = 10.0
#: The most notices of one message; the next one takes the rest.
MOST_NOTICES = 500
KEPT_DAYS = 30


@dataclass(frozen=True, slots=True)
class Event:
    """What happened to a source or a subscription. ``kind``: of ALL_KINDS; ``times``: how often since ``since``.

    ``app_id``: the app of the subscription.
    """

    kind: str
    code: str
    times: int
    since: datetime
    source_id: UUID | None = None
    run_id: UUID | None = None
    subscription_id: UUID | None = None
    app_id: UUID | None = None


@dataclass(frozen=True, slots=True)
class Claim:
    """The right to tell one recipient until its lease ends."""

    district_id: UUID
    recipient_id: UUID
    lease_token: UUID


@dataclass(frozen=True, slots=True)
class Held:
    """A claimed recipient, of a district or of an app. ``secret`` is sealed.

    ``failing``: seconds since the first failure in a row; ``apart``: from that one to the last.
    """

    channel: str
    address: str
    state: str
    secret: bytes | None
    batch_id: str | None
    attempt: int
    failing: float
    apart: float
    app_id: UUID | None


@dataclass(frozen=True, slots=True)
class Notice:
    """One event of a message, with the names of its district and of its source or app."""

    kind: str
    code: str
    times: int
    since: datetime
    at: datetime
    district_id: UUID
    district: str
    source_id: UUID | None = None
    source: str | None = None
    run_id: UUID | None = None
    subscription_id: UUID | None = None
    app: str | None = None


_INTO = (
    "district_id, notice_id, recipient_id, happened_in, kind, code, times, since, source_id, run_id, subscription_id, "
    "app_id"
)
_VALUES = "$2, $3, $4, $5, $6::uuid, $7::uuid, $8::uuid, $9::uuid"


async def queue(tx: Transaction, event: Event) -> None:
    """Queues an event for every recipient of the district, and of the app, that wants to hear of its kind."""
    values = (
        tx.district_id, event.kind, event.code, event.times, event.since, event.source_id, event.run_id,
        event.subscription_id, event.app_id,
    )  # fmt: skip
    await tx.execute(
        f"WITH queued AS (INSERT INTO notices ({_INTO}) SELECT $1, gen_random_uuid(), recipient_id, NULL, {_VALUES} "
        "FROM recipients WHERE district_id = $1 AND state = 'active' AND $2 = ANY(kinds) RETURNING recipient_id) "
        "UPDATE recipients r SET waiting = true, ready_at = CASE WHEN r.waiting THEN r.ready_at "
        "ELSE greatest(r.ready_at, now() + make_interval(secs => $10)) END "
        "FROM queued q WHERE r.district_id = $1 AND r.recipient_id = q.recipient_id",
        *values, GATHER_SECONDS,
    )  # fmt: skip
    if event.app_id is not None:
        # The rows of an app's recipients are left as they are: many districts would wait for one another there.
        await tx.execute(
            f"INSERT INTO notices ({_INTO}) SELECT district_id, gen_random_uuid(), recipient_id, $1, {_VALUES} "
            f"FROM recipients WHERE district_id = '{NIL_DISTRICT}' AND app_id = $9 AND state = 'active' "
            "AND $2 = ANY(kinds)",
            *values,
        )


_CLAIM = f"""
WITH chosen AS (
    SELECT r.district_id, r.recipient_id FROM recipients r
    WHERE r.state = 'active' AND r.ready_at <= now() AND coalesce(r.lease_until, '-infinity') < now()
      AND (r.waiting OR r.app_id IS NOT NULL AND EXISTS (
          SELECT FROM notices n WHERE n.district_id = r.district_id AND n.recipient_id = r.recipient_id
          AND n.sent_at IS NULL AND n.at <= now() - make_interval(secs => {GATHER_SECONDS})))
    ORDER BY r.ready_at LIMIT $1 FOR UPDATE OF r SKIP LOCKED)
UPDATE recipients r SET lease_token = $2, lease_until = now() + make_interval(secs => $3)
FROM chosen c WHERE r.district_id = c.district_id AND r.recipient_id = c.recipient_id
RETURNING r.district_id, r.recipient_id, r.lease_token
"""


async def claim(db: Database, token: UUID | None = None, *, limit: int, lease_seconds: float) -> list[Claim]:
    """Claims up to ``limit`` recipients for whom something waits, over all districts, longest waiting first.

    ``token``: of their leases.
    """
    async with db.shared() as tx:
        rows = await tx.fetch(_CLAIM, limit, token or uuid4(), lease_seconds)
    return [Claim(**row) for row in rows]


async def next_due(db: Database) -> float | None:
    """Seconds until the next recipient that waits for its time; None when none does."""
    async with db.shared() as tx:
        seconds: float | None = await tx.fetchval(
            "SELECT extract(epoch FROM min(due) - now())::float8 FROM ("
            "SELECT ready_at AS due FROM recipients WHERE state = 'active' AND waiting AND app_id IS NULL UNION ALL "
            "SELECT greatest(r.ready_at, min(n.at) + make_interval(secs => $1)) FROM recipients r "
            "JOIN notices n USING (district_id, recipient_id) "
            "WHERE r.state = 'active' AND r.app_id IS NOT NULL AND n.sent_at IS NULL "
            "GROUP BY r.district_id, r.recipient_id) d WHERE due > now()",
            GATHER_SECONDS,
        )
    return seconds


async def hold(tx: Transaction, claim: Claim, *, lease_seconds: float) -> Held | None:
    """Renews the lease and locks the row; None when the lease is somebody else's now or the recipient is gone."""
    row = await tx.fetchrow(
        "UPDATE recipients SET lease_until = now() + make_interval(secs => $4) "
        "WHERE district_id = $1 AND recipient_id = $2 AND lease_token = $3 "
        "RETURNING channel, address, state, secret, batch_id, attempt, app_id, "
        "coalesce(extract(epoch FROM now() - failing_since), 0)::float8 AS failing, "
        "coalesce(extract(epoch FROM last_failed - failing_since), 0)::float8 AS apart",
        claim.district_id, claim.recipient_id, claim.lease_token, lease_seconds,
    )  # fmt: skip
    return Held(**row) if row else None


async def begin(tx: Transaction, claim: Claim, batch_id: str) -> None:
    """Puts what waits into a message of that id."""
    await tx.execute(
        "UPDATE notices SET batch_id = $3 WHERE district_id = $1 AND notice_id IN (SELECT notice_id FROM notices "
        "WHERE district_id = $1 AND recipient_id = $2 AND batch_id IS NULL ORDER BY at, notice_id LIMIT $4)",
        claim.district_id, claim.recipient_id, batch_id, MOST_NOTICES,
    )  # fmt: skip
    await tx.execute(
        "UPDATE recipients SET batch_id = $4 WHERE district_id = $1 AND recipient_id = $2 AND lease_token = $3",
        claim.district_id, claim.recipient_id, claim.lease_token, batch_id,
    )  # fmt: skip


async def of_message(tx: Transaction, claim: Claim, batch_id: str) -> list[Notice]:
    """The notices of a message, oldest first."""
    rows = await tx.fetch(
        "SELECT n.kind, n.code, n.times, n.since, n.at, d.district_id, d.name AS district, n.source_id, "
        "s.name AS source, n.run_id, n.subscription_id, a.name AS app FROM notices n "
        "JOIN districts d ON d.district_id = coalesce(n.happened_in, n.district_id) "
        "LEFT JOIN sources s ON s.district_id = n.district_id AND s.source_id = n.source_id "
        "LEFT JOIN apps a ON a.app_id = n.app_id "
        "WHERE n.district_id = $1 AND n.recipient_id = $2 AND n.batch_id = $3 ORDER BY n.at, n.notice_id",
        claim.district_id, claim.recipient_id, batch_id,
    )  # fmt: skip
    return [Notice(**row) for row in rows]


async def sent(tx: Transaction, claim: Claim, batch_id: str, *, pause_seconds: float) -> None:
    """Notes that a message arrived; the next one goes in ``pause_seconds`` at the earliest."""
    touched = await tx.execute(
        "UPDATE recipients r SET batch_id = NULL, attempt = 0, failing_since = NULL, last_failed = NULL, "
        "last_error = NULL, last_sent = now(), lease_token = NULL, lease_until = NULL, "
        "ready_at = now() + make_interval(secs => $5), "
        "waiting = EXISTS (SELECT FROM notices n "
        "WHERE n.district_id = $1 AND n.recipient_id = $2 AND n.batch_id IS NULL) "
        "WHERE r.district_id = $1 AND r.recipient_id = $2 AND r.lease_token = $3 AND r.batch_id = $4",
        claim.district_id, claim.recipient_id, claim.lease_token, batch_id, pause_seconds,
    )  # fmt: skip
    if touched:
        await tx.execute(
            "UPDATE notices SET sent_at = now() WHERE district_id = $1 AND recipient_id = $2 AND batch_id = $3",
            claim.district_id, claim.recipient_id, batch_id,
        )  # fmt: skip
        await tx.execute(
            "DELETE FROM notices WHERE district_id = $1 AND recipient_id = $2 "
            "AND sent_at < now() - make_interval(days => $3)",
            claim.district_id, claim.recipient_id, KEPT_DAYS,
        )  # fmt: skip


async def failed(tx: Transaction, claim: Claim, *, error: str, state: str, wait_seconds: float) -> None:
    """Notes a failed attempt; the same message goes again in ``wait_seconds``."""
    await tx.execute(
        "UPDATE recipients SET attempt = attempt + 1, failing_since = coalesce(failing_since, now()), "
        "last_failed = now(), last_error = $4, state = CASE WHEN state = 'active' THEN $5 ELSE state END, "
        "lease_token = NULL, lease_until = NULL, ready_at = now() + make_interval(secs => $6) "
        "WHERE district_id = $1 AND recipient_id = $2 AND lease_token = $3",
        claim.district_id, claim.recipient_id, claim.lease_token, error, state, wait_seconds,
    )  # fmt: skip


async def release(tx: Transaction, claim: Claim, *, wait_seconds: float = 0) -> None:
    """Gives the lease back; the recipient is not claimed again for ``wait_seconds``."""
    await tx.execute(
        "UPDATE recipients SET lease_token = NULL, lease_until = NULL, ready_at = now() + make_interval(secs => $4) "
        "WHERE district_id = $1 AND recipient_id = $2 AND lease_token = $3",
        claim.district_id, claim.recipient_id, claim.lease_token, wait_seconds,
    )  # fmt: skip
