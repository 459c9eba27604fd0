"""How alike texts of pairs are, worked out once for each two different texts."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl
from rapidfuzz.distance import OSA, JaroWinkler
from rapidfuzz.fuzz import token_set_ratio
from rapidfuzz.process import cpdist

from transforms.matching.hashes import U64, Values

Bools = npt.NDArray[np.bool_]
Rows = npt.NDArray[np.int64]
_FEW = 256


def alike(
    texts: Values, hashes: U64, left: Rows, right: Rows, least: float = 0.92, shortest: int = 4
) -> Bools:  # fmt: skip
    """Whether texts differ by one letter (of ``shortest`` or more) or are closer than ``least`` by Jaro and Winkler.

    Two letters may differ where both have at least eight. ``hashes`` are those of ``texts``; no text is missing.
    """
    one, two, places = _different(hashes, left, right)
    queries, choices = chosen(texts, one), chosen(texts, two)
    lengths = np.minimum(*(np.fromiter(map(len, texts_of), np.int64, len(one)) for texts_of in (queries, choices)))
    closeness = cpdist(queries, choices, scorer=JaroWinkler.similarity, dtype=np.float32)
    steps = cpdist(queries, choices, scorer=OSA.distance, score_cutoff=2, dtype=np.int32)
    close = ((steps <= 1) & (lengths >= shortest)) | ((steps <= 2) & (lengths >= 8)) | (closeness > least)
    found: Bools = close if places is None else close[places]
    return found


def words_in_common(texts: Values, hashes: U64, left: Rows, right: Rows) -> npt.NDArray[np.float32]:
    """How much of one text is in the other, in any order of words and with slips: 0 to 100."""
    one, two, places = _different(hashes, left, right)
    ratio = cpdist(chosen(texts, one), chosen(texts, two), scorer=token_set_ratio, dtype=np.float32)
    found: npt.NDArray[np.float32] = ratio if places is None else ratio[places]
    return found


def chosen(values: Values, rows: Rows) -> list[Any]:
    """The values of some rows."""
    if isinstance(values, pl.Series):
        return values.gather(rows).to_list()
    return [values[row] for row in rows.tolist()]


def one_step(left: list[str], right: list[str]) -> Bools:
    """Whether codes differ by one letter, or by two neighbours swapped."""
    steps = cpdist(left, right, scorer=OSA.distance, score_cutoff=1, dtype=np.int32)
    found: Bools = steps <= 1
    return found


def _different(hashes: U64, left: Rows, right: Rows) -> tuple[Rows, Rows, Rows | None]:
    """Rows of each two different texts once, and for every pair the place among these."""
    if len(left) < _FEW:
        return left, right, None
    low, high = np.minimum(hashes[left], hashes[right]), np.maximum(hashes[left], hashes[right])
    both = low * np.uint64(0x9E3779B97F4A7C15) ^ high
    _, first, places = np.unique(both, return_index=True, return_inverse=True)
    return left[first], right[first], places
