"""Filters: clauses to sets of rids.

A clause on a column becomes SQL and is cut to the present records; ``status`` and ``dateLastModified`` are answered
from the view, because both are the grant's own. Only fields that the grant shows unmasked can be named; hidden and
unknown ones get the same answer before anything is looked up (T14). References match targets inside the view only.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping, Sequence

import numpy as np
from pyroaring import BitMap

from hub.api.oneroster import compare, entries
from hub.api.oneroster.entries import Member
from hub.api.oneroster.errors import Minor, RefusedError, invalid
from hub.api.oneroster.filter import Clause, Filter
from hub.api.oneroster.reading import Reading, mask_for
from hub.objects.looking import Lens
from hub.scope import stamps
from hub.scope.sets import bitmap
from hub.store import conditions as sql
from hub.store import nested
from hub.store.conditions import ALWAYS, NEVER, Condition, Operator
from hub.store.schema import entry_columns
from transforms.catalogue import BASE_NAMES, CATALOGUE, Entity, Field, Kind

_ID = "sourcedId"
#: How two texts compare.
HOLDS: Mapping[Operator, Callable[[str, str], bool]] = {
    Operator.EQUAL: operator.eq, Operator.NOT_EQUAL: operator.ne, Operator.GREATER: operator.gt,
    Operator.AT_LEAST: operator.ge, Operator.LESS: operator.lt, Operator.AT_MOST: operator.le,
    Operator.CONTAINS: lambda shown, value: value.lower() in shown.lower(),
}  # fmt: skip
#: More targets than this are compared here: PostgreSQL would be sent all of them.
_MOST_TARGETS = 5_000

Leaf = Condition | BitMap


def check_fields(lens: Lens, entity: Entity, wanted: Filter) -> None:
    """Refuses fields that cannot be filtered by. Raises RefusedError (400)."""
    for clause in wanted.clauses:
        if not _can_filter(lens, entity, clause.path):
            raise unknown_field(clause.path)


async def search(reading: Reading, entity: Entity, wanted: Filter) -> BitMap:
    """The listed records that a filter selects, whose fields were checked. Clauses count from left to right."""
    groups = _groups(reading, entity, wanted)
    joins = wanted.joins if len(groups) == len(wanted.clauses) else (True,) * (len(groups) - 1)
    found: Leaf = await _leaf(reading, entity, groups[0])
    for every, group in zip(joins, groups[1:], strict=True):
        leaf = await _leaf(reading, entity, group)
        if isinstance(found, Condition) and isinstance(leaf, Condition):
            found = (sql.both if every else sql.either)(found, leaf)
        else:
            one, other = await _found(reading, entity, found), await _found(reading, entity, leaf)
            found = one & other if every else one | other
    return await _found(reading, entity, found)


def unknown_field(path: tuple[str, ...]) -> RefusedError:
    """The one answer for a field that does not exist, is hidden or masked, or has no comparable value."""
    return invalid(f"The filter names a field that cannot be filtered by: {'.'.join(path)}", Minor.INVALID_FILTER)


def _groups(reading: Reading, entity: Entity, wanted: Filter) -> list[tuple[Clause, ...]]:
    """The clauses, each by itself but for those that must match one and the same entry of a list."""
    if not (reading.behaviour.same_entry and wanted.every):
        return [(clause,) for clause in wanted.clauses]
    groups: dict[object, tuple[Clause, ...]] = {}
    for number, clause in enumerate(wanted.clauses):
        name = clause.path[0]
        key = name if name not in BASE_NAMES and entries.is_list(entity[name]) else number
        groups[key] = (*groups.get(key, ()), clause)
    return list(groups.values())


async def _found(reading: Reading, entity: Entity, leaf: Leaf) -> BitMap:
    return await reading.matching(entity, leaf) if isinstance(leaf, Condition) else leaf


def _can_filter(lens: Lens, entity: Entity, path: tuple[str, ...]) -> bool:
    name, *rest = path
    if name not in lens.filterable(entity):
        return False
    if name in BASE_NAMES:
        return not rest
    field = entity[name]
    match field.kind:
        case Kind.REF:
            return rest == [_ID]
        case Kind.METADATA:
            return len(rest) == 1
        case _ if entries.is_list(field):
            member = entries.member(field, rest)
            # A role shows its profile where the profiles show.
            return member is not None and (not member.is_profile or "userProfiles" in lens.filterable(entity))
        case _:
            return not rest


async def _leaf(reading: Reading, entity: Entity, clauses: tuple[Clause, ...]) -> Leaf:
    """What one clause selects, or several about one list whose same entry has to meet them."""
    own = await reading.selected_by(entity, clauses)
    if own is not None:
        return own
    clause = clauses[0]
    name = clause.path[0]
    if name == _ID:
        return await of_id(reading, entity, clause)
    if name == "status":
        return _of_status(reading, entity, clause)
    if name == "dateLastModified":
        return _of_stamp(reading, entity, clause)
    field = entity[name]
    if entries.is_list(field):
        members = [entries.member(field, one.path[1:]) for one in clauses]
        found = [await _of_member(reading, field, m, c) for m, c in zip(members, clauses, strict=True) if m is not None]
        profiles = any(m is not None and m.is_profile for m in members)
        leaf: Leaf = NEVER if NEVER in found else _entry(reading, entity, field, found, profiles=profiles)
    elif field.kind is Kind.REF:
        leaf = await _of_reference(reading, entity, field, clause)
    elif field.kind is Kind.METADATA:
        leaf = compare.of_text(sql.metadata(clause.path[1]), clause, reading.behaviour)
    else:
        leaf = compare.of_field(entity, field, clause, reading.behaviour, reading.column(entity, field))
    if leaf == NEVER or not also_absent(reading, clauses):
        return leaf
    valued = await _valued(reading, entity, field, clause)
    return await _found(reading, entity, leaf) | (reading.then(entity.name).listed - valued)


def also_absent(reading: Reading, clauses: Sequence[Clause]) -> bool:
    """Whether records without a value are selected too."""
    return reading.behaviour.absent_not_equal and all(c.predicate is Operator.NOT_EQUAL for c in clauses)


async def _valued(reading: Reading, entity: Entity, field: Field, clause: Clause) -> BitMap:
    """The present records that show a value in what a clause names."""
    if entries.is_list(field):
        return await reading.matching(entity, _entry(reading, entity, field, [ALWAYS]))
    if field.kind is Kind.REF:
        return await _found(reading, entity, await referring(reading, entity, field, reading.present(_target(field))))
    if field.kind is Kind.METADATA:
        return await reading.matching(entity, sql.there_is(sql.metadata(clause.path[1])))
    there_is = sql.there_are_some if field.many else sql.there_is
    return await reading.matching(entity, there_is(reading.column(entity, field)))


def _of_status(reading: Reading, entity: Entity, clause: Clause) -> BitMap:
    holds, view = HOLDS[clause.predicate], reading.then(entity.name)
    found = BitMap()
    for status, rids in (("active", view.present), ("tobedeleted", view.gone)):
        if holds(status, clause.value):
            found |= rids
    return found


def _of_stamp(reading: Reading, entity: Entity, clause: Clause) -> BitMap:
    view = reading.then(entity.name)
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


async def of_id(reading: Reading, entity: Entity, clause: Clause) -> BitMap:
    """The listed records of which the id by which the app knows them meets a clause; ids are compared by case."""
    if clause.predicate is Operator.EQUAL:
        return await reading.matching_ids(entity, sql.same_id(await reading.identified(entity, clause.value)))
    if reading.pseudonymous:
        holds = HOLDS[clause.predicate]
        return await reading.with_ids(entity, lambda shown: holds(shown, clause.value))
    return await reading.matching_ids(entity, compare.compared(reading.shown_id(entity), clause))


def _target(field: Field) -> Entity:
    return CATALOGUE[field.target or ""]


async def targets(reading: Reading, field: Field, clause: Clause) -> BitMap:
    """The present records that the value of a reference's clause stands for."""
    target = _target(field)
    if clause.predicate is Operator.NOT_EQUAL:
        same = Clause(clause.path, Operator.EQUAL, clause.value)
        return reading.present(target) - await of_id(reading, target, same)
    return await of_id(reading, target, clause) & reading.present(target)


