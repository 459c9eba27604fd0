"""Who may deliver: claims of subscriptions with a lease, over all districts.

The lease token is the fence. Every statement that changes a claimed subscription names it, so a worker that was away
for longer than its lease changes nothing: its result is thrown away, and the one who holds the lease sends the same
batch again.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID, uuid4

import asyncpg

from hub.store import presence
from hub.store.database import Database, Transaction
from hub.store.feed import Head

#: How soon it is looked again whether somebody who has a lease is gone.
GONE_SECONDS = 0.5
_CLAIMS_LOCK = 0x686F6F6B73  # "hooks": one claim at a time, so that the caps hold to the letter


@dataclass(frozen=True, slots=True)
class Claim:
    """The right to deliver for one subscription until its lease ends."""

    district_id: UUID
    subscription_id: UUID
    lease_token: UUID


class Held(NamedTuple):
    """A claimed subscription, its row locked. ``secret`` and ``certificate`` are sealed.

    ``inside``: as in hub.changes.window.Place.

    ``told_to``: how far the receiver was told, where that is not ``position``. ``batch_changes``, ``refused`` and
    ``isolating``: see hub.webhooks.portions and hub.webhooks.isolation. From ``mode`` on: hub.webhooks.terms.
    ``failing_told``: when people were told that it fails.
    ``has_parked``: whether any change is; ``granted_at``: when the grant last changed. ``version``: another one, once
    another transaction has changed the row.
    """

    grant_id: UUID
    url: str
    state: str
    secret: bytes
    certificate: bytes | None
    position: int
    told_to: int | None
    attempt: int
    failing_told: datetime | None
    batch_changes: int | None
    isolating: int | None
    replaying_to: int | None
    retry_parked: bool
    set_back: bool
    mode: Any
    types: list[str]
    max_bytes: int | None
    max_changes: int
    quiet_seconds: float
    longest_wait_seconds: float
    rate_per_minute: int | None
    has_parked: bool
    head: Head
    granted_at: datetime
    quick: int
    refused: int
    window_to: int | None
    inside: dict[str, Any] | None
    batch_id: str | None
    version: int

    def relayed(self, window_to: int, inside: dict[str, Any] | None, batch_id: str, version: int) -> Held:
        """The row once its batch was taken and the next one is frozen: only the last fields are others then."""
        fields: tuple[Any, ...] = (*self[:_STEADY], 0, 0, window_to, inside, batch_id, version)
        return Held._make(fields)


_STEADY = Held._fields.index("quick")
_HEAD = ("grant_state", "district_state", "steps", "district_position", "feed_from")
_OWN = [name for name in Held._fields if name not in {"has_parked", "head", "granted_at", "version"}]


def holding(update: str, *also: str) -> str:
    """A statement that changes one subscription and gives what ``held`` reads: the row, and the head of its feed.

    ``also``: further parts of the WITH clause, in which ``s`` is the changed row.
    """
    changed = (
        f"s AS ({update} RETURNING district_id, subscription_id, xmin::text::bigint AS version, {', '.join(_OWN)})"
    )
    return (
        f"WITH {', '.join((changed, *also))} "
        f"SELECT {', '.join(f's.{name}' for name in _OWN)}, g.state AS grant_state, d.state AS district_state, "
        "g.steps, d.position AS district_position, g.feed_from, g.changed_at AS granted_at, s.version, "
        "EXISTS (SELECT 1 FROM parked p WHERE p.district_id = s.district_id "
        "AND p.subscription_id = s.subscription_id) AS has_parked "
        "FROM s JOIN grants g USING (district_id, grant_id) JOIN districts d USING (district_id)"
    )


def held(row: asyncpg.Record | None) -> Held | None:
    """What a statement of ``holding`` gave."""
    if row is None:
        return None
    found = dict(row)
    head = Head(**{name: found.pop(name) for name in _HEAD})
    return Held(**found, head=head)


_BEHIND = (
    "((s.state = 'active' AND (s.batch_id IS NOT NULL OR s.window_to IS NOT NULL OR s.retry_parked "
    "OR s.set_back OR s.looked_to < d.position)) OR (s.state = 'resync_required' AND s.batch_id IS NOT NULL))"
)
# Times that lie further ahead than anything is ever put off were written before the database's clock was set back.
_FREE = (
    "(s.lease_until IS NULL OR s.lease_until < now() OR s.lease_until > now() + interval '15 minutes' "
    f"OR {presence.abandoned('s.lease_token')})"
)
_READY = (
    "(s.ready_at <= now() OR (s.ready_at > now() + interval '3 minutes' "
    "AND (s.attempt = 0 OR s.ready_at > now() + interval '30 hours')))"
)
# Who failed at a receiver that works has waited for its time, and goes before those in line: behind them it would wait
# for a hundred batches of each. Its place was theirs meanwhile, so that nobody keeps others out by failing.
_IN_LINE = "(s.quick = 0 OR s.attempt > s.quick)"
# Of one district and one host no more rows are looked at than the smaller of the two could have: then whom a full
# district or a full host keeps out cannot hide the others behind it.
_DUE = f"""
WITH leased AS (SELECT district_id, host FROM subscriptions s WHERE NOT {_FREE}),
due AS (
    SELECT s.district_id, s.subscription_id, s.host, {_IN_LINE} AS in_line, s.ready_at,
           row_number() OVER (PARTITION BY s.district_id, s.host ORDER BY {_IN_LINE}, s.ready_at) AS place
    FROM subscriptions s JOIN districts d USING (district_id)
    WHERE d.state = 'active' AND {_READY} AND {_FREE} AND {_BEHIND})
