"""A stretch of a grant's feed as one window of changes. Pure.

A window covers the feed's steps in ``(after, to]``, merged so that each record that they touch stands in it once, in
its latest state. That goes for those that came and left again, too: whoever read them meanwhile, or was told of them in
a part of a window that was then begun anew, has them. So, whatever somebody knows of a view from after ``after`` on,
once told of a window to its end he knows what is in it at ``to``.

Inside, records that are there (created or updated) come first, in the order in which collections refer to each other,
then those that left, in the reverse order; within a collection by rid. Marks come last: what each sync, and each edit
of the grant, did to the view. So a place inside a window is (group, collection, rid), and nobody hears of an
enrollment before its user or loses a user before its enrollments.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal, NamedTuple, Self, TypeVar

import numpy as np
from pyroaring import BitMap

from hub.changes.types import ENTITIES, OPERATIONS, Operation, Wanted
from hub.scope.feed import FeedEntry, outcome
from hub.scope.sets import Ints, rids

Group = Literal["present", "left", "done"]
#: The order of a window: (group, collection).
ORDER: tuple[tuple[Group, str], ...] = (
    *(("present", name) for name in ENTITIES),
    *(("left", name) for name in reversed(ENTITIES)),
    ("done", ""),
)
_ALL = Wanted()
_Value = TypeVar("_Value")


class Place(NamedTuple):
    """The last change of a window that was dealt with. Of a mark, ``rid`` is its step."""

    group: Group
    entity: str
    rid: int

    def as_json(self) -> dict[str, Any]:
        """The form that is stored."""
        return {"group": self.group, "entity": self.entity, "rid": self.rid}

    @classmethod
    def from_json(cls, stored: Mapping[str, Any] | None) -> Self | None:
        """The inverse of ``as_json``; None stays None (nothing of the window was dealt with)."""
        return cls(stored["group"], stored["entity"], stored["rid"]) if stored else None


@dataclass(frozen=True, slots=True)
class Mark:
    """The end of what one sync or one edit of the grant did.

    ``type``: of hub.changes.types.MARKS; ``counts``: by collection, how many records came, changed and left.
    """

    step: int
    at: datetime
    type: str
    counts: Mapping[str, Mapping[str, int]]


class Change(NamedTuple):
    """One record of a window and what happened to it, or a mark.

    ``version``: the last step of the window that touched the record, so that of two states of a record the one with
    the higher version is the newer.
    """

    operation: Operation
    entity: str
    rid: int
    version: int
    mark: Mark | None = None

    @property
    def type(self) -> str:
        """One of hub.changes.types.TYPES."""
        return self.mark.type if self.mark else f"{self.entity}.{self.operation}"

    @property
    def place(self) -> Place:
        """Where the change stands in its window."""
        if self.mark:
            return Place("done", "", self.rid)
        return Place("left" if self.operation == "deleted" else "present", self.entity, self.rid)


class Rows(NamedTuple):
    """Changes of one collection in columns, in the order of their rids. Of marks, ``rids`` are their steps.

    ``kinds``: operation and version of each, as in ``Change``.
    """

    group: Group
    entity: str
    rids: Ints
    kinds: list[tuple[Operation, int]]


@dataclass(frozen=True, slots=True)
class Entry:
    """One entry of a feed at its step. ``mark``: the type of the mark that tells of the step; None for none."""

    step: int
    at: datetime
    mark: str | None
    sets: FeedEntry


@dataclass(frozen=True)
class Window:
    """What became of the records of a stretch. ``touched``: by collection, (step, records), the newest first."""

    merged: Mapping[str, FeedEntry] = field(default_factory=dict)
    touched: Mapping[str, Sequence[tuple[int, BitMap]]] = field(default_factory=dict)
    marks: tuple[Mark, ...] = ()

    @classmethod
    def of(cls, entries: Iterable[Entry]) -> Self:
        """The window of entries in the order of their steps. CPU-bound where they are many."""
        by_entity: dict[str, list[Entry]] = {}
        by_step: dict[int, list[Entry]] = {}
        for entry in entries:
            by_entity.setdefault(entry.sets.entity, []).append(entry)
            if entry.mark is not None:
                by_step.setdefault(entry.step, []).append(entry)
        merged = {name: outcome([e.sets for e in found]) for name, found in by_entity.items()}
        touched = {name: [(e.step, e.sets.touched) for e in reversed(found)] for name, found in by_entity.items()}
        marks = tuple(_mark(step, found) for step, found in sorted(by_step.items()))
        return cls({name: entry for name, entry in merged.items() if entry}, touched, marks)

    def __bool__(self) -> bool:
        """Whether anything is to be told. Marks alone are nothing: their records were purged from the feed."""
        return bool(self.merged)

    def within(self, entities: Collection[str]) -> Window:
        """The same for some collections alone: of the others nothing shows, in counts neither."""
        marks = [
            Mark(m.step, m.at, m.type, {name: counts for name, counts in m.counts.items() if name in entities})
            for m in self.marks
        ]
        return Window(
            {name: entry for name, entry in self.merged.items() if name in entities},
            {name: found for name, found in self.touched.items() if name in entities},
            tuple(m for m in marks if m.counts),
        )

    def following(self, place: Place | None, limit: int, wanted: Wanted = _ALL) -> list[Change]:
        """The first ``limit`` changes of the wanted types after ``place`` (None: from the beginning)."""
        found: list[Change] = []
        for _, entity, numbers, kinds in self.rows(place, limit, wanted):
            members = numbers.tolist()
            if entity:
                found += [Change(name, entity, rid, step) for rid, (name, step) in zip(members, kinds, strict=True)]
            else:
                found += [Change("completed", "", mark.step, mark.step, mark) for mark in self.marks_at(members)]
        return found

    def rows(self, place: Place | None, limit: int, wanted: Wanted = _ALL) -> list[Rows]:
        """The same in columns, by collection."""
        start = ORDER.index((place.group, place.entity)) if place else 0
        found: list[Rows] = []
        for index in range(start, len(ORDER)):
            if limit <= 0:
                break
            after = place.rid if place and index == start else None
            part = self._of(*ORDER[index], after, limit, wanted)
            if part is not None:
                found.append(part)
                limit -= len(part.rids)
        return found

    def marks_at(self, steps: Iterable[int]) -> list[Mark]:
        """The marks of some steps."""
        known = {mark.step: mark for mark in self.marks}
        return [known[step] for step in steps]

    def _of(self, group: Group, entity: str, after: int | None, limit: int, wanted: Wanted) -> Rows | None:
        if group == "done":
            steps = [m.step for m in self.marks if m.type in wanted.types and (after is None or m.step > after)][:limit]
            return Rows(group, entity, np.array(steps), [("completed", step) for step in steps]) if steps else None
        entry = self.merged.get(entity)
        if entry is None:
            return None
        sets = _by_operation(entry, group, wanted.operations(entity))
        members = next(iter(sets.values())) if len(sets) == 1 else BitMap.union(*sets.values()) if sets else BitMap()
        first = 0 if after is None else members.rank(after)
        chosen = members[first : first + limit]
        if not chosen:
            return None
        numbers = rids(chosen)
        touched = self._versions(entity, chosen)
        kinds = [((name, step), set_ & part) for step, part in touched for name, set_ in sets.items()]
        return Rows(group, entity, numbers, _each(numbers, kinds))

    def _versions(self, entity: str, chosen: BitMap) -> list[tuple[int, BitMap]]:
        """The last steps that touched some records, each with those of them."""
        found: list[tuple[int, BitMap]] = []
        left = chosen
        for step, touched in self.touched[entity]:
            hit = left & touched
            if hit:
                found.append((step, hit))
                left = left - hit
                if not left:
                    break
        return found

    def place_at(self, offset: int) -> Place | None:
        """The place of the last of the window's first ``offset`` changes, of whatever types; None for 0.

        Raises ValueError beyond the end.
        """
        if offset <= 0:
            return None
        left = offset
        for group, entity in ORDER:
            members = self._members(group, entity)
            if left <= len(members):
                return Place(group, entity, members[left - 1])
            left -= len(members)
        raise ValueError("the window has fewer changes")

    def offset_of(self, place: Place | None) -> int:
        """The inverse of ``place_at``."""
        if place is None:
            return 0
        at = ORDER.index((place.group, place.entity))
        return sum(len(self._members(*one)) for one in ORDER[:at]) + self._members(*ORDER[at]).rank(place.rid)

    def __len__(self) -> int:
        """How many changes there are, marks included."""
        return sum(len(e.touched) for e in self.merged.values()) + len(self.marks)

    def _members(self, group: Group, entity: str) -> BitMap:
        if group == "done":
            return BitMap([mark.step for mark in self.marks])
        entry = self.merged.get(entity)
        if entry is None:
            return BitMap()
        return entry.left if group == "left" else entry.entered | entry.updated


def _by_operation(entry: FeedEntry, group: Group, wanted: frozenset[str]) -> dict[Operation, BitMap]:
    sets: dict[Operation, BitMap] = (
        {"deleted": entry.left} if group == "left" else {"created": entry.entered, "updated": entry.updated}
    )
    return {name: members for name, members in sets.items() if members and name in wanted}


def _each(numbers: Ints, parts: Sequence[tuple[_Value, BitMap]]) -> list[_Value]:
    """What is said of each record, from the records of which it is said; mostly it is the same of all."""
    for value, members in parts:
        if len(members) == len(numbers):
            return [value] * len(numbers)
    said: dict[int, _Value] = {}
    for value, members in parts:
        said |= dict.fromkeys(members, value)
    return [said[rid] for rid in numbers.tolist()]


def _mark(step: int, entries: Sequence[Entry]) -> Mark:
    counts: dict[str, dict[str, int]] = {}
    for sets in (e.sets for e in entries):
        counts[sets.entity] = dict(zip(OPERATIONS, map(len, (sets.entered, sets.updated, sets.left)), strict=True))
    return Mark(step, entries[0].at, entries[0].mark or "", counts)
