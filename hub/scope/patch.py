"""The columns of a district after some of its records changed: only theirs are put in anew. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from pyroaring import BitMap

from hub.scope.columns import CODED, CODED_MANY, MANY, ROLES, SINGLE, Columns, FieldKey, Int32, Pairs, RoleEdges


def patched(old: Columns, new: Columns, changed: Mapping[str, BitMap]) -> Columns:
    """``old`` with the records ``changed`` (rids by entity) as they are in ``new``, which has those alone.

    Neither is written to; arrays of entities without a change are shared.
    """
    rids = {entity: np.array(list(members), dtype=np.int64) for entity, members in changed.items() if members}
    active = {
        entity: (members - changed.get(entity, BitMap())) | new.active[entity] if entity in rids else members
        for entity, members in old.active.items()
    }
    codes = dict(old.codes)
    single = {
        key: _put(old.single[key], new.single[key], rids[key[0]]) if key[0] in rids else old.single[key]
        for key in SINGLE
    }
    coded: dict[FieldKey, Any] = {key: old.coded[key] for key in CODED}
    for key in (key for key in CODED if key[0] in rids):
        codes[key], translated = _translated(old.codes[key], new.codes[key])
        coded[key] = _put(old.coded[key], translated[new.coded[key]], rids[key[0]])
    many = {
        key: _joined(old.many[key], new.many[key], rids[key[0]]) if key[0] in rids else old.many[key] for key in MANY
    }
    coded_many = {key: old.coded_many[key] for key in CODED_MANY}
    for key in (key for key in CODED_MANY if key[0] in rids):
        codes[key], translated = _translated(old.codes[key], new.codes[key])
        theirs = Pairs(new.coded_many[key].source, translated[new.coded_many[key].target])
        coded_many[key] = _joined(old.coded_many[key], theirs, rids[key[0]])
    roles = old.roles
    if "users" in rids:
        codes[ROLES], translated = _translated(old.codes[ROLES], new.codes[ROLES])
        roles = _roles(old.roles, new.roles, translated, rids["users"])
    return Columns(active, single, many, roles, coded, coded_many, codes)


def size_of(columns: Columns) -> int:
    """About how many bytes columns take."""
    arrays: list[Any] = [*columns.single.values(), *columns.coded.values()]
    for pairs in (*columns.many.values(), *columns.coded_many.values()):
        arrays += [pairs.source, pairs.target]
    roles = columns.roles
    arrays += [roles.user, roles.org, roles.role, roles.primary]
    masks = sum(columns.sizes.values())  # ``live`` is made with the first grant
    return sum(int(array.nbytes) for array in arrays) + masks + sum(map(len, columns.active.values())) // 4


def _put(base: Any, values: Any, rids: Any) -> Any:
    """A copy of ``base`` with ``values`` at ``rids``; either may end early, which means -1."""
    out = np.full(max(len(base), int(rids[-1]) + 1), -1, dtype=base.dtype)
    out[: len(base)] = base
    out[rids] = -1
    known = rids[rids < len(values)]
    out[known] = values[known]
    return out


def _translated(old: tuple[str, ...], new: tuple[str, ...]) -> tuple[tuple[str, ...], Int32]:
    """The tokens of both, and for each code of ``new`` its code among them; the last element stands for -1."""
    every = (*old, *(token for token in new if token not in old))
    places = {token: place for place, token in enumerate(every)}
    return every, np.array([*(places[token] for token in new), -1], dtype=np.int32)


def _joined(old: Pairs, new: Pairs, rids: Any) -> Pairs:
    keep, places = _places(old.source, new.source, rids)
    return Pairs(
        np.insert(old.source[keep], places, new.source), np.insert(old.target[keep], places, new.target)
    )  # fmt: skip


def _roles(old: RoleEdges, new: RoleEdges, translated: Int32, rids: Any) -> RoleEdges:
    keep, places = _places(old.user, new.user, rids)

    def joined(before: Any, after: Any) -> Any:
        return np.insert(before[keep], places, after)

    return RoleEdges(
        joined(old.user, new.user), joined(old.org, new.org), joined(old.role, translated[new.role]),
        joined(old.primary, new.primary),
    )  # fmt: skip


def _places(old: Int32, new: Int32, rids: Any) -> tuple[Any, Any]:
    """Which of the old edges stay, and where the new ones go among them: both ascend by their source."""
    gone = np.zeros(max(int(rids[-1]), int(old[-1]) if len(old) else 0) + 1, dtype=np.bool_)
    gone[rids] = True
    keep = ~gone[old]
    return keep, np.searchsorted(old[keep], new, side="left")
