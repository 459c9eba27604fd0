"""Resolved canonical frames as the text of an entity's table columns, for COPY."""

from __future__ import annotations

from functools import lru_cache
from typing import Final

import polars as pl

from hub.store.schema import NESTED, entry_columns, field_columns
from transforms.catalogue import BASE_NAMES, CATALOGUE, Entity


def _array_literal(items: pl.Expr, inner: object) -> pl.Expr:
    """A list column as PostgreSQL's array literal. Text items are quoted; a null item is NULL."""
    item = pl.element().cast(pl.String)
    if inner == pl.String:
        escaped = item.str.replace_all("\\", "\\\\", literal=True).str.replace_all('"', '\\"', literal=True)
        item = pl.concat_str(pl.lit('"'), escaped, pl.lit('"'))
    joined = items.list.eval(item.fill_null("NULL")).list.join(",")
    return pl.concat_str(pl.lit("{"), joined, pl.lit("}"))


def table_text(entity: Entity, frame: pl.DataFrame) -> list[pl.Expr]:
    """What makes the text of an entity's ``value_columns``, ready for COPY, of resolved canonical frames.

    Reference columns of such a frame hold rids (Int32, or lists of them), roles and userIds are lists of structs.
    """
    columns = (frame.get_column(f.name) for f in entity.body if f.name not in BASE_NAMES)
    # A list that no row has is not taken apart: that is asked of the engine for each of its columns.
    types = (_NO_LISTS if c.dtype == pl.List and c.null_count() == c.len() else c.dtype for c in columns)
    return _table_text(entity.name, tuple(types))


_NO_LISTS: Final = pl.Null()


@lru_cache(1_000)  # one for each entity, but for columns without any value
def _table_text(entity_name: str, types_: tuple[pl.DataType, ...]) -> list[pl.Expr]:
    entity, out = CATALOGUE[entity_name], list[pl.Expr]()
    fields = (field for field in entity.body if field.name not in BASE_NAMES)
    for field, dtype in zip(fields, types_, strict=True):
        column = pl.col(field.name)
        if dtype == _NO_LISTS:
            out += [pl.lit(None, pl.String).alias(name) for name in field_columns(field)]
        elif field.kind in NESTED:
            types = dict(dtype.inner) if isinstance(dtype, pl.List) and isinstance(dtype.inner, pl.Struct) else {}
            for member, (name, _) in entry_columns(field).items():
                values = column.list.eval(pl.element().struct.field(member))
                out.append(_array_literal(values, types[member]).alias(name))
        elif isinstance(dtype, pl.List):
            out.append(_array_literal(column, dtype.inner).alias(field.table_column))
        else:
            out.append(column.alias(field.table_column))
    return out
