"""Which visible records have optional references or roles that point outside the view, and when that changed."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from pyroaring import BitMap

from hub.scope.columns import MANY, ROLES, SINGLE, Columns
from hub.scope.projection import Projection
from hub.scope.sets import Mask, mask, members
from transforms.catalogue import CATALOGUE

Present = Mapping[str, BitMap]


def trim(projection: Projection, present: Present, columns: Columns) -> BitMap:
    """The present records of the projection's entity that show less than all of their references or roles."""
    entity = projection.entity
    if not present[entity] or not projection.references:
        return BitMap()
    inside = _Masks(present, columns)
    flags = np.zeros_like(inside[entity])
    for name in projection.references:
        key = (entity, name)
        if key in SINGLE:
            targets = columns.single[key]
            flags[:-1] |= (targets >= 0) & ~inside[_target(key)][targets]
        elif key in MANY:
            pairs = columns.many[key]
            flags[pairs.source[~inside[_target(key)][pairs.target]]] = True
        elif key == ROLES:
            edges = columns.roles
            flags[edges.user[~(inside["orgs"][edges.org] & _admitted(projection, columns)[edges.role])]] = True
    return members(flags & inside[entity])


def trim_changes(projection: Projection, old: Present, new: Present, columns: Columns) -> BitMap:
    """The records present before and after whose visible references have targets that entered or left the view.

    ``columns`` are those after the change. For records whose own data is unchanged this is exact: they look different
    now. Others have to be compared.
    """
    entity = projection.entity
    stayed = old[entity] & new[entity]
    if not stayed:
        return stayed
    moved = _Masks({name: old[name] ^ new[name] for name in new}, columns)
    flags = np.zeros(columns.sizes[entity] + 1, dtype=np.bool_)
    for name in projection.references:
        key = (entity, name)
        if key in SINGLE and moved.any(_target(key)):
            flags[:-1] |= moved[_target(key)][columns.single[key]]
        elif key in MANY and moved.any(_target(key)):
            pairs = columns.many[key]
            flags[pairs.source[moved[_target(key)][pairs.target]]] = True
        elif key == ROLES and moved.any("orgs"):
            edges = columns.roles
            flags[edges.user[moved["orgs"][edges.org] & _admitted(projection, columns)[edges.role]]] = True
    return members(flags) & stayed


def _admitted(projection: Projection, columns: Columns) -> Mask:
    """Which role codes the grant shows."""
    roles = projection.admitted_roles
    return columns.code_mask(ROLES, columns.codes[ROLES] if roles is None else roles)


def _target(key: tuple[str, str]) -> str:
    return CATALOGUE[key[0]][key[1]].target or ""


class _Masks:
    """The masks of some sets, made when they are first wanted."""

    def __init__(self, sets: Present, columns: Columns) -> None:
        self._sets = sets
        self._columns = columns
        self._made: dict[str, Mask] = {}

    def __getitem__(self, entity: str) -> Mask:
        if entity not in self._made:
            # What left may be the last record of its entity, which no array of the columns knows any more.
            found = self._sets[entity]
            size = max(self._columns.sizes[entity], found.max() + 1 if found else 0)
            self._made[entity] = mask(found, size)
        return self._made[entity]

    def any(self, entity: str) -> bool:
        return bool(self._sets[entity])
