"""One look at all columns of a sheet, before each of them is mended: nearly always there is nothing to mend.

What is asked of one column by itself costs a tenth of a millisecond, whatever is in it, because the column engine
compiles a pattern for it. Here the values of a column run together, and Python asks the one text.
"""

from __future__ import annotations

import re
import string
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from transforms import storable
from transforms.marks import BETWEEN, FEW, empty, run_together
from transforms.normalise.text import LONGEST
from transforms.sheet import Sheet

#: A question and the name of a column.
Asked = tuple[str, str]

#: A part of whatever looks like a social security number.
_DASHED = re.compile(r"-[0-9]{2}-[0-9]{4}")
#: Bytes that are taken out of a text faster than a pattern or a question of Python's finds another one.
_PRINTABLE = bytes(range(0x20, 0x7F))
_USUAL = f"{string.digits}{string.ascii_letters}./@_-{BETWEEN}".encode()
_BLANK = BETWEEN + BETWEEN


def _plain(text: str) -> bool:
    return text.isascii() and not text.encode().translate(None, _PRINTABLE)


def _begins_blank(text: str) -> bool:
    """Whether a value may have spaces and commas alone."""
    return not _plain(text) or _BLANK in text or _at(text, f"{BETWEEN} ", " ") or _at(text, f"{BETWEEN},", ",")


def _at(text: str, two: str, rare: str) -> bool:
    """Whether two characters are there. One is looked for first: that is thirty times as fast."""
    return rare in text and two in text


def _longer(text: str, most: int) -> bool:
    """Whether a value may have more bytes."""
    most = most if text.isascii() else most // 4
    at = 0
    while len(text) - at > most + 2:  # the mark before a value, and the one behind it
        if (following := text.rfind(BETWEEN, at + 1, at + most + 2)) < 0:
            return True
        at = following
    return False


#: What may be asked of the values of a column, which run together with a mark before and behind each: False where it is
#: certainly true of none.
QUESTIONS: Final[Mapping[str, Callable[[str], bool]]] = {
    "odd": lambda text: (
        not _plain(text) or any(_at(text, two, " ") for two in ("  ", f"{BETWEEN} ", f" {BETWEEN}")) or _BLANK in text
        or _longer(text, LONGEST)
    ),
    "long": lambda text: _longer(text, LONGEST),
    "part": lambda text: _DASHED.search(text) is not None,
    "whole": lambda text: _DASHED.search(text) is not None,
    "unusual": lambda text: (
        bool(text.encode().translate(None, _USUAL)) or _BLANK in text or _longer(text, storable.LONGEST)
    ),
    "nobody": _begins_blank,
    "blank": _begins_blank,
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Look:
    """What may have been true when the look was taken. Columns that were put on the sheet since may be otherwise."""

    sheet: Sheet
    found: frozenset[Asked]

    def may(self, question: str, name: str) -> bool:
        """Whether a value of the column may be so; False is certain."""
        return (question, name) in self.found or name in self.sheet.touched


def look(sheet: Sheet, asked: Iterable[Asked]) -> Look:
    """Asks all at once. Of a column without values nothing is true."""
    sheet.touched.clear()
    open_ = defaultdict[str, set[str]](set)
    for question, name in asked:
        if not empty(sheet[name]):
            open_[name].add(question)
    found = set[Asked]()
    for part in sheet.frame.iter_slices(FEW):  # the texts of a whole large file would be as large
        names = tuple(open_)
        for name, text in zip(names, run_together(part, names), strict=True):
            values = part.height - part.get_column(name).null_count()
            true = _true(f"{BETWEEN}{text}{BETWEEN}", open_[name]) if values else set()
            if values and text.count(BETWEEN) != values - 1:  # a value has the mark itself
                true = set(open_[name])
            found |= {(question, name) for question in true}
            open_[name] -= true
    return Look(sheet, frozenset(found))


def _true(text: str, questions: set[str]) -> set[str]:
    return {question for question in questions if QUESTIONS[question](text)}
