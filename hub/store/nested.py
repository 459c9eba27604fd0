"""Conditions on what documents alone hold: profiles of users, which of them a role is of, and learning objectives.

Such values have no columns. A document that has the member is parsed as JSON, which costs some microseconds; all others
are passed over by a look at their text. The bytes that stand for addresses, and short references, are no JSON and are
taken out before (transforms.render).
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache

import polars as pl

from hub.store.conditions import Condition, Expression
from transforms.catalogue import Entity, Field, Kind, Privacy
from transforms.references import BASES, SHORT
from transforms.shapes import dtype

_TYPES = {pl.String: "text", pl.Float64: "double precision"}
_MARKS = "".join(f"\\x{ord(mark):02x}" for mark in BASES.values())
_SHORT = f"\\x{ord(SHORT):02x}"
#: Whether some role of a user is of a profile. A key in metadata may look like it.
ROLE_HAS_PROFILE = Condition('strpos(t.doc, \',"userProfile":"\') > 0')


def is_nested(field: Field) -> bool:
    """Whether a field is a list of objects that has no columns."""
    if field.kind is Kind.COMPONENT:
        return field.name != "roles"
    return field.kind in {Kind.OBJECTIVES, Kind.OBJECTIVE_RESULTS}


def any_nested(entity: Entity, field: Field, condition: Condition) -> Condition:
    """Whether the condition holds for some entry, whose members are those of ``conditions.item``."""
    return Condition(
        f"EXISTS (SELECT FROM jsonb_to_recordset({_member(entity, field)}) AS e({_columns(_struct(field))}) "
        f"WHERE {condition.sql})",
        condition.values,
    )


def inner_item(name: str) -> Expression:
    """A member of the object that ``any_inner`` looks at."""
    return Expression(f'i."{name}"')


def any_inner(field: Field, name: str, condition: Condition) -> Condition:
    """Whether the condition holds for some object in the list ``name`` of the entry that ``any_nested`` looks at."""
    columns = _columns(inner(field)[name])
    return Condition(
        f'EXISTS (SELECT FROM jsonb_to_recordset(e."{name}") AS i({columns}) WHERE {condition.sql})', condition.values
    )


def profiles_of_roles(entity: Entity) -> Expression:
    """The profiles that a user's roles are of, one for each role, as an array; null where none is of any."""
    roles = _parsed(entity, entity["roles"])
    return Expression(
        f"CASE WHEN {ROLE_HAS_PROFILE.sql} THEN ARRAY(SELECT r.one ->> 'userProfile' "
        f"FROM jsonb_array_elements({roles}) WITH ORDINALITY r(one, place) ORDER BY r.place) END"
    )


@cache
def inner(field: Field) -> Mapping[str, pl.Struct]:
    """The lists of objects inside the entries of a field."""
    return {
        one.name: one.dtype.inner
        for one in _struct(field).fields
        if isinstance(one.dtype, pl.List) and isinstance(one.dtype.inner, pl.Struct)
    }


def _struct(field: Field) -> pl.Struct:
    kind = dtype(field)
    if not (isinstance(kind, pl.List) and isinstance(kind.inner, pl.Struct)):
        raise TypeError(f"{field.name} is no list of objects")
    return kind.inner


def _columns(struct: pl.Struct) -> str:
    return ", ".join(f'"{one.name}" {_type(one.dtype)}' for one in struct.fields)


def _type(kind: object) -> str:
    if isinstance(kind, pl.List):
        return "jsonb" if isinstance(kind.inner, pl.Struct) else f"{_type(kind.inner)}[]"
    return next(name for known, name in _TYPES.items() if kind == known)


def _member(entity: Entity, field: Field) -> str:
    """The list of a row's document as jsonb; null where there is none. A key in metadata may look like it."""
    return f"CASE WHEN strpos({_document(field)}, ',\"{field.name}\":[') > 0 THEN {_parsed(entity, field)} END"


def _document(field: Field) -> str:
    return "t.doc" if field.privacy is Privacy.DIRECTORY else "t.doc_private"


def _parsed(entity: Entity, field: Field) -> str:
    text = f"translate({_document(field)}, E'{_MARKS}', '')"
    if entity.compact:
        text = f"regexp_replace({text}, E'{_SHORT}[^{_SHORT}]*{_SHORT}', 'null', 'g')"
    return f"('{{' || substr({text}, 2) || '}}')::jsonb -> '{field.name}'"
