"""What is compared of a person is the same whether one is looked at or a whole district."""

from __future__ import annotations

from datetime import date
from itertools import combinations
from typing import Any

import numpy as np
import polars as pl
from hypothesis import given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from transforms.matching.columns import Columns
from transforms.matching.few import Few
from transforms.matching.frequencies import COUNTS, Frequencies, Of, frequencies
from transforms.matching.hashes import MANY, once
from transforms.matching.names import folded, middle
from transforms.matching.people import PERSON, candidates, decide, keys, normalised

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
    assert_frame_equal(keys(normalised(Few.of(few))).sort("kind", "rid", "hash"), keys(one).sort("kind", "rid", "hash"))
    little, much = Columns(one), Columns(many)
    for name in ("sex", "kind", "active", "birth", "born", "grade", "begin", "end", "is_initial", "house"):
        assert getattr(little, name).tolist() == getattr(much, name)[: len(rows)].tolist(), name
    for name in ("ids", "id_types", "guardians", "schools", "nicknames", "family_tokens"):
        assert _rows(getattr(little, name), len(rows)) == _rows(getattr(much, name), len(rows)), name


@settings(max_examples=60, deadline=None)
@given(_PEOPLE)
def test_few_are_decided_on_as_a_frame_of_them_is(rows: list[dict[str, Any]]) -> None:
    """Lists from the beginning, arrays that were there for the index already, and a frame."""
    people = pl.DataFrame([row | {"rid": rid} for rid, row in enumerate(rows)], PERSON)
    pairs = pl.DataFrame(list(combinations(range(len(rows)), 2)), ["left", "right"], orient="row").cast(pl.UInt32)
    counts = Frequencies(1000, frequencies(normalised(people)).counts)

    by_frame = decide(people, pairs, population=1000, frequencies=counts)
    by_lists = decide(Columns(normalised(Few.of(people))), pairs, population=1000, frequencies=counts)

    assert_frame_equal(by_lists.frame, by_frame.frame)


def test_a_few_values_are_looked_up_as_many_are() -> None:
    hashes = np.arange(0, 2**64 - 1, 2**52, dtype=np.uint64)
    rows = {"kind": hashes % 5, "hash": hashes.view(np.int64), "count": hashes % 97 + 1}
    known = Frequencies(9, pl.DataFrame(rows, COUNTS).filter(pl.col("hash") % 3 == 0))
    many = np.concatenate([hashes, np.zeros(MANY, np.uint64)])

    for of in Of:
        assert known.count(of, hashes[:100]).tolist() == known.count(of, many)[:100].tolist()
    assert known.count(Of.GIVEN, hashes[:100]).any()


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


def test_an_initial_is_one_letter_whatever_its_name_is_written_with() -> None:
    """Þ and Æ are two letters where a name is compared, and one where they stand for it."""
    assert (middle("Þórdís"), middle("Ægir")) == (("thordis",), ("aegir",))
    assert (middle("Þ."), middle("æ"), middle("Œ")) == (("t",), ("a",), ("o",))
    assert folded("Anna Þ. Straße") == "anna t strasse"
