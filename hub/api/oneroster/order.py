"""Sorting: a field's order is a permutation of rids, made once per step of a feed and masked by what was selected."""

from __future__ import annotations

import numpy as np
from pyroaring import BitMap

from hub.api.caches import ByteCache
from hub.api.oneroster.filter import is_name
from hub.api.oneroster.reading import Reading, Rids, mask_for
from hub.objects.looking import Lens
from hub.scope.sets import bitmap, rids
from hub.store import conditions as sql
from transforms.catalogue import BASE_NAMES, CATALOGUE, Entity, Kind

Selections = ByteCache[tuple[object, ...], BitMap | Rids]

_ID = "sourcedId"
_FEW = 16  # of fewer than one in so many records, each is looked up by itself
_PLAIN = frozenset({
    Kind.STRING, Kind.ENUM, Kind.BOOLEAN, Kind.INTEGER, Kind.FLOAT, Kind.DATE, Kind.DATETIME, Kind.YEAR,
})  # fmt: skip


def can_sort(lens: Lens, entity: Entity, path: tuple[str, ...]) -> bool:
    """Whether records can be put in the order of a field: one with a single plain value, shown and not masked.

    A path leads to the id of a reference, or to a member of metadata.
    """
    name, *rest = path
    if name not in lens.filterable(entity):
        return False
    if name in BASE_NAMES:
        return not rest
    field = entity[name]
    if not rest:
        return not field.many and field.kind in _PLAIN
    if not lens.behaviour.dotted_sort:
        return False
    if field.kind is Kind.METADATA:
        return len(rest) == 1 and is_name(rest[0])
    return field.kind is Kind.REF and not field.many and rest == [_ID]


async def in_order(
    reading: Reading, entity: Entity, path: tuple[str, ...], chosen: BitMap, cache: Selections, *, descending: bool
) -> Rids:
    """The chosen records in the order of a field, those without a value last, equal ones as ``natural`` has them.

    Texts are in the order of code points. Tombstones show base fields only, so they have no value in any other.
    """
    name = path[0]
    view = reading.then(entity.name)
    if name == "dateLastModified":
        wanted = await natural(reading, entity, chosen, cache)
        ranks = view.stamps.ranks(wanted).astype(np.int64)
        return wanted[np.argsort(-ranks if descending else ranks, kind="stable")]
    if name == "status":
        parts = [await natural(reading, entity, part, cache) for part in (chosen & view.present, chosen & view.gone)]
        return np.concatenate(parts[::-1] if descending else parts)
    order = await _permutation(reading, entity, path, cache, descending=descending)
    shown = chosen if name == _ID else chosen & view.present
    valued = order[mask_for(shown, order)[order]]
    return np.concatenate([valued, await natural(reading, entity, chosen - bitmap(valued), cache)])


async def natural(reading: Reading, entity: Entity, chosen: BitMap, cache: Selections) -> Rids:
    """The chosen records in the order of a collection that nobody sorts: by rid, which all apps have alike.

    An app with pseudonyms has that of its ids instead: two apps could join by their places what has no id in common.
    """
    if not reading.pseudonymous or not chosen:
        return rids(chosen).astype(np.int32)
    order = await _permutation(reading, entity, (_ID,), cache, descending=False)
    if len(chosen) * _FEW > len(order):
        return order[mask_for(chosen, order)[order]]
    key = (*reading.key, "places", entity.name)
    places = cache.get(key)
    if not isinstance(places, np.ndarray):
        places = np.zeros(int(order.max(initial=-1)) + 1, dtype=np.int32)
        places[order] = np.arange(len(order), dtype=np.int32)
        cache.put(key, places, places.nbytes)
    few = rids(chosen).astype(np.int32)
    return few[np.argsort(places[few])]


async def _permutation(
    reading: Reading, entity: Entity, path: tuple[str, ...], cache: Selections, *, descending: bool
) -> Rids:
    """The district's records that have a value, in the order of a field; the caller masks what is outside the view."""
    key = (*reading.key, "order", entity.name, path, descending)
    held = cache.get(key)
    if isinstance(held, np.ndarray):
        return held
    order = await reading.order(entity, path, descending=descending)
    if order is None:
        order = await usual_order(reading, entity, path, descending=descending)
    cache.put(key, order, order.nbytes)
    return order


async def usual_order(reading: Reading, entity: Entity, path: tuple[str, ...], *, descending: bool) -> Rids:
    """The district's records that have a value, in the order of a field that all versions have alike."""
    if path[0] == _ID and reading.pseudonymous:
        order = (await reading.shown_ids(entity)).in_order
        return order[::-1] if descending else order
    if path[0] == _ID:
        return await reading.ordered(entity, reading.shown_id(entity), descending=descending)
    field = entity[path[0]]
    match field.kind:
        case Kind.METADATA:
            return await reading.ordered(entity, sql.metadata_order(path[1]), descending=descending)
        case Kind.REF:
            sources, targets = await reading.ordered_by_reference(entity, field, descending=descending)
            inside = reading.present(CATALOGUE[field.target or ""])  # a reference that leads outside is no value
            return sources[mask_for(inside, targets)[targets]]
        case _:
            return await reading.ordered(entity, sql.order(field, reading.column(entity, field)), descending=descending)
