"""Expressions: what they compute, what they refuse with its place, and that nothing else can be said in them."""

from __future__ import annotations

import polars as pl
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from transforms.shaping.expression import Columns, parse
from transforms.shaping.tokens import ExpressionError
from transforms.shaping.values import MOST_EXTRA, MOST_GROWTH, SIGNS, Type

KNOWN = frozenset({"grades", "role", "email", "sourcedId", "metadata."})
ROW = {"grades": "K", "role": "Student", "email": None, "sourcedId": "007", "metadata.house": "Red"}


def cell(sql: str, **changes: str | None) -> str | None:
    row = ROW | changes
    frame = pl.DataFrame({name: [value] for name, value in row.items()}, schema=dict.fromkeys(row, pl.String))
    value: str | None = frame.select(parse(sql, Columns(KNOWN)).text).item()
    return value


@pytest.mark.parametrize(
    ("sql", "expected"),
    [
        ("CASE WHEN grades = 'K' THEN 'KG' ELSE grades END", "KG"),
        ("case grades when 'K' then 'KG' end", "KG"),
        ("CASE WHEN email IS NULL THEN 'none' END", "none"),
        ("CASE WHEN email = 'x' THEN 'a' ELSE 'b' END", "b"),
        ("UPPER(role) || '-' || sourcedId", "STUDENT-007"),
        ("role || email", None),
        ("CONCAT(role, email)", "Student"),
        ("CONCAT_WS('/', role, email, sourcedId)", "Student/007"),
        ("COALESCE(email, sourcedId)", "007"),
        ("NULLIF(role, 'Student')", None),
        ("NULLIF(role, 'x')", "Student"),
        ("metadata.house", "Red"),
        ('"role"', "Student"),
        ("SUBSTR(role, 2, 3)", "tud"),
        ("LEFT(role, 2) || RIGHT(role, 2)", "Stnt"),
        ("LPAD(LTRIM(grades), 3, '0')", "00K"),
        ("REPLACE(role, 'ent', 'io')", "Studio"),
        ("SPLIT_PART('a,b,c', ',', 2)", "b"),
        ("SPLIT_PART('a', ',', 2)", None),
        ("REGEXP_REPLACE(role, '[a-z]+', 's')", "Ss"),
        ("REGEXP_EXTRACT(role, '(t)(u)', 2)", "u"),
        ("REGEXP_LIKE(role, '^S') AND NOT role IN ('a', 'b')", "true"),
        ("role LIKE 'st%'", "false"),
        ("role LIKE 'S_ud%'", "true"),
        ("role NOT LIKE '%.%'", "true"),
        ("email IN ('a')", None),
        ("TRY_CAST(sourcedId AS INTEGER) + 3", "10"),
        ("TRY_CAST(role AS INTEGER)", None),
        ("TRY_CAST(sourcedId AS INT) BETWEEN 5 AND 2 * 4", "true"),
        ("CASE WHEN LENGTH(role) > -1 THEN 'it''s' END", "it's"),
        ("''", None),
        ("NULL", None),
        ("(email IS NOT NULL OR role = 'Student') AND TRUE", "true"),
        ("STARTS_WITH(role, 'Stu') AND ENDS_WITH(role, 'ent') AND CONTAINS(role, 'ud')", "true"),
    ],
)
def test_what_an_expression_gives(sql: str, expected: str | None) -> None:
    assert cell(sql) == expected


#: Parts that give one value for all rows: constants, and what Polars makes one of while it computes.
ONE_FOR_ALL = [
    "COALESCE('K')", "CONCAT('a')", "CONCAT_WS('-', 'a', 'b')", "NULLIF('a', 'b')", "UPPER('a') || LOWER('B')",
    "LPAD('1', 3, '0')", "REGEXP_REPLACE('a', 'a', 'b')", "TRY_CAST(1 + 2 AS TEXT)", "UPPER(NULLIF(role, role))",
    "CASE WHEN 'K' <> COALESCE('K') THEN 'a' ELSE 'b' END", "UPPER(CASE WHEN role = 'K' THEN 'a' ELSE 'b' END)",
    "NULLIF('K', UPPER(NULLIF(role, role)))",
]  # fmt: skip


