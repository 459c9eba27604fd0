"""Replacing master keys and data keys while the hub runs.

Each step is a small transaction, and after each of them everything can be read: a data key that is wrapped under
another master key stays wrapped under the one before, until ``forget``; a value that is sealed anew names the key that
opens it. So a process may end anywhere, and whoever begins again goes on with what is left. Workers with the former
master key alone, with both, and with the new one go on side by side as long as both wrap.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from hub import crypto, vault
from hub.crashpoints import crash_point
from hub.crypto import Keys, Sealer
from hub.errors import Code, HubError
from hub.store import data_keys, districts, sealed
from hub.store.audit import HUB
from hub.store.data_keys import COLUMNS
from hub.store.database import Database, Transaction
from hub.store.sealed import Column, Value

#: Rows of one transaction.
BATCH = 200


@dataclass(slots=True)
class Status:
    """How far a district, or the hub itself (the nil UUID), is. ``encryptions``: of the newest data key, at most.

    ``unwrapped``: keys that the present master key does not wrap; ``doubly``: those that another one wraps too.
    ``older``: values that the newest data key does not seal; ``derived``: those that need a master key itself.
    """

    district_id: UUID
    data_keys: int = 0
    encryptions: int = 0
    unwrapped: int = 0
    doubly: int = 0
    values: int = 0
    older: int = 0
    derived: int = 0


@dataclass(slots=True)
class Rotated:
    """What was done. ``wrapped``: keys that are wrapped under the present master key now; ``sealed``: values."""

    wrapped: int = 0
    made: int = 0
    sealed: int = 0


async def places(db: Database) -> list[UUID]:
    """The hub itself and all districts."""
    async with db.shared() as tx:
        rows = await districts.listing(tx, limit=1_000_000)
    return [HUB, *(row.district_id for row in rows)]


async def status(db: Database, keys: Keys, district_id: UUID, *, batch: int = BATCH) -> Status:
    """How far one place is. Opens nothing."""
    found = Status(district_id)
    async with db.district(district_id) as tx:
        known = await data_keys.listing(tx)
        found.derived = await sealed.older(tx)
    newest = next((key for key in reversed(known) if key.purpose == COLUMNS), None)
    found.data_keys = sum(key.purpose == COLUMNS for key in known)
    found.encryptions = newest.encryptions if newest else 0
    found.unwrapped = sum(keys.master_id not in key.wrapped for key in known)
    found.doubly = sum(len(key.wrapped) > 1 for key in known)
    for column in _columns(district_id):
        after: UUID | str | None = None
        while True:
            async with db.district(district_id) as tx:
                values = await sealed.batch(tx, column, after, batch)
            if not values:
                break
            after = values[-1].key
            for value in values:
                found.values += bool(value.sealed)
                found.older += bool(value.sealed) and not _is_of(value, newest.key_id if newest else None)
                found.derived += value.sealed[:1] == bytes([crypto.DERIVED])
    return found


async def rotate(
    db: Database, keys: Keys, district_id: UUID, *, new_data_key: bool = False, batch: int = BATCH
) -> Rotated:
    """Wraps a place's keys under the present master key too, and seals with its newest data key what is not.

    ``new_data_key``: it gets another one first. Raises HubError(SETTINGS_CONTRADICT) where a key is wrapped under
    master keys only that this process does not have.
    """
    done = Rotated()
    async with db.district(district_id) as tx:
        for key in await data_keys.listing(tx):
            plain = vault.unwrapped(keys, key)
            if keys.master_id not in key.wrapped:
                wrapped = keys.wrap(plain, district_id=district_id, key_id=key.key_id, purpose=key.purpose)
                await data_keys.wrap(tx, key.key_id, wrapped)
                done.wrapped += 1
    crash_point("keys.wrapped")
    if new_data_key:
        async with db.district(district_id) as tx:
            await vault.made(tx, keys)
            vault.recount(tx, keys)
        done.made = 1
        crash_point("keys.made")
    for column in _columns(district_id):
        await _seal_anew(db, keys, district_id, column, done, batch)
    return done


async def forget(db: Database, keys: Keys, found: Sequence[Status]) -> int:
    """Forgets what other master keys wrap, everywhere; how many keys that touched. ``found``: ``status`` of all places.

    Raises HubError(CONFLICT) where something can be read with another master key only: rotate first.
    """
    if left := sum(one.unwrapped + one.derived for one in found):
        raise HubError(
            Code.CONFLICT,
            f"{left} keys or values need a former master key still. Run `hub keys rotate`; packages that wait to be"
            " fetched pass within days.",
        )
    touched = 0
    for one in found:
        async with db.district(one.district_id) as tx:
            touched += await data_keys.unwrap_all_but(tx, keys.master_id)
        crash_point("keys.forgotten")
    return touched


async def _seal_anew(
    db: Database, keys: Keys, district_id: UUID, column: Column, done: Rotated, batch: int
) -> None:  # fmt: skip
    after: UUID | str | None = None
    while True:
        async with db.district(district_id) as tx:
            values = await sealed.batch(tx, column, after, batch)
            if not values:
                return
            after = values[-1].key
            done.sealed += await _anew(tx, keys, district_id, column, values)
        crash_point("keys.sealed")


async def _anew(tx: Transaction, keys: Keys, district_id: UUID, column: Column, values: list[Value]) -> int:
    held = [value for value in values if value.sealed]
    if not held:
        return 0
    sealer = await vault.to_seal(tx, keys, len(held))
    old = [value for value in held if not _is_of(value, sealer.key_id)]
    await vault.to_open(tx, keys, *(value.sealed for value in old))
    await sealed.replace(tx, column, [(value, _sealed(keys, sealer, district_id, column, value)) for value in old])
    return len(old)


def _sealed(keys: Keys, sealer: Sealer, district_id: UUID, column: Column, value: Value) -> bytes:
    table, name, row = column.table, column.bound_to, value.row
    plain = crypto.unseal(keys, value.sealed, district_id=district_id, table=table, column=name, row=row)
    return crypto.seal(sealer, plain, district_id=district_id, table=table, column=name, row=row)


def _is_of(value: Value, key_id: UUID | None) -> bool:
    return key_id is not None and value.sealed[:17] == bytes([crypto.ENVELOPE]) + key_id.bytes


def _columns(district_id: UUID) -> list[Column]:
    return [column for column in sealed.COLUMNS if column.of_the_hub is (district_id == HUB)]
