"""Apps, their OAuth clients and access tokens: shared tables, since an app may hold grants in many districts.

Only the SHA-256 of an access token is kept: 256 random bits need no slow hash. A client's secret is kept as argon2id,
see hub/api/client_secrets.py.
"""

from __future__ import annotations

import hashlib
import secrets
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from hub.errors import Code, HubError
from hub.store.database import TakenError, Transaction

#: What every access token starts with, so that scanners of source code find leaked ones.
TOKEN_PREFIX = "rh_at_"
CLIENT_PREFIX = "rh_cl_"
LONGEST_TOKEN = 100


@dataclass(frozen=True, slots=True)
class App:
    """One vendor's product. ``behaviour``: those settings of hub.api.behaviour.Behaviour that were set."""

    app_id: UUID
    name: str
    behaviour: dict[str, Any]
    created_at: datetime


@dataclass(frozen=True, slots=True)
class Client:
    """One set of OAuth credentials of an app. ``scopes`` are the most that it may ask for."""

    client_id: str
    app_id: UUID
    secret_hash: str
    scopes: list[str]
    state: str
    created_at: datetime
    rotated_at: datetime | None


@dataclass(frozen=True, slots=True)
class AccessToken:
    """What is known of one access token."""

    token_hash: bytes
    client_id: str
    app_id: UUID
    scopes: list[str]
    expires_at: datetime


_APP = ", ".join(App.__dataclass_fields__)
_CLIENT = ", ".join(Client.__dataclass_fields__)
_TOKEN = ", ".join(AccessToken.__dataclass_fields__)


async def create(tx: Transaction, app_id: UUID, name: str) -> App:
    """Adds an app. Raises HubError(CONFLICT) when another has this name."""
    row = await tx.fetchrow(
        f"INSERT INTO apps (app_id, name) VALUES ($1, $2) ON CONFLICT DO NOTHING RETURNING {_APP}", app_id, name
    )
    if row is None:
        raise HubError(Code.CONFLICT, "There is an app of this name already.")
    return App(**row)


async def get(tx: Transaction, app_id: UUID) -> App:
    """One app. Raises HubError(NOT_FOUND)."""
    row = await tx.fetchrow(f"SELECT {_APP} FROM apps WHERE app_id = $1", app_id)
    if row is None:
        raise HubError(Code.NOT_FOUND, "There is no such app.")
    return App(**row)


async def listing(tx: Transaction, *, after: UUID | None = None, limit: int = 100) -> list[App]:
    """Apps in the order of their ids, from ``after`` on (exclusive)."""
    rows = await tx.fetch(
        f"SELECT {_APP} FROM apps WHERE $1::uuid IS NULL OR app_id > $1 ORDER BY app_id LIMIT $2", after, limit
    )
    return [App(**row) for row in rows]


async def change(tx: Transaction, app_id: UUID, *, name: str | None = None, behaviour: dict[str, Any]) -> App:
    """Renames an app, and sets some of its settings beside those that it has.

    Raises HubError(NOT_FOUND), HubError(CONFLICT) when another app has this name.
    """
    try:
        row = await tx.fetchrow(
            "UPDATE apps SET name = coalesce($2, name), behaviour = behaviour || $3::jsonb WHERE app_id = $1 "
            f"RETURNING {_APP}",
            app_id, name, behaviour,
        )  # fmt: skip
    except TakenError:
        raise HubError(Code.CONFLICT, "There is an app of this name already.") from None
    if row is None:
        raise HubError(Code.NOT_FOUND, "There is no such app.")
    return App(**row)


async def limits(tx: Transaction, app_id: UUID) -> dict[str, Any]:
    """What was set of an app's limits (hub.api.limits.Limits). Raises HubError(NOT_FOUND)."""
    held: dict[str, Any] | None = await tx.fetchval("SELECT limits FROM apps WHERE app_id = $1", app_id)
    if held is None:
        raise HubError(Code.NOT_FOUND, "There is no such app.")
    return held


async def set_limits(tx: Transaction, app_id: UUID, limits: dict[str, Any]) -> None:
    """Sets an app's limits in place of those that were set before. Raises HubError(NOT_FOUND)."""
    if not await tx.execute("UPDATE apps SET limits = $2 WHERE app_id = $1", app_id, limits):
        raise HubError(Code.NOT_FOUND, "There is no such app.")


def new_client_id() -> str:
    """A random client id, which says nothing about its app."""
    return CLIENT_PREFIX + secrets.token_hex(12)


