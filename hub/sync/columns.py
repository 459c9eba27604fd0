"""Loading a district's column arrays, from which grants are compiled."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from typing import Any

import numpy as np
import polars as pl
from pyroaring import BitMap

from hub.scope import sets
from hub.scope.columns import CODED, CODED_MANY, MANY, ROLES, SINGLE, Columns, FieldKey, Pairs, RoleEdges
from hub.scope.patch import patched, size_of
from hub.store import columns as store
from hub.store import districts
from hub.store.database import Transaction
from transforms.catalogue import CATALOGUE, Entity
from transforms.marks import either, empty, present, words

#: Up to so many changed records are fetched row by row.
_FEW = 2_000
_ROLES = ("roles_org_rids", "roles_role", "roles_role_type")
#: Rows of records by entity, by ascending rid (hub.store.columns.few).
Rows = Mapping[str, Sequence[Mapping[str, Any]]]
_NOBODY = pl.Series([-1], dtype=pl.Int32)
#: When a larger share of a district's records changed, reading all of them is faster than reading these.
MOST_CHANGED = 0.2


@dataclass(frozen=True, slots=True)
class Small:
    """The small columns of a district's records as frames, each by ascending rid.

    ``records``, by entity: rid (UInt32), active (UInt8 0/1), and by their table columns the references to one record
    (Int32) and the tokens (String) of ``SINGLE`` and ``CODED``. ``pairs``, for each key of ``MANY`` and ``CODED_MANY``:
    rid, and an item under the name of its table column. ``roles``: rid, roles_org_rids, roles_role, roles_role_type.
    """

    records: Mapping[str, pl.DataFrame]
    pairs: Mapping[FieldKey, pl.DataFrame]
    roles: pl.DataFrame


async def load_columns(tx: Transaction) -> Columns:
    """The arrays of the transaction's district as this transaction sees it."""
    return await asyncio.to_thread(columns_of, await _small(tx, None))


async def current_columns(tx: Transaction) -> Columns:
    """What ``load_columns`` would give, from what the process has kept of the district and what changed since.

    The transaction's own changes are in; they are kept once it has committed.
    """
    key = ("columns", tx.district_id)
    held: tuple[int, Columns] | None = tx.kept.get(key)
    position, columns = (await districts.head(tx), None) if held is None else await _brought_up(tx, *held)
    columns = columns or await load_columns(tx)
    size = await asyncio.to_thread(size_of, columns)
    tx.after_commit(lambda: tx.kept.put(key, (position, columns), size))
    return columns


def are_kept(tx: Transaction) -> bool:
    """Whether the process has columns of the district."""
    return tx.kept.get(("columns", tx.district_id)) is not None


def per_school(columns: Columns, entity: str) -> dict[int, int]:
    """The number of active records of an entity (classes, enrollments) per school, by the school's rid."""
    school, live = columns.single[entity, "school"], columns.live[entity]
    schools = school[live[: len(school)]]
    counts = np.bincount(schools[schools >= 0])
    return {int(school): int(counts[school]) for school in np.flatnonzero(counts)}


async def keep_columns(tx: Transaction, position: int, columns: Columns) -> None:
    """Keeps the columns of a position that is known otherwise, once the transaction has committed."""
    key, size = ("columns", tx.district_id), await asyncio.to_thread(size_of, columns)
    tx.after_commit(lambda: tx.kept.put(key, (position, columns), size))


async def _brought_up(tx: Transaction, position: int, columns: Columns) -> tuple[int, Columns | None]:
    """The district's position, and columns of another one with what changed after that.

    None for columns of a later position, and where so much changed that all is better read again.
    """
    now, log = await store.changed_since(tx, position)
    if now < position:
        return now, None
    changed: dict[str, BitMap] = {}
    for entity, logged in log.items():
        sets_ = [BitMap.deserialize(part) for parts in logged for part in parts]
        changed[entity] = BitMap.union(*sets_)
    count = sum(map(len, changed.values()))
    if not count:
        return now, columns
    if count > MOST_CHANGED * sum(map(len, columns.active.values())):
        return now, None
    some = {entity: list(rids) for entity, rids in changed.items()}
    if count <= _FEW:
        rows = await _few(tx, some)
        return now, await asyncio.to_thread(lambda: patched(columns, columns_of_few(rows), changed))
    small = await _small(tx, some)
    return now, await asyncio.to_thread(lambda: patched(columns, columns_of(small), changed))


