"""How common names and birth dates are in a population: what two records share says the more, the rarer it is."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from functools import cached_property

import numpy as np
import numpy.typing as npt
import polars as pl

from transforms.matching.columns import Columns
from transforms.matching.hashes import MANY, U64

Floats = npt.NDArray[np.float64]
Counts = npt.NDArray[np.float32]


class Of(IntEnum):
    """What is counted."""

    GIVEN = 0
    FAMILY = 1
    TOKEN = 2
    BIRTH = 3
    NAME = 4


#: A share that is believed before anything was counted, and the number of people that this belief weighs as much as.
_BEFORE = {Of.GIVEN: 1 / 500, Of.FAMILY: 1 / 2000, Of.TOKEN: 1 / 2000, Of.BIRTH: 1 / 4745, Of.NAME: 1e-6}
_WEIGHT = 1000.0
COUNTS = pl.Schema({"kind": pl.UInt8, "hash": pl.Int64, "count": pl.UInt32})


@dataclass(frozen=True)
class Frequencies:
    """``counts``: kind (``Of``), hash and count of values among ``total`` records; others were not met.

    The rows of the values that the records of some pairs have are enough to decide on these pairs.
    """

    total: int
    counts: pl.DataFrame

    @cached_property
    def _tables(self) -> dict[int, tuple[U64, Floats]]:
        kinds, hashes, counts = (self.counts[name].to_numpy() for name in COUNTS.names())
        tables = {}
        for of in Of:
            rows = np.flatnonzero(kinds == of)
            known = hashes[rows].astype(np.int64, copy=False).view(np.uint64)
            order = np.argsort(known)
            tables[int(of)] = known[order], counts[rows[order]].astype(np.float64)
        return tables

    @cached_property
    def _few(self) -> dict[tuple[int, int], int]:
        """The same where few were met, for few who are asked for."""
        kinds, hashes, counts = (self.counts[name].to_list() for name in COUNTS.names())
        return {(kind, known): count for kind, known, count in zip(kinds, hashes, counts, strict=True)}

    def count(self, of: Of, hashes: U64) -> Floats:
        """How often each was met."""
        if self.counts.height < MANY and len(hashes) < MANY:
            few, kind = self._few, int(of)
            return np.array([few.get((kind, known), 0) for known in hashes.view(np.int64).tolist()], np.float64)
        known, counts = self._tables[of]
        if not len(known):
            return np.zeros(len(hashes))
        at = np.minimum(np.searchsorted(known, hashes), len(known) - 1)
        return np.where(known[at] == hashes, counts[at], 0.0)

    def share(self, of: Of, counts: Floats) -> Floats:
        """The share of the population that values met ``counts`` times have, drawn towards what is believed before."""
        return (counts + _WEIGHT * _BEFORE[of]) / (self.total + _WEIGHT)


def values(columns: Columns) -> dict[Of, list[U64]]:
    """The hashes that are counted of every record."""
    return {
        Of.GIVEN: [columns.given],
        Of.FAMILY: [columns.family],
        Of.TOKEN: columns.family_tokens,
        Of.BIRTH: [columns.born],
        Of.NAME: [columns.name],
    }


def frequencies(people: pl.DataFrame) -> Frequencies:
    """Counts over all matchable records of a normalised frame."""
    return counted(Columns(people))


def counted(columns: Columns) -> Frequencies:
    """As ``frequencies``."""
    parts = []
    for of, arrays in values(columns).items():
        met = np.concatenate([np.empty(0, np.uint64), *(array[columns.matchable & (array != 0)] for array in arrays)])
        hashes, counts = np.unique(met, return_counts=True)
        frame = pl.DataFrame({"hash": hashes.view(np.int64), "count": counts.astype(np.uint32)})
        parts.append(frame.select(pl.lit(int(of), pl.UInt8).alias("kind"), "hash", "count"))
    return Frequencies(int(columns.matchable.sum()), pl.concat(parts))


@dataclass(frozen=True)
class Met:
    """How often the values of each record were met, looked up once for every row of ``columns``."""

    columns: Columns
    frequencies: Frequencies

    @cached_property
    def given(self) -> Counts:
        """Of first names."""
        return self._of(Of.GIVEN, self.columns.given)

    @cached_property
    def middle(self) -> Counts:
        """Of middle names, among first names."""
        return self._of(Of.GIVEN, self.columns.middle)

    @cached_property
    def family(self) -> Counts:
        """Of last names."""
        return self._of(Of.FAMILY, self.columns.family)

    @cached_property
    def tokens(self) -> list[Counts]:
        """Of the tokens of last names."""
        return [self._of(Of.TOKEN, token) for token in self.columns.family_tokens]

    @cached_property
    def birth(self) -> Counts:
        """Of birth dates."""
        return self._of(Of.BIRTH, self.columns.born)

    @cached_property
    def name(self) -> Counts:
        """Of first and last name together."""
        return self._of(Of.NAME, self.columns.name)

    def share(self, of: Of, counts: Floats) -> Floats:
        """As of ``Frequencies``."""
        return self.frequencies.share(of, counts)

    def _of(self, of: Of, hashes: U64) -> Counts:
        return self.frequencies.count(of, hashes).astype(np.float32)
