"""Conditions on an entity's typed columns as parameterised SQL: what filters and nested collections are made of.

A value is always a parameter. Names come from the catalogue and the schema. In a condition's text ``$#`` stands for the
next of its values; the statement that uses it numbers them. Where a column is null no condition holds, a negated one
neither.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Literal
from uuid import UUID

from hub.store.schema import LOWER_COLUMNS
from transforms.catalogue import Entity, Field, Kind
from transforms.catalogue import vocabularies as voc


class Operator(StrEnum):
    """How values are compared, as OneRoster and SQL both write it; ``CONTAINS`` has a function of its own here.

    Longer ones stand before their beginnings.
    """

    NOT_EQUAL = "!="
    AT_LEAST = ">="
    AT_MOST = "<="
    EQUAL = "="
    GREATER = ">"
    LESS = "<"
    CONTAINS = "~"


_MARK = "$#"


@dataclass(frozen=True, slots=True)
class Condition:
    """SQL text that is true for some rows, with its values in order."""

    sql: str
    values: tuple[object, ...] = ()

    @property
    def reads_documents(self) -> bool:
        """Whether it looks at the documents of a row, not at its columns alone."""
        return "t.doc" in self.sql

    def numbered(self, first: int) -> str:
        """The text with ``$first``, ``$first+1``, … for the values."""
        head, *rest = self.sql.split(_MARK)
        return head + "".join(f"${first + number}{part}" for number, part in enumerate(rest))


Expression = Condition  # a value instead of a truth, with the same numbering

ALWAYS = Condition("true")
NEVER = Condition("false")


def _array(words: Sequence[str]) -> str:
    return f"'{{{','.join(sorted(words))}}}'::text[]"


_SURE_ROLES = tuple(role for role in (*voc.USER_ROLE.both, *voc.USER_ROLE.only_12) if role != "counselor")
#: Users with a role for which 1.1 may have no word, and enrollments with such a role. An index has exactly these.
WITH_UNSURE_ROLE = Condition(f"NOT (t.roles_role <@ {_array(_SURE_ROLES)})")
WITH_EXTENDED_ROLE = Condition(f't."role" <> ALL ({_array(voc.ENROLLMENT_ROLE.both)})')


def both(*conditions: Condition) -> Condition:
    """All of them."""
    return _joined(" AND ", conditions)


def either(*conditions: Condition) -> Condition:
    """At least one of them."""
    return _joined(" OR ", conditions)


def column(field: Field) -> Expression:
    """A field's column of the row ``t``."""
    return Expression(f't."{field.table_column}"')


def sourced_id() -> Expression:
    """The sourcedId of the row ``t`` as text."""
    return Expression("t.sourced_id::text")


def chosen_id(entity: Entity, app_id: UUID) -> Expression:
    """The id that an app chose for the row ``t``, as text; null where it chose none."""
    return Expression(
        f"(SELECT o.key FROM gradebook_objects o WHERE o.district_id = t.district_id "
        f"AND o.entity = {_MARK}::text AND o.rid = t.rid AND o.app_id = {_MARK}::uuid)",
        (entity.name, app_id),
    )


def source_id(grant_id: UUID) -> Expression:
    """The id of a source by which the app of a grant knows the row ``t``; null where it knows it by none."""
    return Expression(
        "(SELECT i.key FROM shown_ids i WHERE i.district_id = t.district_id "
        f"AND i.grant_id = {_MARK}::uuid AND i.sourced_id = t.sourced_id)",
        (grant_id,),
    )


def order(field: Field, what: Expression) -> Expression:
    """What a field sorts by, whose value is ``what``; texts by code point."""
    if field.kind is Kind.DATETIME:
        return in_milliseconds(what)
    collate = ' COLLATE "C"' if field.kind in {Kind.STRING, Kind.ENUM, Kind.YEAR} else ""
    return Expression(what.sql + collate, what.values)


def metadata_order(key: str) -> Expression:
    """What a member of the metadata object sorts by: its text, by code point."""
    found = metadata(key)
    return Expression(found.sql + ' COLLATE "C"', found.values)


def first_of(*whats: Expression) -> Expression:
    """The first that is a value."""
    values = tuple(value for what in whats for value in what.values)
    return Expression(f"coalesce({', '.join(what.sql for what in whats)})", values)


