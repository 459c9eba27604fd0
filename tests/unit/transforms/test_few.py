"""What Python does with a few values is what the column engine does with many."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial

import polars as pl
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from transforms import marks, storable
from transforms.catalogue import CATALOGUE
from transforms.json_text import escaped, joined_strings, may_need_escaping
from transforms.normalise import lists, look, sensitive, text
from transforms.sheet import Sheet, spread
from transforms.validate import identifiers, near_keys, required

CELLS = st.lists(
    st.none() | st.text(st.sampled_from("ab0Aß ,;|\t\u00a0\u200b\ufeff\x1fé\U0001f389"), max_size=6), max_size=9
)
Made = Callable[[], pl.DataFrame | pl.Series | tuple[pl.DataFrame | pl.Series, ...]]


def both_ways(monkeypatch: pytest.MonkeyPatch, made: Made) -> None:
    """The same, whether Python or the engine makes it."""
    few = made()
    with monkeypatch.context() as patch:
        patch.setattr(marks, "_FEW_VALUES", -1)
        patch.setattr(lists, "_FEW", -1)
        patch.setattr(identifiers, "_FEW", -1)
        many = made()
    for one, other in zip(*(found if isinstance(found, tuple) else (found,) for found in (few, many)), strict=True):
        assert one.equals(other, null_equal=True)
        assert type(one) is type(other)


@given(CELLS, st.booleans(), st.booleans())
def test_lists(cells: list[str | None], identifiers: bool, ordered: bool) -> None:
    column = pl.Series("c", cells, dtype=pl.String)

    def made() -> tuple[pl.DataFrame | pl.Series, ...]:
        table = lists.items(column, identifiers=identifiers, ordered=ordered)
        return table, lists.untidy(column, table), lists.listed(column, table, ordered=ordered)

    with pytest.MonkeyPatch.context() as patch:
        both_ways(patch, made)


def _looked_at(column: pl.Series) -> tuple[pl.Series, ...]:
    return identifiers.trimmed(column), identifiers.unstorable(column)


@given(CELLS)
def test_identifiers(cells: list[str | None]) -> None:
    column = pl.Series("c", cells, dtype=pl.String)
    with pytest.MonkeyPatch.context() as patch:
        both_ways(patch, partial(_looked_at, column))


def test_identifiers_of_every_character(monkeypatch: pytest.MonkeyPatch) -> None:
    every = [chr(code) for code in range(0x11000) if not 0xD800 <= code < 0xE000]
    for start in range(0, len(every), 60):
        part = every[start : start + 60]
        column = pl.Series("c", [*part, *(f"a{c}b{c}" for c in part), *(f"{c}a" for c in part)])
        both_ways(monkeypatch, partial(_looked_at, column))
    long = pl.Series("c", ["é" * 255, "é" * 256, "a" * 255, "a" * 256])
    both_ways(monkeypatch, lambda: identifiers.unstorable(long))


@given(CELLS, CELLS)
def test_what_is_among_others(values: list[str | None], known: list[str | None]) -> None:
    one, other = pl.Series("v", values, dtype=pl.String), pl.Series("k", known, dtype=pl.String)
    with pytest.MonkeyPatch.context() as patch:
        both_ways(patch, lambda: marks.among(one, other))


@given(st.lists(st.text(st.sampled_from("0 aAé"), max_size=3), unique=True, max_size=6), st.data())
def test_keys_that_are_nearly_equal(keys: list[str], data: st.DataObject) -> None:
    held = data.draw(st.lists(st.sampled_from(keys), unique=True) if keys else st.just([]))
    rows = pl.DataFrame({"key": keys, "line": range(len(keys))}, schema={"key": pl.String, "line": pl.UInt32})
    with pytest.MonkeyPatch.context() as patch:
        both_ways(patch, lambda: near_keys.nearly_equal(rows, pl.Series("key", held, dtype=pl.String), "orgs"))


@given(st.lists(CELLS.filter(len), min_size=2, max_size=4), st.integers(1, 9))
def test_columns_that_are_mended_together(columns: list[list[str | None]], height: int) -> None:
    given = [pl.Series(f"c{n}", (cells * height)[:height], dtype=pl.String) for n, cells in enumerate(columns)]
    for found, alone in zip(text._tidy_together(given), map(text.tidy, given), strict=True):
        assert all(one.equals(other, null_equal=True) for one, other in zip(found, alone, strict=True))


@given(st.lists(st.tuples(st.booleans(), st.booleans(), st.booleans()), min_size=1))
def test_marks_that_are_spread(rows: list[tuple[bool, bool, bool]]) -> None:
    column, where, all_ = (pl.Series(name, part) for name, part in zip("cwv", zip(*rows, strict=True), strict=True))
    words = spread(column.cast(pl.String), where, all_.filter(where).cast(pl.String))

    assert spread(column, where, all_.filter(where)).cast(pl.String).equals(words)


ASKED: dict[str, pl.Expr] = {
    "odd": pl.col("c").str.contains(r"^ | $|  |[^ -~]|^$") | (pl.col("c").str.len_bytes() > text.LONGEST),
    "long": pl.col("c").str.len_bytes() > text.LONGEST,
    "part": pl.col("c").str.contains(sensitive.PART),
    "whole": pl.col("c").str.contains(sensitive.WHOLE),
    "unusual": ~pl.col("c").str.contains(identifiers.ALLOWED) | (pl.col("c").str.len_bytes() > storable.LONGEST),
    "nobody": ~pl.col("c").str.contains(identifiers.SOMETHING),
    "blank": ~pl.col("c").str.contains(required.VALUE),
}
LOOKED_AT = st.lists(
    st.none()
    | st.text(st.sampled_from("ab0 ,`|\t\u00a0\u200b\x1fé\U0001f389"), max_size=4)
    | st.sampled_from(["123-45-6789", " 123-45-6789 ", "x 123-45-6789", "2026-08-25", "A" * 255, "A" * 256, "é" * 128])
    | st.sampled_from(["long " * 800, "long " * 801, "é" * 2_001, "`" * 4_001]),
    max_size=7,
)


@given(LOOKED_AT, st.integers(1, 4))
def test_a_look_passes_nothing_by(cells: list[str | None], rows_at_a_time: int) -> None:
    sheet = _sheet_of(cells)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(look, "FEW", rows_at_a_time)
        seen = look.look(sheet, [(question, "c") for question in ASKED])
    for question, asked in ASKED.items():
        assert seen.may(question, "c") or not sheet.frame.select(asked.any()).item()


@pytest.mark.parametrize("question", ASKED)
def test_a_look_sees_that_there_is_nothing(question: str) -> None:
    seen = look.look(
        _sheet_of(["abc-1", None, "2026-08-25", "01a21f30-0981-7000-b7d8-5df7bc1e3ee0"]), [(question, "c")]
    )
    assert not seen.may(question, "c")


def _sheet_of(cells: list[str | None]) -> Sheet:
    frame = pl.DataFrame({"c": pl.Series(cells, dtype=pl.String)})
    return Sheet(CATALOGUE["orgs"], "1.2", frame, marks.nowhere(frame.height))


@given(st.lists(st.none() | st.lists(st.none() | st.text(st.sampled_from('a"\\\x01\x1f\n,é'), max_size=3), max_size=3)))
@example([[None, None, "\x1f\x1f"]])
def test_joined_strings(values: list[list[str | None] | None]) -> None:
    column = pl.Series("c", values, dtype=pl.List(pl.String))
    with pytest.MonkeyPatch.context() as patch:
        both_ways(patch, partial(joined_strings, column))


@given(st.lists(st.none() | st.text(max_size=3)))
def test_what_has_to_be_escaped_is_never_passed_by(values: list[str | None]) -> None:
    column = pl.Series("c", values, dtype=pl.String)
    text_ = marks.run_together(column.to_frame(), ("c",))[0]
    if not marks.empty(column) and not may_need_escaping(text_):
        assert escaped(column).equals(column, null_equal=True)
        assert column.drop_nulls().to_list() == [json.loads(f'"{value}"') for value in column.drop_nulls()]