SELECT district_id, subscription_id, host,
       (SELECT count(*) FROM leased l WHERE l.district_id = due.district_id)::int AS of_district,
       (SELECT count(*) FROM leased l WHERE l.host = due.host)::int AS of_host
FROM due WHERE place <= least($1::int, $2::int) ORDER BY in_line, ready_at
"""
_CLAIM = f"""
WITH chosen AS (
    SELECT s.district_id, s.subscription_id
    FROM subscriptions s JOIN unnest($1::uuid[], $2::uuid[]) AS c(district_id, subscription_id)
        USING (district_id, subscription_id)
    WHERE s.state IN ('active', 'resync_required') AND {_FREE}
    FOR UPDATE OF s SKIP LOCKED)
UPDATE subscriptions s SET lease_token = $3, lease_until = now() + make_interval(secs => $4)
FROM chosen c WHERE s.district_id = c.district_id AND s.subscription_id = c.subscription_id
RETURNING s.district_id, s.subscription_id, s.lease_token
"""
_HOLD = holding(
    "UPDATE subscriptions SET lease_until = now() + make_interval(secs => $4) "
    "WHERE district_id = $1 AND subscription_id = $2 AND lease_token = $3"
)
# A lease may be a dead worker's: what it held is free when it ends, or as soon as its holder is gone. Of that nobody is
# told, so while there are leases it is looked every half second.
_NEXT = f"""
SELECT extract(epoch FROM least(
    (SELECT min(s.ready_at) FROM subscriptions s JOIN districts d USING (district_id)
     WHERE d.state = 'active' AND s.ready_at > now() AND {_BEHIND}),
    (SELECT least(min(s.lease_until), now() + make_interval(secs => {GONE_SECONDS})) FROM subscriptions s
     WHERE s.lease_until > now() HAVING count(*) > 0)) - now())::float8
"""


async def claim(
    db: Database, token: UUID | None = None, *, limit: int, per_district: int, lease_seconds: float, per_host: int = 16
) -> list[Claim]:
    """Claims up to ``limit`` subscriptions that have something to send, over all districts, longest waiting first.

    Before them come those that are tried again soon, since their receiver works (hub.webhooks.schedule.QUICK).
    No district has more than ``per_district`` leases at a time and no host more than ``per_host``, whatever the number
    of workers. ``token``: of the leases; those with one of hub.store.presence are free once its process is gone.
    """
    async with db.shared() as tx:
        await tx.execute("SELECT pg_advisory_xact_lock($1)", _CLAIMS_LOCK)
        chosen = _within(await tx.fetch(_DUE, per_district, per_host), limit, per_district, per_host)
        if not chosen:
            return []
        districts, subscriptions = zip(*chosen, strict=True)
        rows = await tx.fetch(_CLAIM, districts, subscriptions, token or uuid4(), lease_seconds)
    return [Claim(**row) for row in rows]


def _within(due: Sequence[asyncpg.Record], limit: int, per_district: int, per_host: int) -> list[tuple[UUID, UUID]]:
    """The first that neither their district's nor their host's places keep out."""
    districts: Counter[UUID] = Counter()
    hosts: Counter[str] = Counter()
    chosen: list[tuple[UUID, UUID]] = []
    for district_id, subscription_id, host, of_district, of_host in due:
        if len(chosen) == limit:
            break
        if of_district + districts[district_id] < per_district and of_host + hosts[host] < per_host:
            districts[district_id] += 1
            hosts[host] += 1
            chosen.append((district_id, subscription_id))
    return chosen


async def next_due(db: Database) -> float | None:
    """Seconds until the next subscription that waits for its time, or a lease may be free; None for neither."""
    async with db.statement() as tx:
        seconds: float | None = await tx.fetchval(_NEXT)
    return seconds


async def lively(db: Database, *, seconds: float) -> list[tuple[str, float]]:
    """Receivers that took something within so many last seconds, over all districts: a URL there, and how long ago."""
    async with db.shared() as tx:
        rows = await tx.fetch(
            "SELECT min(url) AS url, extract(epoch FROM now() - max(taken_at))::float8 AS ago FROM subscriptions "
            "WHERE taken_at > now() - make_interval(secs => $1) GROUP BY host",
            seconds,
        )  # fmt: skip
    return [(row["url"], max(0.0, row["ago"])) for row in rows]


async def plain(db: Database) -> int:
    """How many subscriptions that are not disabled go to http://, over all districts."""
    async with db.shared() as tx:
        found: int = await tx.fetchval(
            "SELECT count(*) FROM subscriptions WHERE url LIKE 'http://%' AND state <> 'disabled'"
        )
    return found


async def hold(tx: Transaction, claim: Claim, *, lease_seconds: float) -> Held | None:
    """Renews the lease and locks the row; None when the lease is somebody else's now or the row is gone."""
    return held(await tx.fetchrow(
        _HOLD, claim.district_id, claim.subscription_id, claim.lease_token, lease_seconds
    ))  # fmt: skip


async def release(tx: Transaction, claim: Claim, *, wait_seconds: float = 0, looked_to: int | None = None) -> None:
    """Gives the lease back; the subscription is not claimed again for ``wait_seconds``."""
    await tx.execute(
        "UPDATE subscriptions SET lease_token = NULL, lease_until = NULL, "
        "ready_at = now() + make_interval(secs => $4), looked_to = greatest(looked_to, $5) "
        "WHERE district_id = $1 AND subscription_id = $2 AND lease_token = $3",
        claim.district_id, claim.subscription_id, claim.lease_token, wait_seconds, looked_to or 0,
    )  # fmt: skip