async def create_client(
    tx: Transaction, client_id: str, *, app_id: UUID, secret_hash: str, scopes: list[str]
) -> Client:
    """Adds credentials to an app. ``scopes`` are full scope addresses."""
    row = await tx.fetchrow(
        f"INSERT INTO clients (client_id, app_id, secret_hash, scopes) VALUES ($1, $2, $3, $4) RETURNING {_CLIENT}",
        client_id, app_id, secret_hash, scopes,
    )  # fmt: skip
    assert row is not None
    return Client(**row)


async def find_client(tx: Transaction, client_id: str) -> Client | None:
    """One client in any state, or None."""
    row = await tx.fetchrow(f"SELECT {_CLIENT} FROM clients WHERE client_id = $1", client_id)
    return None if row is None else Client(**row)


async def get_client(tx: Transaction, app_id: UUID, client_id: str) -> Client:
    """One client of one app. Raises HubError(NOT_FOUND) for one of another app as well."""
    client = await find_client(tx, client_id)
    if client is None or client.app_id != app_id:
        raise HubError(Code.NOT_FOUND, "This app has no such client.")
    return client


async def clients(tx: Transaction, app_id: UUID) -> list[Client]:
    """All clients of an app, oldest first."""
    rows = await tx.fetch(f"SELECT {_CLIENT} FROM clients WHERE app_id = $1 ORDER BY created_at, client_id", app_id)
    return [Client(**row) for row in rows]


async def rotate_client(tx: Transaction, client_id: str, secret_hash: str, now: datetime) -> Client:
    """Gives an active client another secret; its tokens stay valid. Raises HubError(NOT_FOUND)."""
    row = await tx.fetchrow(
        "UPDATE clients SET secret_hash = $2, rotated_at = $3 WHERE client_id = $1 AND state = 'active' "
        f"RETURNING {_CLIENT}",
        client_id, secret_hash, now,
    )  # fmt: skip
    if row is None:
        raise HubError(Code.NOT_FOUND, "There is no such active client.")
    return Client(**row)


async def revoke_client(tx: Transaction, client_id: str, now: datetime) -> Client:
    """Ends a client and all its tokens, at once and for good. Raises HubError(NOT_FOUND)."""
    row = await tx.fetchrow(f"UPDATE clients SET state = 'revoked' WHERE client_id = $1 RETURNING {_CLIENT}", client_id)
    if row is None:
        raise HubError(Code.NOT_FOUND, "There is no such client.")
    await tx.execute(
        "UPDATE access_tokens SET revoked_at = $2 WHERE client_id = $1 AND revoked_at IS NULL", client_id, now
    )
    return Client(**row)


def new_token() -> str:
    """A new access token: 256 random bits behind ``TOKEN_PREFIX``."""
    return TOKEN_PREFIX + secrets.token_urlsafe(32)


def digest(token: str) -> bytes:
    """What is stored of an access token."""
    return hashlib.sha256(token.encode()).digest()


async def issue(
    tx: Transaction, token: str, *, client_id: str, secret_hash: str, scopes: list[str], now: datetime,
    expires_at: datetime,
) -> bool:  # fmt: skip
    """Stores a token; False when the client was revoked or got another secret since it was looked at.

    The client's row is locked meanwhile, so that no token slips in behind ``revoke_client``.
    """
    stored = await tx.execute(
        "INSERT INTO access_tokens (token_hash, client_id, app_id, scopes, issued_at, expires_at) "
        "SELECT $1, client_id, app_id, $4, $5, $6 FROM clients "
        "WHERE client_id = $2 AND state = 'active' AND secret_hash = $3 FOR SHARE",
        digest(token), client_id, secret_hash, scopes, now, expires_at,
    )  # fmt: skip
    return bool(stored)


async def find_token(tx: Transaction, token_hash: bytes, now: datetime) -> AccessToken | None:
    """A token that is valid at ``now``; None for one that is unknown, expired or revoked alike."""
    row = await tx.fetchrow(
        f"SELECT {_TOKEN} FROM access_tokens WHERE token_hash = $1 AND expires_at > $2 AND revoked_at IS NULL",
        token_hash,
        now,
    )
    return None if row is None else AccessToken(**row)


async def revoke_token(tx: Transaction, token_hash: bytes, now: datetime) -> None:
    """Ends one token; ending it again changes nothing."""
    await tx.execute(
        "UPDATE access_tokens SET revoked_at = $2 WHERE token_hash = $1 AND revoked_at IS NULL", token_hash, now
    )


async def forget_tokens(tx: Transaction, before: datetime) -> int:
    """Deletes tokens that expired before a time; how many."""
    return await tx.execute("DELETE FROM access_tokens WHERE expires_at < $1", before)
