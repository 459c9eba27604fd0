"""Secrets of OAuth clients: made here, shown once, kept as argon2id.

Hashing takes tens of milliseconds and 64 MiB on purpose, so it runs in threads, few at a time.
"""

from __future__ import annotations

import asyncio
import secrets
from functools import cache

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

SECRET_PREFIX = "rh_cs_"
LONGEST_SECRET = 200
_AT_ONCE = 4
_hasher = PasswordHasher()


def new_secret() -> str:
    """A new secret: 256 random bits behind ``SECRET_PREFIX``."""
    return SECRET_PREFIX + secrets.token_urlsafe(32)


def hash_secret(secret: str) -> str:
    """What is stored of a secret. Slow: call it in a thread."""
    return _hasher.hash(secret)


@cache
def nobodys_hash() -> str:
    """The hash that stands in for an unknown client's, so that the answer takes as long. Slow the first time."""
    return hash_secret(new_secret())


class Verifier:
    """Checks secrets in threads, a few at a time."""

    def __init__(self) -> None:
        self._slots = asyncio.Semaphore(_AT_ONCE)

    async def matches(self, stored: str | None, secret: str) -> bool:
        """Whether the secret is the one that was hashed. ``None`` (nobody's) takes as long and never matches."""
        async with self._slots:
            return await asyncio.to_thread(_matches, stored, secret)


def _matches(stored: str | None, secret: str) -> bool:
    try:
        _hasher.verify(stored or nobodys_hash(), secret)
    except (VerificationError, InvalidHashError):
        return False
    return stored is not None
