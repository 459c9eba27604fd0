"""Hashes of what is compared. They are kept in a database, so no version of a library may change them."""

from __future__ import annotations

from functools import reduce
from hashlib import blake2b

import numpy as np
import numpy.typing as npt
import polars as pl

U64 = npt.NDArray[np.uint64]
#: Of a value that is missing.
NONE = np.uint64(0)
_MANY = 4096
_SOME = 32_768


def of_texts(values: pl.Series) -> U64:
    """One hash for each text, 0 for null. BLAKE2b, eight bytes, little-endian."""
    if len(values) < _MANY:
        return _each(values)
    table = values.drop_nulls().unique().alias("value")
    hashes = pl.DataFrame({"value": table, "hash": _each(table)})
    found = values.alias("value").to_frame().join(hashes, on="value", how="left", maintain_order="left")["hash"]
    return found.fill_null(0).to_numpy()


def _each(values: pl.Series) -> U64:
    """As one after the other; some at a time, as their texts are objects meanwhile."""
    parts = [np.empty(0, np.uint64), *(_digests(values.slice(start, _SOME)) for start in range(0, len(values), _SOME))]
    return np.concatenate(parts)


def _digests(values: pl.Series) -> U64:
    none = bytes(8)
    digests = [none if v is None else blake2b(v.encode(), digest_size=8).digest() for v in values.to_list()]
    return np.frombuffer(b"".join(digests), "<u8").astype(np.uint64, copy=False)


def mixed(seed: int, *parts: U64) -> U64:
    """One hash of several; 0 where one of them is missing. SplitMix64 over each, in order."""
    start = np.full(len(parts[0]), (seed * 0x9E3779B97F4A7C15 + 1) & 0xFFFFFFFFFFFFFFFF, np.uint64)
    state = reduce(lambda before, part: _stirred(before ^ part), parts, start)
    state[reduce(np.logical_or, [part == NONE for part in parts])] = NONE
    return state


def _stirred(state: U64) -> U64:
    state = state + np.uint64(0x9E3779B97F4A7C15)
    state ^= state >> np.uint64(30)
    state *= np.uint64(0xBF58476D1CE4E5B9)
    state ^= state >> np.uint64(27)
    state *= np.uint64(0x94D049BB133111EB)
    state ^= state >> np.uint64(31)
    return state
