"""What the other records say of a pair: whether anybody else has its names, or was born on that day in that home."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from transforms.matching.columns import Bools, Columns
from transforms.matching.hashes import MANY, U64, mixed

Rows = npt.NDArray[np.int64]
#: As many records of one name and birth date are asked what they say of each other.
_MOST = 20


@dataclass(frozen=True)
class Others:
    """All records among which pairs are decided on.

    Whoever decides on some pairs passes all records that share a key with one of each pair: the records that are looked
    for here share the birth date, and both names, the home, or the last name and a phone.
    """

    columns: Columns

    def no_namesake(self, left: Rows, right: Rows) -> Bools:
        """Whether nobody else has the names and the birth date of the one or of the other."""
        names, counts = self._namesakes
        found: Bools = counts[left] + np.where(names[left] == names[right], 0, counts[right]) == 2
        return found

    def few_namesakes(self, left: Rows, right: Rows) -> Bools:
        """Whether ``namesakes`` finds all others of the one and of the other."""
        names, counts = self._namesakes
        few = (names != 0) & (counts <= _MOST)
        found: Bools = few[left] & few[right]
        return found

    def namesakes(self, left: Rows, right: Rows) -> tuple[Rows, Rows]:
        """Others who have the names and the birth date of the one or of the other: the places of pairs, and their rows.

        Nobody where many have them: what so many have decides nothing, and each of them with all would be too much.
        """
        pairs, rows = [], []
        names, counts = self._namesakes
        order = self._by_names
        for side, new in ((left, True), (right, names[left] != names[right])):
            at = np.flatnonzero((counts[side] > 1) & (counts[side] <= _MOST) & (names[side] != 0) & new)
            many = counts[side[at]]
            first = np.searchsorted(names, names[side[at]], sorter=order)
            within = np.arange(many.sum()) - np.repeat(np.cumsum(many) - many, many)
            pairs.append(np.repeat(at, many))
            rows.append(order[np.repeat(first, many) + within])
        place, third = np.concatenate(pairs), np.concatenate(rows)
        others = (third != left[place]) & (third != right[place])
        return place[others], third[others]

    def no_third_name(self, left: Rows, right: Rows) -> Bools:
        """Whether both have one home or phone, and one birth date, of which no other first names are known.

        A phone is one only of people of one last name: those have a key in common.
        """
        shared, alone = np.zeros(len(left), np.bool_), np.ones(len(left), np.bool_)
        for places, of_two_names in (self._homes, self._phones):
            one, other = places[left], places[right]
            same = (one == other) & (one != 0)
            shared |= same
            alone &= ~same | np.isin(one, of_two_names)
        found: Bools = shared & alone
        return found

    @cached_property
    def shared_emails(self) -> U64:
        """Addresses that two active records of one source and role have; looked for only when two records have one."""
        columns = self.columns
        rows = np.flatnonzero((columns.email != 0) & columns.active & columns.matchable)
        users = mixed(5, columns.email, columns.source, columns.kind.astype(np.uint64) + np.uint64(1))[rows]
        _, first, counts = np.unique(users, return_index=True, return_counts=True)
        return np.unique(columns.email[rows[first[counts > 1]]])

    @cached_property
    def _namesakes(self) -> tuple[U64, npt.NDArray[np.int64]]:
        """A hash of both names and birth date, and how many have it; many, where one of these is missing."""
        columns = self.columns
        names = mixed(8, columns.given, columns.family, columns.born)
        names[~columns.matchable] = 0
        if len(names) < MANY:
            each = names.tolist()
            met = Counter(each)
            counts = np.array([met[name] for name in each], np.int64)
        else:
            _, places, found = np.unique(names, return_inverse=True, return_counts=True)
            counts = found[places]
        return names, np.where(names == 0, max(len(columns), 3), counts)

    @cached_property
    def _by_names(self) -> Rows:
        """Rows in the order of the hash of names and birth date."""
        return np.argsort(self._namesakes[0], kind="stable")

    @cached_property
    def _homes(self) -> tuple[U64, U64]:
        """Home and birth date of each record; those of which two first names are known."""
        return self._with_two_names(mixed(6, self.columns.home, self.columns.born))

    @cached_property
    def _phones(self) -> tuple[U64, U64]:
        """The same of phone, last name and birth date."""
        return self._with_two_names(mixed(9, self.columns.phone, self.columns.family, self.columns.born))

    def _with_two_names(self, places: U64) -> tuple[U64, U64]:
        given = self.columns.given
        rows = np.flatnonzero((places != 0) & (given != 0) & self.columns.matchable)
        _, first = np.unique(mixed(7, places[rows], given[rows]), return_index=True)
        known, names = np.unique(places[rows[first]], return_counts=True)
        return places, known[names == 2]
