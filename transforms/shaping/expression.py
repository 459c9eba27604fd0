"""Expressions in SQL over the columns of one row, made into Polars expressions.

The grammar is SQL's for values: columns, texts, numbers, NULL, CASE, comparisons, IN, LIKE, BETWEEN, IS NULL, AND, OR,
NOT, ``||``, arithmetic, TRY_CAST and the calls in ``functions``. There is nothing in it that reads another row, another
table, a file or an address, so nothing has to be kept out. Why it is read here and not by ``polars.sql_expr``:
docs/decisions/0026-expressions-of-our-own.md.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import NoReturn

import polars as pl

from transforms.shaping import values
from transforms.shaping.functions import FUNCTIONS, CallError, like_pattern, pattern_of
from transforms.shaping.tokens import ExpressionError, Word, place, words
from transforms.shaping.values import Type, Value

_DEEPEST = 40
_LONGEST_NUMBER = 15
_KEYWORDS = {
    *(
        "AND",
        "OR",
        "NOT",
        "IS",
        "NULL",
        "IN",
        "LIKE",
        "BETWEEN",
        "CASE",
        "WHEN",
        "THEN",
        "ELSE",
        "END",
        "TRUE",
        "FALSE",
    ),
    *("AS", "FROM", "SELECT", "WHERE", "ORDER", "GROUP"),
}
_NUMBERS = {"INTEGER": pl.Int64, "INT": pl.Int64, "BIGINT": pl.Int64, "DOUBLE": pl.Float64, "FLOAT": pl.Float64}
_TEXTS = {"TEXT", "VARCHAR", "STRING"}


@dataclass(frozen=True, slots=True)
class Columns:
    """The columns that an expression may name. ``known`` None: any name; ``frame_name``: its column in the frame."""

    known: Collection[str] | None = None
    frame_name: Callable[[str], str] = str


@dataclass(frozen=True, slots=True)
class Expression:
    """A checked expression. ``columns``: those that it looks at, by the names it gives them."""

    source: str
    type: Type
    expr: pl.Expr
    columns: frozenset[str]

    @property
    def text(self) -> pl.Expr:
        """What it gives as a cell: a text, "true" or "false", a number's digits; blank is null."""
        cell = self.expr
        if self.type is Type.BOOLEAN:
            cell = pl.when(cell).then(pl.lit("true")).when(~cell).then(pl.lit("false"))
        cell = cell.cast(pl.String)
        return pl.when(cell != "").then(cell)


def parse(source: str, columns: Columns, *, wanted: Type | None = None) -> Expression:
    """Reads an expression. ``wanted``: the type that it must have. Raises ExpressionError."""
    reader = _Reader(source, columns)
    value = reader.whole()
    if wanted is not None and value.type is not wanted:
        reader.refuse(f"This is a {value.type}, but a {wanted} is expected.", reader.words[0])
    if value.too_long:
        reader.refuse("The text that this makes could get too long. Join fewer texts.", reader.words[0])
    return Expression(source, value.type, value.expr, frozenset(reader.used))


