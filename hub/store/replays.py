"""Memories against replay, in PostgreSQL: nonces of OAuth 1 and ids of client assertions.

Each is one INSERT, so that of any number of parallel requests, in any number of processes, one is the first. A row is
committed before its request is answered and outlives the time in which it would be accepted, so neither a restart nor a
changed setting opens the window again.
"""

from __future__ import annotations

import hashlib
from datetime import datetime, timedelta

from hub.store.database import Transaction

#: The longest that settings may let a signed request be early or late.
LONGEST_WINDOW = timedelta(hours=1)
#: Clocks of several processes differ, and a memory is no place to be stingy.
_MARGIN = timedelta(hours=1)
_KEPT_TOKENS = timedelta(days=1)
_AT_ONCE = 5_000
_FORGETTABLE = {
    "oauth1_nonces": ("sent_at", LONGEST_WINDOW + _MARGIN),
    "client_assertions": ("expires_at", _MARGIN),
    "access_tokens": ("expires_at", _KEPT_TOKENS),  # known as expired for a while: who shows one is no guesser
}


async def first_nonce(tx: Transaction, client_id: str, sent_at: datetime, nonce: str) -> bool:
    """Remembers a nonce of a client's request; False when the client used it before with this timestamp."""
    return bool(
        await tx.execute(
            "INSERT INTO oauth1_nonces (client_id, sent_at, nonce) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING",
            client_id, sent_at, _digest(nonce),
        )
    )  # fmt: skip


async def first_assertion(tx: Transaction, client_id: str, jti: str, expires_at: datetime) -> bool:
    """Remembers the id of a client's assertion; False when the client used it before."""
    return bool(
        await tx.execute(
            "INSERT INTO client_assertions (client_id, jti, expires_at) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING",
            client_id, _digest(jti), expires_at,
        )
    )  # fmt: skip


async def forget(tx: Transaction, table: str, now: datetime) -> bool:
    """Deletes some rows of ``FORGETTABLE`` tables that nobody can use any more; whether there may be others."""
    column, kept = _FORGETTABLE[table]
    gone = await tx.execute(
        f"DELETE FROM {table} WHERE ctid = ANY(ARRAY(SELECT ctid FROM {table} WHERE {column} < $1 LIMIT {_AT_ONCE}))",
        now - kept,
    )
    return gone == _AT_ONCE


#: The tables whose rows end by themselves.
FORGETTABLE = tuple(_FORGETTABLE)


def _digest(text: str) -> bytes:
    """Of one length whatever a client sends, and without characters that PostgreSQL does not store."""
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).digest()
