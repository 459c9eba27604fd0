"""A 64-bit hash of a row's content.

It is a hint, not a proof: two contents may share a hash, and another version of Polars may hash differently. So a
difference of hashes makes a row a candidate for an update (documents decide), and an upgrade of the library costs one
comparison of all rows, never a wrong update. Rows' and columns' order never matter; lists whose order has no meaning
are sorted before they get here.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable

import polars as pl


def content_hash(frame: pl.DataFrame, names: Iterable[str]) -> pl.Series:
    """One UInt64 per row over the columns ``names``; each column is seeded by its name."""
    parts = [_flat(frame[name]).hash(zlib.crc32(name.encode())) for name in names]
    if not parts:
        return pl.repeat(0, frame.height, dtype=pl.UInt64, eager=True)
    total = parts[0]
    for part in parts[1:]:
        total = total ^ part
    return total.alias("hash")


def _flat(values: pl.Series) -> pl.Series:
    """Lists in one chunk without gaps, so that equal content has equal bytes."""
    return values.rechunk() if values.dtype == pl.List else values
