"""Who is there: a number that a process holds in PostgreSQL for as long as its connection stands.

A lease ends by the clock, since a worker that is gone says nothing. Its connection does: whatever ends the process, the
system closes that, and PostgreSQL gives the number back. A lease whose token names a number that nobody holds is
abandoned, and may be taken at once. One of a worker that hangs, or that cannot be reached any more, ends by the clock
as before: its connection still stands, as far as PostgreSQL knows.

The number is the first 32 bits of the token (RFC 9562, version 8); tokens of other versions say nothing about
who holds them, and workers of earlier releases draw such.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable
from typing import Any
from uuid import UUID, uuid4

# "here": advisory locks with two keys, this one and the number.
_HERE = 0x68657265
_HELD = (
    f"SELECT objid::bigint FROM pg_locks WHERE locktype = 'advisory' AND classid = {_HERE} AND objsubid = 2 "
    "AND granted AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"
)
_VERSION = 8


def abandoned(token: str) -> str:
    """The condition that a lease's token, named by an expression of SQL, is of somebody who is not there any more."""
    return (
        f"(substr({token}::text, 15, 1) = '{_VERSION}' "
        f"AND ('x' || left({token}::text, 8))::bit(32)::bigint NOT IN ({_HELD}))"
    )


class Presence:
    """A process's number. ``left``: called once a number is no more its own, with whether a token names that number."""

    def __init__(self, left: Callable[[Callable[[UUID], bool]], None]) -> None:
        self._left = left
        self._number: int | None = None
        self.there = asyncio.Event()

    async def enter(self, connection: Any) -> None:
        """Takes a number on a connection that stays; asyncpg's, straight to PostgreSQL."""
        number = secrets.randbits(31)
        while not await connection.fetchval("SELECT pg_try_advisory_lock($1, $2)", _HERE, number):
            number = secrets.randbits(31)
        self._number = number
        self.there.set()

    def leave(self) -> None:
        """The connection is lost, and with it the number: from now on others may take what it held."""
        number, self._number = self._number, None
        self.there.clear()
        if number is not None:
            self._left(lambda token: _number(token) == number)

    def token(self) -> UUID:
        """A new token for leases."""
        if self._number is None:
            return uuid4()
        drawn = self._number << 96 | secrets.randbits(96)
        drawn = drawn & ~(0xF << 76) | _VERSION << 76
        return UUID(int=drawn & ~(0b11 << 62) | 0b10 << 62)

    def holds(self, token: UUID) -> bool:
        """Whether leases with that token are still this process's, as far as it knows."""
        number = _number(token)
        return number is None or number == self._number


def _number(token: UUID) -> int | None:
    """The number that a token names; None where it names none."""
    return token.int >> 96 if token.version == _VERSION else None
