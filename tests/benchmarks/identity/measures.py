"""How right a clustering is, with intervals."""

from __future__ import annotations

from dataclasses import dataclass
from math import sqrt

import numpy as np
import polars as pl

Z = 1.959964


@dataclass(frozen=True)
class Share:
    """``hits`` of ``total``, with Wilson's 95 % interval."""

    hits: int
    total: int

    @property
    def value(self) -> float:
        return self.hits / self.total if self.total else float("nan")

    @property
    def interval(self) -> tuple[float, float]:
        if not self.total:
            return float("nan"), float("nan")
        n, p = self.total, self.value
        middle, half = p + Z * Z / (2 * n), Z * sqrt(p * (1 - p) / n + Z * Z / (4 * n * n))
        return max(0.0, (middle - half) / (1 + Z * Z / n)), min(1.0, (middle + half) / (1 + Z * Z / n))

    def __str__(self) -> str:
        low, high = self.interval
        return f"{self.value:.5f} [{low:.5f}, {high:.5f}] ({self.hits:,} of {self.total:,})"

    def __add__(self, other: Share) -> Share:
        return Share(self.hits + other.hits, self.total + other.total)


def difference(one: Share, two: Share) -> tuple[float, float]:
    """The 95 % interval of one share less another of other pairs, as if the two had not been chosen for it."""
    width = Z * sqrt(sum(share.value * (1 - share.value) / share.total for share in (one, two)))
    return one.value - two.value - width, one.value - two.value + width


@dataclass(frozen=True)
class Score:
    """Pairs of clusters against pairs of people."""

    precision: Share
    recall: Share

    @property
    def f1(self) -> float:
        found, true = self.precision.total, self.recall.total
        return 2 * self.precision.hits / (found + true) if found + true else 1.0

    def __add__(self, other: Score) -> Score:
        return Score(self.precision + other.precision, self.recall + other.recall)

    def f1_interval(self, draws: int = 2000) -> tuple[float, float]:
        """Of F1, by drawing right, wrong and missed pairs anew."""
        rng = np.random.default_rng(1)
        hits = self.precision.hits
        counts = np.array([hits, self.precision.total - hits, self.recall.total - hits])
        drawn = rng.multinomial(counts.sum(), counts / counts.sum(), draws)
        f1 = 2 * drawn[:, 0] / (2 * drawn[:, 0] + drawn[:, 1] + drawn[:, 2])
        low, high = np.quantile(f1, (0.025, 0.975))
        return float(low), float(high)


def pairs_of(groups: pl.DataFrame, by: str) -> pl.DataFrame:
    """All pairs left < right of rids with the same value in ``by``."""
    several = groups.filter(pl.len().over(by) > 1).select(by, "rid")
    return (
        several.join(several, on=by).filter(pl.col("rid") < pl.col("rid_right")).select(left="rid", right="rid_right")
    )


def scored(found: pl.DataFrame, true: pl.DataFrame) -> Score:
    """Pairs found against true ones."""
    both = found.join(true, on=["left", "right"], how="semi").height
    return Score(Share(both, found.height), Share(both, true.height))
