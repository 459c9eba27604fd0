"""Findings about data, as values. A finding names a rule, a place and a way to mend it, and never holds personal data.

``RULES`` is the one list of codes; the quality report, ``hub validate`` and docs/issues.md are made from it. A rule is
data. Most rules are found on the way by the code that reads the value; those of ``transforms.rules`` have a function of
their own in ``Rule.check``. Frames of findings have the columns of ``SCHEMA``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final

import polars as pl

from transforms.marks import stacked


class Severity(StrEnum):
    """How far a finding reaches. Only the first two keep data out."""

    BLOCK_SYNC = "block_sync"  # nothing of this package is applied
    BLOCK_RECORD = "block_record"  # this row is quarantined, the others go on
    WARN = "warn"
    INFO = "info"


class Action(StrEnum):
    """What was done about it."""

    FIX = "fix"  # repaired, because nobody could disagree
    KEEP = "fix_keep_original"  # repaired, and what the source wrote stays in the record's metadata
    QUARANTINE = "quarantine"  # the row is kept out; an older good version stays
    DROP_VALUE = "drop_value"  # the row goes on without this value
    SUGGEST = "suggest"  # nothing was changed; the cause or the way to mend it says what is probably meant
    REPORT = "report"
    HOLD = "hold"  # nothing was changed; the guard asks a person before the run is applied
    REFUSE = "refuse"  # the whole package is refused


#: Rules that change nothing by themselves: a district may switch these off.
OPTIONAL: Final = frozenset({Action.REPORT, Action.SUGGEST, Action.HOLD})


class Phase(StrEnum):
    """What has to be known for a rule, in the order in which rules run."""

    FILE = "file"  # the package: its bytes, headers, manifest, or how it was pulled
    ROW = "row"  # one row, with the objects that it refers to
    ENTITY = "entity"  # all rows of one file
    CROSS_ENTITY = "cross_entity"  # all rows of several files
    CROSS_SNAPSHOT = "cross_snapshot"  # what the store knows from before


#: Looks at what a rule is given (``transforms.rules.given.Given``) and answers columns key, line, cause, maybe field.
Check = Callable[[Any], pl.DataFrame]
#: Mends the found values of one field (its name, the values): a pure function of each value.
Fix = Callable[[str, pl.Series], pl.Series]


@dataclass(frozen=True, slots=True)
class Rule:
    """One kind of finding. ``title`` says what is wrong, without any value; ``howto`` where and how to mend it.

    ``entity`` and ``fields``: what it is about, "" and () for any. ``params``: its thresholds (numbers, or lists of
    text) with their defaults, which a district may set. ``version`` grows when the same data may give other findings;
    ``since``: the release that brought it; ``deprecated``: the code that came in its place. ``check``, of a rule with
    a function of its own, is given ``reads``: the columns that it looks at, by table (``transforms.rules.tables``).
    ``fix`` mends what it found. ``origin``: the entry point of another distribution that brings the rule.
    """

    code: str
    severity: Severity
    action: Action
    title: str
    howto: str
    entity: str = ""
    fields: tuple[str, ...] = ()
    phase: Phase = Phase.ROW
    params: Mapping[str, Any] = field(default_factory=dict, hash=False)
    version: int = 1
    since: str = "0.1"
    deprecated: str = ""
    reads: Mapping[str, tuple[str, ...]] = field(default_factory=dict, hash=False)
    check: Check | None = None
    fix: Fix | None = None
    origin: str = ""

    @property
    def optional(self) -> bool:
        """Whether a district may switch it off."""
        return self.action in OPTIONAL


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


def declare(
    code: str, severity: Severity, action: Action, title: str, howto: str, *, entity: str = "",
    fields: tuple[str, ...] = (), phase: Phase = Phase.ROW, params: Mapping[str, Any] | None = None,
    version: int = 1, since: str = "0.1", deprecated: str = "",
) -> Rule:  # fmt: skip
    """Adds a rule to ``RULES`` and returns it; a code may be declared once only."""
    return register(
        Rule(code, severity, action, title, howto, entity, fields, phase, params or {}, version, since, deprecated)
    )


def register(rule: Rule) -> Rule:
    """Adds a rule to ``RULES`` and returns it. Raises ValueError where its code is taken."""
    if rule.code in RULES:
        raise ValueError(f"rule {rule.code} is declared twice")
    RULES[rule.code] = rule
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
    return stacked([empty(), *frames])
