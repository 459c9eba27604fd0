"""Sorting: a field's order is a permutation of rids, made once per view and masked by what was selected."""

from __future__ import annotations

import numpy as np
from pyroaring import BitMap

from hub.api.caches import ByteCache
from hub.api.oneroster.reading import Reading, Rids, unpacked
from hub.scope.sets import bitmap, mask, rids
from hub.store import conditions as sql
from hub.store import records
from transforms.catalogue import BASE_NAMES, Entity, Kind
from transforms.shapes import SHAPES

Selections = ByteCache[tuple[object, ...], BitMap | Rids]

_ID = "sourcedId"
_NOT_SORTABLE = frozenset({Kind.REF, Kind.COMPONENT, Kind.METADATA, *SHAPES})


def can_sort(reading: Reading, entity: Entity, name: str) -> bool:
    """Whether records can be put in the order of a field: one with a single plain value, shown and not masked."""
    if name not in reading.view.projections[entity.name].filterable:
        return False
    return name in BASE_NAMES or not (entity[name].many or entity[name].kind in _NOT_SORTABLE)


async def in_order(
    reading: Reading, entity: Entity, name: str, chosen: BitMap, cache: Selections, *, descending: bool
) -> Rids:
    """The chosen records in the order of a field, those without a value last, then by rid.

    Texts are in the order of code points. Tombstones show base fields only, so they have no value in any other.
    """
    view = reading.of(entity.name)
    if name == "dateLastModified":
        wanted = rids(chosen).astype(np.int32)
        ranks = view.stamps.ranks(wanted).astype(np.int64)
        return wanted[np.argsort(-ranks if descending else ranks, kind="stable")]
    if name == "status":
        parts = [chosen & view.present, chosen & view.gone]
        return np.concatenate([rids(part).astype(np.int32) for part in (parts[::-1] if descending else parts)])
    order = await _permutation(reading, entity, name, cache, descending=descending)
    shown = chosen if name == _ID else chosen & view.present
    size = max(int(order.max(initial=-1)), shown.max() if shown else -1) + 1
    valued = order[mask(shown, size)[order]]
    return np.concatenate([valued, rids(chosen - bitmap(valued)).astype(np.int32)])


async def _permutation(reading: Reading, entity: Entity, name: str, cache: Selections, *, descending: bool) -> Rids:
    """The district's records that have a value, in the order of a field; the caller masks what is outside the view."""
    key = (*reading.version, "order", entity.name, name, descending)
    held = cache.get(key)
    if isinstance(held, np.ndarray):
        return held
    by = sql.sourced_id() if name == _ID else sql.order(entity[name])
    order = unpacked(await records.ordered(reading.tx, reading.gate, entity, by, descending=descending))
    cache.put(key, order, order.nbytes)
    return order
