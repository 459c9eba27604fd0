"""One clause on one value: which condition on its column it is, by the type of the field.

A value that cannot be of the field's type matches nothing.
"""

from __future__ import annotations

from datetime import UTC, date, datetime
from uuid import UUID

from hub.api.oneroster.filter import Clause
from hub.store import conditions as sql
from hub.store.conditions import NEVER, Condition, Expression, Operator
from transforms.catalogue import Entity, Field, Kind

#: Texts that are compared as they are: ids that were agreed elsewhere. All other texts ignore case in ``=`` and ``!=``.
_EXACT = frozenset({"identifier", "userMasterIdentifier"})
_MOST_DIGITS = 9  # fits an integer


def of_id(clause: Clause) -> Condition:
    """A condition on the sourcedId of a record; ids are compared by case."""
    if clause.predicate is not Operator.EQUAL:
        return compared(sql.sourced_id(), clause)
    try:
        sourced_id = UUID(clause.value)
    except ValueError:
        return NEVER
    return sql.same_id(sourced_id) if str(sourced_id) == clause.value else NEVER


def of_field(entity: Entity, field: Field, clause: Clause) -> Condition:
    """A condition on a field that has one column and one value."""
    if field.kind is Kind.STRING and field.name not in _EXACT and clause.predicate is Operator.EQUAL:
        return sql.equals_folded(entity, field, clause.value)
    return of_kind(sql.column(field), field, clause)


def of_kind(what: Expression, field: Field, clause: Clause) -> Condition:
    """A condition on one value of a field's type. A value that cannot be of this type matches nothing."""
    predicate, value = clause.predicate, clause.value
    if predicate is Operator.CONTAINS:
        return sql.contains(what, value)
    match field.kind:
        case Kind.STRING if field.name not in _EXACT:
            return of_text(what, clause)
        case Kind.BOOLEAN:
            if value.lower() not in {"true", "false"} or predicate not in {Operator.EQUAL, Operator.NOT_EQUAL}:
                return NEVER
            return sql.exactly(what, predicate, value.lower() == "true", "boolean")
        case Kind.YEAR | Kind.INTEGER:
            if not (value.isascii() and value.isdigit() and len(value) <= _MOST_DIGITS):
                return NEVER
            return sql.exactly(sql.as_number(what), predicate, int(value), "integer")
        case Kind.DATE:
            return _of_date(what, clause)
        case _:
            return compared(what, clause)


def of_text(what: Expression, clause: Clause) -> Condition:
    """Texts: equality without regard to case, order by code point."""
    match clause.predicate:
        case Operator.EQUAL:
            return sql.folded(what, Operator.EQUAL, clause.value)
        case Operator.NOT_EQUAL:
            return sql.folded(what, Operator.NOT_EQUAL, clause.value)
        case _:
            return compared(what, clause)


def compared(what: Expression, clause: Clause) -> Condition:
    """Texts by code point; ``~`` ignores case all the same."""
    if clause.predicate is Operator.CONTAINS:
        return sql.contains(what, clause.value)
    return sql.exactly(what, clause.predicate, clause.value)


def of_list(what: Expression, clause: Clause) -> Condition:
    """Several texts: ``=`` all values are there, ``~`` one is, ``!=`` not all are; else some text compares so."""
    match clause.predicate:
        case Operator.EQUAL:
            return sql.has_all(what, clause.values)
        case Operator.CONTAINS:
            return sql.has_any(what, clause.values)
        case Operator.NOT_EQUAL:
            return sql.lacks(what, clause.values)
        case _:
            return sql.any_text(what, clause.predicate, clause.value)


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
    """A date or date-time as an instant; UTC where it names no offset, None where it is neither."""
    try:
        at = datetime.fromisoformat(value.strip())
        return at.replace(tzinfo=UTC) if at.tzinfo is None else at.astimezone(UTC)
    except (ValueError, OverflowError):
        return None
