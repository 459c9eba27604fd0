"""What names and dates that agree are worth: the more, the rarer they are."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from transforms.matching.columns import Bools
from transforms.matching.frequencies import Floats, Met, Of
from transforms.matching.sides import Levels, Sides
from transforms.matching.weights import (
    AGREEING,
    AMONG,
    AT,
    NICKNAMED,
    SEVERAL,
    Birth,
    First,
    Last,
    Middle,
    Weights,
    is_one_of,
)

#: Middle names are counted where they are first names: one that never is may still be common.
_RAREST_MIDDLE = 0.001


def by_value(
    sides: Sides, found: dict[str, Levels], bits: npt.NDArray[np.float32], met: Met, weights: Weights, population: int
) -> Floats:  # fmt: skip
    """Bits of names and dates by how common they are, written into ``bits``; how many others have both by chance."""
    columns = sides.columns
    first, last, birth, middle = (found[name] for name in ("first name", "last name", "birth date", "middle name"))
    given = met.share(Of.GIVEN, sides.either(columns.given, met.given))
    common = met.share(Of.GIVEN, sides.either(columns.middle, met.middle))
    _put(
        bits, "middle name", middle == Middle.EQUAL, weights.m("middle name")[middle],
        np.maximum(common, _RAREST_MIDDLE),
    )  # fmt: skip
    agree = is_one_of(first, AGREEING)
    # Whoever has both names, if crossed, shares two: the second has to be met as well.
    second = np.ones(len(given))
    at, rest = sides.among(first == First.SWAPPED_MIDDLE)
    rarer = np.minimum(met.given[rest.left], met.given[rest.right]).astype(np.float64)
    second[at] = np.maximum(met.share(Of.GIVEN, rarer), _RAREST_MIDDLE)
    _put(bits, "first name", agree, _m(weights, NICKNAMED, first, sides.nicknamed), given * second)
    family = met.share(Of.FAMILY, sides.either(columns.family, met.family))
    in_part = is_one_of(last, (Last.PART, Last.TOKEN))
    if in_part.any():
        at, rest = sides.among(in_part)
        family[at] = met.share(Of.TOKEN, _of_shared_tokens(rest, met))
    whole = is_one_of(last, (Last.EQUAL, Last.ORDER))
    _put(bits, "last name", in_part | whole, _m(weights, SEVERAL, last, sides.several), family)
    born = met.share(Of.BIRTH, met.birth[sides.left].astype(np.float64))
    same_day = birth == Birth.EQUAL
    _put(bits, "birth date", same_day, weights.m("birth date")[birth], born)
    # Who was born on one day is in one grade.
    bits[same_day, AT["grade"]] = np.minimum(bits[same_day, AT["grade"]], 0)
    together = _together(sides, met, given * family * population, population)
    # Names of one origin go together: where that is seen, both together say less than each for itself.
    whole &= agree
    bits[whole, AT["last name"]] -= np.log2(together[whole])
    chance: Floats = population * given * second * family * together * born
    return chance


def _together(sides: Sides, met: Met, expected: Floats, population: int) -> Floats:
    """How many times more often both names were met together, by others, than each for itself would have it."""
    name = sides.either(sides.columns.name, met.name)
    others = np.maximum(name - 2, 0) * population / max(met.frequencies.total, 1)
    more: Floats = np.maximum(others / expected, 1)
    return more


def _of_shared_tokens(sides: Sides, met: Met) -> Floats:
    """How often the rarest token was met that two surnames have in common."""
    least = np.full(len(sides.left), np.inf)
    for one, counts in zip(sides.columns.family_tokens, met.tokens, strict=True):
        a, count = one[sides.left], counts[sides.left]
        for other in sides.columns.family_tokens:
            least = np.where((a == other[sides.right]) & (a != 0), np.minimum(least, count), least)
    return least


def _m(weights: Weights, among: str, levels: Levels, some: Bools) -> Floats:
    """The share of each level among records of one person; of ``some`` that of people like them."""
    m: Floats = np.where(some, weights.m(among)[levels], weights.m(AMONG[among])[levels])
    return m


def _put(bits: npt.NDArray[np.float32], name: str, rows: Bools, m: Floats, u: Floats) -> None:
    bits[rows, AT[name]] = np.log2(m[rows] / u[rows])
