"""The objects of many records of a compact entity at once: bytes are moved in columns, not taken apart row by row.

Records of an entity are laid out alike: up to the last reference even their lengths are the same, since sourcedIds are
all as long. So what comes before an id, between and behind it is written once for all rows, and the parts that differ
are copied from a column of the one text to a column of the other, a call for each. Rows that are laid out otherwise are
a group of their own; where there are too many groups, rows are made one by one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from transforms.references import SHORT, spelled

#: Stands between records in a text for ``objects``. No JSON text has it, nor has a document.
BETWEEN = SHORT + "\x1e"
#: Characters of a record's sourcedId.
ID = 36
_SHORT, _NEXT = BETWEEN.encode()
#: A group of rows that are laid out alike costs as much as so many that are made one by one, one more length so many.
_GROUP, _LENGTH = 25, 4
Places = npt.NDArray[np.int64]
Rows = slice | Places
Bytes = npt.NDArray[np.uint8]
#: Texts of one length, of which numpy knows no more than that.
Cells = npt.NDArray[np.void]
#: A date for each record, or one for all of them.
Dates = npt.NDArray[np.bytes_] | bytes


@dataclass(frozen=True, slots=True)
class Around:
    """The texts before an object's sourcedId, its date and its document, and behind that."""

    sourced_id: bytes
    date: bytes
    document: bytes
    end: bytes


@dataclass(frozen=True, slots=True)
class Objects:
    """JSON objects with a comma behind each. ``starts``: where each begins, and the length of all."""

    text: memoryview
    starts: Places

    def __len__(self) -> int:
        return len(self.starts) - 1

    def joined(self, instead: Mapping[int, bytes]) -> memoryview:
        """All objects with commas between; ``instead`` has those that others take the places of, by number."""
        if not instead:
            return self.text[:-1]
        parts: list[bytes | memoryview] = []
        at = 0
        for number in sorted(instead):
            parts += (self.text[at : self.starts[number]], instead[number], b",")
            at = self.starts[number + 1]
        return memoryview(b"".join((*parts, self.text[at:])))[:-1]


class Records:
    """Records as the store joins them: sourcedId and document of each, with ``BETWEEN`` between.

    Documents have short references. ``len()`` is the number of records.
    """

    def __init__(self, text: bytes) -> None:
        self._text = text
        self._bytes: Bytes = np.frombuffer(text, np.uint8)
        marks = np.flatnonzero(self._bytes == _SHORT)
        ends = self._bytes.take(marks + 1, mode="clip") == _NEXT
        last = marks[ends]
        self._marks = marks[~ends]
        self._starts = np.concatenate(((0,), last + len(BETWEEN)))
        self._ends = np.concatenate((last, (len(text),)))

    def __len__(self) -> int:
        return len(self._starts)

    def sourced_id(self, number: int) -> str:
        """The sourcedId of a record."""
        start = self._starts[number]
        return self._text[start : start + ID].decode("ascii")

    def objects(self, around: Around, dates: Dates, addresses: Mapping[bytes, bytes]) -> Objects:
        """The JSON objects of the records, references in full; ``addresses`` take the places of the services' marks."""
        groups = self._groups()
        if len(groups) * _GROUP <= len(self) + _GROUP:
            tails = self._ends - self._starts
            for rows, marks in groups:
                tails[rows] -= _width(marks)
            lengths = np.unique(tails)
            if len(groups) * _GROUP + len(lengths) * _LENGTH <= len(self) + _GROUP + _LENGTH:
                heads = [(rows, self._head(rows, marks, around, dates, addresses)) for rows, marks in groups]
                return self._in_columns(heads, tails, lengths.tolist(), dates, around.end + b",")
        return self._one_by_one(around, dates, addresses)

    def _in_columns(
        self, heads: Sequence[tuple[Rows, _Head]], tails: Places, lengths: Sequence[int], dates: Dates, end: bytes
    ) -> Objects:
        """The objects of which each group of rows begins alike; ``tails``: how long what is behind the head is."""
        sizes = tails + len(end)
        for rows, head in heads:
            sizes[rows] += len(head)
        starts = np.concatenate(((0,), np.cumsum(sizes)))
        made = np.empty(starts[-1], np.uint8)
        for rows, head in heads:
            within = _windows(self._bytes, head.width)[self._starts[rows]]
            some = dates if isinstance(dates, bytes) else dates[rows]
            _windows(made, len(head))[starts[:-1][rows]] = head.of(within, some)
        targets = starts[1:] - len(end)
        for place, byte in enumerate(end):
            made[targets + place] = byte
        for length in lengths:
            some_rows: Rows = np.flatnonzero(tails == length) if len(lengths) > 1 else slice(None)
            if length:
                ends = _windows(self._bytes, length)[self._ends[some_rows] - length]
                _windows(made, length)[targets[some_rows] - length] = ends
        return Objects(made.data, starts)

    def _groups(self) -> list[tuple[Rows, list[int]]]:
        """The rows that are laid out alike, and where in them the marks of their references are."""
        each, rest = divmod(len(self._marks), len(self))
        if not rest and each % 2 == 0:  # references have two marks: with an odd share of them rows cannot be alike
            marks = self._marks.reshape(len(self), each)
            within = marks - self._starts[:, None]
            codes = self._bytes[marks[:, ::2] + 1]
            alike = (within == within[0]).all() and (codes == codes[0]).all()
            if alike and (not each or (marks[:, -1] < self._ends).all()):
                return [(slice(None), within[0].tolist())]
        firsts = np.searchsorted(self._marks, np.append(self._starts, len(self._text)))
        counts = np.diff(firsts)
        found: list[tuple[Rows, list[int]]] = []
        for count in np.unique(counts).tolist():
            rows = np.flatnonzero(counts == count)
            marks = self._marks[firsts[rows][:, None] + np.arange(count)]
            within = marks - self._starts[rows][:, None]
            layouts, which = _distinct(np.hstack((within, self._bytes[marks[:, ::2] + 1])))
            found += [(rows[which == number], layout[:count]) for number, layout in enumerate(layouts.tolist())]
        return found

    def _head(
        self, rows: Rows, marks: Sequence[int], around: Around, dates: Dates, addresses: Mapping[bytes, bytes]
    ) -> _Head:
        """How objects of a group of rows begin, as the first of them does."""
        start = self._starts[rows][0]
        head = _Head(self._text[start : start + _width(marks)])
        head.fixed(around.sourced_id)
        head.copied(0, ID)
        head.fixed(around.date)
        head.dated(dates)
        head.fixed(around.document)
        at = ID
        for begin, end in zip(marks[::2], marks[1::2], strict=True):
            head.copied(at, begin)
            before, between, after = _addressed(self._text[start + begin + 1 : start + end].decode(), addresses)
            head.fixed(before)
            head.copied(begin + 2, end)
            head.fixed(between)
            head.copied(begin + 2, end)
            head.fixed(after)
            at = end + 1
        return head

    def _one_by_one(self, around: Around, dates: Dates, addresses: Mapping[bytes, bytes]) -> Objects:
        """Like ``objects``, where hardly two rows are laid out alike."""
        made = []
        given = [dates] * len(self) if isinstance(dates, bytes) else dates.tolist()
        for record, date in zip(self._text.split(BETWEEN.encode()), given, strict=True):
            document, *references = record[ID:].split(SHORT.encode())
            for reference, following in zip(references[::2], references[1::2], strict=True):
                before, between, after = _addressed(reference.decode(), addresses)
                document += before + reference[1:] + between + reference[1:] + after + following
            made.append(
                b"".join((around.sourced_id, record[:ID], around.date, date, around.document, document, around.end))
            )
        sizes = np.fromiter(map(len, made), np.int64, len(made)) + 1
        return Objects(memoryview(b",".join((*made, b""))), np.concatenate(((0,), np.cumsum(sizes))))


