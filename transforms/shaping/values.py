"""What a part of an expression gives: its type, the Polars expression, and how long its text can get."""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from types import MappingProxyType
from typing import Any

import polars as pl

#: How many times longer than all cells of the row together a text may get, and by how many characters beside that.
MOST_GROWTH = 16
MOST_EXTRA = 10_000
#: The signs of comparisons, and what they are when the sides change places.
SIGNS: Mapping[str, Callable[[Any, Any], Any]] = MappingProxyType({
    "=": operator.eq, "<>": operator.ne, "!=": operator.ne, "<": operator.lt, ">": operator.gt, "<=": operator.le,
    ">=": operator.ge,
})  # fmt: skip
_TURNED = {"<": ">", ">": "<", "<=": ">=", ">=": "<="}


class Type(StrEnum):
    """The types of values. All cells are texts."""

    TEXT = "text"
    NUMBER = "number"
    BOOLEAN = "condition"
    NOTHING = "NULL"


@dataclass(frozen=True, slots=True)
class Value:
    """One part. Its text has at most ``growth`` times the characters of the row's longest cell, and ``extra``.

    ``literal``: the value itself, where it is written in the expression.
    """

    type: Type
    expr: pl.Expr
    growth: int = 0
    extra: int = 0
    literal: str | int | float | None = None

    @property
    def too_long(self) -> bool:
        """Whether nobody can say that the text stays short enough."""
        return self.growth > MOST_GROWTH or self.extra > MOST_EXTRA

    def like(self, expr: pl.Expr) -> Value:
        """A text of no more characters than this one."""
        return replace(self, type=Type.TEXT, expr=expr, literal=None)

    def grown(self, expr: pl.Expr, factor: int, more: int = 0) -> Value:
        """A text that is at most ``factor`` times as long and ``more`` characters longer."""
        return Value(Type.TEXT, expr, self.growth * factor, self.extra * factor + more)


def text(value: str) -> Value:
    """A text that is written in the expression."""
    return Value(Type.TEXT, pl.lit(value, pl.String), 0, len(value), value)


def number(value: float) -> Value:
    """A number that is written in the expression."""
    return Value(Type.NUMBER, pl.lit(value), literal=value)


def nothing() -> Value:
    """NULL."""
    return Value(Type.NOTHING, pl.lit(None, pl.String))


def column(name: str) -> Value:
    """A cell of the row."""
    return Value(Type.TEXT, pl.col(name), 1)


def condition(expr: pl.Expr) -> Value:
    """A condition."""
    return Value(Type.BOOLEAN, expr)


def compared(left: Value, sign: str, right: Value) -> Value:
    """The condition that two values of one type stand in the relation of one of ``SIGNS``."""
    if not left.expr.meta.root_names():
        # Polars gives one row for all where a constant comes before a column that a CASE has filled with one value.
        left, sign, right = right, _TURNED.get(sign, sign), left
    return condition(SIGNS[sign](left.expr, right.expr))


def joined(parts: list[Value], expr: pl.Expr) -> Value:
    """A text that has all ``parts`` in it."""
    return Value(Type.TEXT, expr, sum(p.growth for p in parts), sum(p.extra for p in parts))


def one_of(parts: list[Value], expr: pl.Expr) -> Value:
    """A value that is one of ``parts``, which are of one type."""
    types = [p.type for p in parts if p.type is not Type.NOTHING]
    kind = types[0] if types else Type.NOTHING
    return Value(kind, expr, max(p.growth for p in parts), max(p.extra for p in parts))
