"""The functions that an expression may call: this list is all there is. Each looks at one row only."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

import polars as pl

from transforms.shaping.values import Type, Value, compared, condition, joined, one_of

_LONGEST_PATTERN = 200
_MOST_REPEATS = 1_000
_LONGEST_PAD = 100


class CallError(ValueError):
    """A call that cannot be: what is wrong, and with which argument (from 0; None: with their number)."""

    def __init__(self, message: str, argument: int | None = None) -> None:
        super().__init__(message)
        self.argument = argument


@dataclass(frozen=True, slots=True)
class Function:
    """One function. ``takes``: the types of its arguments; ``least``: how many it needs (None: all of them).

    ``written``: places of arguments that must be written in the expression, so that their size is known. ``rest``: the
    last type may come again.
    """

    takes: tuple[Type, ...]
    make: Callable[[list[Value]], Value]
    least: int | None = None
    written: tuple[int, ...] = ()
    rest: bool = False

    def call(self, arguments: list[Value]) -> Value:
        """The value of a call. Raises CallError."""
        least = len(self.takes) if self.least is None else self.least
        if len(arguments) < least or (len(arguments) > len(self.takes) and not self.rest):
            raise CallError(f"{self._wanted(least)} expected, not {len(arguments)}")
        for place, argument in enumerate(arguments):
            wanted = self.takes[min(place, len(self.takes) - 1)]
            if argument.type not in (wanted, Type.NOTHING):
                raise CallError(f"a {wanted} is expected here, not a {argument.type}{_mend(wanted)}", place)
            if place in self.written and argument.literal is None:
                raise CallError(f"this {wanted} must be written out, not computed", place)
        return self.make(arguments)

    def _wanted(self, least: int) -> str:
        if self.rest:
            return f"at least {least} arguments are"
        most = len(self.takes)
        return (
            f"{least} to {most} arguments are" if least != most else f"{most} argument{'s are' * (most > 1) or ' is'}"
        )


def _mend(wanted: Type) -> str:
    return ": write TRY_CAST(… AS INTEGER)" if wanted is Type.NUMBER else ""


def _count(value: Value, argument: int, most: int) -> int:
    if not isinstance(value.literal, int) or not 0 <= value.literal <= most:
        raise CallError(f"a whole number from 0 to {most} is expected here", argument)
    return value.literal


def pattern_of(value: Value, argument: int) -> str:
    """A regular expression that compiles and stays small. Raises CallError."""
    pattern = str(value.literal)
    counts = (m[0] for m in re.finditer(r"\{[\d\s,]+\}", pattern))
    repeats = math.prod(max([1, *(int(n[:9]) for n in re.findall(r"\d+", count))]) for count in counts)
    if len(pattern) > _LONGEST_PATTERN or repeats > _MOST_REPEATS:
        raise CallError(
            f"a regular expression has at most {_LONGEST_PATTERN} characters and {_MOST_REPEATS:,} repeats", argument
        )
    try:
        pl.Series(["x"]).str.contains(pattern)
    except pl.exceptions.PolarsError:
        raise CallError("this regular expression cannot be read (its syntax is that of Rust)", argument) from None
    return pattern


def like_pattern(pattern: str) -> str:
    """LIKE's pattern as a regular expression: % is any text, _ one character."""
    parts = {"%": ".*", "_": "."}
    return "(?s)^" + "".join(parts.get(c) or re.escape(c) for c in pattern) + "$"


def _substring(a: list[Value]) -> Value:
    start = a[1].literal
    if not isinstance(start, int) or start < 1:
        raise CallError("the first character has the number 1", 1)
    length = _count(a[2], 2, 100_000) if len(a) > 2 else None
    return a[0].like(a[0].expr.str.slice(start - 1, length))


def _replace(a: list[Value]) -> Value:
    old, new = str(a[1].literal), str(a[2].literal)
    if not old:
        raise CallError("there is nothing to look for", 1)
    replaced = a[0].expr.str.replace_all(old, new, literal=True)
    return a[0].grown(replaced, max(1, math.ceil(len(new) / len(old))))


def _regexp_replace(a: list[Value]) -> Value:
    new = str(a[2].literal)
    replaced = a[0].expr.str.replace_all(pattern_of(a[1], 1), new)
    return a[0].grown(replaced, 1 + len(new), len(new))


def _regexp_extract(a: list[Value]) -> Value:
    group = _count(a[2], 2, 20) if len(a) > 2 else 0
    pattern = pattern_of(a[1], 1)
    if pattern.count("(") < group:
        raise CallError("the regular expression has fewer groups", 2)
    return a[0].like(a[0].expr.str.extract(pattern, group))


