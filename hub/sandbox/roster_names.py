"""Many more names than the word lists have, so that few people share theirs by chance; each list with a long tail."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np
import polars as pl
from numpy.typing import NDArray

from hub.sandbox.drawing import Ints
from hub.sandbox.names import ORIGINS, POOLS

#: Names that are made of the halves of two others, for each list of an origin.
_FAMILY_TAIL, _GIVEN_TAIL = 60, 30
#: How much more often earlier names are met: the share of rank r is as (r + 3) to this power.
_STEEP = -0.9
ORIGIN_NAMES = (
    "English", "Spanish", "African American", "Irish", "French", "Slavic", "Vietnamese", "Chinese", "Arabic",
    "South Asian", "Nordic and German", "Pacific", "Korean and Japanese", "Chinese script",
    "Japanese and Korean script",
)  # fmt: skip


@dataclass(frozen=True)
class Names:
    """All names. ``bounds``: first and count of each list, by origin and (female, male, family)."""

    given: pl.Series
    family: pl.Series
    bounds: NDArray[np.int64]
    look_alike: Ints

    def drawn(self, rng: np.random.Generator, which: Ints, origin: Ints) -> Ints:
        """A name out of the list ``which`` (0 female, 1 male, 2 family) of each origin; earlier ones more often."""
        made = np.empty(len(origin), np.int64)
        for one in np.unique(origin).tolist():
            for kind in range(3):
                rows = np.flatnonzero((origin == one) & (which == kind))
                first, count = self.bounds[one, kind]
                share = (np.arange(count) + 3.0) ** _STEEP
                made[rows] = first + rng.choice(count, len(rows), p=share / share.sum())
        return made


@cache
def names() -> Names:
    """The names; the same for every seed, as names of a country are."""
    rng = np.random.default_rng(7)
    given: list[str] = []
    family: list[str] = []
    bounds = np.empty((len(ORIGINS), 3, 2), np.int64)
    for origin in range(len(ORIGINS)):
        for kind, (pool, source, tail) in enumerate(
            (
                (given, _listed(POOLS.given, POOLS.female[origin]), _GIVEN_TAIL),
                (given, _listed(POOLS.given, POOLS.male[origin]), _GIVEN_TAIL),
                (family, _listed(POOLS.family, POOLS.surname[origin]), _FAMILY_TAIL),
            )
        ):
            made = [*source, *_blends(rng, source, tail, double=kind < 2)]
            bounds[origin, kind] = len(pool), len(made)
            pool.extend(made)
    return Names(pl.Series(given), pl.Series(family), bounds, _look_alikes(given, bounds))


def _listed(pool: list[str], bounds: NDArray[np.int64]) -> list[str]:
    first, count = bounds
    return list(dict.fromkeys(pool[first : first + count]))


def _blends(rng: np.random.Generator, source: list[str], count: int, *, double: bool) -> list[str]:
    """Names of halves of two others; of short names two in one."""
    plain = [name for name in source if " " not in name and "-" not in name and len(name) > 3]
    made: dict[str, None] = {}
    if len(plain) < 8:  # Names of one syllable are put together instead.
        pairs = [f"{one} {two}" for one in source[:10] for two in source[:10] if one != two and " " not in one + two]
        return [pairs[at] for at in rng.permutation(len(pairs))[:count]] if double else []
    while len(made) < count:
        one, two = rng.choice(len(plain), 2, replace=False)
        front, back = plain[one], plain[two]
        blend = front[: (len(front) + 1) // 2] + back[len(back) // 2 :].lower()
        if blend not in source:
            made[blend] = None
    return list(made)


def _look_alikes(given: list[str], bounds: NDArray[np.int64]) -> Ints:
    """Of each given name the place of that of its list that begins and ends most like it."""
    nearest = np.arange(len(given))
    for first, count in bounds[:, :2].reshape(-1, 2):
        block = given[first : first + count]
        for at, name in enumerate(block):
            likeness = [_likeness(name, other) if other != name else -1 for other in block]
            nearest[first + at] = first + int(np.argmax(likeness))
    return nearest


def _likeness(one: str, other: str) -> float:
    front = next((i for i, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), min(len(one), len(other)))
    back = next(
        (i for i, (a, b) in enumerate(zip(one[::-1], other[::-1], strict=False)) if a != b), min(len(one), len(other))
    )
    return front + back - 0.5 * abs(len(one) - len(other))
