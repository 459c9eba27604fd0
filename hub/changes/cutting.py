"""Bodies that tell records by id, several of one window at a time, in columns. Pure.

A body tells a hundred records of which the same is said but for the id, which is put where it belongs.
What is said of one record, and in which order, is hub.changes.message's to say.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import accumulate, repeat
from types import MappingProxyType
from typing import Any
from uuid import UUID

from hub.changes import message
from hub.changes.ids import Ids, Names
from hub.changes.message import Envelope
from hub.changes.window import Change, Mark, Place, Rows
from hub.store.packing import Form, packable, packed
from hub.store.people import USERS

#: Stands for the id of a record while a form is made; no id that a district has.
_ID = "0sourcedId0"
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
    """Changes of a window as they are told, in columns: a hundred of them are dealt with at once.

    ``parts``: the collections, each with the number of its first change. ``keys``: ids, by which changes are sorted;
    ``texts``: "" for what was purged; ``kinds``: which of ``forms`` each has, None for one of its own; ``sums``: how
    many bytes they take up to each of them, commas included; ``gone``: whether any was purged.
    """

    parts: Sequence[tuple[int, Rows]]
    keys: list[str]
    texts: list[str]
    kinds: list[int | None]
    forms: Sequence[Form]
    sums: Sequence[int]
    gone: bool = False

    @classmethod
    def of(
        cls, parts: Sequence[Rows], names: Names, marks: Mapping[int, Mark], base_url: str, district: UUID,
        led: Mapping[int, str] = MappingProxyType({}),
    ) -> Told:  # fmt: skip
        """``base_url``: the hub's public address, without a slash.

        ``led``: users that left, by rid, to the sourcedId of the record that speaks of them now.
        """
        made = cls([], [], [], [], [], [])
        placed: list[tuple[int, Rows]] = []
        forms: list[Form] = []
        sizes: list[int] = []
        for rows in parts:
            placed.append((len(made.texts), rows))
            if rows.entity:
                known = names.get(rows.entity, {})
                plain = isinstance(known, Ids)
                ids = known.texts(rows.rids) if isinstance(known, Ids) else [known.get(rid, "") for rid in rows.rids]
                texts, kinds, size = _records(rows, ids, forms, base_url, district, packed=plain or packable(ids))
                if led and rows.entity == USERS.name:
                    texts, kinds = _pointing(rows, ids, texts, kinds, led)
                    size = None
            else:
                ids, size = [""] * len(rows.rids), None
                texts = [_text(Change("completed", "", step, step, marks[step]), None, None) for step in rows.rids]
                kinds = list(range(len(forms), len(forms) + len(texts)))
                forms += [(text,) for text in texts]
            made.keys.extend(ids)
            made.texts.extend(texts)
            made.kinds.extend(kinds)
            sizes += _sizes(texts) if size is None else repeat(size + 1, len(texts))
        return replace(made, parts=placed, forms=forms, sums=list(accumulate(sizes)), gone="" in made.texts)

    def cut(
        self, envelope: Envelope, *, limit: int, most_bytes: int, through: bool
    ) -> tuple[list[Piece], Place | None]:
        """Bodies of as many changes as fit and ``limit`` allows, one at least, and where the window stands after them.

        Where there are no changes the window ends with a body that tells of none.

        ``through``: nothing follows. Else the last body waits for what follows it, unless it is the only one.
        """
        hulls = [_hull(envelope, more=more) for more in (False, True)]
        if not self.texts:  # what is left of an open window was purged, or is of types that are not wanted any more
            return [self._piece(hulls[False], [], None)], None
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
                pieces.append(self._piece(hulls[more], told, place))
            start = end
        return pieces, place

    def _piece(self, hull: Hull, told: Sequence[int], place: Place | None) -> Piece:
        before, behind = hull
        if not told:
            return Piece(before + behind, 0, place, None, None)
        kinds = [self.kinds[number] for number in told]
        changes = ",".join([self.texts[number] for number in told]).encode()
        stored = None
        if None not in kinds:
            stored = packed(before, behind, self.forms, kinds, [self.keys[number] for number in told])  # type: ignore[arg-type]
        sole = self._sole(told[0]) if len(told) == 1 else None
        return Piece(b"".join((before, changes, behind)), len(told), place, sole, stored)

    def _end(self, start: int, limit: int, room: int) -> int:
        """Behind the last change of the body that begins with ``start``."""
        most = min(start + limit, len(self.texts))
        before = self.sums[start - 1] if start else 0
        first = bisect_right(self.sums, before, start, most)  # the first that is told at all
        return max(bisect_right(self.sums, before + room, start, most), min(first + 1, most))

    def _in_order(self, start: int, end: int) -> list[int]:
        """What is told of some changes: those of one collection by their ids."""
        out: list[int] = []
        for first, rows in self.parts:
            part = range(max(start, first), min(end, first + len(rows.rids)))
            out += sorted(part, key=self.keys.__getitem__) if rows.entity else part
        return [number for number in out if self.texts[number]] if self.gone else out

    def place(self, number: int) -> Place:
        """Where one of the changes stands in its window."""
        first, rows = self._part(number)
        return Place(rows.group, rows.entity, rows.rids[number - first])

    def _sole(self, number: int) -> dict[str, Any] | None:
        first, rows = self._part(number)
        if not rows.entity:
            return None
        operation, version = rows.kinds[number - first]
        return {"entity": rows.entity, "rid": rows.rids[number - first], "operation": operation, "version": version}

    def _part(self, number: int) -> tuple[int, Rows]:
        return next(part for part in reversed(self.parts) if part[0] <= number)


def _hull(envelope: Envelope, *, more: bool) -> Hull:
    """What stands before and behind the changes of a body."""
    before, behind = message.batch(envelope, [_HERE], more=more).split(_HERE)
    return before, behind


def _sizes(texts: Sequence[str]) -> list[int]:
    """How many bytes each takes with a comma; 0 for what is not told."""
    plain = "".join(texts).isascii()
    return [size + 1 if size else 0 for size in map(len, texts if plain else map(str.encode, texts))]


def _records(
    rows: Rows, ids: Sequence[str], forms: list[Form], base_url: str, district: UUID, *, packed: bool
) -> tuple[list[str], Sequence[int | None], int | None]:
    """What is told of the records of a collection, and in which form; adds to ``forms``. ``packed``: see packable.

    And of how many bytes each of them is, where that is the same of all.
    """
    if not packed:  # what may have to be escaped has to be one by one
        texts = [_one(rows, number, id_, base_url, district) if id_ else "" for number, id_ in enumerate(ids)]
        return texts, [None] * len(texts), None
    found = {kind: (number, _form(base_url, district, rows.entity, *kind)) for number, kind in
             enumerate(dict.fromkeys(rows.kinds), len(forms))}  # fmt: skip
    forms += [form for _, form in found.values()]
    if len(found) == 1:
        ((number, form),) = found.values()
        if "" not in ids:
            texts = [id_.join(form) for id_ in ids]
            return texts, [number] * len(ids), len(texts[0].encode())
        return [id_ and id_.join(form) for id_ in ids], [number] * len(ids), None
    which = list(map(found.__getitem__, rows.kinds))
    texts = [id_ and id_.join(form) for (_, form), id_ in zip(which, ids, strict=True)]
    return texts, [number for number, _ in which], None


def _pointing(
    rows: Rows, ids: Sequence[str], texts: list[str], kinds: Sequence[int | None], led: Mapping[int, str]
) -> tuple[list[str], Sequence[int | None]]:
    """The same with where people went; what says that has no form."""
    texts, kinds = list(texts), list(kinds)
    for number, (rid, id_) in enumerate(zip(rows.rids, ids, strict=True)):
        operation, version = rows.kinds[number]
        if id_ and operation == "deleted" and rid in led:
            change = Change(operation, rows.entity, rid, version)
            told = message.item(change, id_, None, message.pointer(led[rid])).told
            assert told is not None
            texts[number], kinds[number] = told.decode(), None
    return texts, kinds


@lru_cache(maxsize=1000)
def _form(base_url: str, district: UUID, entity: str, operation: Any, version: int) -> Form:
    """What stands before, between and behind the ids where a record is told."""
    rows = Rows("left" if operation == "deleted" else "present", entity, [0], [(operation, version)])
    return tuple(_one(rows, 0, _ID, base_url, district).split(_ID))


def _one(rows: Rows, number: int, id_: str, base_url: str, district: UUID) -> str:
    operation, version = rows.kinds[number]
    change = Change(operation, rows.entity, rows.rids[number], version)
    address = None if operation == "deleted" else message.href(base_url, district, rows.entity, id_)
    return _text(change, id_, address)


def _text(change: Change, sourced_id: str | None, address: str | None) -> str:
    told = message.item(change, sourced_id, address).told
    assert told is not None
    return told.decode()
