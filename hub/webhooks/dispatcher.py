"""The dispatcher of webhooks: subscriptions that have something to send, many of them at a time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from hub import dispatcher
from hub.store import claims
from hub.store.claims import Claim
from hub.webhooks.deliver import Courier, deliver

#: A subscription gives its place to others after so many batches in a row.
IN_A_ROW = 100


@dataclass(frozen=True, slots=True)
class Limits:
    """How many deliveries run at a time: in this process; for one district and to one host in all of them together.

    A host takes more than a district has: no district can fill the places of a host that serves many.
    """

    in_process: int = 64
    per_district: int = 8
    per_host: int = 16


@dataclass(frozen=True, slots=True)
class Webhooks:
    """Claims are subscriptions, a turn is their next batches; see hub.dispatcher.Work."""

    courier: Courier
    limits: Limits

    async def claim(self, limit: int, token: UUID) -> Sequence[Claim]:
        """Subscriptions that are behind."""
        return await claims.claim(
            self.courier.db, token, limit=limit, per_district=self.limits.per_district, per_host=self.limits.per_host,
            lease_seconds=self.courier.lease_seconds,
        )  # fmt: skip

    async def next_due(self) -> float | None:
        """Seconds until the next attempt."""
        return await claims.next_due(self.courier.db)

    async def turn(self, claim: Claim) -> bool:
        """Sends the next batches."""
        if await deliver(self.courier, claim, most=IN_A_ROW):
            await self.give_back(claim, 0)
        return False

    async def give_back(self, claim: Claim, wait_seconds: float) -> None:
        """Returns the lease."""
        async with self.courier.db.district(claim.district_id, wait_seconds=self.courier.patience) as tx:
            await claims.release(tx, claim, wait_seconds=wait_seconds)

    def name(self, claim: Claim) -> dict[str, str]:
        """The subscription."""
        return {"subscription": str(claim.subscription_id)}


class Dispatcher(dispatcher.Dispatcher[Claim]):
    """Delivers webhooks. ``listen_url``: a direct address of PostgreSQL for LISTEN; None goes without."""

    def __init__(self, courier: Courier, *, limits: Limits, listen_url: str | None = None) -> None:
        work = Webhooks(courier, limits)
        super().__init__(work, in_process=limits.in_process, listen_url=listen_url)
