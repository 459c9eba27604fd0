"""The ``filter`` parameter: text in, a small tree of clauses out.

    filter = clause [ SP ( "AND" / "OR" ) SP clause ]
    clause = name *( "." name ) predicate "'" value "'"

More clauses than two are an extension that an app may be given; they are read from left to right.

One pass from left to right, no recursion and no regular expression on what was sent, and bounds on everything, so that
the worst input costs as little as any other (T43). Source: OneRoster 1.2 REST binding, filtering.
"""

from __future__ import annotations

from dataclasses import dataclass

from hub.store.conditions import Operator

LONGEST = 2048  # bytes of UTF-8
MOST_TERMS = 20  # values in the comma lists of all clauses
STANDARD_CLAUSES = 2
MOST_CLAUSES = 10  # where the app may send more than the standard has
_DEEPEST = 4  # names in a path
_JOINS = {"AND ": True, "OR ": False}
#: What may stand in the name of a field, those in metadata included, which districts choose.
_NAME = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-:")
_QUOTE = "'"


@dataclass(frozen=True, slots=True)
class Clause:
    """One comparison: ``path`` names the field, from the outside in."""

    path: tuple[str, ...]
    predicate: Operator
    value: str

    @property
    def values(self) -> tuple[str, ...]:
        """The value as a comma list, as fields with several values read it."""
        return tuple(part.strip() for part in self.value.split(","))


@dataclass(frozen=True, slots=True)
class Filter:
    """Clauses, and between each two of them whether both must hold (True: AND) or one is enough (False: OR)."""

    clauses: tuple[Clause, ...]
    joins: tuple[bool, ...] = ()

    @property
    def every(self) -> bool:
        """Whether all clauses must hold."""
        return all(self.joins)


class FilterError(ValueError):
    """What is wrong with a filter, and where; nothing of its values is repeated."""

    def __init__(self, problem: str, at: int) -> None:
        super().__init__(f"{problem} (at character {at + 1})")


def is_name(text: str) -> bool:
    """Whether a text can be the name of a field."""
    return bool(text) and _NAME.issuperset(text)


def parse(text: str, *, most_clauses: int = STANDARD_CLAUSES) -> Filter:
    """The clauses of a filter. Raises FilterError."""
    if len(text.encode("utf-8", "surrogatepass")) > LONGEST:
        raise FilterError(f"a filter may have {LONGEST} bytes at most", 0)
    first, at = _clause(text, _skip(text, 0))
    clauses, joins = [first], []
    while (at := _skip(text, at)) < len(text):
        if len(clauses) == most_clauses:
            raise FilterError(f"a filter has {most_clauses} clauses at most, joined by AND or OR", at)
        every, at = _operator(text, at)
        clause, at = _clause(text, at)
        clauses.append(clause)
        joins.append(every)
    if sum(len(clause.values) for clause in clauses) > MOST_TERMS:
        raise FilterError(f"a filter may list {MOST_TERMS} values at most", 0)
    return Filter(tuple(clauses), tuple(joins))


def _skip(text: str, at: int) -> int:
    while at < len(text) and text[at] == " ":
        at += 1
    return at


def _operator(text: str, at: int) -> tuple[bool, int]:
    """Whether it is AND, and where the next clause begins."""
    for word, every in _JOINS.items():
        if text.startswith(word, at) and text[at - 1] == " ":
            return every, _skip(text, at + len(word))
    raise FilterError("after a clause comes AND or OR in capitals, between spaces, or nothing", at)


def _clause(text: str, at: int) -> tuple[Clause, int]:
    path, at = _path(text, at)
    at = _skip(text, at)
    predicate, at = _predicate(text, at)
    at = _skip(text, at)
    value, at = _value(text, at)
    return Clause(path, predicate, value), at


def _path(text: str, at: int) -> tuple[tuple[str, ...], int]:
    names: list[str] = []
    while True:
        start = at
        while at < len(text) and text[at] in _NAME:
            at += 1
        if at == start:
            raise FilterError("a field's name is missing", at)
        names.append(text[start:at])
        if len(names) > _DEEPEST:
            raise FilterError("no field lies as deep as this", at)
        if at == len(text) or text[at] != ".":
            return tuple(names), at
        at += 1


def _predicate(text: str, at: int) -> tuple[Operator, int]:
    for predicate in Operator:
        if text.startswith(predicate.value, at):
            return predicate, at + len(predicate.value)
    raise FilterError("after a field comes one of = != > >= < <= ~", at)


def _value(text: str, at: int) -> tuple[str, int]:
    """What stands between single quotes; a quote inside is doubled or has a backslash before it."""
    if at >= len(text) or text[at] != _QUOTE:
        raise FilterError("values stand between single quotes", at)
    start = at
    at += 1
    parts: list[str] = []
    begin = at
    while at < len(text):
        if text[at] == _QUOTE:
            parts.append(text[begin:at])
            if not text.startswith(_QUOTE, at + 1):
                return _storable("".join(parts), start), at + 1
            begin, at = at + 1, at + 2
        elif text.startswith("\\'", at):
            parts.append(text[begin:at])
            begin, at = at + 1, at + 2
        else:
            at += 1
    raise FilterError("a value's closing quote is missing", start)


def _storable(value: str, at: int) -> str:
    """Refuses what PostgreSQL cannot hold in a text: NUL and halves of surrogate pairs."""
    if "\0" in value or (not value.isascii() and any("\ud800" <= c <= "\udfff" for c in value)):
        raise FilterError("a value holds a character that no text can hold", at)
    return value
