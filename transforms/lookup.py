"""Keys of a large table, looked up batch by batch.

A join, or a question whether values are among others, builds a table of all keys for every batch: half a million of
them, for ten thousand rows. Hashes that were sorted once are searched instead. Every hit is compared by its text.
"""

from __future__ import annotations

import weakref

import numpy as np
import polars as pl

from transforms.marks import absent, blank, certain, without


class Lookup:
    """Where each of some unique keys stands. Built once, asked by any number of threads."""

    def __init__(self, keys: pl.Series) -> None:
        self._keys = keys
        hashes = keys.hash(0).to_numpy()
        self._order = np.argsort(hashes, kind="stable")
        self._hashes = hashes[self._order]

    def places(self, wanted: pl.Series) -> pl.Series:
        """For each value its place among the keys (UInt32); null for what is none of them, and for null."""
        if not len(self._hashes):
            return blank(wanted.len(), pl.UInt32)
        hashes = wanted.hash(0).to_numpy()
        order = np.argsort(hashes)  # what is asked in order is found where the last one was
        found = np.searchsorted(self._hashes, hashes[order])
        found[found == len(self._hashes)] = 0
        places = np.empty(len(hashes), dtype=np.int64)
        places[order] = self._order[found]
        hit = np.empty(len(hashes), dtype=np.bool_)
        hit[order] = self._hashes[found] == hashes[order]
        at = pl.Series(places, dtype=pl.UInt32)
        same = certain(self._keys[at] == wanted).to_numpy()
        if (hit & ~same & (~absent(wanted)).to_numpy()).any():  # two keys of one hash: the other may be meant
            return self._compared(wanted)
        return without(at, pl.Series(~same))

    def _compared(self, wanted: pl.Series) -> pl.Series:
        keys = self._keys.alias("key").to_frame().with_row_index("place")
        return wanted.alias("key").to_frame().join(keys, on="key", how="left", maintain_order="left")["place"]


_built: dict[int, tuple[weakref.ref[pl.Series | pl.DataFrame], Lookup]] = {}


def lookup(table: pl.Series | pl.DataFrame) -> Lookup:
    """The lookup of unique keys, or of a table's column key. Built at the first time and kept as long as the table."""
    found = _built.get(id(table))
    if found is not None and found[0]() is table:
        return found[1]
    number = id(table)
    made = Lookup(table["key"] if isinstance(table, pl.DataFrame) else table.clone())
    _built[number] = weakref.ref(table, lambda _: _built.pop(number, None)), made
    return made
