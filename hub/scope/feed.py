"""How a view changed: entered, updated, left. One entry for each entity and sync or grant edit, as sets.

A sync's entry is cut in two steps. ``diff_view`` answers by set algebra alone wherever that is exact and names the few
records whose projections have to be compared, document by document; ``ViewDiff.settle`` takes the answer.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import numpy.typing as npt
from pyroaring import BitMap

from hub.scope.projection import Projection
from hub.scope.sets import Ints, bitmap

#: Under which ``Changed`` keeps all of its records; no field's bit.
_EVERY = -1


@dataclass(frozen=True)
class FeedEntry:
    """What happened to one entity of one view; the three sets are disjoint. Not to be written to."""

    entity: str
    entered: BitMap = field(default_factory=BitMap)
    updated: BitMap = field(default_factory=BitMap)
    left: BitMap = field(default_factory=BitMap)

    @cached_property
    def touched(self) -> BitMap:
        """All records of the entry: those that get a new stamp."""
        return self.entered | self.updated | self.left

    def __bool__(self) -> bool:
        return bool(self.entered or self.updated or self.left)


@dataclass(frozen=True, slots=True)
class Sets:
    """The present records of one entity in a view, and those of them whose references are filtered."""

    present: BitMap = field(default_factory=BitMap)
    trimmed: BitMap = field(default_factory=BitMap)


@dataclass(frozen=True, slots=True)
class Changed:
    """Records whose own data changed: rids and, aligned, which fields (bit i: the i-th of ``Entity.body``)."""

    rids: Ints
    fields: npt.NDArray[np.uint64]
    _found: dict[int, BitMap] = field(default_factory=dict, init=False, repr=False, compare=False)

    @classmethod
    def none(cls) -> Changed:
        """No record."""
        return cls(np.empty(0, np.int32), np.empty(0, np.uint64))

    def having(self, bits: int) -> BitMap:
        """The records of which any of these fields changed. Not to be written to: most grants ask for the same ones."""
        if bits not in self._found:
            has = (self.fields.astype(np.uint64, copy=False) & np.uint64(bits)) != 0
            self._found[bits] = bitmap(self.rids[has])
        return self._found[bits]

    @property
    def every(self) -> BitMap:
        """All of the records. Not to be written to."""
        if _EVERY not in self._found:
            self._found[_EVERY] = bitmap(self.rids)
        return self._found[_EVERY]


@dataclass(frozen=True, slots=True)
class ViewDiff:
    """The part of an entry that sets alone decide, and ``check``: stayed records whose projections may differ."""

    entity: str
    entered: BitMap
    left: BitMap
    updated: BitMap
    check: BitMap

    def settle(self, differing: BitMap) -> FeedEntry:
        """The entry, given those of ``check`` whose members (``Projection.members``) differ from before."""
        return FeedEntry(self.entity, self.entered, self.updated | (differing & self.check), self.left)


def diff_view(projection: Projection, old: Sets, new: Sets, changed: Changed, moved: BitMap) -> ViewDiff:
    """What a sync did to one entity of a view whose grant stayed the same.

    ``moved`` is what ``trim_changes`` found. After an edit of the grant, use ``edit_view``.
    """
    stayed = old.present & new.present
    refers = changed.having(projection.reference_bits)
    filtered = old.trimmed | new.trimmed
    own = changed.every
    updated = (changed.having(projection.plain_bits) | (refers - filtered) | (moved - own)) & stayed
    check = ((refers & filtered) | changed.having(projection.check_bits) | (moved & own)) & stayed
    return ViewDiff(projection.entity, new.present - old.present, old.present - new.present, updated, check - updated)


def edit_view(before: Projection, after: Projection, old: Sets, new: Sets, moved: BitMap) -> ViewDiff:
    """What an edit of the grant did to one entity of its view, while no record changed.

    Where the field policy changed too, every record that stayed is to be compared.
    """
    stayed = old.present & new.present
    entered, left = new.present - old.present, old.present - new.present
    if before == after:
        return ViewDiff(after.entity, entered, left, moved & stayed, BitMap())
    return ViewDiff(after.entity, entered, left, BitMap(), stayed)


def gone_after(gone: BitMap, entry: FeedEntry) -> BitMap:
    """The tombstones after ``entry``."""
    return (gone | entry.left) - entry.entered


def merge(entries: Iterable[FeedEntry]) -> FeedEntry:
    """The net effect of consecutive entries of one entity.

    What entered and left again is nothing, what left and entered again is updated. Raises ``ValueError`` for no
    entries and for entries of several entities.
    """
    iterator = iter(entries)
    first = next(iterator, None)
    if first is None:
        raise ValueError("there is nothing to merge")
    entity, entered, updated, left = first.entity, first.entered, first.updated, first.left
    for entry in iterator:
        if entry.entity != entity:
            raise ValueError("entries of different entities cannot be merged")
        returned = left & entry.entered
        entered, left = (
            (entered - entry.left) | (entry.entered - left),
            (left - entry.entered) | (entry.left - entered),
        )
        updated = (updated | entry.updated | returned) - entered - left
    return FeedEntry(entity, entered, updated, left)


def outcome(entries: Sequence[FeedEntry]) -> FeedEntry:
    """What became of each record of consecutive entries of one entity, whatever somebody knows of it.

    As ``merge``, but what entered and left again has left: who read the view in between has it. Raises as ``merge``.
    """
    net = merge(entries)
    passing = BitMap.union(*(entry.touched for entry in entries)) - net.touched
    return FeedEntry(net.entity, net.entered, net.updated, net.left | passing)


class Compacting:
    """Takes what nobody needs out of the old entries of one entity of a feed, given the newest of them first.

    Entries stay where they are and may become empty. What ``merge`` makes of all entries after any of them is the same
    as before, and so are the stamps, for an update goes only where a later entry touches the record as well: one of
    each record stays. Every entry and departure stays, for they tell who knew of the record when.

    ``settled`` entries are so old that nobody reads on from any but the last of them: there each record stands once, as
    having entered where it is present at their end, or else as having left.
    """

    def __init__(self) -> None:
        self._later = BitMap()
        self._settled = BitMap()

    def kept(self, entry: FeedEntry) -> FeedEntry:
        """What stays of an entry from whose step somebody may read on."""
        stays = FeedEntry(entry.entity, entry.entered, entry.updated - self._later, entry.left)
        self._later |= entry.touched
        return stays

    def settled(self, entry: FeedEntry) -> FeedEntry:
        """What stays of an entry that is older than all that were ``kept``."""
        present = (entry.entered | entry.updated) - self._settled
        stays = FeedEntry(entry.entity, present, left=entry.left - self._settled)
        self._settled |= entry.touched
        return stays


def compact(entries: Sequence[FeedEntry], settled: int = 0) -> list[FeedEntry]:
    """What ``Compacting`` leaves of entries in the order of their steps, of which the first ``settled`` are."""
    compacting = Compacting()
    made = [compacting.kept(entry) for entry in reversed(entries[settled:])]
    made += [compacting.settled(entry) for entry in reversed(entries[:settled])]
    return made[::-1]
