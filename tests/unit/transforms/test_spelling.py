"""Objects that are made in columns are those that are made one by one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any
from uuid import UUID

import numpy as np
import pytest

from transforms import spelling
from transforms.references import BASES, SHORT, spelled_out

AROUND = ('{"sourcedId":"', '","dateLastModified":"', '"', "}")
ADDRESSES = {BASES["rostering"]: "https://hub/d/1/rostering", BASES["gradebook"]: "https://hub/d/1/gradebook"}
DATES = ["2026-01-01T00:00:00.000Z", "2026-01-02T00:00:00.000Z", "2026-01-01T00:00:00.000Z"]


def identifier(number: int) -> str:
    return str(UUID(int=number))


def document(*references: str, role: str = "student") -> str:
    members = {"e": "user", "d": "class", "a": "school", "k": "lineItem"}
    short = "".join(f',"{members[one[0]]}":{SHORT}{one}{SHORT}' for one in references)
    return f'{short},"role":"{role}"'


def made(documents: Sequence[str], dates: Sequence[str] | str, instead: Mapping[int, str] | None = None) -> str:
    pieces = [identifier(n) + document for n, document in enumerate(documents)]
    records = spelling.Records(spelling.BETWEEN.join(pieces).encode())
    assert len(records) == len(documents)
    assert [records.sourced_id(n) for n in range(len(records))] == [identifier(n) for n in range(len(records))]
    around = spelling.Around(*(text.encode() for text in AROUND))
    written = dates.encode() if isinstance(dates, str) else np.array([date.encode() for date in dates])
    addresses = {mark.encode(): address.encode() for mark, address in ADDRESSES.items()}
    objects = records.objects(around, written, addresses)
    assert len(objects) == len(documents)
    return bytes(objects.joined({n: text.encode() for n, text in (instead or {}).items()})).decode()


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


@pytest.fixture(params=[True, False], ids=["columns", "one by one"])
def columns(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> bool:
    """Whether rows are made in columns whatever that costs; otherwise one by one. The other way is no way."""

    def never(*_: object) -> None:
        raise AssertionError("the other way was taken")

    if request.param:
        monkeypatch.setattr(spelling, "_GROUP", 0)
        monkeypatch.setattr(spelling, "_LENGTH", 0)
        monkeypatch.setattr(spelling.Records, "_one_by_one", never)
    else:
        monkeypatch.setattr(spelling.Records, "_groups", lambda _: [()] * 100_000)  # as if all rows differed
        monkeypatch.setattr(spelling.Records, "_in_columns", never)
    return bool(request.param)


@pytest.mark.usefixtures("columns")
@pytest.mark.parametrize(
    "documents",
    [
        [
            document(USER, CLASS, SCHOOL),
            document(USER, CLASS, SCHOOL, role="École \\u0002"),
            document(USER, CLASS, SCHOOL),
        ],
        [document(ITEM, USER)] * 3,
        [document(USER, CLASS), document(USER, CLASS, SCHOOL), document(USER)],  # as many marks as of two each
        [document(USER), document(USER, CLASS, SCHOOL), document(USER, CLASS)],
        [document(USER, CLASS), document(CLASS, USER), document(USER, CLASS)],
        [document(), document(), document()],
        [document(), document(USER), document(USER, CLASS)],
        [document(USER) + document(CLASS), document(USER, role="aide") + document(CLASS), document(USER)],
        [document(SCHOOL, role='a"}, {\\"sourcedId\\":'), "", document(SCHOOL, role="名" * 40)],
        [f',"school":{SHORT}{SCHOOL}{SHORT}', f',"user":{SHORT}{USER}{SHORT}', f',"school":{SHORT}{SCHOOL}{SHORT}'],
        [f',"school":{SHORT}a{SHORT}', f',"school":{SHORT}a1/@2{SHORT}', f',"school":{SHORT}a{SHORT},"x":"1"'],
    ],
)
def test_objects_are_what_each_document_says(documents: list[str]) -> None:
    for times in (1, 40):
        some, dates = documents * times, DATES * times
        one = expected(some, dates)
        assert made(some, dates) == ",".join(one)
        assert made(some, DATES[0]) == ",".join(expected(some, [DATES[0]] * len(some)))
        others = {len(some) - 1: '{"other":"é"}', 0: "{}", 1: '{"b":1}'}
        told = [others.get(n, text) for n, text in enumerate(one)]
        assert made(some, dates, others) == ",".join(told)
    assert made(documents[:1], DATES[1]) == expected(documents, [DATES[1]] * 3)[0]


def test_what_is_laid_out_alike_is_made_in_columns_and_what_is_not_one_by_one(monkeypatch: pytest.MonkeyPatch) -> None:
    taken = []
    real = spelling.Records._one_by_one

    def watched(self: spelling.Records, *given: Any) -> spelling.Objects:
        taken.append(len(self))
        return real(self, *given)

    monkeypatch.setattr(spelling.Records, "_one_by_one", watched)
    alike = [document(USER, CLASS, SCHOOL), document(USER, CLASS, SCHOOL, role="teacher"), document(USER)] * 40
    assert made(alike, DATES[0]) == ",".join(expected(alike, [DATES[0]] * 120))
    assert not taken
    odd = [document(USER, role="r" * n) + document(CLASS) for n in range(120)]
    assert made(odd, DATES[0]) == ",".join(expected(odd, [DATES[0]] * 120))
    assert taken == [120]


def test_half_of_the_objects_may_end_in_one_reference_more() -> None:
    more = document(USER, CLASS) + f',"school":{SHORT}{SCHOOL}{SHORT}'
    for some in ([document(USER, CLASS), more] * 3, [more, document(USER, CLASS)] * 3):
        assert made(some, DATES[0]) == ",".join(expected(some, [DATES[0]] * len(some)))