class _Reader:
    """Reads the words from left to right; each method takes one part of the grammar."""

    def __init__(self, source: str, columns: Columns) -> None:
        self.source, self.columns = source, columns
        self.words = words(source)
        self.next = 0
        self.depth = 0
        self.used: set[str] = set()

    # Words

    @property
    def word(self) -> Word:
        return self.words[self.next]

    def take(self) -> Word:
        word = self.word
        self.next += word.kind != "end"
        return word

    def took(self, *names: str) -> bool:
        """Whether the next words are these keywords or marks; they are gone then."""
        ahead = self.words[self.next : self.next + len(names)]
        found = len(ahead) == len(names) and all(
            w.is_name(n) or w.is_mark(n) for w, n in zip(ahead, names, strict=True)
        )
        self.next += len(names) * found
        return found

    def expect(self, name: str, why: str) -> None:
        if not self.took(name):
            self.refuse(f"{name} is missing here: {why}.")

    def refuse(self, message: str, word: Word | None = None) -> NoReturn:
        raise ExpressionError(message, *place(self.source, (word or self.word).at))

    # The grammar, loosest binding first

    def whole(self) -> Value:
        if self.word.kind == "end":
            self.refuse("The expression is empty.")
        value = self.either()
        if self.word.kind != "end":
            self.refuse("The expression should end here. Is an operator or a quote missing?")
        return value

    def either(self) -> Value:
        self.depth += 1
        if self.depth > _DEEPEST:
            self.refuse(f"The expression is nested more than {_DEEPEST} deep.")
        value = self.both()
        while self.word.is_name("OR"):
            word = self.take()
            value = self._logical(value, self.both(), word)
        self.depth -= 1
        return value

    def both(self) -> Value:
        value = self.negated()
        while self.word.is_name("AND"):
            word = self.take()
            value = self._logical(value, self.negated(), word)
        return value

    def _logical(self, left: Value, right: Value, word: Word) -> Value:
        for side in (left, right):
            if side.type is not Type.BOOLEAN:
                self.refuse(f"{word.value.upper()} joins conditions, but one side is a {side.type}.", word)
        return values.condition(left.expr | right.expr if word.is_name("OR") else left.expr & right.expr)

    def negated(self) -> Value:
        count, word = 0, self.word
        while self.took("NOT"):
            count += 1
        value = self.predicate()
        if count and value.type is not Type.BOOLEAN:
            self.refuse(f"NOT turns a condition round, but this is a {value.type}.", word)
        return values.condition(~value.expr) if count % 2 else value

    def predicate(self) -> Value:
        left = self.sum()
        while True:
            word = self.word
            if word.is_mark(*values.SIGNS):
                self.take()
                right = self.sum()
                self._alike(left, right, word)
                left = values.compared(left, word.value, right)
            elif self.took("IS", "NOT", "NULL"):
                left = values.condition(left.expr.is_not_null())
            elif self.took("IS", "NULL"):
                left = values.condition(left.expr.is_null())
            elif self.took("NOT", "IN") or self.took("NOT", "LIKE") or self.took("NOT", "BETWEEN"):
                left = values.condition(~self.special(left, self.words[self.next - 1]).expr)
            elif word.is_name("IN", "LIKE", "BETWEEN"):
                left = self.special(left, self.take())
            else:
                return left

    def special(self, left: Value, word: Word) -> Value:
        if word.is_name("IN"):
            return self.among(left)
        if word.is_name("BETWEEN"):
            low = self.sum()
            self.expect("AND", "BETWEEN has two bounds")
            high = self.sum()
            self._alike(left, low, word)
            self._alike(left, high, word)
            above, below = values.compared(left, ">=", low), values.compared(left, "<=", high)
            return values.condition(above.expr & below.expr)
        pattern = self.sum()
        if left.type is not Type.TEXT or not isinstance(pattern.literal, str):
            self.refuse("LIKE compares a text with a pattern that is written out.", word)
        try:
            found = left.expr.str.contains(pattern_of(values.text(like_pattern(str(pattern.literal))), 0))
        except CallError:
            self.refuse("This pattern is too long.", word)
        return values.condition(found)

    def among(self, left: Value) -> Value:
        self.expect("(", "IN is followed by a list in brackets")
        items: list[str | int | float] = []
        while True:
            word = self.word
            item = self.sum()
            if item.literal is None:
                self.refuse("A list holds texts or numbers that are written out.", word)
            self._alike(left, item, word)
            items.append(item.literal)
            if not self.took(","):
                break
        self.expect(")", "the list has no end")
        return values.condition(left.expr.is_in(items))

    def _alike(self, left: Value, right: Value, word: Word) -> None:
        if Type.NOTHING in (left.type, right.type):
            self.refuse("Nothing is equal to NULL. Write IS NULL or IS NOT NULL.", word)
        if left.type is not right.type:
            mend = " TRY_CAST(… AS INTEGER) makes a number of a text." if Type.NUMBER in (left.type, right.type) else ""
            self.refuse(f"A {left.type} cannot be compared with a {right.type}.{mend}", word)

    def sum(self) -> Value:
        value = self.product()
        while self.word.is_mark("||", "+", "-"):
            word = self.take()
            right = self.product()
            value = self._joined(value, right, word) if word.is_mark("||") else self._reckoned(value, right, word)
        return value

    def product(self) -> Value:
        value = self.signed()
        while self.word.is_mark("*"):
            word = self.take()
            value = self._reckoned(value, self.signed(), word)
        return value

    def _joined(self, left: Value, right: Value, word: Word) -> Value:
        for side in (left, right):
            if side.type is not Type.TEXT:
                self.refuse(f"|| joins texts, but one side is a {side.type}. Write TRY_CAST(… AS TEXT).", word)
        return values.joined([left, right], pl.concat_str(left.expr, right.expr))

    def _reckoned(self, left: Value, right: Value, word: Word) -> Value:
        for side in (left, right):
            if side.type is not Type.NUMBER:
                self.refuse(f"{word.value} needs numbers, but one side is a {side.type}.", word)
        a, b = left.expr, right.expr
        return Value(Type.NUMBER, a + b if word.value == "+" else a - b if word.value == "-" else a * b)

    def signed(self) -> Value:
        word = self.word
        if not self.took("-"):
            return self.single()
        value = self.single()
        if value.type is not Type.NUMBER:
            self.refuse(f"- needs a number, but this is a {value.type}.", word)
        if isinstance(value.literal, int | float):
            return values.number(-value.literal)
        return Value(Type.NUMBER, -value.expr)

    def single(self) -> Value:
        word = self.take()
        if word.kind == "text":
            return values.text(word.value)
        if word.kind == "number":
            return self._number(word)
        if word.kind == "quoted":
            return self._column(word)
        if word.is_mark("("):
            value = self.either()
            self.expect(")", "the bracket has no end")
            return value
        if word.is_name("NULL"):
            return values.nothing()
        if word.is_name("TRUE", "FALSE"):
            return values.condition(pl.lit(word.is_name("TRUE")))
        if word.is_name("CASE"):
            return self.case(word)
        if word.kind != "name":
            self.refuse("A column, a text or a number is missing here.", word)
        return self._call(word) if self.word.is_mark("(") else self._column(word)

    def _number(self, word: Word) -> Value:
        if len(word.value) > _LONGEST_NUMBER:
            self.refuse(f"A number has at most {_LONGEST_NUMBER} digits.", word)
        return values.number(float(word.value) if "." in word.value else int(word.value))

    def _column(self, word: Word) -> Value:
        name, known = word.value, self.columns.known
        if word.kind == "name" and name.upper() in _KEYWORDS:
            self.refuse(f"{name.upper()} makes no sense here. A column of that name is written in double quotes.", word)
        if known is not None and name not in known and not _is_metadata(name, known):
            near = difflib.get_close_matches(name, known, n=1)
            hint = (
                f" Is it {near[0]}?"
                if near
                else " A text is written in single quotes."
                if word.kind == "quoted"
                else ""
            )
            self.refuse(f"There is no column of this name.{hint}", word)
        self.used.add(name)
        return values.column(self.columns.frame_name(name))

    def case(self, word: Word) -> Value:
        subject = None if self.word.is_name("WHEN") else self.either()
        conditions: list[pl.Expr] = []
        results: list[Value] = []
        while self.took("WHEN"):
            here = self.word
            found = self.either()
            if subject is not None:
                self._alike(subject, found, here)
                found = values.compared(subject, "=", found)
            elif found.type is not Type.BOOLEAN:
                self.refuse(f"WHEN needs a condition, but this is a {found.type}.", here)
            self.expect("THEN", "WHEN says when, THEN says what")
            conditions.append(found.expr)
            results.append(self._result(results))
        if not conditions:
            self.refuse("WHEN is missing here: CASE has at least one.")
        other = self._result(results) if self.took("ELSE") else values.nothing()
        self.expect("END", "CASE ends with END")
        expr = other.expr
        for found_expr, result in zip(reversed(conditions), reversed(results), strict=True):
            expr = pl.when(found_expr).then(result.expr).otherwise(expr)
        return values.one_of([*results, other], expr)

    def _result(self, before: list[Value]) -> Value:
        word = self.word
        value = self.either()
        kind = next((v.type for v in before if v.type is not Type.NOTHING), value.type)
        if value.type not in (kind, Type.NOTHING):
            self.refuse(f"All results of CASE are of one type: this is a {value.type}, the first is a {kind}.", word)
        return value

    def _call(self, word: Word) -> Value:
        name = word.value.upper()
        self.take()
        if name in {"TRY_CAST", "CAST"}:
            return self._cast(word)
        function = FUNCTIONS.get(name)
        if function is None:
            near = difflib.get_close_matches(name, FUNCTIONS, n=1)
            self.refuse(f"There is no function {_shown(name)}." + (f" Is it {near[0]}?" if near else ""), word)
        arguments: list[Value] = []
        places: list[Word] = []
        while not self.word.is_mark(")"):
            places.append(self.word)
            arguments.append(self.either())
            if not self.took(","):
                break
        self.expect(")", f"the arguments of {name} have no end")
        try:
            return function.call(arguments)
        except CallError as error:
            at = word if error.argument is None or error.argument >= len(places) else places[error.argument]
            self.refuse(f"{name}: {error}.", at)

    def _cast(self, word: Word) -> Value:
        if word.is_name("CAST"):
            self.refuse("CAST fails on the first odd cell. Write TRY_CAST, which gives NULL then.", word)
        value = self.either()
        self.expect("AS", "TRY_CAST(… AS INTEGER)")
        kind = self.take()
        self.expect(")", "TRY_CAST has no end")
        name = kind.value.upper() if kind.kind == "name" else ""
        if name in _TEXTS:
            return Value(Type.TEXT, value.expr.cast(pl.String), value.growth, value.extra + 30)
        if name not in _NUMBERS or value.type is Type.BOOLEAN:
            self.refuse("TRY_CAST makes INTEGER, DOUBLE or TEXT of a text or a number.", kind)
        source = value.expr.str.strip_chars() if value.type is not Type.NUMBER else value.expr
        return Value(Type.NUMBER, source.cast(_NUMBERS[name], strict=False))


def _is_metadata(name: str, known: Collection[str]) -> bool:
    return "metadata." in known and name.startswith("metadata.") and name != "metadata."


def _shown(name: str) -> str:
    return name if len(name) <= 30 else "of this name"
