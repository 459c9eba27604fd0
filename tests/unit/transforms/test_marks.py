"""Marks answer as the expressions do that they stand for, whatever is null."""

from __future__ import annotations

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from transforms import marks
from transforms.json_text import joined_strings

TEXTS = st.lists(st.none() | st.sampled_from(["a", "b", "c"]), max_size=6)
ROWS = st.lists(st.tuples(st.none() | st.booleans(), st.none() | st.sampled_from("ab")), max_size=6)


@given(rows=ROWS)
def test_marks_are_what_the_expressions_say(rows: list[tuple[bool | None, str | None]]) -> None:
    frame = pl.DataFrame(rows, schema={"mark": pl.Boolean, "text": pl.String}, orient="row")
    mark, text = frame["mark"], frame["text"]
    assert marks.certain(mark).to_list() == mark.fill_null(value=False).to_list()
    assert marks.absent(text).to_list() == text.is_null().to_list()
    assert marks.empty(text) == text.is_null().all()
    assert marks.without(text, mark).to_list() == frame.select(pl.when(~mark).then(text)).to_series().to_list()
    assert marks.rows_of(frame, mark).equals(frame.filter(mark))
    assert marks.possible(mark).to_list() == mark.fill_null(value=True).to_list()
    assert marks.present(text).to_list() == text.is_not_null().to_list()
    assert marks.filled(text).to_list() == text.drop_nulls().to_list()
    assert sorted(marks.words(text)) == sorted(text.drop_nulls().unique().to_list())
    assert marks.distinct(text).sort().to_list() == text.unique().sort().to_list()
    others = pl.Series([f"{n}" for n in range(frame.height)], dtype=pl.String)
    chosen = frame.select(pl.when("mark").then("text").otherwise(others)).to_series()
    assert marks.either(mark, text, others).to_list() == chosen.to_list()
    table = {word: None if word == "a" else word * 2 for word in marks.words(text)}
    assert marks.renamed(text, table).to_list() == [table.get(word or "") for word in text]


@pytest.mark.parametrize("words", [[], ["a"], ["a", "b"], [*"abcdefgh"]])
def test_words_compared_one_by_one_are_those_of_a_list(words: list[str]) -> None:
    texts = pl.Series([None, "a", "b", "z", None], dtype=pl.String)
    assert marks.one_of(texts, words).to_list() == texts.is_in(words).to_list()


@pytest.mark.parametrize(
    "dtype", [pl.String, pl.Float64, pl.Date, pl.Boolean, pl.List(pl.String), pl.Struct({"a": pl.String})]
)
def test_what_is_there_and_what_is_not_is_known_of_every_type(dtype: pl.DataType) -> None:
    some = {"a": "x"} if isinstance(dtype, pl.Struct) else ["x"] if isinstance(dtype, pl.List) else 0
    one = pl.Series(["x"] if dtype == pl.String else [some], strict=False).cast(dtype)
    values = pl.concat([one, marks.blank(1, dtype), one])
    assert marks.present(values).to_list() == [True, False, True]
    assert marks.absent(values).to_list() == [False, True, False]
    assert marks.without(values, pl.Series([True, False, False])).null_count() == 2


@given(values=TEXTS, known=TEXTS)
def test_a_missing_value_is_among_all_and_all_others_are_looked_for(
    values: list[str | None], known: list[str | None]
) -> None:
    found = marks.among(pl.Series("values", values, pl.String), pl.Series("known", known, pl.String))
    assert found.to_list() == [value is None or value in known for value in values]


@pytest.mark.parametrize("height", [0, 3])
def test_blank_columns_have_their_type_and_height(height: int) -> None:
    blank = marks.blank(height, pl.List(pl.String))
    assert (blank.dtype, blank.to_list()) == (pl.List(pl.String), [None] * height)
    assert marks.nowhere(height).to_list() == [False] * height
    assert marks.numbers(height).to_list() == list(range(height))


@pytest.mark.parametrize("height", [3, marks.FEW + 3])
def test_rows_and_lists_are_the_engines_own(height: int) -> None:
    values = [None if n % 5 == 0 else str(n) for n in range(height)]
    frame = pl.DataFrame({"key": values, "items": [[v] if v else [] for v in values]})
    mark = pl.Series([None if n == 1 else n % 2 == 0 for n in range(height)])
    assert marks.rows_of(frame, mark).equals(frame.filter(mark))
    assert marks.rows_of(frame, marks.nowhere(height)).equals(frame.clear())
    wanted = frame["key"].head(2)
    assert marks.as_list(frame["key"]).equals(frame["key"].implode())
    assert marks.present(frame["key"]).equals(frame["key"].is_not_null())
    assert sorted(marks.words(frame["key"])) == sorted(frame["key"].drop_nulls().to_list())
    table = {value: value[:1] for value in values if value}
    assert marks.renamed(frame["key"], table).to_list() == [value and value[:1] for value in values]
    assert frame["key"].is_in(marks.as_list(wanted)).equals(frame["key"].is_in(wanted.implode()))


def test_nothing_is_among_no_values() -> None:
    assert not pl.Series(["a"]).is_in(marks.as_list(pl.Series([], dtype=pl.String))).any()


def test_empty_lists_are_no_text() -> None:
    lists = pl.Series([["a", 'b"'], [], None, [""], ["c"]], dtype=pl.List(pl.String))
    assert joined_strings(lists).to_list() == ['"a","b\\""', None, None, '""', '"c"']
    assert joined_strings(lists.tail(1)).to_list() == ['"c"']


def test_parts_are_stacked_as_the_engine_concatenates_them() -> None:
    named = [pl.Series("a", [], dtype=pl.String), pl.Series("b", ["x"]), pl.Series("c", [None, "y"])]
    for parts in (named, named[:2], named[:1], named[1:]):
        assert marks.stacked(parts).equals(pl.concat(parts), check_names=True, null_equal=True)
    frames = [pl.DataFrame({"a": few}, schema={"a": pl.UInt32}) for few in ([], [1], [2, None])]
    for rows in (frames, frames[:2], frames[:1], frames[1:]):
        assert marks.stacked(rows).equals(pl.concat(rows))
