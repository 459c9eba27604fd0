"""Hashes of what is compared. They are kept in a database, so no version of a library may change them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from hashlib import blake2b
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from transforms.marks import empty

U64 = npt.NDArray[np.uint64]
#: Of a value that is missing.
NONE = np.uint64(0)
_GOLDEN, _LAST = np.uint64(0x9E3779B97F4A7C15), np.uint64(31)
_ROUNDS = tuple((np.uint64(bits), np.uint64(by)) for bits, by in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)))
_ALL = 0xFFFFFFFFFFFFFFFF
_ONE_GOLDEN, _ONE_LAST = int(_GOLDEN), int(_LAST)
_ONE_ROUNDS = tuple((int(bits), int(factor)) for bits, factor in _ROUNDS)
#: From so many values on each different one is looked at once: below it finding these takes longer. Fewer are lists.
MANY = 4096
_SOME = 32_768
#: What is hashed of a text.
Part = Callable[[str], str | None]
#: A column of a frame, or a list where values are few.
Values = pl.Series | Sequence[Any]


def slices(values: pl.Series) -> Iterator[pl.Series]:
    """Values some at a time, for who makes objects of them: one slice at least."""
    for start in range(0, max(len(values), 1), _SOME):
        yield values.slice(start, _SOME) if len(values) > _SOME else values


def of_texts(values: Values, part: Part | None = None) -> U64:
    """One hash for each text, or a part of it; 0 where there is none. BLAKE2b, eight bytes, little-endian."""
    if not isinstance(values, pl.Series):
        return _digests(values, part)
    if empty(values):
        return np.zeros(len(values), np.uint64)
    if len(values) < MANY:
        return _digests(values.to_list(), part)
    different = values.drop_nulls().unique().alias("value")
    hashes = np.concatenate([_digests(some.to_list(), part) for some in slices(different)])
    table = pl.DataFrame({"value": different, "hash": hashes})
    found = values.alias("value").to_frame().join(table, on="value", how="left", maintain_order="left")["hash"]
    return found.fill_null(0).to_numpy()


def _digests(texts: Sequence[str | None], part: Part | None) -> U64:
    if part is not None:
        texts = [None if text is None else part(text) for text in texts]
    none = bytes(8)
    digests = [none if text is None else blake2b(text.encode(), digest_size=8).digest() for text in texts]
    return np.frombuffer(b"".join(digests), "<u8").astype(np.uint64, copy=False)


def once(values: U64) -> U64:
    """Each different value, in order. Of numbers that are all over the place a sort takes less than a table of them."""
    ordered = np.sort(values)
    other = np.ones(len(ordered), np.bool_)
    np.not_equal(ordered[1:], ordered[:-1], out=other[1:])
    return ordered[other]


def mixed(seed: int, *parts: U64) -> U64:
    """One hash of several; 0 where one of them is missing. SplitMix64 over each, in order."""
    state = np.full(len(parts[0]), _begin(seed), np.uint64)
    # In place: of a district each array between would be some megabytes that the system has to map anew.
    shifted, missing = np.empty_like(state), np.zeros(len(state), np.bool_)
    for part in parts:
        state ^= part
        _stir(state, shifted)
        missing |= part == NONE
    state[missing] = NONE
    return state


def _begin(seed: int) -> int:
    return (seed * _ONE_GOLDEN + 1) & _ALL


def _stir(state: U64, shifted: U64) -> None:
    state += _GOLDEN
    for bits, factor in _ROUNDS:
        np.right_shift(state, bits, out=shifted)
        state ^= shifted
        state *= factor
    np.right_shift(state, _LAST, out=shifted)
    state ^= shifted


def mixed_one(seed: int, *parts: int) -> int:
    """``mixed`` of one of each: of a single record arrays take twenty times as long."""
    state = _begin(seed)
    for part in parts:
        if not part:
            return 0
        state = ((state ^ part) + _ONE_GOLDEN) & _ALL
        for bits, factor in _ONE_ROUNDS:
            state = (state ^ (state >> bits)) * factor & _ALL
        state ^= state >> _ONE_LAST
    return state