def constant(value: object, cast: str) -> Expression:
    """A value that is the same for all rows."""
    return Expression(f"{_MARK}::{cast}", (value,))


def known_word(what: Expression, words: Sequence[str], other: str | None) -> Expression:
    """A text that is one of ``words``, and ``other`` in place of any other or of none."""
    sql = f"CASE WHEN {what.sql} = ANY({_MARK}::text[]) THEN {what.sql} ELSE {_MARK}::text END"
    return Expression(f"({sql})", (*what.values, list(words), *what.values, other))


def known_words(what: Expression, words: Sequence[str], other: str) -> Expression:
    """An array of texts with ``other`` in place of those that are not of ``words``."""
    word = known_word(Expression("v"), words, other)
    return Expression(f"(SELECT array_agg({word.sql}) FROM unnest({what.sql}) v)", (*word.values, *what.values))


def begins(what: Expression, prefix: str) -> Condition:
    """Whether a text begins so."""
    return Condition(f"starts_with({what.sql}, {_MARK}::text)", (*what.values, prefix))


def in_milliseconds(what: Expression) -> Expression:
    """A time as it shows: without what is below a millisecond."""
    return Expression(f"date_trunc('milliseconds', {what.sql})", what.values)


def written(what: Expression, kind: Kind) -> Expression:
    """A value as JSON writes it, as text."""
    if kind is Kind.DATETIME:
        text = f"to_char({what.sql} AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.MS\"Z\"')"
        return Expression(text, what.values)
    return Expression(f"{what.sql}::text", what.values)


def same_id(sourced_id: UUID) -> Condition:
    """Whether the row ``t`` has this sourcedId."""
    return Condition(f"t.sourced_id = {_MARK}::uuid", (sourced_id,))


def id_of(field: Field, target: Entity, inside: Sequence[int]) -> Expression:
    """The sourcedId, as text, of the record that the row ``t`` refers to; null where that is not ``inside``."""
    column = f't."{field.table_column}"'
    return Expression(
        f"(SELECT r.sourced_id::text FROM {target.table} r WHERE r.district_id = t.district_id AND r.rid = {column} "
        f"AND r.rid = ANY({_MARK}::integer[]))",
        (list(inside),),
    )


def same_rid(rid: int) -> Condition:
    """Whether the row ``t`` is the record of this number."""
    return Condition(f"t.rid = {_MARK}::integer", (rid,))


def item(name: str) -> Expression:
    """A member of the entry that ``any_entry`` looks at."""
    return Expression(f'e."{name}"')


def metadata(key: str) -> Expression:
    """A member of the metadata object as text."""
    return Expression(f"(t.metadata ->> {_MARK}::text)", (key,))


def exactly(what: Expression, operator: Operator, value: object, cast: str = "text") -> Condition:
    """Compares as the type does; text by code point and case."""
    collate = ' COLLATE "C"' if cast == "text" else ""
    return Condition(f"{what.sql}{collate} {operator.value} {_MARK}::{cast}{collate}", (*what.values, value))


def folded(what: Expression, operator: Operator, value: str) -> Condition:
    """Compares texts without regard to case."""
    return Condition(f"lower({what.sql}) {operator.value} lower({_MARK}::text)", (*what.values, value))


def equals_folded(entity: Entity, field: Field, value: str) -> Condition:
    """Equality without regard to case on a column, by its index where it has one."""
    lower = LOWER_COLUMNS.get((entity.name, field.name))
    if lower is None:
        return folded(column(field), Operator.EQUAL, value)
    return Condition(f't."{lower}" = lower({_MARK}::text)', (value,))


def contains(what: Expression, value: str) -> Condition:
    """Whether a text holds ``value``, without regard to case."""
    return Condition(f"position(lower({_MARK}::text) in lower({what.sql})) > 0", (value, *what.values))


def as_number(what: Expression) -> Expression:
    """A text of digits as a number; null for any other text."""
    sql = f"CASE WHEN {what.sql} ~ '^[0-9]+$' AND length({what.sql}) < 10 THEN {what.sql}::integer END"
    return Expression(f"({sql})", what.values * 3)


def has_all(what: Expression, values: Sequence[str], *, folded: bool, no_more: bool = False) -> Condition:
    """Whether an array of texts holds all of ``values``, and nothing else with ``no_more``; ``folded`` ignores case."""
    holds = _arrays(what, "@>", values, folded=folded)
    return both(holds, _arrays(what, "<@", values, folded=folded)) if no_more else holds


