"""Small draws that all rooms of the sandbox make."""

from __future__ import annotations

import numpy as np
import polars as pl
from numpy.typing import NDArray

Ints = NDArray[np.int64]
BLANK = pl.Series([None], dtype=pl.String)


def chance(rng: np.random.Generator, count: int, share: float) -> NDArray[np.bool_]:
    """``count`` throws that succeed with probability ``share``."""
    return rng.random(count) < share


def maybe(rng: np.random.Generator, values: pl.Series, share: float) -> pl.Series:
    """``values`` with all but a random ``share`` of them blank."""
    return values.zip_with(pl.Series(chance(rng, len(values), share)), BLANK)
