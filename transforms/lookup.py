"""Keys of a large table, looked up batch by batch.

A join, or a question whether values are among others, builds a table of all keys for every batch: half a million of
them, for ten thousand rows. Hashes that were sorted once are searched instead. Every hit is compared by its text.
"""

from __future__ import annotations

import weakref
from functools import cached_property

import numpy as np
import numpy.typing as npt
import polars as pl

from transforms.marks import absent, blank, certain, few, without

#: Hashes with the same first bits that are looked at one after the other; two are many of as many as there are places.
_STEPS = 24


class Ascending:
    """Hashes (64 bits) in ascending order, some at least. Built once, asked by any number of threads.

    Hashes are spread evenly, so the first bits of one tell nearly where it stands. A search by halves looks at twenty
    places of memory.
    """

    def __init__(self, hashes: npt.NDArray[np.uint64]) -> None:
        bits = len(hashes).bit_length()
        self._shift = np.uint64(64 - bits)
        ends = np.cumsum(np.bincount((hashes >> self._shift).astype(np.int64), minlength=1 << bits))
        self._begins = np.concatenate(([0], ends[:-1])).astype(np.uint32)
        self._last = len(hashes) - 1
        self._hashes = hashes

    def find(self, wanted: npt.NDArray[np.uint64]) -> tuple[npt.NDArray[np.uint32], npt.NDArray[np.bool_]]:
        """For each hash its first place, and whether it is there at all; any place where it is not."""
        at = np.minimum(self._begins[wanted >> self._shift], self._last)
        before = np.flatnonzero(self._hashes[at] < wanted)
        for _ in range(_STEPS):
            if not len(before):
                break
            here = at[before] + 1
            before, here = before[here <= self._last], here[here <= self._last]
            at[before] = here
            before = before[self._hashes[here] < wanted[before]]
        if len(before):  # many of one hash, or hashes that somebody made to begin alike
            at[before] = np.minimum(np.searchsorted(self._hashes, wanted[before]), self._last)
        return at, self._hashes[at] == wanted


class Lookup:
    """Where each of some unique keys stands. Built once, asked by any number of threads."""

    def __init__(self, keys: pl.Series) -> None:
        self._keys = keys

    @cached_property
    def _by_hash(self) -> tuple[Ascending, npt.NDArray[np.uint32]]:
        """The hashes of the keys, and where the key of each stands."""
        hashes = self._keys.hash(0).to_numpy()
        order = np.argsort(hashes, kind="stable")
        return Ascending(hashes[order]), order.astype(np.uint32)

    @cached_property
    def _by_key(self) -> dict[str, int]:
        return {key: place for place, key in enumerate(self._keys.to_list()) if key is not None}

    def places(self, wanted: pl.Series) -> pl.Series:
        """For each value its place among the keys (UInt32); null for what is none of them, and for null."""
        if not self._keys.len():
            return blank(wanted.len(), pl.UInt32)
        if few(self._keys, wanted):
            return pl.Series([self._by_key.get(key) for key in wanted.to_list()], dtype=pl.UInt32)
        ascending, order_of_keys = self._by_hash
        found, hit = ascending.find(wanted.hash(0).to_numpy())
        at = pl.Series(order_of_keys[found])
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