async def _small(tx: Transaction, changed: Mapping[str, Sequence[int]] | None) -> Small:
    """The small columns of all records, or (``changed``: rids by entity) of some."""
    records = {}
    some = {e.name: None if changed is None else list(changed.get(e.name, ())) for e in CATALOGUE.entities}
    for entity in CATALOGUE.entities:
        single, coded = (tuple(entity[n].table_column for n in names_of(entity, keys)) for keys in (SINGLE, CODED))
        records[entity.name] = await store.small(tx, entity, single, coded, rids=some[entity.name])
    pairs = {
        (e, n): await store.pairs(tx, CATALOGUE[e], CATALOGUE[e][n].table_column, rids=some[e]) for e, n in MANY
    }  # fmt: skip
    for e, n in CODED_MANY:
        pairs[e, n] = await store.pairs(tx, CATALOGUE[e], text=(CATALOGUE[e][n].table_column,), rids=some[e])
    roles = await store.pairs(tx, CATALOGUE["users"], _ROLES[0], text=_ROLES[1:], rids=some["users"])
    return Small(records, pairs, roles)


async def _few(tx: Transaction, changed: Mapping[str, Sequence[int]]) -> Rows:
    """The rows of a few records, by entity: a statement for each that has some."""
    found = {}
    for entity in CATALOGUE.entities:
        if rids := changed.get(entity.name):
            names = [entity[n].table_column for n in names_of(entity, (*SINGLE, *CODED, *MANY, *CODED_MANY))]
            names += _ROLES if entity.name == ROLES[0] else ()
            found[entity.name] = await store.few(tx, entity, names, rids)
    return found


def columns_of_few(rows: Rows) -> Columns:
    """The arrays of a few records. Frames of their columns would cost more than all else. CPU-bound."""
    active = {e.name: BitMap([row["rid"] for row in rows.get(e.name, ()) if row["active"]]) for e in CATALOGUE.entities}
    codes: dict[FieldKey, tuple[str, ...]] = {}

    def single(key: FieldKey) -> Any:
        column, of = CATALOGUE[key[0]][key[1]].table_column, rows.get(key[0], ())
        values = [row[column] for row in of]
        if key in CODED:
            codes[key], values = _codes(values)
        out = np.full(of[-1]["rid"] + 1 if of else 0, -1, dtype=np.int32)
        out[[row["rid"] for row in of]] = [-1 if value is None else value for value in values]
        return out

    def pairs(key: FieldKey) -> Pairs:
        column, of = CATALOGUE[key[0]][key[1]].table_column, rows.get(key[0], ())
        values = [value for row in of for value in row[column] or ()]
        if key in CODED_MANY:
            codes[key], values = _codes(values)
        source = [row["rid"] for row in of for _ in row[column] or ()]
        return Pairs(np.array(source, dtype=np.int32), np.array(values, dtype=np.int32))

    entries = [
        (row["rid"], *entry)
        for row in rows.get(ROLES[0], ())
        if row[_ROLES[0]] is not None
        for entry in zip_longest(*(row[column] or () for column in _ROLES))
    ]
    users, orgs, names, types = zip(*entries, strict=True) if entries else ((), (), (), ())
    codes[ROLES], roles = _codes(names)
    edges = RoleEdges(
        np.array(users, dtype=np.int32), np.array(orgs, dtype=np.int32), np.array(roles, dtype=np.int32),
        np.array([kind == "primary" for kind in types], dtype=np.bool_),
    )  # fmt: skip
    return Columns(
        active, {key: single(key) for key in SINGLE}, {key: pairs(key) for key in MANY}, edges,
        {key: single(key) for key in CODED}, {key: pairs(key) for key in CODED_MANY}, codes,
    )  # fmt: skip


