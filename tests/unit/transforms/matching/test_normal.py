"""What is compared of a person is the same whether one is looked at or a whole district."""

from __future__ import annotations

from datetime import date
from typing import Any

import numpy as np
import polars as pl
from hypothesis import given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from transforms.matching.columns import Columns
from transforms.matching.few import Few
from transforms.matching.hashes import MANY, once
from transforms.matching.names import folded
from transforms.matching.people import PERSON, candidates, keys, normalised

_WORDS = (
    "Ana", "ana M", "María-José", "de la Cruz", "O'Neil", "Lee Jr", "Test Student 3", "N/A", "x", "-", "Łukasz", "Bob",
    "Nguyễn", "王", "123", "van", "Smith III", "ÅSA", "Straße", "no name",
)  # fmt: skip
_TEXT = st.none() | st.sampled_from(_WORDS) | st.text(max_size=12) | st.lists(st.sampled_from(_WORDS)).map(" ".join)
_ID = st.fixed_dictionaries({"type": st.sampled_from([None, "State", "sis"]), "identifier": _TEXT})
_VALUES: dict[str, st.SearchStrategy[Any]] = {
    **dict.fromkeys(("given", "middle", "family", "suffix", "preferred", "street", "username", "postcode"), _TEXT),
    "kind": st.sampled_from(["student", "staff", "guardian", None, "other"]),
    "source": st.sampled_from(["a", "b", None]),
    "birth_date": st.none() | st.dates(date(1900, 1, 1), date(2030, 1, 1)) | st.just(date(1, 1, 1)),
    "sex": st.sampled_from([None, " F", "male", "other"]),
    "email": st.none() | st.sampled_from(["A.B@c.example ", "none@x.example", "a b@c", "b@gmail.com"]),
    "phone": st.none() | st.sampled_from(["+1 (919) 555-0100", "19195550100 x12", "0000000", "12"]),
    "postcode": st.none() | st.sampled_from(["27601-1234", "ab1 2", "00000"]),
    "ids": st.none() | st.lists(st.none() | _ID, max_size=5),
    "schools": st.none() | st.lists(st.integers(0, 9), max_size=5),
    "guardians": st.none() | st.lists(st.integers(0, 20), max_size=3),
    "grade": st.sampled_from([None, "KG", "07", "?"]),
    "begin": st.none() | st.dates(date(2020, 1, 1), date(2026, 1, 1)),
    "end": st.none() | st.dates(date(2020, 1, 1), date(2026, 1, 1)),
    "active": st.sampled_from([None, True, False]),
    "no_match": st.sampled_from([None, True, False]),
}
_PEOPLE = st.lists(st.fixed_dictionaries(_VALUES), min_size=1, max_size=6)


@settings(max_examples=60, deadline=None)
@given(_PEOPLE)
def test_few_and_many_come_to_the_same(rows: list[dict[str, Any]]) -> None:
    """Many are worked on by different values, few as they come; behind the few stand others of a district."""
    few = pl.DataFrame([row | {"rid": rid} for rid, row in enumerate(rows)], PERSON)
    others = pl.DataFrame({"rid": np.arange(100, 100 + MANY, dtype=np.uint32)}, {"rid": pl.UInt32})
    one, many = normalised(few), normalised(pl.concat([few, others], how="diagonal"))

    assert_frame_equal(many.head(len(rows)), one)
    assert_frame_equal(normalised(Few.of(few)).frame(one.schema), one)
    assert_frame_equal(keys(many).filter(pl.col("rid") < 100), keys(one))
    little, much = Columns(one), Columns(many)
    for name in ("sex", "kind", "active", "birth", "born", "grade", "begin", "end", "is_initial", "house"):
        assert getattr(little, name).tolist() == getattr(much, name)[: len(rows)].tolist(), name
    for name in ("ids", "id_types", "guardians", "schools", "nicknames", "family_tokens"):
        assert _rows(getattr(little, name), len(rows)) == _rows(getattr(much, name), len(rows)), name


def _rows(places: list[np.ndarray[Any, Any]], rows: int) -> list[list[int]]:
    """The entries of each row without what is missing behind them."""
    return [[int(place[row]) for place in places if place[row]] for row in range(rows)]


def test_dates_are_taken_apart_as_calendars_do() -> None:
    days = [date(1969, 12, 31), date(1970, 1, 1), date(2000, 2, 29), date(2012, 11, 30), None]
    rows = [{"rid": rid, "birth_date": day} for rid, day in enumerate(days)]
    columns = Columns(normalised(pl.DataFrame(rows, PERSON)))
    year, month, day = columns.date

    assert list(zip(year.tolist(), month.tolist(), day.tolist(), strict=True)) == [
        (1969, 12, 31), (1970, 1, 1), (2000, 2, 29), (2012, 11, 30), (0, 0, 0),
    ]  # fmt: skip


def test_who_is_in_an_index_and_asked_for_has_each_key_once() -> None:
    rows = [{"rid": rid, "given": "Ana", "family": "Cruz", "birth_date": date(2012, 5, 17)} for rid in (1, 2)]
    index = keys(normalised(pl.DataFrame(rows, PERSON)))

    assert candidates(index.filter(pl.col("rid") == 1), index).rows() == [(1, 2)]


def test_a_name_with_accents_is_no_placeholder() -> None:
    assert [folded(name) for name in ("Noné", "None", "\u201cnone\u201d", "\uff2e\uff0f\uff21", "Ñá")] == [
        "none", None, None, None, "na",
    ]  # fmt: skip


@given(st.lists(st.integers(0, 2**64 - 1) | st.integers(0, 3)))
def test_once_is_each_value_in_order(numbers: list[int]) -> None:
    assert once(np.array(numbers, np.uint64)).tolist() == sorted(set(numbers))
