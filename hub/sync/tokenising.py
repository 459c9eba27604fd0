"""Making one district's tokens under its agreements, after each change, beside everything else.

Who changed gets other tokens, in batches; the first time, and after another key or other terms, everybody. Then the
database compares them with the other end's (hub.store.agreement_tokens.settle). Nobody who is exempt from comparing has
a token, and no guardian who is exempt is in one.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Final
from uuid import UUID

import polars as pl

from hub.crashpoints import crash_point
from hub.crypto import Keys
from hub.scope.sets import unpack
from hub.store import agreement_tokens, agreements, audit, columns, matching, people
from hub.store.agreement_tokens import Side
from hub.store.database import Database, Transaction
from hub.sync import agreements as acts
from hub.sync import compared
from transforms.catalogue import CATALOGUE
from transforms.matching.people import normalised
from transforms.matching.tokens import SCHEME, TOKENS, tokens

#: People of one transaction.
BATCH: Final = 5_000
#: With a larger share of people changed, all are read.
MOST_CHANGED: Final = 0.2
_HUB: Final = "hub"


@dataclass(frozen=True, slots=True)
class _Made:
    """Tokens (``TOKENS``) of ``mine``; ``changed``: who was looked at, None: everybody."""

    side: Side
    changed: Sequence[int] | None
    mine: Sequence[int]
    tokens: pl.DataFrame
    undone: Collection[int]


async def tokenise_once(db: Database, keys: Keys) -> bool:
    """Ends what is over, or makes the tokens of one district under one agreement; whether there was anything.

    What cannot be ended keeps nothing waiting: its error is raised once there is nothing else to do.
    """
    ended, failed = False, None
    for proposer, agreement_id, why in await agreements.over(db):
        try:
            await _end(db, proposer, agreement_id, why)
            ended = True
        except Exception as error:
            failed = failed or error
    if ended or await _make_once(db, keys):
        return True
    if failed is not None:
        raise failed
    return False


async def _make_once(db: Database, keys: Keys) -> bool:
    claimed = await agreement_tokens.claim(db, SCHEME)
    if claimed is None:
        return False
    made = await _made(db, keys, *claimed)
    if made is not None and not await _written(db, made):
        async with db.district(claimed[0], wait_seconds=30) as tx:
            await agreement_tokens.release(tx, claimed[1])
    return True


async def _end(db: Database, district_id: UUID, agreement_id: UUID, why: str) -> None:
    async with db.district(district_id, wait_seconds=30) as tx:
        await agreement_tokens.lock(tx, agreement_id)
        if (await agreements.get(tx, agreement_id)).state != "ended":
            await _end_in(tx, agreement_id, why)


async def _end_in(tx: Transaction, agreement_id: UUID, why: str) -> None:
    await acts.end(tx, agreement_id, by_hub=True, because=why)
    await audit.add(
        tx, actor=_HUB, action="agreement.end", object_=f"agreement/{agreement_id}", details={"because": why}
    )  # fmt: skip


async def _made(db: Database, keys: Keys, district_id: UUID, agreement_id: UUID) -> _Made | None:
    async with db.district(district_id, readonly=True, wait_seconds=30) as tx:
        side = await agreement_tokens.side(tx, agreement_id, SCHEME)
        if side is None:
            return None
        key = await acts.opened_key(tx, keys, agreement_id, side.key)
        changed = await _changed(tx, side)
        everybody = await compared.people(tx, changed)
        schools = await _schools(tx, side)
        undone = {rid for each in await agreement_tokens.undone(tx, side.tokens_to or 0) for rid in unpack(each)}
        mine = _meant(everybody, side.roles, schools)
        if changed is not None:
            known = set(everybody["rid"])
            others = everybody.filter(pl.col("rid").is_in(mine))["guardians"].explode(empty_as_null=False).drop_nulls()
            more = sorted(set(others) - known)
            everybody = pl.concat([everybody, await compared.people(tx, more)])
    made = await asyncio.to_thread(_tokens, everybody, key, side, mine)
    return _Made(side, changed, mine, made, undone)


async def _changed(tx: Transaction, side: Side) -> list[int] | None:
    """Who changed since tokens were made, with those whose guardians changed; None: everybody is to be looked at."""
    if side.tokens_to is None:
        return None
    changed = await people.changed_since(tx, side.tokens_to)
    if len(changed) > MOST_CHANGED * await matching.population(tx):
        return None
    return sorted({*changed, *(await agreement_tokens.wards(tx, changed) if changed else ())})


async def _schools(tx: Transaction, side: Side) -> list[int] | None:
    if side.schools is None:
        return None
    return list((await columns.rids_of(tx, CATALOGUE["orgs"], [str(one) for one in side.schools])).values())


def _meant(everybody: pl.DataFrame, roles: Sequence[str], schools: Sequence[int] | None) -> list[int]:
    """Whom the terms mean."""
    meant = everybody.filter(pl.col("kind").is_in(list(roles)), ~pl.col("no_match"))
    if schools is not None:
        here = pl.col("schools").list.eval(pl.element().is_in(list(schools))).list.any()
        meant = meant.filter(here)
    return meant["rid"].sort().to_list()


def _tokens(everybody: pl.DataFrame, key: bytes, side: Side, mine: Sequence[int]) -> pl.DataFrame:
    if not mine:
        return pl.DataFrame(schema=TOKENS)
    salt = side.district_id.bytes + side.agreement_id.bytes  # the other end's digests are others
    return tokens(normalised(everybody), key, salt, identifiers=side.identifiers, rids=mine)


async def _written(db: Database, made: _Made) -> bool:
    """Writes tokens in batches and compares them; False where the agreement or an exemption changed meanwhile."""
    side = made.side
    for first in range(0, len(made.mine), BATCH):
        batch = made.mine[first : first + BATCH]
        part = made.tokens.filter(pl.col("rid").is_in(batch))
        async with db.district(side.district_id, wait_seconds=30) as tx:
            if not await _stands(tx, side):
                return False
            await agreement_tokens.write_tokens(tx, side.agreement_id, batch, part)
        crash_point("agreements.written")
    async with db.district(side.district_id, wait_seconds=30) as tx:
        if not await _stands(tx, side):
            return False
        looked = made.changed
        if looked is None:
            looked = await agreement_tokens.tokened(tx, side.agreement_id)
        without = sorted(set(looked) - set(made.tokens["rid"]))
        await agreement_tokens.gone(tx, side.agreement_id, without, made.undone, side.remember_days)
        if await agreement_tokens.settle(tx, side.agreement_id, made.changed):
            await _end_in(tx, side.agreement_id, acts.TOO_MANY)
        else:
            await agreement_tokens.done(tx, side, SCHEME, people=made.tokens["rid"].n_unique())
    return True


async def _stands(tx: Transaction, side: Side) -> bool:
    """Whether all is as it was when tokens were made. Whoever changes it waits for the end of the transaction."""
    await agreement_tokens.lock(tx, side.agreement_id)
    now = await agreement_tokens.side(tx, side.agreement_id, SCHEME, to_write=True)
    return now is not None and (now.revision, now.key_revision) == (side.revision, side.key_revision)
