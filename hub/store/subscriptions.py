"""Webhook subscriptions: each is a position on its grant's feed. What users of the admin API do with them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from hub.errors import Code, HubError
from hub.store.database import Transaction


@dataclass(frozen=True, slots=True)
class Subscription:
    """One subscription, without its secret. ``attempt``: failures in a row; ``last_error``: their class.

    ``public_keys``: as hub.webhooks.keyring.PublicKey.as_json, newest first. ``batch_changes``, ``told_to``,
    ``replaying_to``: as in hub.store.claims.Held; from ``mode`` on: hub.webhooks.terms.
    ``inside``: the last acknowledged place of the window up to ``window_to``, as in hub.changes.window.Place.
    """

    subscription_id: UUID
    grant_id: UUID
    url: str
    signatures: list[str]
    public_keys: list[dict[str, Any]]
    certificate_subject: str | None
    certificate_expires_at: datetime | None
    state: str
    position: int
    window_to: int | None
    inside: dict[str, Any] | None
    attempt: int
    ready_at: datetime
    failing_since: datetime | None
    last_error: str | None
    last_status: int | None
    created_at: datetime
    told_to: int | None
    replaying_to: int | None
    batch_changes: int | None
    mode: Any
    types: list[str]
    max_bytes: int | None
    max_changes: int
    quiet_seconds: float
    longest_wait_seconds: float
    rate_per_minute: int | None


#: The next moment at which an attempt keeps to the rate.
_AT_THE_RATE = "greatest(now(), attempted_at + make_interval(secs => 60.0 / {rate}))"
_DUE = _AT_THE_RATE.format(rate="rate_per_minute")


@dataclass(frozen=True, slots=True)
class Keys:
    """Signing keys as they are stored: all of them sealed in ``secret``, and what may be shown of them."""

    secret: bytes
    signatures: list[str]
    public_keys: list[dict[str, Any]]


_COLUMNS = ", ".join(Subscription.__dataclass_fields__)


@dataclass(frozen=True, slots=True)
class Sealed:
    """What a subscription signs with and shows, as it is stored."""

    secret: bytes
    certificate: bytes | None


async def create(
    tx: Transaction, subscription_id: UUID, *, grant_id: UUID, url: str, keys: Keys, state: str = "active",
    last_error: str | None = None, last_status: int | None = None,
) -> Subscription:  # fmt: skip
    """Adds a subscription ("active" or "unproven") that starts at the head of its grant's feed.

    Raises HubError(NOT_FOUND) when the district has no such grant, HubError(CONFLICT) when it was revoked.
    """
    row = await tx.fetchrow(
        "INSERT INTO subscriptions "
        "(district_id, subscription_id, grant_id, url, secret, signatures, public_keys, "
        "state, last_error, last_status, position, looked_to) "
        "SELECT $1, $2, $3, $4, $5, $6, $7, $8, $9, $10, "
        "g.steps, d.position "
        "FROM grants g JOIN districts d USING (district_id) "
        f"WHERE g.district_id = $1 AND g.grant_id = $3 AND g.state <> 'revoked' RETURNING {_COLUMNS}",
        tx.district_id, subscription_id, grant_id, url, keys.secret, keys.signatures, keys.public_keys, state,
        last_error, last_status,
    )  # fmt: skip
    if row is not None:
        return Subscription(**row)
    known = await tx.fetchval("SELECT 1 FROM grants WHERE district_id = $1 AND grant_id = $2", tx.district_id, grant_id)
    if known is None:
        raise HubError(Code.NOT_FOUND, "This district has no such grant.")
    raise HubError(Code.CONFLICT, "This grant was revoked. Create a new one.")


async def get(tx: Transaction, subscription_id: UUID, *, lock: bool = False) -> Subscription:
    """One subscription; ``lock``: its row stays locked until the transaction ends. Raises HubError(NOT_FOUND)."""
    return _found(
        await tx.fetchrow(
            f"SELECT {_COLUMNS} FROM subscriptions WHERE district_id = $1 AND subscription_id = $2"
            f"{' FOR UPDATE' if lock else ''}",
            tx.district_id, subscription_id,
        )
    )  # fmt: skip


async def listing(tx: Transaction, *, grant_id: UUID | None = None) -> list[Subscription]:
    """The district's subscriptions, or those of one grant, oldest first."""
    rows = await tx.fetch(
        f"SELECT {_COLUMNS} FROM subscriptions WHERE district_id = $1 AND ($2::uuid IS NULL OR grant_id = $2) "
        "ORDER BY created_at, subscription_id",
        tx.district_id, grant_id,
    )  # fmt: skip
    return [Subscription(**row) for row in rows]


