"""Apps, their OAuth clients and access tokens: shared tables, since an app may hold grants in many districts.

Only the SHA-256 of an access token is kept: 256 random bits need no slow hash. A client's secret is kept as argon2id,
see hub/api/client_secrets.py; that of OAuth 1 has to be had in clear to check a signature, and is kept sealed.
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
    """One vendor's product. ``behaviour``: those settings of hub.behaviour.Behaviour that were set."""

    app_id: UUID
    name: str
    behaviour: dict[str, Any]
    created_at: datetime


@dataclass(frozen=True, slots=True)
class Client:
    """One set of OAuth credentials of an app. ``scopes`` are the most that it may ask for.

    Either ``secret_hash`` or ``jwks`` (public keys, RFC 7517) is there. ``oauth1_secret`` is sealed (hub/crypto.py),
    and None where OAuth 1 is off; the one before it counts until ``oauth1_old_until``.
    """

    client_id: str
    app_id: UUID
    secret_hash: str | None
    jwks: dict[str, Any] | None
    oauth1_secret: bytes | None
    oauth1_old_secret: bytes | None
    oauth1_old_until: datetime | None
    scopes: list[str]
    state: str
    created_at: datetime
    rotated_at: datetime | None

    @property
    def active(self) -> bool:
        """Whether it was not revoked."""
        return self.state == "active"

    @property
    def oauth1(self) -> bool:
        """Whether it may sign with OAuth 1."""
        return self.oauth1_secret is not None

    def oauth1_secrets(self, now: datetime) -> tuple[bytes, ...]:
        """The sealed secrets that it may sign with."""
        old = self.oauth1_old_secret if self.oauth1_old_until is not None and self.oauth1_old_until > now else None
        return tuple(s for s in (self.oauth1_secret, old) if s is not None) if self.active and self.oauth1 else ()


@dataclass(frozen=True, slots=True)
class AccessToken:
    """What is known of one access token."""

    token_hash: bytes
    client_id: str
    app_id: UUID
    scopes: list[str]
    issued_at: datetime
    expires_at: datetime
    revoked_at: datetime | None

    def valid(self, now: datetime) -> bool:
        """Whether it opens anything at ``now``."""
        return self.revoked_at is None and self.expires_at > now


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
    tx: Transaction, client_id: str, *, app_id: UUID, secret_hash: str | None = None,
    jwks: dict[str, Any] | None = None, scopes: list[str],
) -> Client:  # fmt: skip
    """Adds credentials to an app: a secret's hash or public keys. ``scopes`` are full scope addresses."""
    row = await tx.fetchrow(
        "INSERT INTO clients (client_id, app_id, secret_hash, jwks, scopes) VALUES ($1, $2, $3, $4, $5) "
        f"RETURNING {_CLIENT}",
        client_id, app_id, secret_hash, jwks, scopes,
    )  # fmt: skip
    assert row is not None
    return Client(**row)


async def find_client(tx: Transaction, client_id: str) -> Client | None:
    """One client in any state, or None."""
    if "\0" in client_id:  # PostgreSQL stores no such text
        return None
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


async def rotate_client(
    tx: Transaction, client_id: str, secret_hash: str | None, now: datetime, *, jwks: dict[str, Any] | None = None
) -> Client:
    """Gives an active client another secret, or other keys in the place of those that it has; its tokens stay valid.

    Raises HubError(NOT_FOUND), and HubError(CONFLICT) for a secret where there are keys, and the other way round.
    """
    row = await tx.fetchrow(
        "UPDATE clients SET secret_hash = $2, jwks = $3, rotated_at = $4 WHERE client_id = $1 AND state = 'active' "
        f"AND (secret_hash IS NULL) = ($2::text IS NULL) RETURNING {_CLIENT}",
        client_id, secret_hash, jwks, now,
    )  # fmt: skip
    if row is None:
        raise await _not_so(tx, client_id, "This client proves itself in the other way: by its keys, or its secret.")
    return Client(**row)


async def switch_oauth1(
    tx: Transaction, client_id: str, sealed: bytes | None, *, was_on: bool, old_until: datetime | None = None
) -> Client:
    """Gives an active client whose OAuth 1 ``was_on`` or not a sealed secret; None switches it off.

    The secret that it has counts until ``old_until``; any before that ends at once.

    Raises HubError(NOT_FOUND), and HubError(CONFLICT) when OAuth 1 is not as ``was_on`` says.
    """
    row = await tx.fetchrow(
        "UPDATE clients SET oauth1_secret = $2, oauth1_old_until = $4, "
        "oauth1_old_secret = CASE WHEN $4::timestamptz IS NOT NULL THEN oauth1_secret END "
        f"WHERE client_id = $1 AND state = 'active' AND (oauth1_secret IS NOT NULL) = $3 RETURNING {_CLIENT}",
        client_id, sealed, was_on, old_until,
    )  # fmt: skip
    if row is None:
        raise await _not_so(tx, client_id, f"OAuth 1 is {'off' if was_on else 'on already'} for this client.")
    return Client(**row)


async def _not_so(tx: Transaction, client_id: str, otherwise: str) -> HubError:
    client = await find_client(tx, client_id)
    if client is None or not client.active:
        return HubError(Code.NOT_FOUND, "There is no such active client.")
    return HubError(Code.CONFLICT, otherwise)


async def revoke_client(tx: Transaction, client_id: str, now: datetime) -> Client:
    """Ends a client, its signatures and all its tokens, at once and for good. Raises HubError(NOT_FOUND)."""
    row = await tx.fetchrow(
        "UPDATE clients SET state = 'revoked', oauth1_secret = NULL, oauth1_old_secret = NULL, oauth1_old_until = NULL "
        f"WHERE client_id = $1 RETURNING {_CLIENT}",
        client_id,
    )
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
    return hashlib.sha256(token.encode("utf-8", "surrogateescape")).digest()


async def issue(
    tx: Transaction, token: str, client: Client, *, scopes: list[str], now: datetime, expires_at: datetime
) -> bool:
    """Stores a token; False when the client was revoked or got another secret or keys since it was looked at.

    The client's row is locked meanwhile, so that no token slips in behind ``revoke_client``.
    """
    stored = await tx.execute(
        "INSERT INTO access_tokens (token_hash, client_id, app_id, scopes, issued_at, expires_at) "
        "SELECT $1, client_id, app_id, $5, $6, $7 FROM clients WHERE client_id = $2 AND state = 'active' "
        "AND secret_hash IS NOT DISTINCT FROM $3 AND jwks IS NOT DISTINCT FROM $4 FOR SHARE",
        digest(token), client.client_id, client.secret_hash, client.jwks, scopes, now, expires_at,
    )  # fmt: skip
    return bool(stored)


async def find_token(tx: Transaction, token_hash: bytes) -> AccessToken | None:
    """A token that was issued, valid or not any more. Those that expired a day ago may be forgotten."""
    row = await tx.fetchrow(f"SELECT {_TOKEN} FROM access_tokens WHERE token_hash = $1", token_hash)
    return None if row is None else AccessToken(**row)


async def revoke_token(tx: Transaction, token_hash: bytes, now: datetime) -> None:
    """Ends one token; ending it again changes nothing."""
    await tx.execute(
        "UPDATE access_tokens SET revoked_at = $2 WHERE token_hash = $1 AND revoked_at IS NULL", token_hash, now
    )
