"""Filters: clauses to sets of rids.

A clause on a column becomes SQL and is cut to the present records; ``status`` and ``dateLastModified`` are answered
from the view, because both are the grant's own. Only fields that the grant shows unmasked can be named; hidden and
unknown ones get the same answer before anything is looked up (T14). References match targets inside the view only.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping

import numpy as np
from pyroaring import BitMap

from hub.api.oneroster import compare
from hub.api.oneroster.errors import Minor, RefusedError, invalid
from hub.api.oneroster.filter import Clause, Filter
from hub.api.oneroster.reading import Reading
from hub.scope import stamps
from hub.scope.sets import bitmap
from hub.store import conditions as sql
from hub.store.conditions import Condition, Operator
from hub.store.schema import ROLE_COLUMNS, entry_columns
from transforms.catalogue import BASE_NAMES, CATALOGUE, Entity, Field, Kind

_ID = "sourcedId"
_HOLDS: Mapping[Operator, Callable[[str, str], bool]] = {
    Operator.EQUAL: operator.eq, Operator.NOT_EQUAL: operator.ne, Operator.GREATER: operator.gt,
    Operator.AT_LEAST: operator.ge, Operator.LESS: operator.lt, Operator.AT_MOST: operator.le,
    Operator.CONTAINS: lambda shown, value: value.lower() in shown.lower(),
}  # fmt: skip

Leaf = Condition | BitMap


async def search(reading: Reading, entity: Entity, wanted: Filter) -> BitMap:
    """The listed records that a filter selects. Raises RefusedError (400) for a field that cannot be filtered."""
    for clause in wanted.clauses:
        if not _can_filter(reading, entity, clause.path):
            raise unknown_field(clause.path)
    leaves = [await _leaf(reading, entity, clause) for clause in wanted.clauses]
    if len(leaves) == 1:
        return await _found(reading, entity, leaves[0])
    first, second = leaves
    if isinstance(first, Condition) and isinstance(second, Condition):
        return await reading.matching(entity, (sql.both if wanted.every else sql.either)(first, second))
    one, other = await _found(reading, entity, first), await _found(reading, entity, second)
    return one & other if wanted.every else one | other


def unknown_field(path: tuple[str, ...]) -> RefusedError:
    """The one answer for a field that does not exist, is hidden or masked, or has no comparable value."""
    return invalid(f"The filter names a field that cannot be filtered by: {'.'.join(path)}", Minor.INVALID_FILTER)


async def _found(reading: Reading, entity: Entity, leaf: Leaf) -> BitMap:
    return await reading.matching(entity, leaf) if isinstance(leaf, Condition) else leaf


def _can_filter(reading: Reading, entity: Entity, path: tuple[str, ...]) -> bool:
    name, *rest = path
    if name not in reading.view.projections[entity.name].filterable:
        return False
    if name in BASE_NAMES:
        return not rest
    field = entity[name]
    match field.kind:
        case Kind.REF:
            return rest == [_ID]
        case Kind.METADATA:
            return len(rest) == 1
        case Kind.USER_ID | Kind.SCALE_VALUE:
            return len(rest) == 1 and rest[0] in entry_columns(field)
        case Kind.OBJECTIVES | Kind.OBJECTIVE_RESULTS:
            return False
        case Kind.COMPONENT:
            return name == "roles" and (rest == ["org", _ID] or (rest != ["org"] and _is_member(rest)))
        case _:
            return not rest


def _is_member(rest: list[str]) -> bool:
    return len(rest) == 1 and rest[0] in ROLE_COLUMNS


async def _leaf(reading: Reading, entity: Entity, clause: Clause) -> Leaf:
    name = clause.path[0]
    if name == _ID:
        return await reading.matching_ids(entity, compare.of_id(clause))
    if name == "status":
        return _of_status(reading, entity, clause)
    if name == "dateLastModified":
        return _of_stamp(reading, entity, clause)
    field = entity[name]
    match field.kind:
        case Kind.REF:
            return sql.refers(field, await _targets(reading, field, clause))
        case Kind.METADATA:
            return compare.of_text(sql.metadata(clause.path[1]), clause)
        case Kind.USER_ID | Kind.SCALE_VALUE:
            return sql.any_entry(entry_columns(field), compare.of_text(sql.item(clause.path[1]), clause))
        case Kind.COMPONENT:
            return await _of_roles(reading, clause)
        case _ if field.many:
            return compare.of_list(sql.column(field), clause)
        case _:
            return compare.of_field(entity, field, clause)


def _of_status(reading: Reading, entity: Entity, clause: Clause) -> BitMap:
    holds, view = _HOLDS[clause.predicate], reading.of(entity.name)
    found = BitMap()
    for status, rids in (("active", view.present), ("tobedeleted", view.gone)):
        if holds(status, clause.value):
            found |= rids
    return found


def _of_stamp(reading: Reading, entity: Entity, clause: Clause) -> BitMap:
    view = reading.of(entity.name)
    if clause.predicate is Operator.CONTAINS:
        layers = [
            n for n, at in enumerate(view.stamps.times, start=1) if clause.value.lower() in stamps.text(at).lower()
        ]
        return bitmap(np.flatnonzero(np.isin(view.stamps.layers, layers))) & view.listed
    at = compare.instant(clause.value)
    if at is None:
        return BitMap()
    since, after = (view.stamps.since(at, inclusive=inclusive) & view.listed for inclusive in (True, False))
    found = {
        Operator.GREATER: lambda: after,
        Operator.AT_LEAST: lambda: since,
        Operator.LESS: lambda: view.listed - since,
        Operator.AT_MOST: lambda: view.listed - after,
        Operator.EQUAL: lambda: since - after,
        Operator.NOT_EQUAL: lambda: view.listed - (since - after),
    }
    return found[clause.predicate]()


async def _targets(reading: Reading, field: Field, clause: Clause) -> list[int]:
    """The present records that the value of a reference's clause stands for."""
    target = CATALOGUE[field.target or ""]
    if clause.predicate is Operator.NOT_EQUAL:
        same = Clause(clause.path, Operator.EQUAL, clause.value)
        return list(reading.present(target) - await reading.matching(target, compare.of_id(same)))
    return list(await reading.matching(target, compare.of_id(clause)))


async def _of_roles(reading: Reading, clause: Clause) -> Condition:
    member = clause.path[1]
    field = CATALOGUE["roles"][member]
    if member == "org":
        return reading.shown_role(sql.entry_refers("org", await _targets(reading, field, clause)))
    return reading.shown_role(compare.of_kind(sql.item(member), field, clause))
