"""Tokens of the admin API. Only the SHA-256 of a token is kept: 256 random bits need no slow hash."""

from __future__ import annotations

import hashlib
import secrets
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from hub.errors import Code, HubError
from hub.store.database import Transaction

PREFIX = "rh_ad_"


@dataclass(frozen=True, slots=True)
class AdminToken:
    """What is known of one token; the token itself is shown once, when it is made."""

    token_id: UUID
    name: str
    role: str
    scope_district: UUID | None
    scope_app: UUID | None
    created_at: datetime
    expires_at: datetime
    revoked_at: datetime | None

    def valid(self, now: datetime) -> bool:
        """Whether it opens anything at ``now``."""
        return self.revoked_at is None and self.expires_at > now


_COLUMNS = ", ".join(AdminToken.__dataclass_fields__)


def digest(token: str) -> bytes:
    """What is stored of a token."""
    return hashlib.sha256(token.encode("utf-8", "surrogateescape")).digest()


async def create(
    tx: Transaction, token_id: UUID, *, name: str, role: str, expires_at: datetime,
    district_id: UUID | None = None, app_id: UUID | None = None,
) -> tuple[AdminToken, str]:  # fmt: skip
    """Makes a token; its row and the token itself, which cannot be read again."""
    token = PREFIX + secrets.token_urlsafe(32)
    (row,) = await tx.fetch(
        "INSERT INTO admin_tokens (token_hash, token_id, name, role, scope_district, scope_app, expires_at) "
        f"VALUES ($1, $2, $3, $4, $5, $6, $7) RETURNING {_COLUMNS}",
        digest(token), token_id, name, role, district_id, app_id, expires_at,
    )  # fmt: skip
    return AdminToken(**row), token


async def find(tx: Transaction, token: str) -> AdminToken | None:
    """A token that was made, valid or not any more."""
    row = await tx.fetchrow(f"SELECT {_COLUMNS} FROM admin_tokens WHERE token_hash = $1", digest(token))
    return None if row is None else AdminToken(**row)


async def stands(tx: Transaction, token_id: UUID, now: datetime) -> bool:
    """Whether a token is valid at ``now``."""
    row = await tx.fetchrow(f"SELECT {_COLUMNS} FROM admin_tokens WHERE token_id = $1", token_id)
    return row is not None and AdminToken(**row).valid(now)


async def listing(tx: Transaction, *, after: UUID | None = None, limit: int = 100) -> list[AdminToken]:
    """All tokens, spent ones too, in the order of their ids, from ``after`` on (exclusive)."""
    rows = await tx.fetch(
        f"SELECT {_COLUMNS} FROM admin_tokens WHERE $1::uuid IS NULL OR token_id > $1 ORDER BY token_id LIMIT $2",
        after,
        limit,
    )
    return [AdminToken(**row) for row in rows]


async def revoke(tx: Transaction, token_id: UUID, now: datetime) -> AdminToken:
    """Ends a token; ending it again changes nothing. Raises HubError(NOT_FOUND)."""
    row = await tx.fetchrow(
        f"UPDATE admin_tokens SET revoked_at = coalesce(revoked_at, $2) WHERE token_id = $1 RETURNING {_COLUMNS}",
        token_id,
        now,
    )
    if row is None:
        raise HubError(Code.NOT_FOUND, "There is no such token.")
    return AdminToken(**row)
