"""What a rule with a function of its own is given, and how it answers.

A check is pure: tables in, rows found out. It sees no store, no clock and no other rule, so the order of rules cannot
matter. A fix changes values of the fields of its rule, and a fixed value is not found again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import date
from typing import Any, Final

import polars as pl

from transforms.issues import Action, Check, Fix, Phase, Rule, Severity, register
from transforms.marks import beside, blank, certain, filled, rows_of
from transforms.validate.hashed import repeats

#: The table of a rule about rows of any entity.
ANY: Final = "*"
#: The first release with rules of this kind.
SINCE: Final = "0.2"
#: Columns of an answer; ``field`` beside them where the rule is about several fields.
FOUND: Final[dict[str, pl.DataType]] = {"key": pl.String(), "line": pl.UInt32(), "cause": pl.String()}
_NOTHING: Final = pl.DataFrame(schema=FOUND)
_NOTHING_IN_FIELDS: Final = pl.DataFrame(schema={**FOUND, "field": pl.String()})
#: What the name of a column ends with that says how a record was before.
BEFORE: Final = " before"


@dataclass(frozen=True, slots=True)
class Given:
    """``tables``: the columns that the rule reads, with key and line, of the good rows.

    ``today``: the day of the run, None where nobody says it; ``delta``: the rows are changes. In the phase
    ``cross_snapshot`` a table has changed records alone, and each column once more as it was (``BEFORE``).
    """

    tables: Mapping[str, pl.DataFrame]
    params: Mapping[str, Any] = field(default_factory=dict)
    today: date | None = None
    delta: bool = False

    def __getitem__(self, name: str) -> pl.DataFrame:
        return self.tables[name]


def rule(
    code: str, severity: Severity, action: Action, title: str, howto: str, *, entity: str, fields: tuple[str, ...],
    phase: Phase, reads: Mapping[str, tuple[str, ...]], params: Mapping[str, Any] | None = None, fix: Fix | None = None,
) -> Callable[[Check], Rule]:  # fmt: skip
    """Declares the rule whose check is the decorated function; its name stands for the rule from then on."""

    def declared(check: Check) -> Rule:
        return register(
            Rule(code, severity, action, title, howto, entity, fields, phase, params or {}, since=SINCE, reads=reads,
                 check=check, fix=fix)
        )  # fmt: skip

    return declared


def nothing() -> pl.DataFrame:
    """No row found."""
    return _NOTHING.clone()


def found(rows: pl.DataFrame, mark: pl.Series, cause: pl.Series | None = None) -> pl.DataFrame:
    """The marked rows; null counts as not marked. ``cause``: one per row of ``rows``."""
    mark = certain(mark)
    if not mark.any():
        return nothing()
    if cause is None:
        cause = blank(rows.height, pl.String)
    return rows_of(beside([rows["key"], rows["line"], cause.alias("cause")]), mark)


def in_fields(parts: Mapping[str, pl.DataFrame]) -> pl.DataFrame:
    """Answers by field as one."""
    some = [part.with_columns(field=pl.lit(name)) for name, part in parts.items() if part.height]
    return pl.concat([_NOTHING_IN_FIELDS, *some]) if some else _NOTHING_IN_FIELDS.clone()


def whole(cause: str | None = None) -> pl.DataFrame:
    """One finding about a file as a whole."""
    return pl.DataFrame({"key": [None], "line": [None], "cause": [cause]}, schema=FOUND)


def shared(rows: pl.DataFrame, by: Iterable[str], entity: str) -> pl.DataFrame:
    """The rows that share the values ``by`` with a row of another key; the first key of each group is the cause."""
    names = list(by)
    if all_differ(rows[names[-1]]):
        return nothing()
    full = rows.drop_nulls(names)
    twice = full.filter(full.select(names).is_duplicated())
    if not twice.height:
        return nothing()
    same = twice.filter(pl.col("key").n_unique().over(names) > 1)
    return same.select("key", "line", cause=pl.lit(f"{entity}:") + pl.col("key").min().over(names)).unique()


def all_differ(values: pl.Series) -> bool:
    """Whether no value comes twice, which is nearly always so and cheap to see."""
    known = filled(values)
    return len(repeats(known)) == 0 if known.dtype == pl.UInt64 else known.n_unique() == known.len()


def column(rows: pl.DataFrame, name: str) -> pl.Series:
    """A column, of nulls where the rows have none."""
    return rows[name] if name in rows.columns else blank(rows.height, pl.String)