@pytest.mark.parametrize("sql", ONE_FOR_ALL)
def test_what_is_one_value_is_one_for_each_row(sql: str) -> None:
    value = cell(sql)
    conditions = [
        *(f"{left} {sign} {right}" for sign in SIGNS for left, right in ((sql, "'K'"), ("'K'", sql), (sql, sql))),
        f"'K' BETWEEN {sql} AND {sql}", f"{sql} BETWEEN 'A' AND UPPER('z')", f"{sql} IN ('K', 'a')",
        f"CASE 'K' WHEN {sql} THEN 'a' END IS NULL", f"NULLIF('K', {sql}) IS NULL", f"STARTS_WITH('K', {sql})",
    ]  # fmt: skip
    for height in (0, 1, 3):
        frame = pl.DataFrame({"role": ["Student"] * height}, schema={"role": pl.String})
        asked = {"": sql} | {f"({c})": c for c in conditions} | {c: f"CASE WHEN {c} THEN 'K' END" for c in conditions}
        made = frame.with_columns(parse(one, Columns(KNOWN)).text.alias(name) for name, one in asked.items())
        assert made[""].to_list() == [value] * height
        for condition in conditions:
            held = cell(condition)
            assert made[f"({condition})"].to_list() == [held] * height, condition
            assert made[condition].to_list() == ["K" if held == "true" else None] * height, condition
            stays = frame.filter(parse(condition, Columns(KNOWN)).expr.fill_null(value=False))
            assert stays.height == (height if held == "true" else 0), condition


@pytest.mark.parametrize(
    ("sql", "line", "column", "word"),
    [
        ("", 1, 1, "empty"),
        ("grades = 'K", 1, 10, "no end"),
        ("grade", 1, 1, "Is it grades?"),
        ("CASE WHEN\n  grades = 'K' THAN 'KG' END", 2, 16, "THEN is missing"),
        ("UPER(role)", 1, 1, "UPPER"),
        ("LENGTH(role) > '5'", 1, 14, "compared"),
        ("role + 1", 1, 6, "needs numbers"),
        ("email = NULL", 1, 7, "IS NULL"),
        ("role AND TRUE", 1, 6, "joins conditions"),
        ("NOT role", 1, 1, "condition"),
        ("CAST(role AS INTEGER)", 1, 1, "TRY_CAST"),
        ("CASE WHEN TRUE THEN 'a' ELSE 1 END", 1, 30, "one type"),
        ("SELECT role FROM users", 1, 1, "SELECT"),
        ("role FROM users", 1, 6, "end here"),
        ("role; DROP TABLE users", 1, 5, "semicolon"),
        ("read_csv('/etc/passwd')", 1, 1, "no function"),
        ("ROW_NUMBER() OVER (ORDER BY role)", 1, 1, "no function"),
        ("MAX(role)", 1, 1, "no function"),
        ("role -- hidden", 1, 6, "comments"),
        ('"*"', 1, 1, "no column"),
        ('"^.*$"', 1, 1, "no column"),
        ("line", 1, 1, "no column"),
        ("password", 1, 1, "no column"),
        ("REGEXP_LIKE(role, '(')", 1, 19, "regular expression"),
        ("REGEXP_LIKE(role, '(a{100}){100}')", 1, 19, "repeats"),
        ("REGEXP_LIKE(role, role)", 1, 19, "written out"),
        ("REPLACE(role, '', 'x')", 1, 15, "nothing to look for"),
        ("LPAD(role, 100000)", 1, 12, "whole number"),
        ("SUBSTR(role, 0)", 1, 14, "number 1"),
        ("UPPER(role, role)", 1, 1, "1 argument"),
        ("CONCAT()", 1, 1, "at least"),
        ("1" * 20, 1, 1, "digits"),
        ("(" * 50 + "role" + ")" * 50, 1, 41, "deep"),
        ("role = 'a' = TRUE = ", 1, 21, "missing"),
        ("CONCAT(" + ", ".join(["role"] * 20) + ")", 1, 1, "too long"),
        ("REPLACE(REPLACE(role, 'a', 'aaaaaaaaaa'), 'a', 'aaaaaaaaaa')", 1, 1, "too long"),
    ],
)
def test_a_broken_expression_says_where_and_how_to_mend_it(sql: str, line: int, column: int, word: str) -> None:
    with pytest.raises(ExpressionError) as refused:
        parse(sql, Columns(KNOWN))
    assert (refused.value.line, refused.value.column) == (line, column), str(refused.value)
    assert word in refused.value.message


def test_a_condition_is_asked_for_where_rows_are_chosen() -> None:
    with pytest.raises(ExpressionError, match="condition is expected"):
        parse("role", Columns(KNOWN), wanted=Type.BOOLEAN)


def test_an_expression_says_which_columns_it_looks_at() -> None:
    assert parse("CONCAT(role, metadata.house, 'email')", Columns(KNOWN)).columns == {"role", "metadata.house"}


def refusal(sql: str) -> ExpressionError | None:
    try:
        parse(sql, Columns(KNOWN))
    except ExpressionError as error:
        return error
    return None


