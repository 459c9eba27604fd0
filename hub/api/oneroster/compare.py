"""One clause on one value: which condition on its column it is, by the type of the field.

A value that cannot be of the field's type matches nothing: such a condition is ``NEVER``. Where case counts, in which
texts, and what equality of lists means is the app's behaviour.
"""

from __future__ import annotations

import re
from datetime import UTC, date, datetime
from math import isfinite

from hub.api.oneroster.filter import Clause
from hub.behaviour import Behaviour
from hub.store import conditions as sql
from hub.store.conditions import NEVER, Condition, Expression, Operator
from transforms.catalogue import Entity, Field, Kind

#: Texts that are compared as they are: ids that were agreed elsewhere. All other texts may ignore case.
_EXACT = frozenset({"identifier", "userMasterIdentifier"})
_DIGITS = frozenset("0123456789")
_NUMERIC = _DIGITS | frozenset("+-.eE")
_LOST_PLUS = re.compile(r"^(\d{4}-\d\d-\d\d[T ]\d\d:\d\d[\d:.]{0,12}) (\d\d:?\d\d)$", re.ASCII)
_LONGEST_NUMBER = 40
_LARGEST = 2**63 - 1  # of a bigint


def of_field(entity: Entity, field: Field, clause: Clause, behaviour: Behaviour, what: Expression) -> Condition:
    """A condition on a field that has one column, with one value or several; ``what`` is its value as it shows."""
    plain = what == sql.column(field)
    if field.many:
        return of_list(what, clause, behaviour, exact=field.kind is Kind.ENUM)
    if plain and field.kind is Kind.STRING and field.name not in _EXACT and clause.predicate is Operator.EQUAL:
        folded = sql.equals_folded(entity, field, clause.value)
        if behaviour.filter_case == "folded":
            return folded
        return sql.both(folded, compared(sql.column(field), clause))  # by the index of the folded column
    return of_kind(what, field, clause, behaviour)


def of_kind(what: Expression, field: Field, clause: Clause, behaviour: Behaviour) -> Condition:
    """A condition on one value of a field's type."""
    predicate, value = clause.predicate, clause.value
    if predicate is Operator.CONTAINS:
        return sql.contains(sql.written(what, field.kind), value)
    match field.kind:
        case Kind.STRING if field.name not in _EXACT:
            return of_text(what, clause, behaviour)
        case Kind.BOOLEAN:
            if value.lower() not in {"true", "false"} or predicate not in {Operator.EQUAL, Operator.NOT_EQUAL}:
                return NEVER
            return sql.exactly(what, predicate, value.lower() == "true", "boolean")
        case Kind.YEAR:
            return _of_number(sql.as_number(what), clause)
        case Kind.INTEGER | Kind.FLOAT:
            return _of_number(what, clause)
        case Kind.DATE:
            return _of_date(what, clause)
        case Kind.DATETIME:
            at = instant(value)
            return NEVER if at is None else sql.exactly(sql.in_milliseconds(what), predicate, at, "timestamptz")
        case _:
            return compared(what, clause)


def of_text(what: Expression, clause: Clause, behaviour: Behaviour) -> Condition:
    """Texts: equality with or without regard to case, order by code point."""
    if clause.predicate in {Operator.EQUAL, Operator.NOT_EQUAL} and behaviour.filter_case == "folded":
        return sql.folded(what, clause.predicate, clause.value)
    return compared(what, clause)


def compared(what: Expression, clause: Clause) -> Condition:
    """Texts by code point; ``~`` ignores case all the same."""
    if clause.predicate is Operator.CONTAINS:
        return sql.contains(what, clause.value)
    return sql.exactly(what, clause.predicate, clause.value)


def of_list(what: Expression, clause: Clause, behaviour: Behaviour, *, exact: bool) -> Condition:
    """Several texts: ``=`` all values are there, ``~`` one is, ``!=`` where ``=`` is not; else some text compares so.

    ``exact`` for tokens of a vocabulary, whose case always counts.
    """
    folded = not exact and behaviour.filter_case == "folded"
    whole = behaviour.list_equal == "same"
    match clause.predicate:
        case Operator.EQUAL:
            return sql.has_all(what, clause.values, folded=folded, no_more=whole)
        case Operator.CONTAINS:
            return sql.has_any(what, clause.values, folded=not exact)
        case Operator.NOT_EQUAL:
            return sql.lacks(what, clause.values, folded=folded, no_more=whole)
        case _:
            return sql.any_text(what, clause.predicate, clause.value)


def _of_number(what: Expression, clause: Clause) -> Condition:
    """Numbers compare as numbers, ``9`` is less than ``10`` and equal to ``9.0``."""
    text = clause.value.strip()
    if not text or len(text) > _LONGEST_NUMBER or not _NUMERIC.issuperset(text):
        return NEVER
    if _DIGITS.issuperset(text.removeprefix("-")) and text != "-" and abs(int(text)) <= _LARGEST:
        return sql.exactly(what, clause.predicate, int(text), "bigint")
    try:
        number = float(text)
    except ValueError:
        return NEVER
    return sql.exactly(what, clause.predicate, number, "double precision") if isfinite(number) else NEVER


def _of_date(what: Expression, clause: Clause) -> Condition:
    """Dates compare as midnight UTC with the instant that the value is."""
    at = instant(clause.value)
    if at is None:
        return NEVER
    day, midnight = at.date(), at.time() == datetime.min.time()
    if midnight:
        return sql.exactly(what, clause.predicate, day, "date")
    match clause.predicate:
        case Operator.EQUAL:
            return NEVER
        case Operator.NOT_EQUAL:
            return sql.exactly(what, Operator.AT_LEAST, date.min, "date")  # any date that is there
        case Operator.GREATER | Operator.AT_LEAST:
            return sql.exactly(what, Operator.GREATER, day, "date")
        case _:
            return sql.exactly(what, Operator.AT_MOST, day, "date")


def instant(value: str) -> datetime | None:
    """A date or date-time as an instant; UTC where it names no offset, None where it is neither.

    A space before an offset is the plus of a client that did not encode it: without this its deltas would be empty.
    """
    try:
        at = datetime.fromisoformat(_LOST_PLUS.sub(r"\1+\2", value.strip()))
        return at.replace(tzinfo=UTC) if at.tzinfo is None else at.astimezone(UTC)
    except (ValueError, OverflowError):
        return None
