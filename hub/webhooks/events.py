"""What happens to a subscription that people have to hear of, queued in the transaction in which it happens.

Only what changes is told: a receiver that fails for days is told once, and once more when it is well again.
"""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from hub.store import notices
from hub.store.database import Transaction
from hub.store.notices import Event

#: A receiver fails, and does not merely hiccup, after so many failures in a row, or after so many minutes.
FAILURES, MINUTES = 3, 10


async def failed(tx: Transaction, subscription_id: UUID, code: str, *, state: str) -> None:
    """Call it after a failed attempt was noted: tells that the receiver fails, or what became of the subscription.

    ``state``: what it was to become by that ("active", "paused" or "disabled"); somebody may have paused it before.
    """
    row = await tx.fetchrow(
        "UPDATE subscriptions SET failing_told = coalesce(failing_told, now()) "
        "WHERE district_id = $1 AND subscription_id = $2 AND state = $5 AND (state <> 'active' OR failing_told IS NULL "
        "AND (attempt >= $3 OR failing_since <= now() - make_interval(mins => $4))) "
        "RETURNING state, attempt, failing_since",
        tx.district_id, subscription_id, FAILURES, MINUTES, state,
    )  # fmt: skip
    if row is not None:
        kind = "failing" if row["state"] == "active" else row["state"]
        await _tell(tx, subscription_id, kind, code, row["attempt"], row["failing_since"])


async def recovered(tx: Transaction, subscription_id: UUID) -> None:
    """Tells that a receiver is well again of which it was told that it fails."""
    since: datetime | None = await tx.fetchval(
        "UPDATE subscriptions s SET failing_told = NULL FROM subscriptions o WHERE s.district_id = $1 "
        "AND s.subscription_id = $2 AND o.district_id = $1 AND o.subscription_id = $2 AND o.failing_told IS NOT NULL "
        "RETURNING o.failing_told",
        tx.district_id, subscription_id,
    )  # fmt: skip
    if since is not None:
        await _tell(tx, subscription_id, "recovered", "recovered", since=since)


async def parked(tx: Transaction, subscription_id: UUID, code: str, changes: int) -> None:
    """Tells that changes were set aside which the receiver does not take. ``code``: the class of its error."""
    await _tell(tx, subscription_id, "parked", code, changes)


async def paused(tx: Transaction, subscription_id: UUID) -> None:
    """Tells that somebody paused a subscription."""
    await _tell(tx, subscription_id, "paused", "asked")


async def revoked(tx: Transaction, subscription_id: UUID) -> None:
    """Tells that a subscription ended with its grant."""
    await _tell(tx, subscription_id, "disabled", "revoked")


async def rotated(tx: Transaction, subscription_id: UUID, *, at_once: bool) -> None:
    """Tells that a subscription signs with a new secret; ``at_once``: the old one has ended already."""
    await _tell(tx, subscription_id, "rotated", "rotated_at_once" if at_once else "rotated")


async def _tell(
    tx: Transaction, subscription_id: UUID, kind: str, code: str, times: int = 1, since: datetime | None = None
) -> None:
    row = await tx.fetchrow(
        "SELECT g.app_id, now() AS now FROM subscriptions s JOIN grants g USING (district_id, grant_id) "
        "WHERE s.district_id = $1 AND s.subscription_id = $2",
        tx.district_id, subscription_id,
    )  # fmt: skip
    if row is None:
        return
    event = Event(
        f"subscriptions.{kind}", code, times, since or row["now"], subscription_id=subscription_id, app_id=row["app_id"]
    )
    await notices.queue(tx, event)
