"""Findings about data, as values. A finding names a rule, a place and a way to mend it, and never holds personal data.

``RULES`` is the one list of codes; the quality report, ``hub validate`` and docs/issues.md are made from it. Frames of
findings have the columns of ``SCHEMA``.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

import polars as pl


class Severity(StrEnum):
    """How far a finding reaches. Only the first two keep data out."""

    BLOCK_SYNC = "block_sync"  # nothing of this package is applied
    BLOCK_RECORD = "block_record"  # this row is quarantined, the others go on
    WARN = "warn"
    INFO = "info"


class Action(StrEnum):
    """What was done about it."""

    FIX = "fix"  # repaired, because nobody could disagree
    QUARANTINE = "quarantine"  # the row is kept out; an older good version stays
    DROP_VALUE = "drop_value"  # the row goes on without this value
    REPORT = "report"
    REFUSE = "refuse"  # the whole package is refused


@dataclass(frozen=True, slots=True)
class Rule:
    """One kind of finding. ``title`` says what is wrong, ``howto`` where and how to mend it in the source."""

    code: str
    severity: Severity
    action: Action
    title: str
    howto: str


#: Columns of a frame of findings. ``key`` is the row's sourcedId in the source, ``cause`` groups findings that one
#: mistake led to ("orgs:school-9" for all rows that point to a missing school), ``line`` counts from 1 (the header).
SCHEMA: dict[str, type[pl.DataType]] = {
    "code": pl.String,
    "entity": pl.String,
    "file": pl.String,
    "line": pl.UInt32,
    "field": pl.String,
    "key": pl.String,
    "cause": pl.String,
}

RULES: dict[str, Rule] = {}


def declare(code: str, severity: Severity, action: Action, title: str, howto: str) -> Rule:
    """Adds a rule to ``RULES`` and returns it; a code may be declared once only."""
    if code in RULES:
        raise ValueError(f"rule {code} is declared twice")
    rule = RULES[code] = Rule(code, severity, action, title, howto)
    return rule


def empty() -> pl.DataFrame:
    """A frame of no findings."""
    return _NOTHING.clone()


_NOTHING: Final = pl.DataFrame(schema=SCHEMA)


def one(
    rule: Rule, *, entity: str = "", file: str = "", line: int | None = None, field: str = "", key: str = "",
    cause: str = "",
) -> pl.DataFrame:  # fmt: skip
    """A frame of one finding, for findings about a file rather than a row."""
    row = {"code": rule.code, "entity": entity, "file": file, "line": line, "field": field, "key": key, "cause": cause}
    return pl.DataFrame([row], schema=SCHEMA)


def collect(frames: Iterable[pl.DataFrame]) -> pl.DataFrame:
    """All findings of ``frames`` in one frame."""
    found = [frame for frame in frames if frame.height]
    return pl.concat([_NOTHING, *found]) if found else empty()
