"""Marks: Boolean series with a value per row, and the questions that are asked of every column of every file.

An expression of the column engine costs a tenth of a millisecond whatever it looks at: it is planned, and another
thread is woken for it. A small district's sync is thousands of such questions. Most of them are answered for nothing by
the counts that a series keeps; the engine is asked what is left.
"""

from __future__ import annotations

import numpy as np
import polars as pl

#: Up to so many rows a frame is filtered column by column: planning a filter costs more than carrying it out.
FEW = 10_000


def nowhere(height: int) -> pl.Series:
    """A mark on no row."""
    return pl.Series(np.zeros(height, dtype=np.bool_))


def certain(mark: pl.Series) -> pl.Series:
    """A mark in which null counts as not marked."""
    if mark.null_count() == 0:
        return mark
    return mark.fill_null(value=False) if mark.any() else nowhere(mark.len())


def absent(values: pl.Series) -> pl.Series:
    """Where there is no value."""
    return values.is_null() if values.null_count() else nowhere(values.len())


def empty(values: pl.Series) -> bool:
    """Whether there is no value at all."""
    return values.null_count() == values.len()


def among(values: pl.Series, known: pl.Series) -> pl.Series:
    """Where a value is one of ``known``, and where there is none."""
    found = pl.col("").is_in(pl.lit(known).implode())
    return values.to_frame("").select_seq(found.fill_null(value=True) if values.null_count() else found).to_series()


def as_list(values: pl.Series) -> pl.Series:
    """The values as one list, in the form that ``is_in`` asks for. To ask the engine costs more than to copy a few."""
    return pl.Series([values]) if values.len() <= FEW else values.implode()


def without(values: pl.Series, mark: pl.Series) -> pl.Series:
    """The values with null in the marked rows, and in those whose mark is null."""
    if mark.null_count() == 0 and not mark.any():
        return values
    return pl.select(pl.when(~mark).then(values)).to_series()


def blank(height: int, dtype: pl.DataType | type[pl.DataType]) -> pl.Series:
    """As many nulls."""
    return pl.Series([None], dtype=dtype).new_from_index(0, height)


def numbers(height: int) -> pl.Series:
    """The numbers of the rows (UInt32), from 0 on."""
    return pl.Series(np.arange(height, dtype=np.uint32))


def rows_of(frame: pl.DataFrame, mark: pl.Series) -> pl.DataFrame:
    """The marked rows; null counts as not marked."""
    if not mark.any():
        return frame.clear()
    if mark.null_count() == 0 and mark.all():
        return frame
    if frame.height > FEW:  # its columns are worth a thread each
        return frame.filter(mark)
    return pl.DataFrame([column.filter(mark) for column in frame.get_columns()])
