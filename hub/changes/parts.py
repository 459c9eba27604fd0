"""The changes of one collection, or the marks, as they are told by id. Pure.

Of records of which the same is said but for the id the text is made of columns: what stands around an id once for all
rows, and the ids where they belong. Of others each is a text of its own.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import groupby, repeat
from typing import Any, NamedTuple, Self
from uuid import UUID

import numpy as np
import numpy.typing as npt

from hub.changes import message
from hub.changes.ids import WRITTEN, Ids, Names
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

    text: bytes
    told: int
    first: int
    runs: Sequence[tuple[Form, int]] | None
    ids: bytes


@dataclass(frozen=True, slots=True)
class Alike:
    """Records of which all is the same but for the id, and all are there.

    ``ids``: 16 bytes of each; ``keys``: the same as two numbers, the higher half first; ``form``: around the id.
    """

    rows: Rows
    ids: npt.NDArray[np.uint8]
    written: npt.NDArray[np.uint8]
    keys: npt.NDArray[np.uint64]
    form: Form

    @classmethod
    def of(cls, rows: Rows, known: Ids, base_url: str, district: UUID) -> Self | None:
        """None where they are not."""
        ids = known.of_all(rows.rids)
        if ids is None or rows.kinds.count(rows.kinds[0]) != len(rows.kinds):
            return None
        keys = ids.view(">u8").astype(np.uint64)
        return cls(rows, ids, Ids.written(ids), keys, _form(base_url, district, rows.entity, *rows.kinds[0]))

    def sizes(self) -> Sequence[int]:
        """How many bytes each takes, its comma included."""
        return list(repeat(len(self._one()), len(self.rows.rids)))

    def said(self, start: int, end: int) -> Said:
        """The changes in [start, end) as they stand in a body: by their ids."""
        order = np.lexsort((self.keys[start:end, 1], self.keys[start:end, 0])) + start
        one = np.frombuffer(self._one(), dtype=np.uint8)
        table = np.empty((len(order), len(one)), dtype=np.uint8)
        table[:] = one
        written, at = self.written.take(order, axis=0), 0
        for text in self.form[:-1]:
            at += len(text.encode())
            table[:, at : at + WRITTEN] = written
            at += WRITTEN
        return Said(
            table.tobytes(), len(order), start, [(self.form, len(order))], self.ids.take(order, axis=0).tobytes()
        )

    def _one(self) -> bytes:
        return ("0" * WRITTEN).join(self.form).encode() + _COMMA


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
        texts = [_text(Change("completed", "", step, step, marks[step]), None, None) for step in rows.rids]
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

    def sizes(self) -> Sequence[int]:
        """How many bytes each takes, its comma included; 0 for what is not told."""
        plain = "".join(self.texts).isascii()
        return [size + 1 if size else 0 for size in map(len, self.texts if plain else map(str.encode, self.texts))]

    def said(self, start: int, end: int) -> Said:
        """The changes in [start, end) as they stand in a body: by their ids, marks in their order."""
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
    return Single.of(rows, [known.get(rid, "") for rid in rows.rids], base_url, district, led)


def _point(
    rows: Rows, ids: Sequence[str], texts: list[str], forms: list[Form | None], led: Mapping[int, str]
) -> None:  # fmt: skip
    """Adds where people went; what says that has no form."""
    for number, (rid, id_) in enumerate(zip(rows.rids, ids, strict=True)):
        operation, version = rows.kinds[number]
        if id_ and operation == "deleted" and rid in led:
            change = Change(operation, rows.entity, rid, version)
            told = message.item(change, id_, None, message.pointer(led[rid])).told
            assert told is not None
            texts[number], forms[number] = told.decode(), None


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
