"""Bodies that tell records by id, several of one window at a time, in columns. Pure.

A body tells a hundred records of which the same is said but for the id, which is put where it belongs.
What is said of one record, and in which order, is hub.changes.message's to say.
"""

from __future__ import annotations

import sys
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from types import MappingProxyType
from typing import Any
from uuid import UUID

from hub.changes import message
from hub.changes.ids import Names
from hub.changes.message import Envelope
from hub.changes.parts import Part, Said, part
from hub.changes.window import Mark, Place, Rows
from hub.store.packing import packed

#: Stands for all changes while what is around them is made.
_HERE = b'"0changes0"'
#: What stands before and behind the changes of a body.
Hull = tuple[bytes, bytes]


@dataclass(frozen=True, slots=True)
class Piece:
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
    sums: Sequence[int]

    @classmethod
    def of(
        cls, parts: Sequence[Rows], names: Names, marks: Mapping[int, Mark], base_url: str, district: UUID,
        led: Mapping[int, str] = MappingProxyType({}),
    ) -> Told:  # fmt: skip
        """``base_url``: the hub's public address, without a slash.

        ``led``: users that left, by rid, to the sourcedId of the record that speaks of them now.
        """
        placed: list[tuple[int, Part]] = []
        sizes: list[int] = []
        for rows in parts:
            made = part(rows, names, marks, base_url, district, led)
            placed.append((len(sizes), made))
            sizes += made.sizes()
        return cls(placed, list(accumulate(sizes)))

    def cut(
        self, envelope: Envelope, *, limit: int, most_bytes: int, through: bool, most: int = sys.maxsize
    ) -> tuple[list[Piece], Place | None]:
        """Bodies of as many changes as fit and ``limit`` allows, one at least, and where the window stands after them.

        No more than ``most`` bodies are made.

        Where there are no changes the window ends with a body that tells of none.

        ``through``: nothing follows. Else the last body waits for what follows it, unless it is the only one.
        """
        hulls = [_hull(envelope, more=more) for more in (False, True)]
        if not self.sums:  # what is left of an open window was purged, or is of types that are not wanted any more
            return [self._piece(hulls[False], 0, 0, None)], None
        room = most_bytes - message.ENVELOPE_BYTES
        pieces: list[Piece] = []
        start, place = 0, None
        while start < len(self.sums) and len(pieces) < most:
            end = self._end(start, limit, room)
            last = end == len(self.sums)
            if last and not through and pieces:
                break
            more = not (last and through)
            place = self.place(end - 1) if more else None
            piece = self._piece(hulls[more], start, end, place)
            if piece.changes or not more:
                pieces.append(piece)
            start = end
        return pieces, place

    def _piece(self, hull: Hull, start: int, end: int, place: Place | None) -> Piece:
        before, behind = hull
        said: list[Said] = []
        sole = None
        for first, one in self._parts(start, end):
            found = one.said(max(0, start - first), min(len(one.rows.rids), end - first))
            if found.told:
                said.append(found)
                sole = _sole(one.rows, found.first)
        changes = sum(one.told for one in said)
        if not changes:
            return Piece(before + behind, 0, place, None, None)
        body = b"".join((before, b"".join([one.text for one in said])[:-1], behind))
        stored = None
        if all(one.runs is not None for one in said):
            runs = [run for one in said for run in one.runs or ()]
            stored = packed(before, behind, runs, b"".join([one.ids for one in said]))
        return Piece(body, changes, place, sole if changes == 1 else None, stored)

    def _end(self, start: int, limit: int, room: int) -> int:
        """Behind the last change of the body that begins with ``start``."""
        most = min(start + limit, len(self.sums))
        before = self.sums[start - 1] if start else 0
        first = bisect_right(self.sums, before, start, most)  # the first that is told at all
        return max(bisect_right(self.sums, before + room, start, most), min(first + 1, most))

    def place(self, number: int) -> Place:
        """Where one of the changes stands in its window."""
        ((first, one),) = self._parts(number, number + 1)
        return Place(one.rows.group, one.rows.entity, one.rows.rids[number - first])

    def _parts(self, start: int, end: int) -> list[tuple[int, Part]]:
        """The collections of which some changes are."""
        return [(first, one) for first, one in self.parts if first < end and start < first + len(one.rows.rids)]


def _sole(rows: Rows, number: int) -> dict[str, Any] | None:
    if not rows.entity:
        return None
    operation, version = rows.kinds[number]
    return {"entity": rows.entity, "rid": rows.rids[number], "operation": operation, "version": version}


def _hull(envelope: Envelope, *, more: bool) -> Hull:
    """What stands before and behind the changes of a body."""
    before, behind = message.batch(envelope, [_HERE], more=more).split(_HERE)
    return before, behind
