"""Loading a district's column arrays, from which grants are compiled."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl

from hub.scope import sets
from hub.scope.columns import CODED, CODED_MANY, MANY, ROLES, SINGLE, Columns, FieldKey, Pairs, RoleEdges
from hub.store import columns as store
from hub.store.database import Transaction
from transforms.catalogue import CATALOGUE, Entity


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
    records = {}
    for entity in CATALOGUE.entities:
        single, coded = (tuple(entity[n].table_column for n in names_of(entity, keys)) for keys in (SINGLE, CODED))
        records[entity.name] = await store.small(tx, entity, single, coded)
    pairs = {(e, n): await store.pairs(tx, CATALOGUE[e], CATALOGUE[e][n].table_column) for e, n in MANY}
    for e, n in CODED_MANY:
        pairs[e, n] = await store.pairs(tx, CATALOGUE[e], text=(CATALOGUE[e][n].table_column,))
    roles = await store.pairs(tx, CATALOGUE["users"], "roles_org_rids", text=("roles_role", "roles_role_type"))
    return await asyncio.to_thread(columns_of, Small(records, pairs, roles))


def columns_of(small: Small) -> Columns:
    """The arrays of what ``small`` holds. CPU-bound: call it in a thread."""
    active = {name: sets.bitmap(f.filter(pl.col("active") == 1)["rid"].to_numpy()) for name, f in small.records.items()}
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
    known = tokens.drop_nulls().unique().sort()
    return tokens.cast(pl.Enum(known)).to_physical().cast(pl.Int32).fill_null(-1), tuple(known)


def _spread(rids: Any, values: pl.Series) -> Any:
    """An array with each value at the index of its rid, -1 elsewhere."""
    out = np.full(int(rids[-1]) + 1 if len(rids) else 0, -1, dtype=np.int32)
    out[rids] = values.fill_null(-1).cast(pl.Int32).to_numpy()
    return out


def _pairs(rids: pl.Series, values: pl.Series) -> Pairs:
    return Pairs(rids.cast(pl.Int32).to_numpy(), values.cast(pl.Int32).to_numpy())
