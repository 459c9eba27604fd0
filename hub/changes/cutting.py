"""Bodies that tell records by id, several of one window at a time: in columns, since each is a hundred of the same. Pure.

What is said of one record, and in which order, is hub.changes.message's to say.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import accumulate
from typing import Any
from uuid import UUID

from hub.changes import message
from hub.changes.message import Envelope
from hub.changes.window import Change, Mark, Place, Rows

#: Stands for the id of a record while a form is made; no id that a district has.
_ID = "0sourcedId0"
_Form = tuple[str, str, str]
#: By collection, what records are called.
Names = Mapping[str, Mapping[int, str]]


@dataclass(frozen=True, slots=True)
class Piece:
    """A body. ``place``: where the window stands after it, None where it is through; ``changes``: how many it tells.

    ``sole``: the one record that it tells of, where it is one: entity, rid, operation and version.
    """

    body: bytes
    changes: int
    place: Place | None
    sole: dict[str, Any] | None


@dataclass(frozen=True, slots=True)
class Told:
    """Changes of a window as they are told. ``texts``: "" for what was purged; ``keys``: ids, by which they are sorted.

    ``parts``: the collections, each with the number of its first change.
    """

    parts: Sequence[tuple[int, Rows]]
    texts: Sequence[str]
    keys: Sequence[str]
    sums: Sequence[int]

    @classmethod
    def of(cls, parts: Sequence[Rows], names: Names, marks: Mapping[int, Mark], base_url: str, district: UUID) -> Told:
        """``base_url``: the hub's public address, without a slash."""
        texts: list[str] = []
        keys: list[str] = []
        placed: list[tuple[int, Rows]] = []
        for rows in parts:
            placed.append((len(texts), rows))
            if not rows.entity:
                texts += [_text(Change("completed", "", step, step, marks[step]), None, None) for step in rows.rids]
                keys += [""] * len(rows.rids)
                continue
            known = names.get(rows.entity, {})
            ids = [known.get(rid, "") for rid in rows.rids]
            keys += ids
            texts += _texts(rows, ids, base_url, district)
        sizes = [len(text) + 1 if text else 0 for text in texts]
        return cls(placed, texts, keys, list(accumulate(sizes)))

    def cut(self, envelope: Envelope, *, limit: int, most_bytes: int, through: bool) -> tuple[list[Piece], Place | None]:
        """Bodies of as many changes as fit and ``limit`` allows, one at least, and where the window stands after them.

        ``through``: nothing follows. Else the last body waits for what follows it, unless it is the only one.
        """
        room = most_bytes - message.ENVELOPE_BYTES
        pieces: list[Piece] = []
        start, place = 0, None
        while start < len(self.texts):
            end = self._end(start, limit, room)
            last = end == len(self.texts)
            if last and not through and pieces:
                break
            more = not (last and through)
            place = self.place(end - 1) if more else None
            told = self._in_order(start, end)
            if told or not more:
                body = message.batch(envelope, told, more=more)
                pieces.append(Piece(body, len(told), place, self._sole(start, end) if len(told) == 1 else None))
            start = end
        return pieces, place

    def _end(self, start: int, limit: int, room: int) -> int:
        """Behind the last change of the body that begins with ``start``."""
        most = min(start + limit, len(self.texts))
        before = self.sums[start - 1] if start else 0
        first = bisect_right(self.sums, before, start, most)  # the first that is told at all
        return max(bisect_right(self.sums, before + room, start, most), min(first + 1, most))

    def _in_order(self, start: int, end: int) -> list[str]:
        """What is told of some changes: those of one collection by their ids."""
        out: list[str] = []
        for first, rows in self.parts:
            low, high = max(start, first), min(end, first + len(rows.rids))
            if low >= high:
                continue
            if rows.entity:
                both = sorted(zip(self.keys[low:high], self.texts[low:high], strict=True))
                out += [text for _, text in both if text]
            else:
                out += self.texts[low:high]
        return out

    def place(self, number: int) -> Place:
        """Where one of the changes stands in its window."""
        first, rows = next(part for part in reversed(self.parts) if part[0] <= number)
        return Place(rows.group, rows.entity, rows.rids[number - first])

    def _sole(self, start: int, end: int) -> dict[str, Any] | None:
        number = next(number for number in range(start, end) if self.texts[number])
        first, rows = next(part for part in reversed(self.parts) if part[0] <= number)
        if not rows.entity:
            return None
        operation, version = rows.kinds[number - first]
        return {"entity": rows.entity, "rid": rows.rids[number - first], "operation": operation, "version": version}


def _texts(rows: Rows, ids: Sequence[str], base_url: str, district: UUID) -> list[str]:
    """What is told of the records of a collection, "" for those without an id."""
    if not message.plain("".join(ids)):  # what has to be escaped has to be one by one
        return [_one(rows, number, id_, base_url, district) if id_ else "" for number, id_ in enumerate(ids)]
    forms = {kind: _form(base_url, district, rows.entity, *kind) for kind in set(rows.kinds)}
    if rows.group == "left":
        told = [f"{one[0]}{id_}{one[1]}" for one, id_ in zip(map(forms.__getitem__, rows.kinds), ids, strict=True)]
    else:
        told = [
            f"{a}{id_}{b}{id_}{c}"
            for (a, b, c), id_ in zip(map(forms.__getitem__, rows.kinds), ids, strict=True)
        ]
    return told if all(ids) else [text if id_ else "" for text, id_ in zip(told, ids, strict=True)]


@lru_cache(maxsize=1000)
def _form(base_url: str, district: UUID, entity: str, operation: Any, version: int) -> _Form:
    """What stands before, between and behind the ids where a record is told."""
    rows = Rows("left" if operation == "deleted" else "present", entity, [0], [(operation, version)])
    parts = _one(rows, 0, _ID, base_url, district).split(_ID)
    return parts[0], parts[1], "".join(parts[2:])


def _one(rows: Rows, number: int, id_: str, base_url: str, district: UUID) -> str:
    operation, version = rows.kinds[number]
    change = Change(operation, rows.entity, rows.rids[number], version)
    address = None if operation == "deleted" else message.href(base_url, district, rows.entity, id_)
    return _text(change, id_, address)


def _text(change: Change, sourced_id: str | None, address: str | None) -> str:
    told = message.item(change, sourced_id, address).told
    assert told is not None
    return told.decode()
