"""What the other records say of a pair: whether anybody else has its names, or was born on that day in that home."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from transforms.matching.columns import Bools, Columns
from transforms.matching.hashes import U64, mixed

Rows = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Others:
    """All records among which pairs are decided on.

    Whoever decides on some pairs passes all records that share a key with one of each pair: the records that are looked
    for here share the birth date, and both names or the home.
    """

    columns: Columns

    def no_namesake(self, left: Rows, right: Rows) -> Bools:
        """Whether nobody else has the names and the birth date of the one or of the other."""
        names, counts = self._namesakes
        found: Bools = counts[left] + np.where(names[left] == names[right], 0, counts[right]) == 2
        return found

    def no_third_name(self, left: Rows, right: Rows) -> Bools:
        """Whether both have one home and birth date, of which no other first names are known than these two."""
        one, other = self._homes[left], self._homes[right]
        found: Bools = (one == other) & np.isin(one, self._of_two_names)
        return found

    @cached_property
    def _namesakes(self) -> tuple[U64, npt.NDArray[np.int64]]:
        """A hash of both names and birth date, and how many have it; many, where one of these is missing."""
        columns = self.columns
        names = mixed(8, columns.given, columns.family, columns.born)
        names[~columns.matchable] = 0
        _, places, counts = np.unique(names, return_inverse=True, return_counts=True)
        return names, np.where(names == 0, max(len(columns), 3), counts[places])

    @cached_property
    def _homes(self) -> U64:
        """Home and birth date of each record."""
        return mixed(6, self.columns.home, self.columns.born)

    @cached_property
    def _of_two_names(self) -> U64:
        """Homes and birth dates of which two first names are known."""
        given, homes = self.columns.given, self._homes
        rows = np.flatnonzero((homes != 0) & (given != 0) & self.columns.matchable)
        _, first = np.unique(mixed(7, homes[rows], given[rows]), return_index=True)
        known, names = np.unique(homes[rows[first]], return_counts=True)
        found: U64 = known[names == 2]
        return found