async def edit(
    tx: Transaction, subscription_id: UUID, *, mode: str, types: Sequence[str], max_bytes: int | None,
    max_changes: int, quiet_seconds: float, longest_wait_seconds: float, rate_per_minute: int | None,
) -> Subscription:  # fmt: skip
    """Sets how it wants to be told. A frozen batch stays as it is. Raises HubError(NOT_FOUND)."""
    due = _AT_THE_RATE.format(rate="$9::int")
    return _found(
        await tx.fetchrow(
            "UPDATE subscriptions SET mode = $3, types = $4, max_bytes = $5, max_changes = $6, quiet_seconds = $7, "
            "longest_wait_seconds = $8, rate_per_minute = $9, "
            "batch_changes = CASE WHEN batch_changes < $6 THEN batch_changes END, "
            f"ready_at = CASE WHEN attempt = 0 THEN {due} ELSE ready_at END "
            f"WHERE district_id = $1 AND subscription_id = $2 RETURNING {_COLUMNS}",
            tx.district_id, subscription_id, mode, types, max_bytes, max_changes, quiet_seconds, longest_wait_seconds,
            rate_per_minute,
        )
    )  # fmt: skip


async def move(
    tx: Transaction, subscription_id: UUID, position: int, *, replaying_to: int | None = None
) -> Subscription:
    """Puts a subscription at another step of its feed, due at once. Raises HubError(NOT_FOUND).

    What is frozen is forgotten, and whoever delivers at the moment loses the lease: the outcome changes nothing.
    """
    row = await tx.fetchrow(
        "UPDATE subscriptions SET position = $3, replaying_to = $4, told_to = NULL, window_to = NULL, inside = NULL, "
        "batch_id = NULL, refused = 0, isolating = NULL, looked_to = 0, lease_token = NULL, lease_until = NULL, "
        f"attempt = 0, ready_at = {_DUE}, state = CASE WHEN state = 'resync_required' THEN 'active' ELSE state END "
        f"WHERE district_id = $1 AND subscription_id = $2 RETURNING {_COLUMNS}",
        tx.district_id, subscription_id, position, replaying_to,
    )  # fmt: skip
    await tx.execute(
        "DELETE FROM batches WHERE district_id = $1 AND subscription_id = $2 AND delivered_at IS NULL",
        tx.district_id, subscription_id,
    )  # fmt: skip
    return _found(row)


async def set_back(tx: Transaction) -> int:
    """Notes of the district's subscriptions that their receivers may know more than the database; how many.

    For after a backup was restored. What is frozen is forgotten, and whoever delivers at the moment loses the lease.
    """
    changed = await tx.execute(
        "UPDATE subscriptions SET set_back = true, told_to = coalesce(told_to, position), window_to = NULL, "
        "inside = NULL, batch_id = NULL, refused = 0, isolating = NULL, replaying_to = NULL, lease_token = NULL, "
        "lease_until = NULL, attempt = 0, ready_at = now(), "
        "state = CASE WHEN state = 'resync_required' THEN 'active' ELSE state END "
        "WHERE district_id = $1 AND state <> 'unproven'",
        tx.district_id,
    )
    await tx.execute("DELETE FROM batches WHERE district_id = $1 AND delivered_at IS NULL", tx.district_id)
    return changed


async def pause(tx: Transaction, subscription_id: UUID) -> Subscription:
    """Stops deliveries; the position stands still and nothing is lost. Raises HubError(NOT_FOUND)."""
    return _found(
        await tx.fetchrow(
            "UPDATE subscriptions SET state = 'paused' "
            f"WHERE district_id = $1 AND subscription_id = $2 RETURNING {_COLUMNS}",
            tx.district_id, subscription_id,
        )
    )  # fmt: skip


