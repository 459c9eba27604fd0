"""Data keys at hand: unwrapped when something is to be opened, made and counted when something is to be sealed."""

from __future__ import annotations

import os
from uuid import uuid4

from hub.crypto import FIXED, KEY_BYTES, Keys, Sealer
from hub.store import data_keys
from hub.store.audit import HUB
from hub.store.data_keys import COLUMNS, DataKey
from hub.store.database import Database, Transaction

#: A data key is replaced after so many encryptions. With random nonces of 96 bits NIST SP 800-38D allows 2^32.
MOST_ENCRYPTIONS = 1 << 28
#: Encryptions that a process counts ahead at a time, so that not each of them writes to the key's row.
_BLOCK = 256
_ROOM_BYTES = 500


async def to_open(tx: Transaction, keys: Keys, *sealed: bytes | None) -> None:
    """Has the data keys at hand that some ciphertexts need. Asks the database only for those that are new here.

    What cannot be found is left to ``unseal``, which refuses it. Raises HubError(SETTINGS_CONTRADICT | INTERNAL) for a
    key that cannot be unwrapped.
    """
    wanted = {key_id for each in sealed if (key_id := keys.missing(each)) is not None}
    if wanted:
        for found in await data_keys.named(tx, wanted):
            unwrapped(keys, found)


async def to_seal(tx: Transaction, keys: Keys, count: int = 1) -> Sealer:
    """The data key of the transaction's district for ``count`` encryptions; a new one where there is none with room.

    What is sealed with it is to be written in this transaction, or after it was committed.
    """
    assert tx.district_id is not None, "keys belong to a district, or to the hub"
    room = _room(tx, keys)
    sealer, left = tx.kept.get(room) or (None, 0)
    if sealer is not None and left >= count:
        tx.kept.put(room, (sealer, left - count), _ROOM_BYTES)
        return sealer  # type: ignore[no-any-return]
    taken = await data_keys.take(tx, count + _BLOCK, MOST_ENCRYPTIONS)
    counted = Sealer(tx.district_id, taken.key_id, unwrapped(keys, taken)) if taken else await made(tx, keys, count)
    # Only once it is counted for good; until then others count for themselves.
    tx.after_commit(lambda: tx.kept.put(room, (counted, _BLOCK), _ROOM_BYTES))
    return counted


def recount(tx: Transaction, keys: Keys) -> None:
    """Makes this process look which data key is the newest before it seals again."""
    tx.after_commit(lambda: tx.kept.put(_room(tx, keys), (None, 0), _ROOM_BYTES))


def _room(tx: Transaction, keys: Keys) -> tuple[object, ...]:
    return ("room to seal", tx.district_id, keys)


async def made(tx: Transaction, keys: Keys, count: int = 0) -> Sealer:
    """A new data key of the transaction's district, with ``count`` encryptions and a block counted."""
    assert tx.district_id is not None
    key_id, data_key = uuid4(), os.urandom(KEY_BYTES)
    wrapped = keys.wrap(data_key, district_id=tx.district_id, key_id=key_id, purpose=COLUMNS)
    await data_keys.add(tx, key_id, purpose=COLUMNS, encryptions=count + _BLOCK, wrapped=wrapped)
    keys.learn(key_id, data_key)
    return Sealer(tx.district_id, key_id, data_key)


def unwrapped(keys: Keys, found: DataKey) -> bytes:
    """A key's own bytes, which are at hand from now on. Raises HubError(SETTINGS_CONTRADICT | INTERNAL)."""
    data_key = keys.data_key(found.key_id)
    if data_key is None:
        data_key = keys.unwrap(
            found.wrapped, district_id=found.district_id, key_id=found.key_id, purpose=found.purpose
        )  # fmt: skip
        keys.learn(found.key_id, data_key)
    return data_key


async def fix(db: Database, keys: Keys) -> None:
    """Reads the keys that must never change, at the start of a process; the first one that starts writes them down.

    Raises HubError(SETTINGS_CONTRADICT) with a master key under which they are not wrapped.
    """
    async with db.district(HUB) as tx:
        for purpose in FIXED:
            found = await data_keys.fixed(tx, purpose)
            if found is None:
                key_id, key = uuid4(), keys.fixed(purpose)
                wrapped = keys.wrap(key, district_id=HUB, key_id=key_id, purpose=purpose)
                await data_keys.add(tx, key_id, purpose=purpose, encryptions=0, wrapped=wrapped)
                found = await data_keys.fixed(tx, purpose)
            assert found is not None
            keys.fix(purpose, unwrapped(keys, found))
