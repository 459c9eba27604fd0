"""Pairs that are worth to be decided on: most of those that share a key are two people at the first glance."""

from __future__ import annotations

import numpy as np
import polars as pl

from transforms.matching.columns import Columns
from transforms.matching.compare import may_be_one
from transforms.matching.sides import Sides

#: Pairs that are looked at together: what is made of them stays small, however many there are.
_CHUNK = 100_000


def possible(people: Columns, pairs: pl.DataFrame) -> pl.DataFrame:
    """Of pairs (left, right: rids) those of two of ``people`` that ``decide`` may not call separate.

    Nothing is asked that depends on how common names are, which is dear to know, or on more than the two. It goes by
    what is so where people live together (``Policy.households``): another first name, or birth date, is another person
    if no identifier and no address says otherwise.
    """
    rows = {rid: row for row, rid in enumerate(people.rid.tolist())}
    left, right = (np.array([rows.get(rid, -1) for rid in pairs[side].to_list()], np.int64) for side in pairs.columns)
    there = np.flatnonzero((left >= 0) & (right >= 0))
    parts = (there[start : start + _CHUNK] for start in range(0, len(there), _CHUNK))
    found = [part[may_be_one(Sides(people, left[part], right[part]))] for part in parts]
    open_ = np.concatenate(found) if found else there
    return pairs if len(open_) == pairs.height else pairs[open_]
