"""Fields, the levels on which two records agree in them, and what each level is worth."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache, cached_property
from math import log2

import numpy as np
import numpy.typing as npt

from transforms.matching.learnt import LEARNT, VERSION
from transforms.matching.learnt_register import LEARNT as OF_REGISTERS
from transforms.matching.learnt_register import VERSION as VERSION_OF_REGISTERS

#: Level 0 of each field is "no evidence": a value is missing on one side at least.
LEVELS: dict[str, tuple[str, ...]] = {
    "first name": (
        "", "equal", "nickname", "other's middle or preferred name", "first and middle name swapped",
        "part of a double name",
        "initial", "spelling", "another name that is spelt alike", "swapped with last name", "different",
    ),
    "middle name": ("", "equal", "initial", "spelling", "different"),
    "last name": (
        "", "equal", "tokens in another order", "part of a double name", "one token in common", "spelling",
        "another name that is spelt alike", "swapped with first name", "different",
    ),
    "suffix": ("", "equal", "different"),
    "birth date": ("", "equal", "day and month swapped", "slip", "two parts equal", "different"),
    "sex": ("", "equal", "different"),
    "e-mail": ("", "equal", "same name at another domain", "different"),
    "phone": ("", "equal", "different"),
    "user name": ("", "equal", "different"),
    "home": ("", "equal", "alike", "words in common", "same postcode", "different"),
    "guardian": ("", "in common", "different"),
    "identifier": ("", "equal", "alike", "different"),
    "school": ("", "in common", "different"),
    "time": ("", "hand-over", "at the same time in one source", "at two schools at the same time", "apart"),
    "grade": ("", "fits", "does not fit"),
    "role": ("", "equal", "different"),
}  # fmt: skip
FIELDS = tuple(LEVELS)
#: A name with nicknames is told as one of them, and a last name of several parts without some, by people who have such
#: a name: shares of levels among these alone, beside those among all.
NICKNAMED, SEVERAL = "first name with nicknames", "last name of several parts"
AMONG = {NICKNAMED: "first name", SEVERAL: "last name"}
AT = {name: place for place, name in enumerate(FIELDS)}


# Levels are plain numbers: to compare an array with a member of an enumeration takes four times as long.


class First:
    """Levels of the first name."""

    MISSING, EQUAL, NICKNAME, ALIAS, SWAPPED_MIDDLE, PART, INITIAL, SPELLING, ALIKE, SWAPPED, DIFFERENT = range(11)


#: First names that are those of one person.
AGREEING = (First.EQUAL, First.NICKNAME, First.ALIAS, First.SWAPPED_MIDDLE, First.PART)


class Middle:
    """Levels of the middle name."""

    MISSING, EQUAL, INITIAL, SPELLING, DIFFERENT = range(5)


class Last:
    """Levels of the last name."""

    MISSING, EQUAL, ORDER, PART, TOKEN, SPELLING, ALIKE, SWAPPED, DIFFERENT = range(9)


class Birth:
    """Levels of the birth date."""

    MISSING, EQUAL, SWAPPED, SLIP, PARTS, DIFFERENT = range(6)


class Home:
    """Levels of the home."""

    MISSING, EQUAL, ALIKE, WORDS, POSTCODE, DIFFERENT = range(6)


class Time:
    """Levels of the time of two records."""

    MISSING, HAND_OVER, COEXIST, OVERLAP, APART = range(5)


class Same:
    """Levels of what is the same or not; ``ALIKE`` and what follows it where a field has more than two."""

    MISSING, EQUAL, DIFFERENT = range(3)


class Code:
    """Levels of identifiers and e-mail addresses."""

    MISSING, EQUAL, ALIKE, DIFFERENT = range(4)


@cache
def _marked(wanted: tuple[int, ...]) -> npt.NDArray[np.bool_]:
    marked = np.zeros(max(map(len, LEVELS.values())), np.bool_)
    marked[list(wanted)] = True
    return marked


def is_one_of(levels: npt.NDArray[np.uint8], wanted: tuple[int, ...]) -> npt.NDArray[np.bool_]:
    """Where a level is one of some: a look into a table, which for a few pairs is a tenth of ``np.isin``."""
    found: npt.NDArray[np.bool_] = _marked(wanted)[levels]
    return found


@dataclass(frozen=True)
class Weights:
    """For each field and level the shares among records of one person and of two: (m, u). Never changed in use.

    For names and birth dates that agree, u is the share of that very value in the population instead.
    """

    version: str = VERSION
    shares: Mapping[str, tuple[tuple[float, float], ...]] = field(default_factory=lambda: LEARNT)

    @cached_property
    def bits(self) -> list[npt.NDArray[np.float32]]:
        """Of each field the bits of each level."""
        return [np.array([0.0, *(log2(m / u) for m, u in self.shares[name])], np.float32) for name in FIELDS]

    def m(self, name: str) -> npt.NDArray[np.float64]:
        """Of a field, or of ``AMONG``, the shares of each level among records of one person; level 0 has none."""
        return self._m[name]

    @cached_property
    def _m(self) -> dict[str, npt.NDArray[np.float64]]:
        among = {name: self.shares.get(name, self.shares[field]) for name, field in AMONG.items()}
        return {name: np.array([1.0, *(m for m, _ in shares)]) for name, shares in {**self.shares, **among}.items()}


WEIGHTS = Weights()
#: Of registers in which everything may be spoilt and nobody has relatives.
REGISTER_WEIGHTS = Weights(f"register {VERSION_OF_REGISTERS}", OF_REGISTERS)
