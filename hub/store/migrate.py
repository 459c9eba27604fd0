"""Brings a database to the schema of this release: roles, schema, numbered steps."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import asyncpg

from hub.errors import Code, HubError
from hub.store.connections import unavailable
from hub.store.database import SCHEMA, Transaction

OWNER = "hub_owner"
LOGIN_ROLES = ("hub_service", "hub_worker", "hub_support")
_LOCK = 0x726F73746572  # "roster": one migration at a time per database
_SCRAM_ROUNDS = 4096


@dataclass(frozen=True, slots=True)
class Step:
    """One numbered SQL file."""

    number: int
    name: str
    sql: str

    @property
    def checksum(self) -> str:
        """SHA-256 of the file's text."""
        return hashlib.sha256(self.sql.encode()).hexdigest()


def steps() -> list[Step]:
    """All steps of this release, in order, from the wheel or from the source tree."""
    here = Path(__file__).parent / "migrations"
    folder = here if here.is_dir() else Path(__file__).parents[2] / "migrations"
    return [
        Step(int(file.name.split("_", 1)[0]), file.stem, file.read_text(encoding="utf-8"))
        for file in sorted(folder.glob("[0-9]*.sql"))
    ]


def scram_verifier(password: str) -> str:
    """A SCRAM-SHA-256 verifier (RFC 5803), so that the password itself is in no statement and no server log."""
    salt = os.urandom(16)
    salted = hashlib.pbkdf2_hmac("sha256", password.encode(), salt, _SCRAM_ROUNDS)
    stored = hashlib.sha256(hmac.digest(salted, b"Client Key", "sha256")).digest()
    server = hmac.digest(salted, b"Server Key", "sha256")
    b64 = [base64.b64encode(part).decode() for part in (salt, stored, server)]
    return f"SCRAM-SHA-256${_SCRAM_ROUNDS}:{b64[0]}${b64[1]}:{b64[2]}"


async def migrate(owner_url: str, *, passwords: Mapping[str, str]) -> list[str]:
    """Applies what is missing; the names of the steps that were applied.

    ``owner_url`` logs in as a role that may create roles; ``passwords`` has one for each of ``LOGIN_ROLES``. Raises
    HubError(SCHEMA_TOO_NEW) when the database is ahead of this release, HubError(SCHEMA_OUTDATED) when a step that was
    applied has since been edited.
    """
    connection = await asyncpg.connect(owner_url, timeout=30)
    try:
        await connection.execute("SELECT pg_advisory_lock($1)", _LOCK)
        await _roles(connection, passwords)
        await _schema(connection)
        return await _apply(connection)
    finally:
        await connection.close()


async def _roles(connection: Any, passwords: Mapping[str, str]) -> None:
    known = {r["rolname"] for r in await connection.fetch("SELECT rolname FROM pg_roles WHERE rolname LIKE 'hub\\_%'")}
    if OWNER not in known:
        await connection.execute(f"CREATE ROLE {OWNER} NOLOGIN")
        await connection.execute(f"GRANT {OWNER} TO CURRENT_USER")
    for role in LOGIN_ROLES:
        verb = "ALTER" if role in known else "CREATE"
        await connection.execute(f"{verb} ROLE {role} LOGIN NOINHERIT PASSWORD '{scram_verifier(passwords[role])}'")
    await connection.execute("ALTER ROLE hub_service SET log_parameter_max_length_on_error = 0")
    await connection.execute("ALTER ROLE hub_worker SET log_parameter_max_length_on_error = 0")


async def _schema(connection: Any) -> None:
    await connection.execute(f"CREATE SCHEMA IF NOT EXISTS {SCHEMA} AUTHORIZATION {OWNER}")
    await connection.execute(f"REVOKE ALL ON SCHEMA {SCHEMA} FROM PUBLIC")
    await connection.execute(f"GRANT USAGE ON SCHEMA {SCHEMA} TO {', '.join(LOGIN_ROLES)}")


async def _applied(connection: Any) -> dict[int, str]:
    if await connection.fetchval("SELECT to_regclass($1)", f"{SCHEMA}.schema_steps") is None:
        return {}
    rows = await connection.fetch(f"SELECT step, checksum FROM {SCHEMA}.schema_steps")
    return {r["step"]: r["checksum"] for r in rows}


def _compare(applied: Mapping[int, str], known: list[Step]) -> list[Step]:
    """The steps that are missing."""
    newest = max(applied, default=0)
    if newest > max(s.number for s in known):
        raise HubError(
            Code.SCHEMA_TOO_NEW,
            f"The database is at schema step {newest}, which this release does not know. Upgrade the hub.",
        )
    for step in known:
        if step.number in applied and applied[step.number] != step.checksum:
            raise HubError(
                Code.SCHEMA_OUTDATED,
                f"Schema step {step.name} differs from the one that was applied. Restore the file.",
            )
    return [s for s in known if s.number not in applied]


async def _apply(connection: Any) -> list[str]:
    await connection.execute(f"SET ROLE {OWNER}")
    missing = _compare(await _applied(connection), await asyncio.to_thread(steps))
    for step in missing:
        async with connection.transaction():
            await connection.execute(f"SET LOCAL search_path = {SCHEMA}")
            await connection.execute("SET LOCAL lock_timeout = '4s'")
            await connection.execute("SET LOCAL statement_timeout = '120s'")
            await connection.execute(step.sql)
            await connection.execute(
                "INSERT INTO schema_steps (step, name, checksum) VALUES ($1, $2, $3)",
                step.number,
                step.name,
                step.checksum,
            )
    await connection.execute("RESET ROLE")
    return [s.name for s in missing]


async def check_schema(tx: Transaction) -> None:
    """Whether an open pool's database has this release's schema. Raises HubError(SCHEMA_OUTDATED | SCHEMA_TOO_NEW)."""
    rows = await tx.fetch("SELECT step, checksum FROM schema_steps")
    if _compare({row["step"]: row["checksum"] for row in rows}, await asyncio.to_thread(steps)):
        raise HubError(Code.SCHEMA_OUTDATED, "The database is behind this release. Run: hub migrate")


async def check(url: str) -> None:
    """Refuses to go on with a wrong schema or a login that is too strong.

    Raises HubError(SCHEMA_OUTDATED | SCHEMA_TOO_NEW | ROLE_TOO_STRONG | UNAVAILABLE).
    """
    try:
        connection = await asyncpg.connect(url, timeout=10)
    except (asyncpg.InvalidAuthorizationSpecificationError, asyncpg.InvalidPasswordError) as error:
        text = "PostgreSQL refuses the login. Run: hub migrate (it makes the logins), with the same HUB_MASTER_KEY."
        raise HubError(Code.SCHEMA_OUTDATED, text) from error
    except (OSError, TimeoutError, asyncpg.CannotConnectNowError) as error:
        raise unavailable() from error
    try:
        role = await connection.fetchrow(
            "SELECT rolname, rolsuper OR rolbypassrls AS strong, pg_has_role(rolname, $1, 'MEMBER') AS owner "
            "FROM pg_roles WHERE rolname = current_user",
            OWNER,
        )
        if role is None or role["strong"] or role["owner"]:
            raise HubError(
                Code.ROLE_TOO_STRONG,
                "This login could read every district. Run with the logins hub_service and hub_worker.",
            )
        if _compare(await _applied(connection), await asyncio.to_thread(steps)):
            raise HubError(Code.SCHEMA_OUTDATED, "The database is behind this release. Run: hub migrate")
    finally:
        await connection.close()
