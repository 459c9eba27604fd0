"""What decides when a subscription is served next, as the database sees it now."""

from __future__ import annotations

from dataclasses import dataclass
from uuid import UUID

from hub.store.database import Transaction


@dataclass(frozen=True, slots=True)
class Standing:
    """How things stand around one subscription.

    ``leased``: a worker has it in hand; ``due``: its time has come; ``asked``: its receiver asked for the wait.
    """

    grant_state: str
    district_state: str
    leased: bool
    due: bool
    asked: bool


async def of(tx: Transaction, subscription_id: UUID) -> Standing:
    """The standing of one subscription of the district, which is there."""
    row = await tx.fetchrow(
        "SELECT g.state AS grant_state, d.state AS district_state, "
        "coalesce(s.lease_until >= now(), false) AS leased, s.ready_at <= now() AS due, "
        "s.attempt > 0 AND coalesce((SELECT a.retry_after IS NOT NULL FROM attempts a WHERE a.district_id = $1 "
        "AND a.subscription_id = s.subscription_id AND NOT a.test ORDER BY a.at DESC LIMIT 1), false) AS asked "
        "FROM subscriptions s JOIN grants g USING (district_id, grant_id) JOIN districts d USING (district_id) "
        "WHERE s.district_id = $1 AND s.subscription_id = $2",
        tx.district_id, subscription_id,
    )  # fmt: skip
    assert row is not None
    return Standing(**row)
