"""CANONICAL frames: their columns and types, from the catalogue."""

from __future__ import annotations

from functools import cache

import polars as pl

from transforms.catalogue import BASE_NAMES, CATALOGUE, Entity, Field
from transforms.hashing import content_hash
from transforms.marks import beside, blank, rows_of
from transforms.shapes import dtype
from transforms.sheet import Sheet


def body(entity: Entity) -> tuple[Field, ...]:
    """The fields of canonical frames, in order: those of 1.2 documents without the base fields."""
    return tuple(f for f in entity.body if f.name not in BASE_NAMES)


def schema(name: str) -> dict[str, pl.DataType | type[pl.DataType]]:
    """The columns of the canonical frames of an entity."""
    fields = {f.name: dtype(f) for f in body(CATALOGUE[name])}
    return {"key": pl.String, **fields, "hash": pl.UInt64, "line": pl.UInt32}


def empty(entity: Entity) -> pl.DataFrame:
    """A canonical frame without rows."""
    return _empty(entity.name).clone()


@cache
def _empty(name: str) -> pl.DataFrame:
    return pl.DataFrame(schema=schema(name))


def frame_of(sheet: Sheet) -> pl.DataFrame:
    """The good rows of a sheet as a canonical frame, with their content hash."""
    good = rows_of(sheet.frame, ~sheet.out)
    present = set(good.columns)
    fields = body(sheet.entity)
    columns = [
        good.get_column(f.name).cast(dtype(f)) if f.name in present else blank(good.height, dtype(f)).alias(f.name)
        for f in fields
    ]  # fmt: skip
    frame = beside([good["key"], *columns, good["line"]])
    return frame.insert_column(-1, content_hash(frame, [f.name for f in fields]))
