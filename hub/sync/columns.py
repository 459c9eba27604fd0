"""Loading a district's column arrays, from which grants are compiled."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
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
_ROLE_COLUMNS: store.Group = ("roles_org_rids",), ("roles_role", "roles_role_type")
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
    small = await _small(tx, {entity: list(rids) for entity, rids in changed.items()})
    new = await asyncio.to_thread(columns_of, small)
    return now, await asyncio.to_thread(patched, columns, new, changed)


async def _small(tx: Transaction, changed: Mapping[str, Sequence[int]] | None) -> Small:
    """The small columns of all records, or (``changed``: rids by entity) of some."""
    if changed is not None and sum(map(len, changed.values())) <= _FEW:
        return await _small_few(tx, changed)
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
    orgs, words = _ROLE_COLUMNS
    roles = await store.pairs(tx, CATALOGUE["users"], *orgs, text=words, rids=some["users"])
    return Small(records, pairs, roles)


async def _small_few(tx: Transaction, changed: Mapping[str, Sequence[int]]) -> Small:
    """The same of few records: a statement for each entity that has some."""
    records: dict[str, pl.DataFrame] = {}
    pairs: dict[FieldKey, pl.DataFrame] = {}
    roles = pl.DataFrame()
    for entity in CATALOGUE.entities:
        single, coded = (tuple(entity[n].table_column for n in names_of(entity, keys)) for keys in (SINGLE, CODED))
        many, coded_many = names_of(entity, MANY), names_of(entity, CODED_MANY)
        groups: list[store.Group] = [((entity[name].table_column,), ()) for name in many]
        groups += [((), (entity[name].table_column,)) for name in coded_many]
        if entity.name == ROLES[0]:
            groups.append(_ROLE_COLUMNS)
        rids = changed.get(entity.name, ())
        records[entity.name], found = await store.small_few(tx, entity, single, coded, groups, rids)
        if entity.name == ROLES[0]:
            roles = found.pop()
        pairs |= {(entity.name, name): part for name, part in zip([*many, *coded_many], found, strict=True)}
    return Small(records, pairs, roles)


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
