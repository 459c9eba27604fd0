"""One look at all columns of a sheet, before each of them is mended: nearly always there is nothing to mend.

What is asked of one column by itself costs a tenth of a millisecond, whatever is in it; here it is a part of one
expression, which is made once for an entity.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

import polars as pl

from transforms.marks import FEW, empty
from transforms.normalise.sensitive import PART, WHOLE
from transforms.normalise.text import LONGEST, odd
from transforms.sheet import Sheet
from transforms.validate.identifiers import SOMETHING, usual
from transforms.validate.required import VALUE

#: A question and the name of a column.
Asked = tuple[str, str]

#: What may be asked of the values of a column: whether it is true of any.
QUESTIONS: Final[Mapping[str, Callable[[pl.Expr], pl.Expr]]] = {
    "odd": odd,
    "long": lambda text: text.str.len_bytes() > LONGEST,
    "part": lambda text: text.str.contains(PART),
    "whole": lambda text: text.str.contains(WHOLE),
    "unusual": lambda text: ~usual(text),
    "nobody": lambda text: ~text.str.contains(SOMETHING),
    "blank": lambda text: ~text.str.contains(VALUE),
}


@dataclass(frozen=True, slots=True)
class Look:
    """What was true when the look was taken. Columns that were put on the sheet since may be otherwise."""

    sheet: Sheet
    found: frozenset[Asked]

    def may(self, question: str, name: str) -> bool:
        """Whether a value of the column may be so; False is certain."""
        return (question, name) in self.found or name in self.sheet.touched


def look(sheet: Sheet, asked: Iterable[Asked]) -> Look:
    """Asks all at once. Of a column without values nothing is true."""
    sheet.touched.clear()
    wanted = tuple((question, name) for question, name in asked if not empty(sheet[name]))
    # Of a short sheet no expression is worth a thread of its own.
    asked_of = sheet.frame.select_seq if sheet.frame.height <= FEW else sheet.frame.select
    answers = asked_of(_expressions(wanted)).row(0) if wanted and sheet.frame.height else ()
    return Look(sheet, frozenset(one for one, true in zip(wanted, answers, strict=False) if true))


@lru_cache(1_000)  # entities, versions, and which columns came empty
def _expressions(wanted: tuple[Asked, ...]) -> list[pl.Expr]:
    return [QUESTIONS[question](pl.col(name)).any().alias(f"{place}") for place, (question, name) in enumerate(wanted)]
