"""The step from a batch that was taken to the next one of its window: of many subscriptions at once.

One statement notes the one and freezes the other. It does so for those alone of which everything is as it was when
their batch was frozen; of the rest it changes nothing, and each of them has its outcome noted by itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

from hub.store.attempts import Tried
from hub.store.claims import Claim, Held
from hub.store.database import Transaction
from hub.store.deliveries import Batch


class Step(NamedTuple):
    """A batch that was taken at its first attempt, and the next one of the window; fields as in Batch and in Tried.

    ``lease_token``: the fence. ``version``: as of the row that was held; ``granted_at``: when the grant had changed.
    """

    district_id: UUID
    subscription_id: UUID
    lease_token: UUID
    version: int
    granted_at: datetime
    taken: str
    inside: dict[str, Any]
    milliseconds: int
    status: int | None
    remote_ip: str | None
    excerpt: str | None
    batch_id: str
    window_to: int
    next_inside: dict[str, Any] | None
    changes: int
    body: bytes
    sole: dict[str, Any] | None

    @classmethod
    def of(cls, claim: Claim, held: Held, taken: Batch, tried: Tried, following: Batch) -> Step:
        """From one batch of a claimed subscription to the next one."""
        assert taken.inside is not None, "behind the last batch of a window there is no following one"
        return cls(
            claim.district_id, claim.subscription_id, claim.lease_token, held.version, held.granted_at, taken.batch_id,
            taken.inside, tried.milliseconds, tried.status, tried.remote_ip, tried.excerpt, following.batch_id,
            following.window_to, following.inside, following.changes, following.stored, following.sole,
        )  # fmt: skip


_TYPES = (
    "uuid", "uuid", "uuid", "bigint", "timestamptz", "text", "jsonb", "integer", "integer", "text", "text",
    "text", "bigint", "jsonb", "integer", "bytea", "jsonb",
)  # fmt: skip
_GIVEN = ", ".join(f"${number}::{name}[]" for number, name in enumerate(_TYPES, 2))
# The statement itself: migrations/0059_relay.sql.
_RELAY = f"SELECT subscription_id, lease_token, version FROM relay_batches($1, {_GIVEN})"


#: A subscription and its lease.
Taken = tuple[UUID, UUID]


async def relay(tx: Transaction, steps: Sequence[Step], *, lease_seconds: float) -> dict[Taken, int]:
    """Takes the steps that can be taken, of whichever districts; for each of these, the version of its row now.

    Of a subscription that is missing in the answer nothing was written. ``tx``: of ``Database.statement``.
    """
    rows = await tx.fetch(_RELAY, lease_seconds, *zip(*steps, strict=True))
    return {(row["subscription_id"], row["lease_token"]): row["version"] for row in rows}
