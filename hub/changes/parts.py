"""The changes of one collection, or the marks, as they are told by id. Pure.

Of records of which the same is said but for the id the text is made of columns: what stands around an id once for all
rows, and the ids where they belong. Of others each is a text of its own.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import groupby
from typing import Any, NamedTuple, Self
from uuid import UUID

import numpy as np
import numpy.typing as npt

from hub.changes import message
from hub.changes.ids import ID_BYTES, WRITTEN, Ids, Names, write
from hub.changes.window import Change, Mark, Rows
from hub.store.packing import Form, packable
from hub.store.people import USERS

#: Stands for the id of a record while a form is made; no id that a district has.
_ID = "0sourcedId0"
_COMMA = b","


class Said(NamedTuple):
    """What a body says of some changes. ``text``: a comma is behind each; ``told``: of how many; ``first``: of which.

    ``runs``: the forms, each with how many in a row have it, and ``ids``, 16 bytes for each; None where one has none.
    """

    text: bytes | memoryview
    told: int
    first: int
    runs: Sequence[tuple[Form, int]] | None
    ids: bytes


#: The changes of one body, [start, end); those of several bodies stand one right behind the other.
Range = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Alike:
    """Records of which all is the same but for the id, and all are there.

    ``ids``: 16 bytes of each; ``keys``: the same as two numbers, the higher half first; ``form``: around the id;
    ``one``: the bytes of each, its comma included, with zeros for the id.
    """

    rows: Rows
    ids: npt.NDArray[np.uint8]
    keys: npt.NDArray[np.uint64]
    form: Form
    one: bytes

    @classmethod
    def of(cls, rows: Rows, known: Ids, base_url: str, district: UUID) -> Self | None:
        """None where they are not."""
        ids = known.of_all(rows.rids)
        if ids is None or rows.kinds.count(rows.kinds[0]) != len(rows.kinds):
            return None
        form = _form(base_url, district, rows.entity, *rows.kinds[0])
        keys = np.ascontiguousarray(ids).view(">u8").astype(np.uint64)
        return cls(rows, ids, keys, form, ("0" * WRITTEN).join(form).encode() + _COMMA)

    def sizes(self) -> npt.NDArray[np.int64]:
        """How many bytes each takes, its comma included."""
        return np.full(len(self.ids), len(self.one), dtype=np.int64)

    def said(self, ranges: Sequence[Range]) -> list[Said]:
        """The changes of several bodies as they stand in them: by their ids. One table holds the text of all."""
        start, end = ranges[0][0], ranges[-1][1]
        ids = self.ids.take(self._order(ranges), axis=0)
        text = bytearray(self.one) * (end - start)
        write(ids, np.frombuffer(text, dtype=np.uint8).reshape(-1, len(self.one)), self._places())
        text_of_all, ids_of_all, size = memoryview(text), ids.tobytes(), len(self.one)
        return [
            Said(text_of_all[(first - start) * size : (behind - start) * size], behind - first, first,
                 [(self.form, behind - first)], ids_of_all[(first - start) * ID_BYTES : (behind - start) * ID_BYTES])
            for first, behind in ranges
        ]  # fmt: skip

    def _places(self) -> Iterator[int]:
        """Where in the bytes of one its id begins, each time that it is told."""
        at = 0
        for text in self.form[:-1]:
            at += len(text.encode())
            yield at
            at += WRITTEN

    def _order(self, ranges: Sequence[Range]) -> npt.NDArray[np.intp]:
        """The changes of some bodies, each body's by their ids."""
        start, end = ranges[0][0], ranges[-1][1]
        higher, lower = self.keys[start:end, 0], self.keys[start:end, 1]
        if (higher[1:] > higher[:-1]).all():  # ids that were minted in the order of rids, which most are
            return np.arange(start, end)
        body = np.repeat(np.arange(len(ranges)), [behind - first for first, behind in ranges])
        return np.lexsort((lower, higher, body)) + start


