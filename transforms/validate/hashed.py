"""Values known by their hash: eight bytes each, for looking up millions of rows.

A chance collision of two hashes, of which there is one in a million runs over three million rows, shows or hides one
finding.
"""

from __future__ import annotations

import polars as pl


def ordered(parts: list[pl.Series]) -> pl.Series:
    """Marks (UInt64) of several batches in one ascending series."""
    return pl.concat([pl.Series("mark", [], dtype=pl.UInt64), *(part.alias("mark") for part in parts)]).sort()


def places(marks: pl.Series, wanted: pl.Series) -> pl.Series:
    """For each of ``wanted`` its place among ``marks``, which ascend; null where it is none of them."""
    if not marks.len():
        return pl.repeat(None, wanted.len(), dtype=pl.UInt32, eager=True)
    at = marks.search_sorted(wanted).clip(upper_bound=marks.len() - 1)
    return pl.select(pl.when(marks.gather(at) == wanted).then(at)).to_series()


def among(marks: pl.Series, wanted: pl.Series) -> pl.Series:
    """Whether each of ``wanted`` is among ``marks``, which ascend."""
    return places(marks, wanted).is_not_null()
