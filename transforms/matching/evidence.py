"""What a decision was made from, as JSON and in plain words. Fields and levels only, never a value."""

from __future__ import annotations

import json

import numpy as np
import numpy.typing as npt
import polars as pl

from transforms.matching.weights import FIELDS, LEVELS

#: So many pairs are written one by one: columns would take longer to be set up.
_FEW = 64
_APART = '{"what":"decision","level":"kept apart","bits":0}'


def written(levels: npt.NDArray[np.uint8], bits: npt.NDArray[np.float32], apart: npt.NDArray[np.bool_]) -> pl.Series:
    """One JSON list for each pair: ``{"what", "level", "bits"}`` of every field that says something."""
    tenths = np.round(bits, 1)
    if len(levels) < _FEW:
        rows = zip(levels.tolist(), tenths.astype(np.float64).tolist(), apart.tolist(), strict=True)
        return pl.Series("evidence", [_one(*row) for row in rows], pl.String)
    parts = []
    for at, name in enumerate(FIELDS):
        starts = [None, *(f'{{"what":"{name}","level":"{level}","bits":' for level in LEVELS[name][1:])]
        start = pl.Series(starts, dtype=pl.String).gather(levels[:, at])
        parts.append((start + pl.Series(tenths[:, at]).cast(pl.String) + "}").alias(name))
    parts.append(pl.Series("apart", [None, _APART], dtype=pl.String).gather(apart.astype(np.uint8)))
    return pl.DataFrame(parts).select("[" + pl.concat_str(pl.all(), separator=",", ignore_nulls=True) + "]").to_series()


def _one(levels: list[int], bits: list[float], apart: bool) -> str:
    """As a column of it would have it, for the few pairs of one changed record."""
    parts = [
        f'{{"what":"{name}","level":"{LEVELS[name][level]}","bits":{worth:.1f}}}'
        for name, level, worth in zip(FIELDS, levels, bits, strict=True)
        if level
    ]
    return "[" + ",".join([*parts, *([_APART] if apart else [])]) + "]"


def plain(evidence: str) -> list[str]:
    """``evidence`` in words for a person who decides, the weightiest first."""
    found = json.loads(evidence)
    return [_sentence(item) for item in sorted(found, key=lambda item: -abs(item["bits"]))]


def _sentence(item: dict[str, str | float]) -> str:
    what, level, bits = str(item["what"]), str(item["level"]), float(item["bits"])
    if what == "decision":
        return "A person decided that these are two people."
    weight = abs(bits)
    how = "decides nothing" if weight < 0.5 else "weak" if weight < 3 else "strong" if weight < 9 else "very strong"
    side = "" if weight < 0.5 else ", speaks for one person" if bits > 0 else ", speaks for two people"
    return f"{what[0].upper()}{what[1:]}: {level} ({how}{side})."