PIECES = st.sampled_from(
    ["role", "grades", "email", '"role"', "'K'", "''", "'%'", "'('", "'a|b'", "1", "2", "-", "+", "*", "||", "=", "<>",
     "<", "(", ")", ",", "AND", "OR", "NOT", "IN", "LIKE", "BETWEEN", "IS", "NULL", "CASE", "WHEN", "THEN", "ELSE",
     "END", "TRUE", "UPPER(", "REPLACE(", "LPAD(", "SUBSTR(",
                                   "REGEXP_REPLACE(", "REGEXP_EXTRACT(", "CONCAT(", "CONCAT_WS(",
     "SPLIT_PART(", "COALESCE(", "NULLIF(", "LEFT(", "LENGTH(", "TRY_CAST(", "AS", "INTEGER", "TEXT", "STARTS_WITH("]
)  # fmt: skip
LEAF = st.sampled_from(["role", "grades", "email", "'K'", "''", "'ß'", "sourcedId"])
TEXTS = st.recursive(
    LEAF,
    lambda inner: st.one_of(
        st.tuples(st.sampled_from(["UPPER({})", "TRIM({})", "LEFT({}, 2)", "SUBSTR({}, 2)", "LPAD({}, 5, '0')",
                                   "REPLACE({}, 'a', 'bc')", "SPLIT_PART({}, ',', 1)",
                                   "REGEXP_REPLACE({}, '[a-z]*', '$0')",
                                   "TRY_CAST(TRY_CAST({} AS INTEGER) * 3 AS TEXT)"]), inner)
        .map(lambda p: p[0].format(p[1])),
        st.tuples(st.sampled_from(["{} || {}", "COALESCE({}, {})", "CONCAT({}, {})", "NULLIF({}, {})",
                                   "CASE WHEN {} = 'K' THEN {} END", "CASE {} WHEN 'a' THEN 'b' ELSE {} END",
                                   "CASE WHEN CONTAINS({}, 'x') OR {} IS NULL THEN 'z' END"]), inner, inner)
        .map(lambda p: p[0].format(p[1], p[2])),
    ),
    max_leaves=12,
)  # fmt: skip
CELLS = st.one_of(st.none(), st.text(max_size=12), st.sampled_from(["K", "a,b", "12", "aaa", "\0", "ﬃ"]))


@settings(max_examples=300, deadline=None)
@given(st.lists(PIECES, min_size=1, max_size=14).map(" ".join))
@example("CASE " * 60)
@example("NOT " * 500 + "TRUE")
@example("role " + "|| role " * 290)
def test_no_words_do_anything_but_give_a_cell_or_be_refused(sql: str) -> None:
    if refusal(sql) is not None:
        return
    made = parse(sql, Columns(KNOWN))
    frame = pl.DataFrame({n: ["K", None, "a,b"] for n in ("role", "grades", "email")})
    assert frame.with_columns(made.text.alias("x"))["x"].dtype == pl.String


@settings(max_examples=200, deadline=None)
@given(st.text(max_size=200))
def test_any_text_is_an_expression_or_refused(sql: str) -> None:
    found = refusal(sql)
    lines = sql.split("\n")
    assert found is None or (found.line <= len(lines) and 1 <= found.column <= len(lines[found.line - 1]) + 1)


TWO_ROWS: list[tuple[str | None, ...]] = [("K", None, "a,b", "12"), (None, "K", "", "aaa")]


@settings(max_examples=200, deadline=None)
@given(TEXTS, st.lists(st.tuples(CELLS, CELLS, CELLS, CELLS), min_size=1, max_size=5))
@example("CASE WHEN 'K' <> COALESCE('K') THEN 'a' END", TWO_ROWS)
@example("NULLIF('K', UPPER(NULLIF(role, role)))", TWO_ROWS)
def test_a_row_is_computed_alone_and_stays_short(sql: str, rows: list[tuple[str | None, ...]]) -> None:
    refused = refusal(sql)
    if refused is not None:
        assert "too long" in refused.message
        return
    made = parse(sql, Columns(KNOWN)).text
    names = ["role", "grades", "email", "sourcedId"]
    frame = pl.DataFrame(rows, schema=dict.fromkeys(names, pl.String), orient="row")
    together = frame.with_columns(made.alias("x"))["x"].to_list()
    alone = [part.with_columns(made.alias("x"))["x"].item() for part in frame.iter_slices(1)]
    assert together == alone
    for row, value in zip(rows, together, strict=True):
        longest = max((len(c) for c in row if c), default=0)
        # Upper case makes three letters of one at most.
        assert value is None or len(value) <= 3 * MOST_GROWTH * longest + MOST_EXTRA
