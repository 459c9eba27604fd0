"""Consumer secrets of OAuth 1: made here, shown once, kept sealed.

A signature can only be checked with the secret itself, so that a hash would not do. The key to open it with is derived
from the master key, which is not in the database.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Iterable

from hub import vault
from hub.crypto import Keys, load_key, seal, unseal
from hub.settings import Settings
from hub.store.audit import HUB
from hub.store.database import Transaction

SECRET_PREFIX = "rh_o1_"
_PLACE = {"table": "clients", "column": "oauth1_secret"}


def new_secret() -> str:
    """A new consumer secret: 256 random bits behind ``SECRET_PREFIX``."""
    return SECRET_PREFIX + secrets.token_urlsafe(32)


class Consumers:
    """Opens the secrets of consumers. Nothing of them is kept in clear."""

    def __init__(self, keys: Keys) -> None:
        self._keys = keys
        self._nobodys = seal(keys, new_secret().encode(), district_id=HUB, row="", **_PLACE)

    @classmethod
    async def load(cls, settings: Settings) -> Consumers:
        """With the key that the settings lead to, which may be in a file."""
        return cls(await asyncio.to_thread(load_key, settings))

    async def sealed(self, tx: Transaction, secret: str, client_id: str) -> bytes:
        """A secret as it is stored for a client. ``tx``: of the hub itself."""
        return seal(await vault.to_seal(tx, self._keys), secret.encode(), district_id=HUB, row=client_id, **_PLACE)

    async def to_open(self, tx: Transaction, secrets: Iterable[bytes | None]) -> None:
        """Has at hand what ``secret`` needs."""
        await vault.to_open(tx, self._keys, *secrets)

    def secret(self, sealed: bytes | None, client_id: str) -> str:
        """The inverse of ``sealed``; for None, nobody's secret at the same expense.

        Raises HubError(INTERNAL) for what was made with another key or for another client.
        """
        if sealed is None:
            sealed, client_id = self._nobodys, ""
        return unseal(self._keys, sealed, district_id=HUB, row=client_id, **_PLACE).decode()
