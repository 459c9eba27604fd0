"""Marks: Boolean series with a value per row, and the questions that are asked of every column of every file.

An expression of the column engine costs a tenth of a millisecond whatever it looks at: it is planned, and another
thread is woken for it. A small district's sync is thousands of such questions. Most of them are answered for nothing by
the counts that a series keeps; others by what a series can do by itself (compare, choose, filter, sort: some
microseconds). The engine is asked what is left.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from functools import cache, lru_cache, reduce
from operator import or_
from typing import Any, overload

import numpy as np
import polars as pl

#: Up to so many rows a frame is filtered column by column: planning a filter costs more than carrying it out.
FEW = 10_000
#: Up to so many values are gone through one by one: the engine costs as much for a single one.
_FEW_VALUES = 2_000
#: Up to so many words are compared one by one: that takes less than asking for all of them.
_FEW_WORDS = 6


#: Between values that run together: printable, so that one look tells that all characters are.
BETWEEN = "`"

_UNIQUE = pl.col("").unique()
_NO, _YES = pl.Series([False]), pl.Series([True])


def few(*values: pl.Series) -> bool:
    """Whether values are sooner gone through one by one."""
    return sum(each.len() for each in values) <= _FEW_VALUES


def nowhere(height: int) -> pl.Series:
    """A mark on no row."""
    return _NO.new_from_index(0, height)


def everywhere(height: int) -> pl.Series:
    """A mark on every row."""
    return _YES.new_from_index(0, height)


def certain(mark: pl.Series) -> pl.Series:
    """A mark in which null counts as not marked."""
    return mark if mark.null_count() == 0 else everywhere(mark.len()).zip_with(mark, nowhere(mark.len()))


def possible(mark: pl.Series) -> pl.Series:
    """A mark in which null counts as marked."""
    return mark if mark.null_count() == 0 else mark.zip_with(present(mark), everywhere(mark.len()))


def present(values: pl.Series) -> pl.Series:
    """Where there is a value."""
    if values.null_count() == 0:
        return everywhere(values.len())
    # A value equals itself; of null nobody knows.
    return certain(values == values) if values.len() <= FEW else values.is_not_null()  # noqa: PLR0124


def absent(values: pl.Series) -> pl.Series:
    """Where there is no value."""
    return ~present(values) if values.null_count() else nowhere(values.len())


def filled(values: pl.Series) -> pl.Series:
    """The values that are there."""
    return values.filter(present(values)) if values.null_count() else values


def distinct(values: pl.Series) -> pl.Series:
    """Each value once, null too. Where none comes twice, which is cheap to see, nothing is done."""
    return values if values.n_unique() == values.len() else asked(values, _UNIQUE).alias(values.name)


def empty(values: pl.Series) -> bool:
    """Whether there is no value at all."""
    return values.null_count() == values.len()


def among(values: pl.Series, known: pl.Series) -> pl.Series:
    """Where a value is one of ``known``, and where there is none."""
    if few(values, known):
        some = {None, *known.to_list()}
        return pl.Series(values.name, [value in some for value in values.to_list()], dtype=pl.Boolean)
    found = pl.col("").is_in(pl.lit(known).implode())
    return values.to_frame("").select_seq(found.fill_null(value=True) if values.null_count() else found).to_series()


def as_list(values: pl.Series) -> pl.Series:
    """The values as one list, in the form that ``is_in`` asks for. To ask the engine costs more than to copy a few."""
    return pl.Series([values]) if values.len() <= FEW else values.implode()


def without(values: pl.Series, mark: pl.Series) -> pl.Series:
    """The values with null in the marked rows, and in those whose mark is null."""
    if mark.null_count() == 0 and not mark.any():
        return values
    return values.zip_with(~mark, blank(values.len(), values.dtype))


def either(mark: pl.Series, values: pl.Series, others: pl.Series) -> pl.Series:
    """The values in the marked rows, the others elsewhere."""
    return values.zip_with(mark, others)


def one_of(values: pl.Series, words: Collection[str]) -> pl.Series:
    """Where a value is one of a few words; null where there is none."""
    if not words or len(words) > _FEW_WORDS:
        return values.is_in(list(words))
    return reduce(or_, (values == word for word in words))


def words(values: pl.Series) -> list[str]:
    """The texts that there are, each once, in no order that means anything."""
    return filled(values).unique().to_list() if values.len() > FEW else list(dict.fromkeys(filled(values).to_list()))


def renamed(values: pl.Series, table: Mapping[str, str | None]) -> pl.Series:
    """Texts by a table that has each of them."""
    if values.len() > FEW:
        return values.replace_strict(list(table), list(table.values()), return_dtype=pl.String)
    return pl.Series(values.name, [table.get(value) for value in values.to_list()], dtype=pl.String)


def blank(height: int, dtype: pl.DataType | type[pl.DataType]) -> pl.Series:
    """As many nulls."""
    return _blank(dtype).new_from_index(0, height)


@cache
def _blank(dtype: pl.DataType | type[pl.DataType]) -> pl.Series:
    return pl.Series([None], dtype=dtype)


def numbers(height: int) -> pl.Series:
    """The numbers of the rows (UInt32), from 0 on."""
    return pl.Series(np.arange(height, dtype=np.uint32))


def beside(columns: Sequence[pl.Series]) -> pl.DataFrame:
    """Columns of one height as a frame, for a third of what the constructor takes, which looks at each for its kind."""
    first, *others = columns
    return first.to_frame().hstack(others) if others else first.to_frame()


def asked(values: pl.Series, question: pl.Expr) -> pl.Series:
    """What a question says of each value; it is asked of the column "".

    One that is made once takes half of what a method of the series does, which makes it anew each time.
    """
    return values.to_frame("").select_seq(question).to_series()


def run_together(frame: pl.DataFrame, names: tuple[str, ...]) -> tuple[str, ...]:
    """The values of each of some columns of text as one text, ``BETWEEN`` between them; nulls are left out.

    What Python asks of one text costs nothing beside a pattern that the engine compiles for each question.
    """
    return frame.select_seq(_together(names)).row(0) if names and frame.height else ("",) * len(names)


@lru_cache(1_000)  # entities, and which columns came empty
def _together(names: tuple[str, ...]) -> pl.Expr:
    return pl.col(names).str.join(BETWEEN)


def rows_of(frame: pl.DataFrame, mark: pl.Series) -> pl.DataFrame:
    """The marked rows; null counts as not marked."""
    if not mark.any():
        return frame.clear()
    if mark.null_count() == 0 and mark.all():
        return frame
    if frame.height > FEW:  # its columns are worth a thread each
        return frame.filter(mark)
    return beside([column.filter(mark) for column in frame.get_columns()])


@overload
def stacked(parts: Sequence[pl.DataFrame]) -> pl.DataFrame: ...
@overload
def stacked(parts: Sequence[pl.Series]) -> pl.Series: ...
def stacked(parts: Sequence[Any]) -> Any:
    """All parts one below the other, called as the first one. Most of them are empty, and a lone one stays as it is."""
    some = [part for part in parts if len(part)] or parts[:1]
    if isinstance(some[0], pl.Series):
        return (pl.concat(some) if len(some) > 1 else some[0]).alias(parts[0].name)
    whole = some[0] if len(some) == 1 else some[0].clone()
    for part in some[1:]:  # to concatenate frames wakes threads
        whole.vstack(part, in_place=True)
    return whole
