"""What the two ends of an agreement may do: propose, accept, end, change its key, say whose people count.

Both have to consent before there is a key, and with the end the key, all tokens and all findings go. What one end does
stands in the audit logs of both. See docs/agreements.md.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Final
from uuid import UUID

from hub import crypto, vault
from hub.crypto import KEY_BYTES, Keys
from hub.errors import Code, HubError
from hub.ids import new_id
from hub.store import agreement_tokens, agreements, columns, districts
from hub.store.agreements import Agreement, Terms
from hub.store.audit import HUB
from hub.store.database import Database, Transaction
from transforms.catalogue import CATALOGUE

_PLACE: Final = {"table": "agreement_keys", "column": "key"}
#: More found than the terms allow: see ``Terms.most_share``.
TOO_MANY: Final = "too many found"


async def propose(tx: Transaction, partner: UUID, terms: Terms, schools: Sequence[UUID] | None) -> Agreement:
    """Proposes an agreement to another district.

    Raises HubError(NOT_FOUND) where there is no such district or school, and HubError(CONFLICT) where something stands
    between the two already, or too many proposals wait.
    """
    assert tx.district_id is not None
    if partner == tx.district_id:
        raise HubError(Code.CONFLICT, "A district makes no agreement with itself: its own people are compared anyway.")
    await districts.get(tx, partner)
    await _check_schools(tx, schools)
    await agreement_tokens.lock_pair(tx, tx.district_id, partner)
    if await agreements.between(tx, partner):
        raise HubError(Code.CONFLICT, "The two districts have an agreement or a proposal already. End it first.")
    if await agreements.proposed(tx) >= agreements.MOST_PROPOSED:
        raise HubError(
            Code.CONFLICT,
            "Too many of the district's proposals wait, or were not accepted within 30 days. Propose again later.",
        )
    agreement_id = new_id()
    await agreements.propose(tx, agreement_id, partner, terms, schools)
    await agreements.tell(tx, agreement_id, "agreement.propose")
    return await agreements.get(tx, agreement_id)


async def new_key(db: Database, keys: Keys, agreement_id: UUID) -> bytes:
    """A new random key, sealed as it stands in the database: with the hub's own data key, for it is of neither end."""
    async with db.district(HUB) as tx:
        sealer = await vault.to_seal(tx, keys)
    return crypto.seal(sealer, os.urandom(KEY_BYTES), district_id=HUB, row=str(agreement_id), **_PLACE)


async def opened_key(tx: Transaction, keys: Keys, agreement_id: UUID, sealed: bytes) -> bytes:
    """The inverse. Raises HubError(INTERNAL) for what was made for another agreement."""
    await vault.to_open(tx, keys, sealed)
    return crypto.unseal(keys, sealed, district_id=HUB, row=str(agreement_id), **_PLACE)


async def accept(tx: Transaction, agreement_id: UUID, schools: Sequence[UUID] | None, key: bytes) -> Agreement:
    """Accepts a proposal that another district made to this one. ``key``: ``new_key``.

    Raises HubError(NOT_FOUND), and HubError(CONFLICT) for one's own proposal and for what is no proposal any more.
    """
    await agreement_tokens.lock(tx, agreement_id)
    found = await agreements.get(tx, agreement_id)
    if found.proposer == tx.district_id:
        raise HubError(Code.CONFLICT, "The other district has to accept it: this one has proposed it.")
    if found.state != "proposed":
        raise HubError(Code.CONFLICT, f"The agreement is {found.state}: there is nothing to accept.")
    await _check_schools(tx, schools)
    await agreements.accept(tx, agreement_id, schools, key)
    await agreements.tell(tx, agreement_id, "agreement.accept")
    return await agreements.get(tx, agreement_id)


async def end(
    tx: Transaction, agreement_id: UUID, *, by_hub: bool = False, because: str | None = None
) -> Agreement:  # fmt: skip
    """Ends an agreement, or takes back or declines a proposal; its key, tokens and findings are gone with that.

    Raises HubError(NOT_FOUND), and HubError(CONFLICT) where it has ended.
    """
    await agreement_tokens.lock(tx, agreement_id)
    found = await agreements.get(tx, agreement_id)
    if found.state == "ended":
        raise HubError(Code.CONFLICT, "The agreement has ended already.")
    await agreements.end(tx, agreement_id, by=None if by_hub else tx.district_id, because=because)
    await agreements.tell(tx, agreement_id, "agreement.end", because, by_hub=by_hub)
    return await agreements.get(tx, agreement_id)


async def rotate(tx: Transaction, agreement_id: UUID, key: bytes) -> Agreement:
    """Gives an agreement another key; both ends' tokens are made anew. Raises as ``standing``."""
    await agreement_tokens.lock(tx, agreement_id)
    await standing(tx, agreement_id)
    await agreements.rotate(tx, agreement_id, key)
    await agreements.tell(tx, agreement_id, "agreement.rotate")
    return await agreements.get(tx, agreement_id)


async def set_schools(tx: Transaction, agreement_id: UUID, schools: Sequence[UUID] | None) -> Agreement:
    """Says whose people of this end count: those of some schools, or (None) all. Raises as ``standing``."""
    await agreement_tokens.lock(tx, agreement_id)
    found = await agreements.get(tx, agreement_id)
    if found.state == "proposed" and found.proposer != tx.district_id:
        raise HubError(Code.CONFLICT, "Say so when you accept it.")
    if found.state == "ended":
        raise HubError(Code.CONFLICT, "The agreement has ended.")
    await _check_schools(tx, schools)
    await agreements.set_schools(tx, agreement_id, schools)
    return await agreements.get(tx, agreement_id)


async def standing(tx: Transaction, agreement_id: UUID) -> Agreement:
    """An active agreement. Raises HubError(NOT_FOUND), HubError(CONFLICT) where it is not active."""
    found = await agreements.get(tx, agreement_id)
    if found.state != "active":
        raise HubError(Code.CONFLICT, f"The agreement is {found.state}, not active.")
    return found


async def _check_schools(tx: Transaction, schools: Sequence[UUID] | None) -> None:
    if schools and len(await columns.rids_of(tx, CATALOGUE["orgs"], [str(one) for one in schools])) < len(set(schools)):
        raise HubError(Code.NOT_FOUND, "The district has no such school: name the sourcedIds of its orgs.")
