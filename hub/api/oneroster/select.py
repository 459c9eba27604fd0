"""Which records an operation answers with, and in which order."""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from pyroaring import BitMap

from hub.api.oneroster.asked import Asked
from hub.api.oneroster.errors import unknown_object
from hub.api.oneroster.operations import Hop, ListedBy, Operation, Own, Parent, Relation, RoleAt, Subset, Through
from hub.api.oneroster.order import Selections, in_order, natural
from hub.api.oneroster.reading import Reading, Rids
from hub.api.oneroster.search import search
from hub.scope.sets import bitmap
from hub.store import conditions as sql
from hub.store.conditions import ALWAYS, Condition, Operator
from transforms.catalogue import CATALOGUE, Entity


@dataclass(frozen=True, slots=True)
class Selection:
    """Rids in the order of the collection: a set (by rid) or an array (sorted)."""

    rids: BitMap | Rids

    @property
    def total(self) -> int:
        """How many there are."""
        return len(self.rids)

    def slice(self, offset: int, limit: int) -> Sequence[int]:
        """Those of one page, as an array: what looks at all of them need not make a number of each."""
        if offset >= self.total:
            return array("I")
        end = min(offset + limit, self.total)
        if isinstance(self.rids, np.ndarray):
            return array("I", self.rids[offset:end].astype(np.uint32).tobytes())
        # What lies between the first and the last of them: a third of the time of a slice.
        between = BitMap(range(self.rids[offset], self.rids[end - 1] + 1))
        return (self.rids & between).to_array()


async def select(
    reading: Reading, operation: Operation, parents: tuple[int | None, ...], asked: Asked, cache: Selections
) -> Selection:
    """The records of a collection. ``parents``: the rids of the path's objects, None for those without children.

    Raises gate.ClosedError, and HubError(UNAVAILABLE) for a filter or an order that takes too long.
    """
    entity, query = operation.entity, asked.query
    plain = query.filter is None and asked.sort is None and not reading.pseudonymous
    if plain and not operation.subset and not operation.parents:
        view = reading.then(entity.name)
        return Selection(view.listed if reading.tells_gone(entity, query) else view.present)
    key = (
        *reading.key, operation.version, operation.name, parents, query.filter_text, asked.sort, query.descending,
        reading.behaviour.digest,
    )  # fmt: skip
    held = cache.get(key)
    if held is not None:
        return Selection(held)
    chosen = await _members(reading, operation, parents, cache, gone=reading.tells_gone(entity, query))
    if query.filter is not None:
        chosen = chosen & await search(reading, entity, query.filter)
    result: BitMap | Rids = chosen
    if asked.sort is not None:
        result = await in_order(reading, entity, asked.sort, chosen, cache, descending=query.descending)
    elif reading.pseudonymous:
        result = await natural(reading, entity, chosen, cache)
    cache.put(key, result, result.nbytes if isinstance(result, np.ndarray) else 2 * len(result.serialize()))
    return Selection(result)


async def find_parents(reading: Reading, operation: Operation, ids: tuple[str, ...]) -> tuple[int | None, ...]:
    """The rids of the objects in a nested path, None for tombstones.

    None as well for one that the app cannot read at that address, where the app wants to be told of no children; else
    raises RefusedError (404). Raises gate.ClosedError.
    """
    found: list[int | None] = []
    for parent, given in zip(operation.parents, ids, strict=True):
        fits = _parent_fits(reading, parent, found[-1] if found else None)
        record = await reading.parent(CATALOGUE[parent.entity], given, parent.token, fits)
        view = reading.then(parent.entity)
        if record is not None and record[1] and record[0] in view.present:
            found.append(record[0])
        elif (record is not None and record[0] in view.gone) or reading.behaviour.unknown_parent == "empty":
            found.append(None)
        else:
            raise unknown_object()
    return tuple(found)


def fits_subset(reading: Reading, entity: Entity, subset: Subset | None) -> Condition:
    """The condition for a present record to be in a subset."""
    if subset is None:
        return ALWAYS
    if subset.field == "roles":
        return reading.has_role(subset.token)
    column = sql.column(entity[subset.field])
    if subset.token == "term" and reading.behaviour.semester_is_term:
        return sql.one_of(column, ["term", "semester"])
    return sql.exactly(column, Operator.EQUAL, subset.token)


def _parent_fits(reading: Reading, parent: Parent, before: int | None) -> Condition:
    entity = CATALOGUE[parent.entity]
    fits = fits_subset(reading, entity, parent.subset)
    if parent.within is None:
        return fits
    return sql.both(fits, sql.refers(entity[parent.within], [] if before is None else [before]))


async def _members(
    reading: Reading, operation: Operation, parents: tuple[int | None, ...], cache: Selections, *, gone: bool
) -> BitMap:
    entity, view = operation.entity, reading.then(operation.entity.name)
    if not operation.parents:
        living = await _subset(reading, entity, operation.subset, cache) if operation.subset else view.present
        return living | view.gone if gone else living
    chosen = view.present
    for place, relation in operation.relations:
        parent = parents[place]
        chosen = chosen & await _related(reading, entity, relation, parent) if parent is not None else BitMap()
    if operation.subset and chosen:
        chosen = chosen & await _subset(reading, entity, operation.subset, cache)
    return chosen


async def _subset(reading: Reading, entity: Entity, subset: Subset, cache: Selections) -> BitMap:
    key = (*reading.key, "subset", entity.name, subset, reading.behaviour.semester_is_term)
    held = cache.get(key)
    if isinstance(held, BitMap):
        return held
    if subset.field == "roles":
        found = await reading.with_role(subset.token)
    else:
        found = await reading.matching(entity, fits_subset(reading, entity, subset))
    cache.put(key, found, 2 * len(found.serialize()))
    return found


async def _related(reading: Reading, entity: Entity, relation: Relation, parent: int) -> BitMap:
    """The records that a relation leads to; those outside the view are for the caller to leave out."""
    match relation:
        case Own(field, also):
            found = BitMap()
            if field in reading.view.projections[entity.name].visible:
                found = await reading.matching(entity, reading.leads_to(entity, entity[field], parent))
            # else the app may not know this reference, so it leads nowhere
            if also is not None and reading.behaviour.courses_of_classes:
                found |= await _related(reading, entity, also, parent)
            return found
        case RoleAt(role):
            return await reading.with_role(role, parent)
        case Hop(field, beyond):
            between = CATALOGUE[entity[field].target or ""]
            near = await reading.matching(between, sql.refers(between[beyond], [parent]))
            return await reading.matching(entity, sql.refers(entity[field], list(near)))
        case ListedBy(holder, field):
            if field not in reading.view.projections[holder].visible:
                return BitMap()
            _, targets = await reading.references(CATALOGUE[holder], sql.same_rid(parent), CATALOGUE[holder][field])
            return bitmap(targets)
        case Through():
            return await _through(reading, entity, relation, parent)


async def _through(reading: Reading, entity: Entity, relation: Through, parent: int) -> BitMap:
    between = CATALOGUE[relation.link]
    condition = reading.leads_to(between, between[relation.near], parent)
    if relation.role is not None:
        with_role = sql.exactly(reading.column(between, between["role"]), Operator.EQUAL, relation.role)
        condition = sql.both(condition, with_role)
    _, targets = await reading.references(between, condition, between[relation.far])
    found = bitmap(targets)
    if relation.free:
        _, used = await reading.references(between, ALWAYS, between[relation.far])
        found |= reading.present(entity) - bitmap(used)
    return found
