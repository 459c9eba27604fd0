"""A district at one position as small integer arrays: all that compiling a grant reads.

Whoever loads them (the store) walks the lists of fields below, which come from the catalogue. Rids are the indexes;
codes number the tokens of a vocabulary in any order, with the tokens beside them. Rows of inactive records may be left
in: only what is in ``active`` counts.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
from pyroaring import BitMap

from hub.scope.sets import Mask, mask
from transforms.catalogue import CATALOGUE, Kind
from transforms.catalogue import vocabularies as voc

Int32 = npt.NDArray[np.int32]
FieldKey = tuple[str, str]

#: References to one record: an int32 array each, the target's rid at the index of the source's rid, -1 for none.
SINGLE: tuple[FieldKey, ...] = tuple((e.name, f.name) for e in CATALOGUE.entities for f in e.references if not f.many)
#: References to several records: ``Pairs`` each.
MANY: tuple[FieldKey, ...] = tuple((e.name, f.name) for e in CATALOGUE.entities for f in e.references if f.many)
#: One token per record: an int16 array of codes each, -1 for none.
CODED: tuple[FieldKey, ...] = (("orgs", "type"), ("academicSessions", "type"), ("enrollments", "role"))
#: Several tokens per record: ``Pairs`` of rid and code each.
CODED_MANY: tuple[FieldKey, ...] = tuple(
    (e.name, f.name) for e in CATALOGUE.entities for f in e.body if f.vocabulary is voc.GRADES
)
#: The key of the users' role names in ``Columns.codes``.
ROLES: FieldKey = ("users", "roles")


@dataclass(frozen=True, slots=True)
class Pairs:
    """Edges from records to records or codes, two int32 arrays of one length, in ascending order of ``source``."""

    source: Int32
    target: Int32

    @classmethod
    def none(cls) -> Pairs:
        """No edges."""
        return cls(np.empty(0, np.int32), np.empty(0, np.int32))


@dataclass(frozen=True, slots=True)
class RoleEdges:
    """The users' role entries, four arrays of one length, ascending by ``user``, in document order within one user."""

    user: Int32
    org: Int32
    role: Int32  # a code, see Columns.codes[ROLES]
    primary: npt.NDArray[np.bool_]  # whether its roleType is "primary"

    @classmethod
    def none(cls) -> RoleEdges:
        """No entries."""
        return cls(np.empty(0, np.int32), np.empty(0, np.int32), np.empty(0, np.int32), np.empty(0, np.bool_))


@dataclass(frozen=True)
class Columns:
    """The arrays of one district at one position; never changed, made anew after each sync.

    ``active``: entity -> rids of its active records, for each entity of the catalogue (demographics have their user's
    rid). ``single``, ``many``, ``coded`` and ``coded_many`` hold one item for each key of ``SINGLE``, ``MANY``,
    ``CODED`` and ``CODED_MANY``. ``codes``: the tokens, by code, for each key of ``CODED`` and ``CODED_MANY`` and for
    ``ROLES``. Arrays of ``single`` and ``coded`` may end early: the rest is -1.

    Raises ``KeyError`` where an item is missing.
    """

    active: Mapping[str, BitMap]
    single: Mapping[FieldKey, npt.NDArray[np.integer]]
    many: Mapping[FieldKey, Pairs]
    roles: RoleEdges
    coded: Mapping[FieldKey, npt.NDArray[np.integer]]
    coded_many: Mapping[FieldKey, Pairs]
    codes: Mapping[FieldKey, tuple[str, ...]]

    def __post_init__(self) -> None:
        _require("active", self.active, (e.name for e in CATALOGUE.entities))
        _require("single", self.single, SINGLE)
        _require("many", self.many, MANY)
        _require("coded", self.coded, CODED)
        _require("coded_many", self.coded_many, CODED_MANY)
        _require("codes", self.codes, (*CODED, *CODED_MANY, ROLES))
        sizes = self.sizes
        for entity, field in SINGLE:
            padded = _padded(self.single[entity, field], sizes[entity])
            object.__setattr__(self, "single", {**self.single, (entity, field): padded})
        for entity, field in CODED:
            padded = _padded(self.coded[entity, field], sizes[entity])
            object.__setattr__(self, "coded", {**self.coded, (entity, field): padded})

    @cached_property
    def sizes(self) -> dict[str, int]:
        """For each entity one more than the largest rid that any array knows: the length of its masks."""
        sizes = {entity: (active.max() + 1 if active else 0) for entity, active in self.active.items()}

        def reach(entity: str, size: int) -> None:
            sizes[entity] = max(sizes[entity], size)

        for entity, field in SINGLE:
            reach(entity, len(self.single[entity, field]))
            reach(_target(entity, field), _beyond(self.single[entity, field]))
        for entity, field in MANY:
            reach(entity, _beyond(self.many[entity, field].source))
            reach(_target(entity, field), _beyond(self.many[entity, field].target))
        for entity, field in CODED:
            reach(entity, len(self.coded[entity, field]))
        for entity, field in CODED_MANY:
            reach(entity, _beyond(self.coded_many[entity, field].source))
        reach("users", _beyond(self.roles.user))
        reach("orgs", _beyond(self.roles.org))
        return sizes

    @cached_property
    def live(self) -> dict[str, Mask]:
        """The active records of each entity as a mask. Not to be written to."""
        return {entity: mask(active, self.sizes[entity]) for entity, active in self.active.items()}

    def code_mask(self, key: FieldKey, tokens: Iterable[str]) -> Mask:
        """Which codes of ``key`` stand for one of ``tokens``; the last element, for -1, is never set."""
        wanted = frozenset(tokens)
        return np.array([*(token in wanted for token in self.codes[key]), False], dtype=np.bool_)


def _require(what: str, given: Mapping[Any, object], keys: Iterable[FieldKey | str]) -> None:
    missing = [key for key in keys if key not in given]
    if missing:
        raise KeyError(f"columns lack {what} of {missing}")


def _target(entity: str, field: str) -> str:
    target = CATALOGUE[entity][field].target
    assert target is not None
    return target


def _beyond(values: npt.NDArray[np.integer]) -> int:
    return int(values.max()) + 1 if len(values) else 0


def _padded(values: npt.NDArray[np.integer], size: int) -> npt.NDArray[np.integer]:
    """``values`` followed by -1 up to one more than ``size``, so that a mask of the entity can be read beside it."""
    if len(values) == size:
        return values
    return np.concatenate([values, np.full(size - len(values), -1, dtype=values.dtype)])


assert all(CATALOGUE[e][f].kind is Kind.REF for e, f in SINGLE + MANY)