async def resume(tx: Transaction, subscription_id: UUID) -> Subscription:
    """Goes on where the subscription stopped, at once and with a fresh schedule. Raises HubError(NOT_FOUND)."""
    return _found(
        await tx.fetchrow(
            f"UPDATE subscriptions SET state = 'active', ready_at = {_DUE}, attempt = 0, failing_since = NULL "
            f"WHERE district_id = $1 AND subscription_id = $2 RETURNING {_COLUMNS}",
            tx.district_id, subscription_id,
        )
    )  # fmt: skip


async def point(
    tx: Transaction, subscription_id: UUID, url: str, *, state: str | None, last_error: str | None,
    last_status: int | None,
) -> Subscription:  # fmt: skip
    """Sends to another URL with a fresh schedule; position, batch and log stay. Raises HubError(NOT_FOUND).

    ``state``: None leaves it as it is.
    """
    return _found(
        await tx.fetchrow(
            "UPDATE subscriptions SET url = $3, state = coalesce($4, state), last_error = $5, last_status = $6, "
            f"ready_at = {_DUE}, attempt = 0, failing_since = NULL "
            f"WHERE district_id = $1 AND subscription_id = $2 RETURNING {_COLUMNS}",
            tx.district_id, subscription_id, url, state, last_error, last_status,
        )
    )  # fmt: skip


async def sealed(tx: Transaction, subscription_id: UUID) -> Sealed:
    """What the subscription signs with and shows, without a lock. Raises HubError(NOT_FOUND)."""
    row = await tx.fetchrow(
        "SELECT secret, certificate FROM subscriptions WHERE district_id = $1 AND subscription_id = $2",
        tx.district_id, subscription_id,
    )  # fmt: skip
    if row is None:
        raise _missing()
    return Sealed(**row)


async def sealed_secret(tx: Transaction, subscription_id: UUID) -> bytes:
    """The sealed signing secrets, locked until the transaction ends. Raises HubError(NOT_FOUND)."""
    secret: bytes | None = await tx.fetchval(
        "SELECT secret FROM subscriptions WHERE district_id = $1 AND subscription_id = $2 FOR UPDATE",
        tx.district_id, subscription_id,
    )  # fmt: skip
    if secret is None:
        raise _missing()
    return secret


async def replace_keys(tx: Transaction, subscription_id: UUID, keys: Keys) -> Subscription:
    """Stores other signing keys. Raises HubError(NOT_FOUND)."""
    return _found(
        await tx.fetchrow(
            "UPDATE subscriptions SET secret = $3, signatures = $4, public_keys = $5 "
            f"WHERE district_id = $1 AND subscription_id = $2 RETURNING {_COLUMNS}",
            tx.district_id, subscription_id, keys.secret, keys.signatures, keys.public_keys,
        )
    )  # fmt: skip


async def replace_certificate(
    tx: Transaction, subscription_id: UUID, sealed: bytes | None, subject: str | None, expires_at: datetime | None
) -> Subscription:
    """Stores another client certificate, or none. Raises HubError(NOT_FOUND)."""
    return _found(
        await tx.fetchrow(
            "UPDATE subscriptions SET certificate = $3, certificate_subject = $4, certificate_expires_at = $5 "
            f"WHERE district_id = $1 AND subscription_id = $2 RETURNING {_COLUMNS}",
            tx.district_id, subscription_id, sealed, subject, expires_at,
        )
    )  # fmt: skip


async def delete(tx: Transaction, subscription_id: UUID) -> None:
    """Removes a subscription with all that is queued and its log. Raises HubError(NOT_FOUND).

    The row goes last and is locked first: a delivery in flight then finds no lease and throws its result away.
    """
    await sealed_secret(tx, subscription_id)
    for table in ("attempts", "parked", "batches", "subscriptions"):
        await tx.execute(
            f"DELETE FROM {table} WHERE district_id = $1 AND subscription_id = $2", tx.district_id, subscription_id
        )


def _found(row: Any) -> Subscription:
    if row is None:
        raise _missing()
    return Subscription(**row)


def _missing() -> HubError:
    return HubError(Code.NOT_FOUND, "This district has no such subscription.")
