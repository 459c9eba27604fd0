"""The step from a batch that was taken to the next one of its window: of many subscriptions at once.

One statement notes the one and freezes the other. It does so for those alone of which everything is as it was when
their batch was frozen; of the rest it changes nothing, and each of them has its outcome noted by itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

import orjson

from hub.store.attempts import Tried
from hub.store.claims import Claim, Held
from hub.store.database import Transaction
from hub.store.deliveries import Batch


class Step(NamedTuple):
    """A batch that was taken, and the next one of the window; fields as in Batch and in Tried.

    ``lease_token``: the fence. ``version``: as of the row that was held; ``granted_at``: when the grant had changed.
    ``attempt``: at which attempt it was taken, from 1.
    """

    district_id: UUID
    subscription_id: UUID
    lease_token: UUID
    version: int
    granted_at: datetime
    taken: str
    attempt: int
    inside: dict[str, Any]
    milliseconds: int
    status: int | None
    remote_ip: str | None
    excerpt: str | None
    batch_id: str
    window_to: int
    next_inside: dict[str, Any] | None
    changes: int
    sole: dict[str, Any] | None
    body: bytes

    @classmethod
    def of(cls, claim: Claim, held: Held, taken: Batch, tried: Tried, following: Batch, *, attempt: int) -> Step:
        """From one batch of a claimed subscription to the next one."""
        assert taken.inside is not None, "behind the last batch of a window there is no following one"
        return cls(
            claim.district_id, claim.subscription_id, claim.lease_token, held.version, held.granted_at, taken.batch_id,
            attempt, taken.inside, tried.milliseconds, tried.status, tried.remote_ip, tried.excerpt, following.batch_id,
            following.window_to, following.inside, following.changes, following.sole, following.stored,
        )  # fmt: skip


#: What goes as JSON; the bodies go behind each other as they are.
_TOLD = [name for name in Step._fields if name != "body"]
# The statement itself: migrations/0063_relay_together.sql.
_RELAY = "SELECT subscription_id, lease_token, version FROM relay_together($1, $2, $3, $4)"


#: A subscription and its lease.
Taken = tuple[UUID, UUID]


async def relay(tx: Transaction, steps: Sequence[Step], *, lease_seconds: float) -> dict[Taken, int]:
    """Takes the steps that can be taken, of whichever districts; for each of these, the version of its row now.

    Of a subscription that is missing in the answer nothing was written. ``tx``: of ``Database.statement``.
    """
    told: list[dict[str, Any]] = []
    at = 1
    for step in steps:
        size = len(step.body)
        told.append(dict(zip(_TOLD, step, strict=False), body_at=at, body_size=size))  # the body comes last
        at += size
    bodies = b"".join([step.body for step in steps])
    text = orjson.dumps(told, default=str).decode()  # the driver's UUIDs are a kind of their own
    districts = ",".join({str(step.district_id) for step in steps})
    rows = await tx.fetch(_RELAY, districts, lease_seconds, text, bodies)
    return {(row["subscription_id"], row["lease_token"]): row["version"] for row in rows}