def _padded(a: list[Value], *, left: bool) -> Value:
    width = _count(a[1], 1, _LONGEST_PAD)
    fill = str(a[2].literal) if len(a) > 2 else " "
    if len(fill) != 1:
        raise CallError("one character is expected here", 2)
    padded = a[0].expr.str.pad_start(width, fill) if left else a[0].expr.str.pad_end(width, fill)
    return a[0].grown(padded, 1, width)


def _split_part(a: list[Value]) -> Value:
    separator, part = str(a[1].literal), _count(a[2], 2, 1_000)
    if not separator or part < 1:
        raise CallError("a separator and a part from 1 on are expected", 1)
    return a[0].like(a[0].expr.str.split(separator).list.get(part - 1, null_on_oob=True))


def _nullif(a: list[Value]) -> Value:
    if a[1].type is not a[0].type:
        raise CallError(f"a {a[0].type} is expected here, not a {a[1].type}", 1)
    return a[0].like(pl.when(compared(a[0], "<>", a[1]).expr).then(a[0].expr))


def _with_separator(a: list[Value]) -> Value:
    mark = str(a[0].literal)
    parts = a[1:]
    text = pl.concat_str([p.expr for p in parts], separator=mark, ignore_nulls=True)
    together = joined(parts, text)
    return together.grown(text, 1, len(mark) * len(parts))


_T, _N = Type.TEXT, Type.NUMBER
FUNCTIONS: Mapping[str, Function] = MappingProxyType({
    "UPPER": Function((_T,), lambda a: a[0].like(a[0].expr.str.to_uppercase())),
    "LOWER": Function((_T,), lambda a: a[0].like(a[0].expr.str.to_lowercase())),
    "TRIM": Function((_T,), lambda a: a[0].like(a[0].expr.str.strip_chars())),
    "LTRIM": Function((_T,), lambda a: a[0].like(a[0].expr.str.strip_chars_start())),
    "RTRIM": Function((_T,), lambda a: a[0].like(a[0].expr.str.strip_chars_end())),
    "LENGTH": Function((_T,), lambda a: Value(_N, a[0].expr.str.len_chars().cast(pl.Int64))),
    "LEFT": Function((_T, _N), lambda a: a[0].like(a[0].expr.str.head(_count(a[1], 1, 100_000))), written=(1,)),
    "RIGHT": Function((_T, _N), lambda a: a[0].like(a[0].expr.str.tail(_count(a[1], 1, 100_000))), written=(1,)),
    "SUBSTR": Function((_T, _N, _N), _substring, least=2, written=(1, 2)),
    "SUBSTRING": Function((_T, _N, _N), _substring, least=2, written=(1, 2)),
    "REPLACE": Function((_T, _T, _T), _replace, written=(1, 2)),
    "SPLIT_PART": Function((_T, _T, _N), _split_part, written=(1, 2)),
    "LPAD": Function((_T, _N, _T), lambda a: _padded(a, left=True), least=2, written=(1, 2)),
    "RPAD": Function((_T, _N, _T), lambda a: _padded(a, left=False), least=2, written=(1, 2)),
    "CONCAT": Function(
        (_T,), lambda a: joined(a, pl.concat_str([p.expr for p in a], ignore_nulls=True)), rest=True
    ),
    "CONCAT_WS": Function((_T, _T), _with_separator, written=(0,), rest=True),
    "COALESCE": Function((_T,), lambda a: one_of(a, pl.coalesce([p.expr for p in a])), rest=True),
    "NULLIF": Function((_T, _T), _nullif),
    "STARTS_WITH": Function((_T, _T), lambda a: condition(a[0].expr.str.starts_with(a[1].expr))),
    "ENDS_WITH": Function((_T, _T), lambda a: condition(a[0].expr.str.ends_with(a[1].expr))),
    "CONTAINS": Function((_T, _T), lambda a: condition(a[0].expr.str.contains(a[1].expr, literal=True))),
    "REGEXP_LIKE": Function(
        (_T, _T), lambda a: condition(a[0].expr.str.contains(pattern_of(a[1], 1))), written=(1,)
    ),
    "REGEXP_REPLACE": Function((_T, _T, _T), _regexp_replace, written=(1, 2)),
    "REGEXP_EXTRACT": Function((_T, _T, _N), _regexp_extract, least=2, written=(1, 2)),
})  # fmt: skip
