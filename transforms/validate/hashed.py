"""Values known by their hash: eight bytes each, for looking up millions of rows.

A chance collision of two hashes, of which there is one in a million runs over three million rows, shows or hides one
finding.
"""

from __future__ import annotations

import numpy as np
import polars as pl

from transforms.marks import blank, present, without


def ordered(parts: list[pl.Series]) -> pl.Series:
    """Marks (UInt64) of several batches in one ascending series."""
    return pl.concat([pl.Series("mark", [], dtype=pl.UInt64), *(part.alias("mark") for part in parts)]).sort()


def places(marks: pl.Series, wanted: pl.Series) -> pl.Series:
    """For each of ``wanted`` (no nulls) its place among ``marks``, which ascend; null where it is none of them."""
    if not marks.len():
        return blank(wanted.len(), pl.UInt32)
    next_ = np.searchsorted(marks.to_numpy(), wanted.to_numpy())
    at = pl.Series(np.minimum(next_, marks.len() - 1), dtype=pl.UInt32)
    return without(at, marks[at] != wanted)


def among(marks: pl.Series, wanted: pl.Series) -> pl.Series:
    """Whether each of ``wanted`` is among ``marks``, which ascend."""
    return present(places(marks, wanted))
