"""A 64-bit hash of a row's content.

It is a hint, not a proof: two contents may share a hash, and another version of Polars may hash differently. So a
difference of hashes makes a row a candidate for an update (documents decide), and an upgrade of the library costs one
comparison of all rows, never a wrong update. Rows' and columns' order never matter; lists whose order has no meaning
are sorted before they get here.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable
from functools import lru_cache, reduce
from operator import xor

import polars as pl

from transforms.marks import beside


def content_hash(frame: pl.DataFrame, names: Iterable[str]) -> pl.Series:
    """One UInt64 per row over the columns ``names``; each column is seeded by its name."""
    wanted = tuple(names)
    if not wanted:
        return pl.repeat(0, frame.height, dtype=pl.UInt64, eager=True)
    # In one chunk lists are without gaps, so that equal content has equal bytes.
    columns = [column.rechunk() if column.dtype == pl.List else column for column in map(frame.get_column, wanted)]
    # An exclusive or of two series takes some microseconds; as an expression each is planned, and other threads woken.
    return reduce(xor, beside(columns).select_seq(_hashes(wanted)).get_columns()).alias("hash")


@lru_cache(1_000)
def _hashes(names: tuple[str, ...]) -> list[pl.Expr]:
    return [pl.col(name).hash(zlib.crc32(name.encode())) for name in names]
