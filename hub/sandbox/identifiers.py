"""sourcedIds as student information systems make them: each district mixes styles, each kind of object has one."""

from __future__ import annotations

from typing import Literal

import numpy as np
import polars as pl

Style = Literal["guid", "number", "prefixed"]

_PREFIXES = {
    "orgs": "ORG", "academicSessions": "TRM", "courses": "CRS", "classes": "SEC", "students": "STU", "staff": "STF",
    "guardians": "PAR", "enrollments": "ENR", "roles": "ROL", "userProfiles": "PRF", "resources": "RSC",
    "courseResources": "CRR", "classResources": "CLR", "userResources": "USR", "categories": "CAT",
    "scoreScales": "SCL", "lineItems": "LIN", "lineItemScoreScales": "LSC", "lineItemLearningObjectiveIds": "LOB",
    "results": "RES", "resultScoreScales": "RSS", "resultLearningObjectiveIds": "ROB",
}  # fmt: skip
#: Styles of a whole district: for people, for everything else, for enrollments.
_MIXES: tuple[tuple[Style, Style, Style], ...] = (
    ("prefixed", "number", "number"),
    ("guid", "guid", "guid"),
    ("number", "prefixed", "prefixed"),
    ("guid", "prefixed", "number"),
)
_AT_ONCE = 250_000
_PEOPLE = ("students", "staff", "guardians")
_LINKS = ("enrollments", "roles", "userProfiles", "results", "resultScoreScales", "resultLearningObjectiveIds")
# Ten digits: nine would look like a social security number.
_FIRST = {kind: (i + 1) * 1_000_000_000 for i, kind in enumerate(_PREFIXES)}


def style_of(kind: str, seed: int) -> Style:
    """The style that district ``seed`` uses for ``kind`` (a key of the prefix table)."""
    people, things, links = _MIXES[seed % len(_MIXES)]
    if kind in _PEOPLE:
        return people
    return links if kind in _LINKS else things


def guids(rng: np.random.Generator, count: int) -> pl.Series:
    """``count`` random lower-case version 4 UUIDs."""
    parts = [_guids(rng, min(_AT_ONCE, count - done)) for done in range(0, count, _AT_ONCE)]
    return pl.concat(parts, rechunk=True) if parts else pl.Series([], dtype=pl.String)


def _guids(rng: np.random.Generator, count: int) -> pl.Series:
    raw = np.frombuffer(rng.bytes(16 * count), np.uint8).reshape(count, 16).copy()
    raw[:, 6] = raw[:, 6] & 0x0F | 0x40
    raw[:, 8] = raw[:, 8] & 0x3F | 0x80
    digits = np.frombuffer(raw.tobytes().hex().encode(), np.uint8).reshape(count, 32)
    text = np.full((count, 37), ord("-"), np.uint8)
    at = 0
    for start, width in ((0, 8), (8, 4), (12, 4), (16, 4), (20, 12)):
        text[:, at : at + width] = digits[:, start : start + width]
        at += width + 1
    text[:, 36] = ord("\n")
    return pl.Series([text.tobytes()[:-1].decode()]).str.split("\n").explode(empty_as_null=False)


def make_ids(rng: np.random.Generator, kind: str, count: int, seed: int, *, after: int = 0) -> pl.Series:
    """``count`` distinct sourcedIds of ``kind``; ``after`` is how many the same district already made of that kind.

    Numbers of different kinds never meet, so an id is unique in the whole package whatever the style.
    """
    style = style_of(kind, seed)
    if style == "guid":
        return guids(rng, count)
    # Gaps as a live system has them: ids rise by one to three.
    steps = rng.integers(1, 4, count).cumsum() + 3 * after
    numbers = pl.Series(steps + _FIRST[kind] + 1_000 * (seed % 997), dtype=pl.Int64).cast(pl.String)
    return numbers if style == "number" else _PREFIXES[kind] + "-" + numbers
