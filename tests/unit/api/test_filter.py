"""The filter parser: what it reads, what it refuses, and that no input costs more than a moment."""

from __future__ import annotations

import sys
from collections.abc import Callable
from contextlib import suppress
from types import FrameType
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hub.api.oneroster.filter import LONGEST, MOST_CLAUSES, Clause, Filter, FilterError, parse
from hub.store.conditions import Operator

TEXTS = st.text(st.sampled_from("abz.AND OR='\\!<>~,%\0\ud800é\u200b0- "), max_size=80) | st.text(max_size=200)


@pytest.mark.parametrize(
    ("text", "path", "operator", "value"),
    [
        ("familyName='jones'", ("familyName",), "=", "jones"),
        ("class.sourcedId!='x'", ("class", "sourcedId"), "!=", "x"),
        ("roles.org.sourcedId='x'", ("roles", "org", "sourcedId"), "=", "x"),
        ("dateLastModified>='2024-01-01'", ("dateLastModified",), ">=", "2024-01-01"),
        ("dateLastModified<='2024-01-01'", ("dateLastModified",), "<=", "2024-01-01"),
        ("a<'1'", ("a",), "<", "1"),
        ("a>'1'", ("a",), ">", "1"),
        ("familyName~'on'", ("familyName",), "~", "on"),
        (" familyName = 'jones' ", ("familyName",), "=", "jones"),
        ("familyName='O''Neil'", ("familyName",), "=", "O'Neil"),
        ("familyName='O\\'Neil'", ("familyName",), "=", "O'Neil"),
        ("familyName=''", ("familyName",), "=", ""),
        ("familyName=''''", ("familyName",), "=", "'"),
        ("familyName='a AND b'", ("familyName",), "=", "a AND b"),
        ("metadata.x-y_1='é 😀'", ("metadata", "x-y_1"), "=", "é 😀"),
        ("familyName='100% (a)*.[z]\\d'", ("familyName",), "=", "100% (a)*.[z]\\d"),
    ],
)
def test_one_clause(text: str, path: tuple[str, ...], operator: str, value: str) -> None:
    assert parse(text) == Filter((Clause(path, Operator(operator), value),))


def test_two_clauses() -> None:
    one, other = Clause(("a",), Operator.EQUAL, "1"), Clause(("b",), Operator.NOT_EQUAL, "2")

    assert parse("a='1' AND b!='2'") == Filter((one, other), (True,))
    assert parse("a='1'  OR  b!='2'") == Filter((one, other), (False,))


def test_more_clauses_than_the_standard_has_are_an_extension() -> None:
    text = "a='1' AND b='2' OR c='3' AND d='4'"

    with pytest.raises(FilterError, match="2 clauses at most"):
        parse(text)
    found = parse(text, most_clauses=MOST_CLAUSES)
    assert [clause.path[0] for clause in found.clauses] == ["a", "b", "c", "d"]
    assert found.joins == (True, False, True)
    with pytest.raises(FilterError, match="10 clauses at most"):
        parse(" OR ".join(["a='1'"] * 11), most_clauses=MOST_CLAUSES)


@pytest.mark.parametrize(
    "text",
    ["", " ", "a", "a=", "='x'", "a='x", "a=x", 'a="x"', "a='x'b='y'", "a='x' and b='y'", "a='x' AND", "a='x'AND b='y'",
     "a='x' ANDb='y'", "a='x' XOR b='y'", "(a='x')", "a='x' AND b='y' AND c='z'", "a='x' AND (b='y')", "a..b='x'",
     ".a='x'", "a.='x'", "a.b.c.d.e='x'", "a=='x'", "a=>'x'", "NOT a='x'", "a='x';", "a='x' --", "a='\0'", "a='\ud800'",
     "a='" + "x" * LONGEST + "'", "a='" + "x," * 20 + "'", "a b='x'", "a\t='x'", "é='x'"],
)  # fmt: skip
def test_what_is_no_filter_is_refused(text: str) -> None:
    with pytest.raises(FilterError) as refused:
        parse(text)
    assert "xx" not in str(refused.value)


@given(TEXTS)
def test_any_text_is_read_or_refused(text: str) -> None:
    try:
        found = parse(text)
    except FilterError:
        return
    assert 1 <= len(found.clauses) <= 2
    assert all(clause.path and all(clause.path) for clause in found.clauses)


@given(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0\\,"), max_size=300))
def test_every_value_survives_quoting(value: str) -> None:
    assert parse("a='" + value.replace("'", "''") + "'").clauses[0].value == value


@pytest.mark.threat("T43")
def test_the_worst_filters_cost_next_to_nothing() -> None:
    worst = ["a=" + "'" * n for n in (2046, 2045)] + [
        "a='" + "''" * 1020 + "'", "a='" + "\\'" * 1020, "." * 2048, "a." * 1024, " " * 2048, "a='" + "," * 2043 + "'",
        "a" * 2047 + "=", "a='x'" + " " * 2043, "a='x' " + "AND " * 510, "<>=!~" * 409, "a='" + "é" * 1020 + "'",
    ]  # fmt: skip
    for text in worst:
        assert lines_run(text) < 12 * len(text) + 200, text[:20]


def lines_run(text: str) -> int:
    """How many lines of Python the parser runs for a text: what a slow machine does not change."""
    count = 0

    def count_lines(_frame: FrameType, event: str, _argument: object) -> Callable[..., Any]:
        nonlocal count
        count += event == "line"
        return count_lines

    before = sys.gettrace()
    sys.settrace(count_lines)
    try:
        with suppress(FilterError):
            parse(text, most_clauses=MOST_CLAUSES)
    finally:
        sys.settrace(before)
    return count
