"""Whether anything is new for an app that waits: one look for all districts that grant it something."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from hub.store.database import Transaction
from hub.store.gate import Bearer, Signer


@dataclass(frozen=True, slots=True)
class Pulse:
    """Where a grant's feed ends, and whether the grant may be read.

    ``state``: the grant's; ``open``: whether it and its district are active; ``changed_at``: when the grant was edited.
    """

    grant_id: UUID
    district_id: UUID
    state: str
    open: bool
    changed_at: datetime
    steps: int


async def of_app(tx: Transaction, app_id: UUID) -> dict[UUID, Pulse]:
    """The grant that an app holds, or held last, by district; ``tx`` is of the app."""
    rows = await tx.fetch(
        "SELECT DISTINCT ON (g.district_id) g.grant_id, g.district_id, g.state, "
        "g.state = 'active' AND d.state = 'active' AS open, g.changed_at, g.steps "
        "FROM grants g JOIN districts d ON d.district_id = g.district_id WHERE g.app_id = $1 "
        "ORDER BY g.district_id, g.state = 'revoked', g.changed_at DESC", app_id,
    )  # fmt: skip
    return {row["district_id"]: Pulse(**row) for row in rows}


async def standing(
    tx: Transaction, credentials: Collection[Bearer | Signer], now: datetime
) -> frozenset[bytes | tuple[str, bytes]]:
    """Those of some credentials that still count: hashes of tokens, and (client, sealed secret) of signers."""
    hashes = [one.token_hash for one in credentials if isinstance(one, Bearer)]
    signers = [one for one in credentials if isinstance(one, Signer)]
    tokens = await tx.fetch(
        "SELECT token_hash FROM access_tokens WHERE token_hash = ANY($1::bytea[]) AND expires_at > $2 "
        "AND revoked_at IS NULL", hashes, now,
    ) if hashes else []  # fmt: skip
    clients = await tx.fetch(
        "SELECT s.client_id, s.sealed FROM unnest($1::text[], $2::bytea[]) s(client_id, sealed) "
        "JOIN clients c ON c.client_id = s.client_id AND c.state = 'active' AND (c.oauth1_secret = s.sealed "
        "OR (c.oauth1_old_secret = s.sealed AND c.oauth1_old_until > statement_timestamp()))",
        [one.client_id for one in signers], [one.sealed_secret for one in signers],
    ) if signers else []  # fmt: skip
    return frozenset([row["token_hash"] for row in tokens] + [(row["client_id"], row["sealed"]) for row in clients])


def key_of(credential: Bearer | Signer) -> bytes | tuple[str, bytes]:
    """What stands for a credential in ``standing``."""
    if isinstance(credential, Bearer):
        return credential.token_hash
    return credential.client_id, credential.sealed_secret
