"""Logins at the hub's own SFTP server, one for a source."""

from __future__ import annotations

import re
import secrets
from dataclasses import dataclass, field
from datetime import datetime
from uuid import UUID

from hub.errors import Code, HubError
from hub.store.database import Database, Transaction

_LETTERS = "abcdefghijkmnpqrstuvwxyz23456789"  # without those that look alike: people type them
_LENGTH = 20
_USERNAME = re.compile(rf"drop-[{_LETTERS}]{{{_LENGTH}}}")


@dataclass(frozen=True, slots=True)
class Drop:
    """One login. ``public_keys``: lines as in OpenSSH's authorized_keys, without options."""

    district_id: UUID
    source_id: UUID
    username: str
    password_hash: str | None = field(repr=False)
    public_keys: list[str]
    created_at: datetime
    changed_at: datetime
    used_at: datetime | None


_COLUMNS = ", ".join(Drop.__dataclass_fields__)


def new_username() -> str:
    """A name of 100 random bits."""
    return "drop-" + "".join(secrets.choice(_LETTERS) for _ in range(_LENGTH))


async def create(
    tx: Transaction, source_id: UUID, *, username: str, password_hash: str | None, public_keys: list[str]
) -> Drop:
    """Adds the login of a source. Raises HubError(CONFLICT) where it has one."""
    row = await tx.fetchrow(
        "INSERT INTO drops (district_id, source_id, username, password_hash, public_keys) VALUES ($1, $2, $3, $4, $5) "
        f"ON CONFLICT (district_id, source_id) DO NOTHING RETURNING {_COLUMNS}",
        tx.district_id, source_id, username, password_hash, public_keys,
    )  # fmt: skip
    if row is None:
        raise HubError(Code.CONFLICT, "The source has a drop already. Rotate its password, or remove it first.")
    return Drop(**row)


async def get(tx: Transaction, source_id: UUID) -> Drop:
    """The login of a source. Raises HubError(NOT_FOUND)."""
    row = await tx.fetchrow(
        f"SELECT {_COLUMNS} FROM drops WHERE district_id = $1 AND source_id = $2", tx.district_id, source_id
    )
    if row is None:
        raise _none()
    return Drop(**row)


async def change(tx: Transaction, source_id: UUID, *, password_hash: str | None, public_keys: list[str]) -> Drop:
    """Sets both ways to log in; sessions that there are end. Raises HubError(NOT_FOUND)."""
    row = await tx.fetchrow(
        "UPDATE drops SET password_hash = $3, public_keys = $4, changed_at = clock_timestamp() "
        f"WHERE district_id = $1 AND source_id = $2 RETURNING {_COLUMNS}",
        tx.district_id, source_id, password_hash, public_keys,
    )  # fmt: skip
    if row is None:
        raise _none()
    return Drop(**row)


async def delete(tx: Transaction, source_id: UUID) -> None:
    """Takes the login away; sessions that there are end. Raises HubError(NOT_FOUND)."""
    if not await tx.execute("DELETE FROM drops WHERE district_id = $1 AND source_id = $2", tx.district_id, source_id):
        raise _none()


async def find(db: Database, username: str) -> Drop | None:
    """The login of a name; None where there is none, or where its source has departed."""
    if _USERNAME.fullmatch(username) is None:
        return None
    async with db.drop(username) as tx:
        row = await tx.fetchrow(f"SELECT {_COLUMNS} FROM drops WHERE username = $1", username)
    if row is None:
        return None
    found = Drop(**row)
    async with db.district(found.district_id, readonly=True) as tx:
        state = await tx.fetchval(
            "SELECT state FROM sources WHERE district_id = $1 AND source_id = $2", found.district_id, found.source_id
        )
    return found if state in {"active", "paused"} else None


async def used(tx: Transaction, source_id: UUID) -> None:
    """Notes that somebody logged in."""
    await tx.execute(
        "UPDATE drops SET used_at = now() WHERE district_id = $1 AND source_id = $2", tx.district_id, source_id
    )


def _none() -> HubError:
    return HubError(Code.NOT_FOUND, "This source has no drop.")
