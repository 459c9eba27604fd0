"""What views need of the records of a district that had none, kept while they are staged.

A first load would otherwise read back what it has just written, at its end, when nothing else is left to do.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from functools import cache

import polars as pl

from hub.scope.columns import CODED, CODED_MANY, MANY, ROLES, SINGLE, Columns
from hub.store.schema import ROLE_COLUMNS
from hub.sync.columns import Small, columns_of, names_of
from transforms.catalogue import CATALOGUE, Entity
from transforms.marks import beside, empty, present, rows_of

#: Tokens are kept as numbers: texts would keep alive what they are cut from, whole files.
_TOKEN = pl.Categorical()
_ACTIVE = pl.Series("active", [1], dtype=pl.UInt8)
_ROLE = {"org": pl.Int32(), "role": _TOKEN, "roleType": _TOKEN}
Key = tuple[str, str]


class Fresh:
    """The new records of a district. Filled and read by one thread at a time."""

    def __init__(self) -> None:
        self._records: dict[str, list[pl.DataFrame]] = defaultdict(list)
        self._pairs: dict[Key, list[pl.DataFrame]] = defaultdict(list)
        self._roles: list[pl.DataFrame] = []

    def add(self, entity: Entity, rows: pl.DataFrame) -> None:
        """Keeps new records with resolved references: rid, and the entity's fields."""
        fields = {f.table_column: f.name for f in entity.body}
        kept = {name: kind for name, kind in _kept(entity).items() if name not in {"rid", "active"}}
        columns = [rows[fields[name]].cast(kind).alias(name) for name, kind in kept.items()]
        active = _ACTIVE.new_from_index(0, rows.height)
        self._records[entity.name].append(beside([rows["rid"], active, *columns]))
        for keys, kind in ((MANY, pl.Int32()), (CODED_MANY, _TOKEN)):
            for name in names_of(entity, keys):
                column = entity[name].table_column
                if not empty(rows[name]):
                    items = beside([rows["rid"], rows[name].alias(column)]).explode(column)
                    items = rows_of(items, present(items[column]))
                    self._pairs[entity.name, name].append(beside([items["rid"], items[column].cast(kind)]))
        if entity.name == ROLES[0]:
            entries = rows[["rid", ROLES[1]]].explode(ROLES[1])
            entries = rows_of(entries, present(entries[ROLES[1]])).unnest(ROLES[1])
            members = [entries[m].cast(t).alias(ROLE_COLUMNS[m][0]) for m, t in _ROLE.items()]
            self._roles.append(beside([entries["rid"], *members]))

    def columns(self) -> Columns:
        """The arrays of all that was added. CPU-bound: call it in a thread."""
        pairs = {}
        for keys, kind in ((MANY, pl.Int32()), (CODED_MANY, _TOKEN)):
            for e, n in keys:
                schema = {"rid": pl.UInt32(), CATALOGUE[e][n].table_column: kind}
                pairs[e, n] = _together(schema, self._pairs[e, n])
        roles = {"rid": pl.UInt32()} | {ROLE_COLUMNS[m][0]: t for m, t in _ROLE.items()}
        records = {e.name: _together(_kept(e), self._records[e.name]) for e in CATALOGUE.entities}
        return columns_of(Small(records, pairs, _together(roles, self._roles)))


@cache
def _kept(entity: Entity) -> dict[str, pl.DataType]:
    """The columns that are kept of an entity's records."""
    schema: dict[str, pl.DataType] = {"rid": pl.UInt32(), "active": pl.UInt8()}
    for keys, kind in ((SINGLE, pl.Int32()), (CODED, _TOKEN)):
        schema |= {entity[name].table_column: kind for name in names_of(entity, keys)}
    return schema


def _together(schema: Mapping[str, pl.DataType], parts: list[pl.DataFrame]) -> pl.DataFrame:
    """All parts, by rid: people's demographics come in the order of their file."""
    tokens = [name for name, kind in schema.items() if kind == pl.Categorical]
    if not parts:
        return pl.DataFrame(schema={**schema, **dict.fromkeys(tokens, pl.String())})
    whole = pl.concat(parts) if len(parts) > 1 else parts[0]
    if tokens:
        texts = (column.cast(pl.String) if column.name in tokens else column for column in whole.get_columns())
        whole = beside(list(texts))
    rids = whole["rid"].to_numpy()
    return whole if bool((rids[1:] >= rids[:-1]).all()) else whole.sort("rid", maintain_order=True)
