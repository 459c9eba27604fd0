"""What happens to subscriptions and somebody has to hear of. The one place that is told of it.

It is logged, and people are told by the notices of the district and of the app (hub/notices). Only what changes is
told: a receiver that fails for days is told once, and once more when it is well again.
"""

from __future__ import annotations

from datetime import datetime
from typing import Literal
from uuid import UUID

import structlog

from hub.store import notices
from hub.store.database import Transaction
from hub.store.notices import SUBSCRIPTION_KINDS, Event

log = structlog.get_logger()

Kind = Literal[
    "failing", "recovered", "paused", "disabled", "parked", "superseded", "resync_required", "replayed", "rotated"
]  # fmt: skip
#: A subscription counts as failing from so many failures in a row, or after so many minutes of them; those that are
#: tried again at once do not count.
FAILING_FROM, MINUTES = 3, 10


async def happened(
    tx: Transaction, subscription_id: UUID, kind: Kind, *, times: int = 1, since: datetime | None = None,
    **details: str | int | None,
) -> None:  # fmt: skip
    """Notes an event in the transaction that makes it so, and queues it for those who are told of its kind.

    ``details``: ids, codes and counts, nothing personal; ``error`` among them is the code that people are told.
    ``times``: how often since ``since``, or (None) now.
    """
    about = {"district": str(tx.district_id), "subscription": str(subscription_id)}
    tx.after_commit(lambda: log.info("subscription", event_kind=kind, **about, **details))
    if f"subscriptions.{kind}" not in SUBSCRIPTION_KINDS:
        return
    row = await tx.fetchrow(
        "SELECT g.app_id, now() AS now FROM subscriptions s JOIN grants g USING (district_id, grant_id) "
        "WHERE s.district_id = $1 AND s.subscription_id = $2",
        tx.district_id, subscription_id,
    )  # fmt: skip
    if row is not None:
        event = Event(
            f"subscriptions.{kind}", str(details.get("error") or kind), times, since or row["now"],
            subscription_id=subscription_id, app_id=row["app_id"],
        )  # fmt: skip
        await notices.queue(tx, event)


async def failed(tx: Transaction, subscription_id: UUID, error: str, *, state: str) -> None:
    """Call it after a failed attempt was noted: tells that the receiver fails, or what became of the subscription.

    ``state``: what it was to become by that ("active", "paused" or "disabled"); somebody may have paused it before.
    """
    row = await tx.fetchrow(
        "UPDATE subscriptions SET failing_told = coalesce(failing_told, now()) "
        "WHERE district_id = $1 AND subscription_id = $2 AND state = $5 AND (state <> 'active' OR failing_told IS NULL "
        "AND (attempt - quick >= $3 OR failing_since <= now() - make_interval(mins => $4))) "
        "RETURNING state, attempt, failing_since, last_status",
        tx.district_id, subscription_id, FAILING_FROM, MINUTES, state,
    )  # fmt: skip
    if row is None:
        return
    kind: Kind = "paused" if state == "paused" else "disabled" if state == "disabled" else "failing"
    await happened(
        tx, subscription_id, kind, times=row["attempt"], since=row["failing_since"], error=error,
        status=row["last_status"], failures=row["attempt"],
    )  # fmt: skip


async def recovered(tx: Transaction, subscription_id: UUID, *, since: datetime) -> None:
    """Tells that a receiver is well again of which people were told ``since`` when it fails."""
    await tx.execute(
        "UPDATE subscriptions SET failing_told = NULL WHERE district_id = $1 AND subscription_id = $2",
        tx.district_id, subscription_id,
    )  # fmt: skip
    await happened(tx, subscription_id, "recovered", since=since)