def has_any(what: Expression, values: Sequence[str], *, folded: bool) -> Condition:
    """Whether an array of texts holds one of ``values``."""
    return _arrays(what, "&&", values, folded=folded)


def lacks(what: Expression, values: Sequence[str], *, folded: bool, no_more: bool = False) -> Condition:
    """Whether an array that is there is not what ``has_all`` looks for."""
    return both(there_are_some(what), negation(has_all(what, values, folded=folded, no_more=no_more)))


def there_is(what: Expression) -> Condition:
    """Whether there is a value."""
    return Condition(f"{what.sql} IS NOT NULL", what.values)


def there_is_none(what: Expression) -> Condition:
    """Whether there is no value."""
    return Condition(f"{what.sql} IS NULL", what.values)


def there_are_some(what: Expression) -> Condition:
    """Whether an array has members."""
    return Condition(f"cardinality({what.sql}) > 0", what.values)


def negation(condition: Condition) -> Condition:
    """Where the condition is false; not where it is unknown."""
    return Condition(f"NOT ({condition.sql})", condition.values)


def any_text(what: Expression, operator: Operator, value: str) -> Condition:
    """Whether some text of an array compares so, by code point."""
    inner = exactly(Expression("v"), operator, value)
    return Condition(f"EXISTS (SELECT FROM unnest({what.sql}) v WHERE {inner.sql})", (*what.values, *inner.values))


def refers(field: Field, targets: Sequence[int]) -> Condition:
    """Whether a reference, or one of several, is to one of these rids."""
    return _among(column(field), targets, many=field.many)


def entry_refers(name: str, targets: Sequence[int]) -> Condition:
    """Like ``refers`` for a member of the entry that ``any_entry`` looks at."""
    return _among(item(name), targets, many=False)


def refers_beside(field: Field, targets: Sequence[int]) -> Condition:
    """Whether a single reference is to something else than one of these rids."""
    return Condition(f"{column(field).sql} <> ALL({_MARK}::integer[])", (list(targets),))


def one_of(what: Expression, values: Sequence[str]) -> Condition:
    """Whether a text is one of these."""
    return Condition(f"{what.sql} = ANY({_MARK}::text[])", (*what.values, list(values)))


def any_entry(
    columns: Mapping[str, tuple[str, str]], condition: Condition, more: Mapping[str, Expression] | None = None
) -> Condition:
    """Whether the condition holds for some entry of a list of objects, kept as arrays side by side.

    ``columns``: member to (column, type), as ``schema.ROLE_COLUMNS`` has them. ``more``: members that are other arrays.
    """
    others = more or {}
    arrays = ", ".join([*(f't."{name}"' for name, _ in columns.values()), *(what.sql for what in others.values())])
    members = ", ".join(f'"{member}"' for member in (*columns, *others))
    values = (*(value for what in others.values() for value in what.values), *condition.values)
    return Condition(f"EXISTS (SELECT FROM unnest({arrays}) AS e({members}) WHERE {condition.sql})", values)


def _among(what: Expression, targets: Sequence[int], *, many: bool) -> Condition:
    if len(targets) == 1 and not many:  # an equality can use an index under any plan
        return Condition(f"{what.sql} = {_MARK}::integer", (*what.values, targets[0]))
    if many:
        sql = f"EXISTS (SELECT FROM unnest({what.sql}) v WHERE v = ANY({_MARK}::integer[]))"
    else:
        sql = f"{what.sql} = ANY({_MARK}::integer[])"
    return Condition(sql, (*what.values, list(targets)))


def _arrays(what: Expression, operator: Literal["@>", "<@", "&&"], values: Sequence[str], *, folded: bool) -> Condition:
    stored, wanted = what.sql, f"{_MARK}::text[]"
    if folded:
        stored = f"(SELECT array_agg(lower(v)) FROM unnest({stored}) v)"
        wanted = f"(SELECT array_agg(lower(w)) FROM unnest({wanted}) w)"
    return Condition(f"{stored} {operator} {wanted}", (*what.values, list(values)))


def _joined(word: str, conditions: Sequence[Condition]) -> Condition:
    if len(conditions) == 1:
        return conditions[0]
    return Condition(
        word.join(f"({condition.sql})" for condition in conditions),
        tuple(value for condition in conditions for value in condition.values),
    )
