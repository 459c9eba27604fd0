"""Bodies that tell records by id, several of one window at a time, in columns. Pure.

A body tells a hundred records of which the same is said but for the id, which is put where it belongs.
What is said of one record, and in which order, is hub.changes.message's to say.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from types import MappingProxyType
from typing import Any, NamedTuple
from uuid import UUID

import numpy as np
import numpy.typing as npt

from hub.changes import message
from hub.changes.ids import Names
from hub.changes.message import Envelope
from hub.changes.parts import Part, Range, Said, part
from hub.changes.window import Mark, Place, Rows
from hub.store.packing import packed

#: Stands for all changes while what is around them is made.
_HERE = b'"0changes0"'
#: What stands before and behind the changes of a body.
Hull = tuple[bytes, bytes]
_NOTHING = np.zeros(0, np.int64)


class Piece(NamedTuple):
    """A body. ``place``: where the window stands after it, None where it is through; ``changes``: how many it tells.

    ``sole``: the one record that it tells of, where it is one: entity, rid, operation and version. ``packed``: as it is
    stored, see hub.store.packing; None where it is stored as it is.
    """

    body: bytes
    changes: int
    place: Place | None
    sole: dict[str, Any] | None
    packed: bytes | None


@dataclass(frozen=True, slots=True)
class Told:
    """Changes of a window as they are told: a hundred of them are dealt with at once.

    ``parts``: the collections, each with the number of its first change; ``sums``: how many bytes changes take up to
    each of them, commas included.
    """

    parts: Sequence[tuple[int, Part]]
    sums: npt.NDArray[np.int64]

    @classmethod
    def of(
        cls, parts: Sequence[Rows], names: Names, marks: Mapping[int, Mark], base_url: str, district: UUID,
        led: Mapping[int, str] = MappingProxyType({}),
    ) -> Told:  # fmt: skip
        """``base_url``: the hub's public address, without a slash.

        ``led``: users that left, by rid, to the sourcedId of the record that speaks of them now.
        """
        made = [part(rows, names, marks, base_url, district, led) for rows in parts]
        firsts = accumulate([len(rows.rids) for rows in parts], initial=0)
        sizes = [one.sizes() for one in made]
        return cls(list(zip(firsts, made, strict=False)), np.cumsum(np.concatenate(sizes)) if sizes else _NOTHING)

    def cut(
        self, envelope: Envelope, *, limit: int, most_bytes: int, through: bool, most: int = sys.maxsize
    ) -> tuple[list[Piece], Place | None]:
        """Bodies of as many changes as fit and ``limit`` allows, one at least, and where the window stands after them.

        No more than ``most`` bodies are made.

        Where there are no changes the window ends with a body that tells of none.

        ``through``: nothing follows. Else the last body waits for what follows it, unless it is the only one.
        """
        hulls = [_hull(envelope, more=more) for more in (False, True)]
        if not len(self.sums):  # what is left of an open window was purged, or is of types that are not wanted any more
            return [_piece(hulls[False], [], None)], None
        ranges: list[Range] = []
        places: list[Place | None] = []
        start, place, many = 0, None, len(self.sums)
        while start < many and len(ranges) < most:
            end, told = self._end(start, limit, most_bytes - message.ENVELOPE_BYTES)
            last = end == many
            if last and not through and ranges:
                break
            place = None if last and through else self.place(end - 1)
            if told or place is None:
                ranges.append((start, end))
                places.append(place)
            start = end
        said = zip(self._said(ranges), places, strict=True)
        return [_piece(hulls[at is not None], one, at) for one, at in said], place

    def _said(self, ranges: Sequence[Range]) -> list[list[tuple[Rows, Said]]]:
        """What bodies of some changes say of each collection of which they tell."""
        found: list[list[tuple[Rows, Said]]] = [[] for _ in ranges]
        for first, one in self.parts:
            behind = first + len(one.rows.rids)
            bodies = [number for number, (start, end) in enumerate(ranges) if first < end and start < behind]
            if not bodies:
                continue
            own = [(max(ranges[n][0], first) - first, min(ranges[n][1], behind) - first) for n in bodies]
            for number, said in zip(bodies, one.said(own), strict=True):
                if said.told:
                    found[number].append((one.rows, said))
        return found

    def _end(self, start: int, limit: int, room: int) -> tuple[int, bool]:
        """Behind the last change of the body that begins with ``start``; whether it tells of any."""
        most = min(start + limit, len(self.sums))
        before = self.sums[start - 1] if start else 0
        sums = self.sums[start:most]
        fitting, none = np.searchsorted(sums, (before + room, before), side="right").tolist()
        end = start + max(fitting, min(none + 1, len(sums)))  # the first that is told at all goes alone if it must
        return end, none < end - start

    def place(self, number: int) -> Place:
        """Where one of the changes stands in its window."""
        first, one = next(found for found in reversed(self.parts) if found[0] <= number)
        return Place(one.rows.group, one.rows.entity, int(one.rows.rids[number - first]))


def _piece(hull: Hull, said: Sequence[tuple[Rows, Said]], place: Place | None) -> Piece:
    before, behind = hull
    if not said:
        return Piece(before + behind, 0, place, None, None)
    *texts, last = [one.text for _, one in said]
    body = b"".join((before, *texts, last[:-1], behind))
    stored = None
    if all(one.runs is not None for _, one in said):
        runs = [run for _, one in said for run in one.runs or ()]
        stored = packed(before, behind, runs, b"".join([one.ids for _, one in said]))
    changes = sum(one.told for _, one in said)
    rows, first = said[-1][0], said[-1][1].first
    return Piece(body, changes, place, _sole(rows, first) if changes == 1 else None, stored)


def _sole(rows: Rows, number: int) -> dict[str, Any] | None:
    if not rows.entity:
        return None
    operation, version = rows.kinds[number]
    return {"entity": rows.entity, "rid": int(rows.rids[number]), "operation": operation, "version": version}


def _hull(envelope: Envelope, *, more: bool) -> Hull:
    """What stands before and behind the changes of a body."""
    before, behind = message.batch(envelope, [_HERE], more=more).split(_HERE)
    return before, behind
