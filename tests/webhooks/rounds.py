"""Deliveries by hand: one attempt for each subscription that is due, and time that moves when a test says so."""

from __future__ import annotations

from hub.store import claims
from hub.webhooks.deliver import Courier, deliver
from tests.webhooks.conftest import Subscribed, World


async def one(courier: Courier) -> list[bool]:
    """One attempt for each subscription that is due."""
    claimed = await claims.claim(courier.db, limit=100, per_district=100, lease_seconds=courier.lease_seconds)
    return [await deliver(courier, claim) for claim in claimed]


async def due(world: World, some: Subscribed) -> None:
    """Moves time to the subscription's next attempt and gives back what lease there is."""
    await world.feeds.connection.execute(
        "UPDATE subscriptions SET ready_at = now(), lease_until = NULL WHERE subscription_id = $1", some.id
    )
