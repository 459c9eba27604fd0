"""The dispatcher of webhooks: subscriptions that have something to send, many of them at a time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from hub import dispatcher
from hub.store import deliveries
from hub.store.deliveries import Claim
from hub.webhooks.deliver import Courier, deliver


@dataclass(frozen=True, slots=True)
class Limits:
    """How many deliveries run at a time: in this process, and for one district in all processes together."""

    in_process: int = 64
    per_district: int = 8


@dataclass(frozen=True, slots=True)
class Webhooks:
    """Claims are subscriptions, a turn is one batch; see hub.dispatcher.Work."""

    courier: Courier
    per_district: int

    async def claim(self, limit: int) -> Sequence[Claim]:
        """Subscriptions that are behind."""
        return await deliveries.claim(
            self.courier.db, limit=limit, per_district=self.per_district, lease_seconds=self.courier.lease_seconds
        )

    async def next_due(self) -> float | None:
        """Seconds until the next attempt."""
        return await deliveries.next_due(self.courier.db)

    async def turn(self, claim: Claim) -> bool:
        """Sends one batch."""
        return await deliver(self.courier, claim)

    async def give_back(self, claim: Claim, wait_seconds: float) -> None:
        """Returns the lease."""
        async with self.courier.db.district(claim.district_id, wait_seconds=self.courier.patience) as tx:
            await deliveries.release(tx, claim, wait_seconds=wait_seconds)

    def name(self, claim: Claim) -> dict[str, str]:
        """The subscription."""
        return {"subscription": str(claim.subscription_id)}


class Dispatcher(dispatcher.Dispatcher[Claim]):
    """Delivers webhooks. ``listen_url``: a direct address of PostgreSQL for LISTEN; None goes without."""

    def __init__(self, courier: Courier, *, limits: Limits, listen_url: str | None = None) -> None:
        work = Webhooks(courier, limits.per_district)
        super().__init__(work, in_process=limits.in_process, listen_url=listen_url)