@dataclass(frozen=True, slots=True)
class Single:
    """Changes each of which is a text. ``keys``: ids, by which they are sorted; ``texts``: "" for what was purged.

    ``forms``: None for one that has none.
    """

    rows: Rows
    keys: Sequence[str]
    texts: Sequence[str]
    forms: Sequence[Form | None]

    @classmethod
    def of_marks(cls, rows: Rows, marks: Mapping[int, Mark]) -> Self:
        """The ends of syncs and edits."""
        texts = [_text(Change("completed", "", step, step, marks[step]), None, None) for step in rows.rids.tolist()]
        return cls(rows, [""] * len(texts), texts, [(text,) for text in texts])

    @classmethod
    def of(cls, rows: Rows, ids: Sequence[str], base_url: str, district: UUID, led: Mapping[int, str]) -> Self:
        """Records. ``ids``: "" for what was purged; ``led``: as in hub.changes.cutting.Told."""
        if packable(ids):
            forms: list[Form | None] = [_form(base_url, district, rows.entity, *kind) for kind in rows.kinds]
            texts = [id_ and id_.join(form or ()) for form, id_ in zip(forms, ids, strict=True)]
        else:  # what may have to be escaped has to be one by one
            forms = [None] * len(ids)
            texts = [_one(rows, number, id_, base_url, district) if id_ else "" for number, id_ in enumerate(ids)]
        if led and rows.entity == USERS.name:
            _point(rows, ids, texts, forms, led)
        return cls(rows, ids, texts, forms)

    def sizes(self) -> npt.NDArray[np.int64]:
        """How many bytes each takes, its comma included; 0 for what is not told."""
        plain = "".join(self.texts).isascii()
        sizes = np.fromiter(map(len, self.texts if plain else map(str.encode, self.texts)), np.int64, len(self.texts))
        return sizes + (sizes > 0)

    def said(self, ranges: Sequence[Range]) -> list[Said]:
        """The changes of several bodies as they stand in them: by their ids, marks in their order."""
        return [self._said(start, end) for start, end in ranges]

    def _said(self, start: int, end: int) -> Said:
        part = range(start, end)
        order = sorted(part, key=self.keys.__getitem__) if self.rows.entity else part
        told = [number for number in order if self.texts[number]]
        text = "".join([self.texts[number] + "," for number in told]).encode()
        runs: list[tuple[Form, int]] = []
        for form, some in groupby([self.forms[number] for number in told]):
            if form is None:
                return Said(text, len(told), told[0], None, b"")
            runs.append((form, len(list(some))))
        ids = bytes.fromhex("".join([self.keys[number] for number in told]).replace("-", ""))
        return Said(text, len(told), told[0] if told else start, runs, ids)


Part = Alike | Single


def part(
    rows: Rows, names: Names, marks: Mapping[int, Mark], base_url: str, district: UUID, led: Mapping[int, str]
) -> Part:
    """One collection of a window, or its marks; see hub.changes.cutting.Told."""
    if not rows.entity:
        return Single.of_marks(rows, marks)
    known = names.get(rows.entity, {})
    if isinstance(known, Ids):
        pointing = led and rows.entity == USERS.name
        made = None if pointing else Alike.of(rows, known, base_url, district)
        if made is not None:
            return made
        return Single.of(rows, known.texts(rows.rids), base_url, district, led)
    return Single.of(rows, [known.get(rid, "") for rid in rows.rids.tolist()], base_url, district, led)


def _point(
    rows: Rows, ids: Sequence[str], texts: list[str], forms: list[Form | None], led: Mapping[int, str]
) -> None:  # fmt: skip
    """Adds where people went; what says that has no form."""
    for number, (rid, id_) in enumerate(zip(rows.rids.tolist(), ids, strict=True)):
        operation, version = rows.kinds[number]
        if id_ and operation == "deleted" and rid in led:
            change = Change(operation, rows.entity, rid, version)
            told = message.item(change, id_, None, message.pointer(led[rid])).told
            assert told is not None
            texts[number], forms[number] = told.decode(), None


@lru_cache(maxsize=1000)
def _form(base_url: str, district: UUID, entity: str, operation: Any, version: int) -> Form:
    """What stands before, between and behind the ids where a record is told."""
    rows = Rows("left" if operation == "deleted" else "present", entity, np.zeros(1, np.uint32), [(operation, version)])
    return tuple(_one(rows, 0, _ID, base_url, district).split(_ID))


def _one(rows: Rows, number: int, id_: str, base_url: str, district: UUID) -> str:
    operation, version = rows.kinds[number]
    change = Change(operation, rows.entity, int(rows.rids[number]), version)
    address = None if operation == "deleted" else message.href(base_url, district, rows.entity, id_)
    return _text(change, id_, address)


def _text(change: Change, sourced_id: str | None, address: str | None) -> str:
    told = message.item(change, sourced_id, address).told
    assert told is not None
    return told.decode()
