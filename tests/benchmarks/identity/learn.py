"""``make weights``: learns what agreement in each field is worth, from rosterbench's seeds for tuning.

Expectation and maximisation without labels: how often levels are met among random pairs (u) is counted, how often among
records of one person (m) is learnt from how likely pairs are of one person, which the weights themselves say. Only
pairs of different households teach names and dates: relatives agree in them for other reasons. What a home is worth is
learnt from pairs whose other fields have decided. Labels are never looked at.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

import numpy as np
import numpy.typing as npt
import polars as pl

from hub.sandbox.rosterbench import TUNING_SEEDS, RosterPlan, rosterbench
from transforms.matching.blocks import candidates_of
from transforms.matching.columns import Columns
from transforms.matching.compare import Compared, compared
from transforms.matching.frequencies import Met, counted
from transforms.matching.normal import normalised
from transforms.matching.sides import Sides
from transforms.matching.weights import (
    AGREEING,
    AMONG,
    AT,
    FIELDS,
    LEVELS,
    NICKNAMED,
    SEVERAL,
    WEIGHTS,
    Birth,
    First,
    Home,
    Last,
    Middle,
    Same,
    Weights,
)

TARGET = Path(__file__).parents[3] / "transforms/matching/learnt.py"
REGISTER_TARGET = TARGET.with_name("learnt_register.py")
RECORDS, RANDOM, ROUNDS = 65_000, 1_000_000, 8
#: Learnt with them; all others from pairs of two households.
HOUSEHOLD = ("home", "phone", "guardian", "school")
#: Nothing is rarer than this among strangers, however seldom it was met, nor among records of one person. In the
#: generator only second records are spoilt; in life first ones are as well, so that slips say less there: those in last
#: names as much as those in first names.
LEAST_U = {
    "first name": 2e-4, "home": 1e-5, "phone": 1e-5, "guardian": 1e-5,
    "e-mail": 1e-5, "user name": 1e-5, "identifier": 1e-7,
}  # fmt: skip
LEAST_M = {"grade": 0.01, "middle name": 0.01, "sex": 0.005}
#: Of records of one person that are told with another first name or another birth date; no pair of these teaches.
NEVER = 0.008
SURE = 0.99
#: Levels that the generator does not make enough of: stated, not learnt.
STATED = ("suffix", "user name", "guardian", "phone", "role", "e-mail")
Counts = dict[str, npt.NDArray[np.float64]]


def main() -> None:
    if sys.argv[1:] == ["register"]:
        register()
        return
    seeds = [int(seed) for seed in sys.argv[1:]] or list(TUNING_SEEDS)
    sets = [_prepared(seed, identifiers) for seed in seeds for identifiers in (False, True)]
    shares = {name: [list(pair) for pair in WEIGHTS.shares[name]] for name in FIELDS}
    for name in FIELDS:
        if name not in STATED:
            drawn = sum(counts[name] for _, _, _, counts in sets)
            u = (drawn + 0.5) / (drawn.sum() + 0.5 * len(drawn))
            for level, share in enumerate(u):
                shares[name][level][1] = float(max(share, LEAST_U.get(name, 2e-5)))
    slips = shares["last name"][Last.SPELLING - 1]
    slips[1] = max(slips[1], LEAST_U["first name"])
    for number in range(ROUNDS):
        weights = Weights("learning", {name: tuple(map(tuple, pairs)) for name, pairs in shares.items()})
        totals = [_expected(*one[:3], weights) for one in sets]
        for name in (*FIELDS, *AMONG):
            if name in STATED:
                continue
            met = sum(total[name] for total in totals)
            m = np.maximum((met + 0.5) / (met.sum() + 0.5 * len(met)), LEAST_M.get(name, 0.002))
            for level, share in enumerate(m / m.sum()):
                shares.setdefault(name, [list(pair) for pair in shares[AMONG.get(name, name)]])[level][0] = float(share)
        print(f"round {number + 1}: {sum(total['sex'].sum() for total in totals):,.0f} pairs of one person", flush=True)
        for name in ("first name", NICKNAMED):
            shares[name][First.DIFFERENT - 1][0] = NEVER
        shares["birth date"][Birth.DIFFERENT - 1][0] = NEVER
        shares["first name"][First.INITIAL - 1] = shares[NICKNAMED][First.INITIAL - 1] = [0.002, 0.002]
        shares["home"][Home.WORDS - 1] = [0.02, 0.002]
        # That one side has an initial only says nothing; that it fits is met once in eleven strangers.
        shares["middle name"][Middle.INITIAL - 1] = [0.33, 0.03]
    _write({name: tuple((_short(m), _short(u)) for m, u in pairs) for name, pairs in shares.items()})


def register() -> None:
    """Weights of registers, from FEBRL 1 and 2 without their labels. FEBRL 3 and 4 are never looked at."""
    sets = [_register(number) for number in (1, 2)]
    shares = {name: [list(pair) for pair in WEIGHTS.shares[name]] for name in FIELDS}
    met_fields = ("first name", "last name", "birth date", "home", "identifier")
    for name in met_fields:
        drawn = sum(counts[name] for *_, counts in sets)
        u = (drawn + 0.5) / (drawn.sum() + 0.5 * len(drawn))
        for level, share in enumerate(u):
            # Strangers do not live together in registers.
            shares[name][level][1] = float(max(share, 1e-6 if name == "home" else LEAST_U.get(name, 2e-5)))
    for _ in range(ROUNDS * 2):
        weights = Weights("learning", {name: tuple(map(tuple, pairs)) for name, pairs in shares.items()})
        totals = {name: np.zeros(len(LEVELS[name]) - 1) for name in met_fields}
        for columns, left, right, _ in sets:
            pair = _compared(columns, left, right, weights)
            score = pair.bits.sum(axis=1, dtype=np.float64)
            likely = 1 / (1 + len(columns) * np.exp2(-score))
            for name in met_fields:
                totals[name] += np.bincount(pair.level(name), likely, minlength=len(LEVELS[name]))[1:]
        for name, met in totals.items():
            m = np.maximum((met + 0.5) / (met.sum() + 0.5 * len(met)), 0.002)
            for level, share in enumerate(m / m.sum()):
                shares[name][level][0] = float(share)
    print(f"{totals['birth date'].sum():,.0f} pairs of one person")
    _write({name: tuple((_short(m), _short(u)) for m, u in pairs) for name, pairs in shares.items()}, REGISTER_TARGET)


def _register(number: int) -> tuple[Columns, Rows, Rows, Counts]:
    """Both with and without the id would teach the same: agreement in it is one field of many."""
    from tests.benchmarks.identity.febrl import febrl

    return _with_counts(normalised(febrl(number, identifier=True).people), number, register=True)


def _prepared(seed: int, identifiers: bool) -> tuple[Columns, Rows, Rows, Counts]:
    return _with_counts(normalised(rosterbench(RosterPlan(RECORDS, seed, identifiers)).people), seed)


def _with_counts(people: pl.DataFrame, seed: int, *, register: bool = False) -> tuple[Columns, Rows, Rows, Counts]:
    columns = Columns(people)
    place = np.zeros(people.height + 1, np.int64)
    place[columns.rid] = np.arange(people.height)
    left, right = (place[side] for side in candidates_of(columns, register=register))
    rng = np.random.default_rng(seed)
    one, other = rng.integers(0, people.height, (2, RANDOM))
    keep = (
        (one != other) & (columns.home[one] != columns.home[other]) & columns.matchable[one] & columns.matchable[other]
    )
    # Small registers meet their own duplicates among pairs at random.
    drawn = _compared(columns, one[keep], other[keep], WEIGHTS)
    keep[keep] = drawn.bits.sum(axis=1) < np.log2(people.height)
    drawn = _compared(columns, one[keep], other[keep], WEIGHTS)
    counts = {
        name: np.bincount(drawn.level(name), minlength=len(LEVELS[name]))[1:].astype(np.float64) for name in FIELDS
    }
    return columns, left, right, counts


Rows = npt.NDArray[np.int64]


def _compared(columns: Columns, left: Rows, right: Rows, weights: Weights) -> Compared:
    return compared(Met(columns, counted(columns)), left, right, weights, len(columns))


def _expected(columns: Columns, left: Rows, right: Rows, weights: Weights) -> Counts:
    """How many pairs of one person have each level, as far as the weights tell."""
    pair = _compared(columns, left, right, weights)
    home = [AT[name] for name in HOUSEHOLD]
    score = pair.bits.sum(axis=1, dtype=np.float64) - pair.bits[:, home].sum(axis=1, dtype=np.float64)
    likely = 1 / (1 + len(columns) * np.exp2(-score))
    # Names of one origin go together more often than their shares say, so a pair teaches when little doubt is left, and
    # never when another first name or birth date is told: strangers of one name would teach that dates differ.
    doubtful = (likely < SURE) | (pair.level("birth date") == Birth.DIFFERENT)
    likely = np.where(doubtful | (pair.level("first name") == First.DIFFERENT), 0.0, likely)
    one_home = np.isin(pair.level("home"), (Home.EQUAL, Home.ALIKE)) | (pair.level("phone") == Same.EQUAL)
    teaches = likely * ~one_home
    at_home = likely * np.isin(pair.level("first name"), AGREEING)
    met = {
        name: np.bincount(
            pair.level(name), at_home if name in HOUSEHOLD else teaches, minlength=len(LEVELS[name])
        )[1:]
        for name in FIELDS
    }  # fmt: skip
    sides = Sides(columns, left, right)
    for among, some in ((NICKNAMED, sides.nicknamed), (SEVERAL, sides.several)):
        name = AMONG[among]
        met[among] = np.bincount(pair.level(name), teaches * some, minlength=len(LEVELS[name]))[1:]
    return met


def _short(share: float) -> float:
    return float(f"{share:.3g}")


def _write(shares: dict[str, tuple[tuple[float, float], ...]], target: Path = TARGET) -> None:
    """The module, with the number that it had: whoever ships other weights counts it up."""
    number = re.search(r'VERSION = "(\d+)"', target.read_text(encoding="utf-8"))
    assert number is not None
    lines = ['"""Weights that were learnt. Written by ``make weights``; never by hand."""', "", number[0]]
    lines.append("LEARNT: dict[str, tuple[tuple[float, float], ...]] = {")
    for name, pairs in shares.items():
        lines.append(f'    "{name}": (')
        for (m, u), level in zip(pairs, LEVELS[AMONG.get(name, name)][1:], strict=True):
            lines.append(f"        ({m!r}, {u!r}),  # {level}")
        lines.append("    ),")
    target.write_text("\n".join([*lines, "}", ""]), encoding="utf-8")


if __name__ == "__main__":
    main()
