"""The secrets of sources: encrypted for one name of one source's row, opened where its system is reached."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from uuid import UUID

from hub import crypto, vault
from hub.crypto import Keys, Sealer
from hub.store.database import Transaction
from hub.store.sources import Source


def sealed(key: Sealer | Keys, secret: str, district_id: UUID, source_id: UUID, name: str) -> str:
    """A secret as it stands in the database, in base64. ``key``: hub.vault.to_seal."""
    made = crypto.seal(
        key, secret.encode(), district_id=district_id, table="sources", column="secrets", row=f"{source_id}|{name}"
    )
    return base64.b64encode(made).decode()


async def to_open(tx: Transaction, keys: Keys, source: Source) -> None:
    """Has at hand what ``opened`` needs."""
    await vault.to_open(tx, keys, *(base64.b64decode(text) for text in source.secrets.values()))


def opened(key: Keys, district_id: UUID, source: Source) -> Mapping[str, str]:
    """The secrets of a source by name. Raises HubError(INTERNAL) for one that was made for another place."""
    return {
        name: crypto.unseal(
            key, base64.b64decode(text), district_id=district_id, table="sources", column="secrets",
            row=f"{source.source_id}|{name}",
        ).decode()
        for name, text in source.secrets.items()
    }  # fmt: skip
