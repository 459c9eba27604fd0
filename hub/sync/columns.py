"""Loading a district's column arrays, from which grants are compiled."""

from __future__ import annotations

import asyncio
from typing import Any

import numpy as np
import polars as pl
from pyroaring import BitMap

from hub.scope import sets
from hub.scope.columns import CODED, CODED_MANY, MANY, ROLES, SINGLE, Columns, FieldKey, Pairs, RoleEdges
from hub.store import columns as store
from hub.store.database import Transaction
from transforms.catalogue import CATALOGUE


async def load_columns(tx: Transaction) -> Columns:
    """The arrays of the transaction's district as this transaction sees it."""
    active: dict[str, BitMap] = {}
    single: dict[FieldKey, Any] = {}
    coded: dict[FieldKey, Any] = {}
    many: dict[FieldKey, Pairs] = {}
    coded_many: dict[FieldKey, Pairs] = {}
    codes: dict[FieldKey, tuple[str, ...]] = {}
    for entity in CATALOGUE.entities:
        columns = [{n: entity[n].table_column for e, n in keys if e == entity.name} for keys in (SINGLE, CODED)]
        frame = await store.small(tx, entity, *(tuple(c.values()) for c in columns))
        active[entity.name] = sets.bitmap(frame.filter(pl.col("active") == 1)["rid"].to_numpy())
        rids = frame["rid"].to_numpy()
        for name, column in columns[0].items():
            single[entity.name, name] = _spread(rids, frame[column])
        for name, column in columns[1].items():
            values, codes[entity.name, name] = _coded(frame[column])
            coded[entity.name, name] = _spread(rids, values)
    for entity_name, name in MANY:
        column = CATALOGUE[entity_name][name].table_column
        frame = await store.pairs(tx, CATALOGUE[entity_name], column)
        many[entity_name, name] = _pairs(frame["rid"], frame[column])
    for entity_name, name in CODED_MANY:
        column = CATALOGUE[entity_name][name].table_column
        frame = await store.pairs(tx, CATALOGUE[entity_name], text=(column,))
        values, codes[entity_name, name] = _coded(frame[column])
        coded_many[entity_name, name] = _pairs(frame["rid"], values)
    edges, codes[ROLES] = await _roles(tx)
    return await asyncio.to_thread(Columns, active, single, many, edges, coded, coded_many, codes)


async def _roles(tx: Transaction) -> tuple[RoleEdges, tuple[str, ...]]:
    frame = await store.pairs(tx, CATALOGUE["users"], "roles_org_rids", text=("roles_role", "roles_role_type"))
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