class _Head:
    """How the objects of some rows begin, up to the end of their last reference: what is fixed and what is copied.

    ``width``: the bytes of a row that this is made of; ``len()``: those of an object that it makes.
    """

    def __init__(self, first: bytes) -> None:
        self._first = first
        self._template = bytearray()
        self._copied: list[tuple[int, int, int]] = []
        self._date: int | None = None

    def __len__(self) -> int:
        return len(self._template)

    @property
    def width(self) -> int:
        return len(self._first)

    def fixed(self, text: bytes) -> None:
        """A text that all have."""
        self._template += text

    def copied(self, start: int, end: int) -> None:
        """What stands there in each row."""
        if start < end:
            self._copied.append((len(self._template), start, end))
            self._template += self._first[start:end]

    def dated(self, dates: Dates) -> None:
        """The date."""
        if isinstance(dates, bytes):
            self.fixed(dates)
        else:
            self._date = len(self._template)
            self._template += bytes(dates.itemsize)

    def of(self, rows: Cells, dates: Dates) -> Cells:
        """The beginnings of these rows, in one text each."""
        made = np.empty(len(rows), f"V{len(self)}")
        made[:] = np.void(bytes(self._template))
        if self._date is not None and not isinstance(dates, bytes):
            _column(made, self._date, dates.itemsize)[:] = dates.view(f"V{dates.itemsize}")
        for place, start, end in self._copied:
            _column(made, place, end - start)[:] = _column(rows, start, end - start)
        return made


def _width(marks: Sequence[int]) -> int:
    """How long rows are up to the end of their last reference."""
    return marks[-1] + 1 if marks else ID


def _windows(text: Bytes, width: int) -> Cells:
    """Everything of a width that stands in a text, by its place: to be read from and written to."""
    return np.ndarray(len(text) - width + 1, f"V{width}", text, 0, (1,))


def _column(rows: Cells, place: int, width: int) -> Cells:
    """What stands at a place of each row."""
    return np.ndarray(len(rows), f"V{width}", rows, place, rows.strides)


def _distinct(rows: Places) -> tuple[Places, Places]:
    """The different ones of some rows, and for each row which of them it is."""
    if not rows.shape[1]:
        return rows[:1], np.zeros(len(rows), np.int64)
    found, which = np.unique(rows, axis=0, return_inverse=True)
    return found, which.reshape(len(rows))


def _addressed(reference: str, addresses: Mapping[bytes, bytes]) -> tuple[bytes, bytes, bytes]:
    """What stands before, between and after the places of a target's id."""
    before, between, after = (text.encode() for text in spelled(reference))
    for mark, address in addresses.items():
        before = before.replace(mark, address)
    return before, between, after
