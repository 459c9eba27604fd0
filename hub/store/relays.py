"""The step from a batch that was taken to the next one of its window: of many subscriptions of a district at once.

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
            claim.subscription_id, claim.lease_token, held.version, held.granted_at, taken.batch_id, taken.inside,
            tried.milliseconds, tried.status, tried.remote_ip, tried.excerpt, following.batch_id, following.window_to,
            following.inside, following.changes, following.stored, following.sole,
        )  # fmt: skip


_TYPES = (
    "uuid", "uuid", "bigint", "timestamptz", "text", "jsonb", "integer", "integer", "text", "text",
    "text", "bigint", "jsonb", "integer", "bytea", "jsonb",
)  # fmt: skip
_GIVEN = ", ".join(f"${number}::{name}[]" for number, name in enumerate(_TYPES, 3))
# A row's xmin is the transaction that wrote it last: with the one that is known nobody has touched the row since, to
# edit, replay, pause or end it, or to give its lease to somebody else. A row that somebody is about to change is passed
# by: to wait for it would keep all the others.
_RELAY = f"""
WITH given AS (
    SELECT * FROM unnest({_GIVEN}) AS g({", ".join(Step._fields)})),
same AS (
    SELECT s.subscription_id, s.lease_token FROM subscriptions s
    JOIN given g ON s.subscription_id = g.subscription_id AND s.lease_token = g.lease_token
        AND s.xmin::text::bigint = g.version AND s.batch_id = g.taken
    WHERE s.district_id = $1 AND s.state = 'active'
    FOR NO KEY UPDATE OF s SKIP LOCKED),
s AS (
    UPDATE subscriptions s SET inside = g.inside, batch_id = g.batch_id, refused = 0, attempt = 0, quick = 0,
        ready_at = least(s.ready_at, now()), attempted_at = now(), taken_at = now(), failing_since = NULL,
        last_error = NULL, last_status = g.status, lease_until = now() + make_interval(secs => $2)
    FROM same JOIN given g USING (subscription_id, lease_token), grants o, districts d
    WHERE s.district_id = $1 AND s.subscription_id = same.subscription_id AND s.lease_token = g.lease_token
        AND o.district_id = $1 AND o.grant_id = s.grant_id AND o.state = 'active' AND o.changed_at = g.granted_at
        AND o.feed_from <= s.position AND d.district_id = $1 AND d.state = 'active'
    RETURNING s.subscription_id, s.lease_token, s.xmin::text::bigint AS version),
done AS (
    UPDATE batches b SET delivered_at = now(), body = '' FROM s JOIN given g USING (subscription_id, lease_token)
    WHERE b.district_id = $1 AND b.subscription_id = s.subscription_id AND b.batch_id = g.taken),
logged AS (
    INSERT INTO attempts (district_id, subscription_id, batch_id, attempt, milliseconds, status, remote_ip, excerpt)
    SELECT $1, subscription_id, g.taken, 1, g.milliseconds, g.status, g.remote_ip::inet, g.excerpt
    FROM s JOIN given g USING (subscription_id, lease_token)),
frozen AS (
    INSERT INTO batches (district_id, subscription_id, batch_id, window_to, inside, changes, body, sole)
    SELECT $1, subscription_id, g.batch_id, g.window_to, g.next_inside, g.changes, g.body, g.sole
    FROM s JOIN given g USING (subscription_id, lease_token))
SELECT subscription_id, lease_token, version FROM s
"""


#: A subscription and its lease.
Taken = tuple[UUID, UUID]


async def relay(tx: Transaction, steps: Sequence[Step], *, lease_seconds: float) -> dict[Taken, int]:
    """Takes the steps of the transaction's district that can be taken; for each of these, the version of its row now.

    Of a subscription that is missing in the answer nothing was written.
    """
    rows = await tx.fetch(_RELAY, tx.district_id, lease_seconds, *zip(*steps, strict=True))
    return {(row["subscription_id"], row["lease_token"]): row["version"] for row in rows}
