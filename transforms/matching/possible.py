"""Pairs that are worth to be decided on: most of those that share a key are two people at the first glance."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import polars as pl

from transforms.matching.columns import Columns
from transforms.matching.compare import may_be_one
from transforms.matching.sides import Rows, Sides

Pair = tuple[int, int]
#: Pairs that are looked at together: what is made of them stays small, however many there are.
_CHUNK = 100_000


def possible(people: Columns, pairs: pl.DataFrame) -> pl.DataFrame:
    """Of pairs (left, right: rids) those of two of ``people`` that ``decide`` may not call separate.

    Nothing is asked that depends on how common names are, which is dear to know, or on more than the two. It goes by
    what is so where people live together (``Policy.households``): another first name, or birth date, is another person
    if no identifier and no address says otherwise.
    """
    open_ = _open(people, *(pairs[side].to_list() for side in pairs.columns))
    return pairs if len(open_) == pairs.height else pairs[open_]


def possible_of_few(people: Columns, pairs: Sequence[Pair]) -> list[Pair]:
    """The same of a few pairs."""
    return [pairs[at] for at in _open(people, *zip(*pairs, strict=True))] if pairs else []


def _open(people: Columns, lefts: Sequence[int], rights: Sequence[int]) -> Rows:
    """The places of those pairs."""
    rows = {rid: row for row, rid in enumerate(people.rid.tolist())}
    left, right = (np.array([rows.get(rid, -1) for rid in side], np.int64) for side in (lefts, rights))
    there = np.flatnonzero((left >= 0) & (right >= 0))
    parts = (there[start : start + _CHUNK] for start in range(0, len(there), _CHUNK))
    found = [part[may_be_one(Sides(people, left[part], right[part]))] for part in parts]
    return np.concatenate(found) if found else there
