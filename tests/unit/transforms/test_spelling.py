"""Objects that are made in columns are those that are made one by one."""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

import polars as pl
import pytest

from transforms import spelling
from transforms.render import BASES, SHORT, spelled_out

AROUND = ('{"sourcedId":"', '","dateLastModified":"', '"', "}")
ADDRESSES = {BASES["rostering"]: "https://hub/d/1/rostering", BASES["gradebook"]: "https://hub/d/1/gradebook"}
DATES = ["2026-01-01T00:00:00.000Z", "2026-01-02T00:00:00.000Z", "2026-01-01T00:00:00.000Z"]


def identifier(number: int) -> str:
    return str(UUID(int=number))


def document(*references: str, role: str = "student") -> str:
    members = {"e": "user", "d": "class", "a": "school", "k": "lineItem"}
    short = "".join(f',"{members[one[0]]}":{SHORT}{one}{SHORT}' for one in references)
    return f'{short},"role":"{role}"'


def made(documents: Sequence[str], dates: pl.Series | str) -> list[str]:
    pieces = [SHORT.join((spelling.MARK, identifier(n), document)) for n, document in enumerate(documents)]
    return spelling.objects(SHORT.join(pieces), len(documents), AROUND, dates, ADDRESSES).to_list()


def expected(documents: Sequence[str], dates: Sequence[str]) -> list[str]:
    start, before_date, before_document, end = AROUND
    made = []
    for number, (one, date) in enumerate(zip(documents, dates, strict=True)):
        text = f"{start}{identifier(number)}{before_date}{date}{before_document}{spelled_out(one)}{end}"
        for mark, address in ADDRESSES.items():
            text = text.replace(mark, address)
        made.append(text)
    return made


USER, CLASS, SCHOOL, ITEM = ("e" + identifier(7), "d" + identifier(8), "a" + identifier(9), "k" + identifier(10))


@pytest.mark.parametrize(
    "documents",
    [
        [
            document(USER, CLASS, SCHOOL),
            document(USER, CLASS, SCHOOL, role="École \\u0002"),
            document(USER, CLASS, SCHOOL),
        ],
        [document(ITEM, USER)] * 3,
        [document(USER, CLASS), document(USER, CLASS, SCHOOL), document(USER)],  # as many pieces as of two each
        [document(USER, CLASS), document(CLASS, USER), document(USER, CLASS)],
        [document(), document(), document()],
        [document(), document(USER), document(USER, CLASS)],
    ],
)
def test_objects_are_what_each_document_says(documents: list[str]) -> None:
    assert made(documents, pl.Series(DATES)) == expected(documents, DATES)
    assert made(documents, DATES[0]) == expected(documents, DATES[:1] * 3)