def _codes(tokens: Sequence[str | None]) -> tuple[tuple[str, ...], list[int]]:
    """``_coded`` of plain texts: the tokens by code, and their codes."""
    known = sorted({token for token in tokens if token is not None})
    places: dict[str | None, int] = {None: -1} | {token: place for place, token in enumerate(known)}
    return tuple(known), [places[token] for token in tokens]


def columns_of(small: Small) -> Columns:
    """The arrays of what ``small`` holds. CPU-bound: call it in a thread."""
    active = {name: sets.bitmap(f["rid"].filter(f["active"] == 1).to_numpy()) for name, f in small.records.items()}
    single: dict[FieldKey, Any] = {}
    coded: dict[FieldKey, Any] = {}
    coded_many: dict[FieldKey, Pairs] = {}
    codes: dict[FieldKey, tuple[str, ...]] = {}
    for e, n in SINGLE:
        single[e, n] = _spread(small.records[e]["rid"].to_numpy(), small.records[e][CATALOGUE[e][n].table_column])
    for e, n in CODED:
        values, codes[e, n] = _coded(small.records[e][CATALOGUE[e][n].table_column])
        coded[e, n] = _spread(small.records[e]["rid"].to_numpy(), values)
    many = {(e, n): _pairs(small.pairs[e, n]["rid"], small.pairs[e, n][CATALOGUE[e][n].table_column]) for e, n in MANY}
    for e, n in CODED_MANY:
        values, codes[e, n] = _coded(small.pairs[e, n][CATALOGUE[e][n].table_column])
        coded_many[e, n] = _pairs(small.pairs[e, n]["rid"], values)
    edges, codes[ROLES] = _roles(small.roles)
    return Columns(active, single, many, edges, coded, coded_many, codes)


def names_of(entity: Entity, keys: Iterable[FieldKey]) -> list[str]:
    """The fields of an entity that are among ``keys``."""
    return [n for e, n in keys if e == entity.name]


def _roles(frame: pl.DataFrame) -> tuple[RoleEdges, tuple[str, ...]]:
    values, tokens = _coded(frame["roles_role"])
    edges = RoleEdges(
        frame["rid"].cast(pl.Int32).to_numpy(),
        frame["roles_org_rids"].to_numpy(),
        values.cast(pl.Int32).to_numpy(),
        (frame["roles_role_type"] == "primary").to_numpy(),
    )
    return edges, tokens


def _coded(tokens: pl.Series) -> tuple[pl.Series, tuple[str, ...]]:
    """Codes for tokens, -1 for null, and the tokens by code."""
    if empty(tokens):
        return pl.Series(np.full(tokens.len(), -1, dtype=np.int32)), ()
    known = sorted(words(tokens))  # by code points, as the engine sorts texts
    return _coalesced(tokens.cast(pl.Enum(known)).to_physical()), tuple(known)


def _coalesced(values: pl.Series) -> pl.Series:
    """Numbers as Int32, -1 for null."""
    numbers = values.cast(pl.Int32)
    return either(present(numbers), numbers, _NOBODY.new_from_index(0, numbers.len()))


def _spread(rids: Any, values: pl.Series) -> Any:
    """An array with each value at the index of its rid, -1 elsewhere."""
    out = np.full(int(rids[-1]) + 1 if len(rids) else 0, -1, dtype=np.int32)
    out[rids] = _coalesced(values).to_numpy()
    return out


def _pairs(rids: pl.Series, values: pl.Series) -> Pairs:
    return Pairs(rids.cast(pl.Int32).to_numpy(), values.cast(pl.Int32).to_numpy())
