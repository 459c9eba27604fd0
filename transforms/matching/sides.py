"""Pairs of records as two arrays of rows, and what is asked of any field of both."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from transforms.matching.columns import Bools, Columns
from transforms.matching.frequencies import Counts, Floats
from transforms.matching.hashes import U64
from transforms.matching.weights import Same

Rows = npt.NDArray[np.int64]
Levels = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class Sides:
    """Rows of the left and of the right records."""

    columns: Columns
    left: Rows
    right: Rows

    def known(self, values: U64) -> Bools:
        """Whether both have a value."""
        found: Bools = (values[self.left] != 0) & (values[self.right] != 0)
        return found

    def equal(self, values: U64) -> Bools:
        """Whether both have one value."""
        a, b = values[self.left], values[self.right]
        found: Bools = (a == b) & (a != 0)
        return found

    def same(self, values: U64 | Levels) -> Levels:
        """Levels of what is the same or not."""
        if not values.any():  # nobody has one
            return np.zeros(len(self.left), np.uint8)
        a, b = values[self.left], values[self.right]
        return np.where((a == 0) | (b == 0), Same.MISSING, np.where(a == b, Same.EQUAL, Same.DIFFERENT)).astype(
            np.uint8
        )

    def either(self, values: U64, counts: Counts) -> Floats:
        """How often the value of the one or of the other was met."""
        a, b = counts[self.left].astype(np.float64), counts[self.right]
        return np.where(values[self.left] == values[self.right], a, a + b)

    def any_equal(self, places: Sequence[U64]) -> Bools:
        """Whether any entry of the one's list is in the other's."""
        found = np.zeros(len(self.left), np.bool_)
        others = [place[self.right] for place in places]
        for one in places:
            mine = one[self.left]
            for other in others:
                found |= (mine == other) & (mine != 0)
        return found

    def shared(self, places: Sequence[U64]) -> Levels:
        """Whether lists have an entry in common."""
        if not places:
            return np.zeros(len(self.left), np.uint8)
        level = np.where(self.any_equal(places), Same.EQUAL, Same.DIFFERENT).astype(np.uint8)
        level[~self.known(places[0])] = Same.MISSING
        return level

    @cached_property
    def nicknamed(self) -> Bools:
        """Whether the one or the other has a first name with nicknames."""
        return self.any_known(self.columns.nicknames[:1])

    @cached_property
    def several(self) -> Bools:
        """Whether the one or the other has a last name of several parts."""
        return self.any_known(self.columns.family_tokens[1:2])

    def any_known(self, places: Sequence[U64]) -> Bools:
        """Whether the one or the other has any of some values."""
        found = np.zeros(len(self.left), np.bool_)
        for values in places:
            found |= (values[self.left] != 0) | (values[self.right] != 0)
        return found

    def among(self, rows: Bools) -> tuple[Rows, Sides]:
        """The pairs where ``rows`` is true, and their places."""
        at = np.flatnonzero(rows)
        return at, Sides(self.columns, self.left[at], self.right[at])