async def _of_reference(reading: Reading, entity: Entity, field: Field, clause: Clause) -> Leaf:
    return await referring(reading, entity, field, await targets(reading, field, clause))


async def referring(reading: Reading, entity: Entity, field: Field, targets: BitMap) -> Leaf:
    """The present records of which a reference is to one of some present records."""
    if len(targets) <= _MOST_TARGETS:
        return sql.refers(field, list(targets))
    others = reading.present(_target(field)) - targets
    closed = field.name not in reading.view.projections[entity.name].references  # never leads outside the view
    if closed and len(others) <= _MOST_TARGETS:
        return sql.refers_beside(field, list(others))
    sources, named = await reading.references(entity, ALWAYS, field)
    return bitmap(np.unique(sources[mask_for(targets, named)[named]]))


async def _of_member(reading: Reading, field: Field, member: Member, clause: Clause) -> Condition:
    """A condition on the entry of a list of objects."""
    name = member.field.name
    what = sql.item(name) if member.inner is None else nested.inner_item(name)
    if member.field.kind is Kind.REF:
        found = sql.entry_refers(name, list(await targets(reading, member.field, clause)))
    elif member.field.many:
        found = compare.of_list(what, clause, reading.behaviour, exact=member.field.kind is not Kind.STRING)
    elif member.field.kind is Kind.STRING:
        found = compare.of_text(what, clause, reading.behaviour)
    else:
        found = compare.of_kind(what, member.field, clause, reading.behaviour)
    absent = found != NEVER and also_absent(reading, [clause])
    if absent:
        found = sql.either(found, sql.there_is_none(what))
    if member.inner is None or found == NEVER:
        return found
    inside = nested.any_inner(field, member.inner, found)
    empty = sql.negation(nested.any_inner(field, member.inner, ALWAYS))
    return sql.either(inside, empty) if absent else inside


def _entry(
    reading: Reading, entity: Entity, field: Field, conditions: Sequence[Condition], *, profiles: bool = False
) -> Condition:
    """Records with an entry that shows and meets all conditions; ``profiles``: on what profile a role is of."""
    if profiles:
        found = reading.shown_role(*conditions, more={"userProfile": nested.profiles_of_roles(entity)})
        # Most users' roles are of none, and need no closer look where nothing is said of those.
        return found if reading.behaviour.absent_not_equal else sql.both(nested.ROLE_HAS_PROFILE, found)
    if field.name == "roles":
        return reading.shown_role(*conditions)
    if nested.is_nested(field):
        return nested.any_nested(entity, field, sql.both(*conditions))
    return sql.any_entry(entry_columns(field), sql.both(*conditions))
