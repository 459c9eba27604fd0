"""Values known by their hash: eight bytes each, for looking up millions of rows.

A chance collision of two hashes, of which there is one in a million runs over three million rows, shows or hides one
finding.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import numpy.typing as npt
import polars as pl

from transforms.lookup import Ascending
from transforms.marks import blank, nowhere, without


class Marks:
    """Marks (UInt64) of several batches, in ascending order, in which others are looked up."""

    def __init__(self, parts: Iterable[pl.Series]) -> None:
        self._marks = np.sort(np.concatenate([np.empty(0, dtype=np.uint64), *(part.to_numpy() for part in parts)]))
        self._ascending = Ascending(self._marks) if len(self._marks) else None

    def __len__(self) -> int:
        return len(self._marks)

    def places(self, wanted: pl.Series) -> pl.Series:
        """For each of ``wanted`` (no nulls) its place among the marks; null where it is none of them."""
        if self._ascending is None:
            return blank(wanted.len(), pl.UInt32)
        at, there = self._ascending.find(wanted.to_numpy())
        return without(pl.Series(at), pl.Series(~there))

    def among(self, wanted: pl.Series) -> pl.Series:
        """Whether each of ``wanted`` is one of the marks."""
        if self._ascending is None:
            return nowhere(wanted.len())
        return pl.Series(self._ascending.find(wanted.to_numpy())[1])


def repeats(marks: pl.Series) -> npt.NDArray[np.uint64]:
    """Those of some marks (no nulls) that come more than once, in ascending order."""
    ascending = np.sort(marks.to_numpy())
    again = ascending[1:][ascending[1:] == ascending[:-1]]
    return np.unique(again) if len(again) else again
