"""Any bytes: the reader never raises, and every line is either delivered exactly or reported."""

from __future__ import annotations

import csv
import io
import tempfile
from pathlib import Path

import polars as pl
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from connectors.limits import Limits
from tests.unit.connectors.packages import USER_HEADER, USERS, files, loose, opened, text, user

HEADER = "sourcedId,name,type"
WIDTH = 3
ALL_BAD = Limits(bad_rows=1000)
PIECES = [b'"', b",", b"\n", b"\r", b"\0", b"a", b"\xe9", b"\xff\xfe", b";"]
TEXT = st.text(st.sampled_from('ab ,"éЖ\u2028='), max_size=6)


def line(cells: list[str]) -> str:
    out = io.StringIO()
    csv.writer(out, lineterminator="").writerow(cells)
    return out.getvalue()


good = st.lists(TEXT, min_size=2, max_size=2)
wrong_width = st.lists(TEXT, min_size=1, max_size=6).filter(lambda cells: len(cells) != WIDTH).map(line)
stray_quote = st.sampled_from(['x,"open,y', 'x,a"b,y', 'x,"a"b,y', 'x,a"b",y', '"x', 'x,y,"', 'x,,"z'])
unreadable = st.sampled_from(["x,a\0b,y", "\0", "x,a\rb,y"])
with_line_break = st.sampled_from(['x,"a\nb",y', 'x,"a\nb,c\n""d""",y', 'x,"\n\n",y'])


def delivered(place: Path) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Rows and findings about rows of orgs.csv in the folder ``place``."""
    with opened(place, ALL_BAD) as package:
        batches = list(package.batches("orgs", 5)) if "orgs" in package.mode else []
        empty = pl.DataFrame(schema={"sourcedId": pl.String, "name": pl.String, "type": pl.String, "line": pl.UInt32})
        rows = pl.concat([empty, *(b.frame for b in batches)])
        found = pl.concat([package.issues, *(b.issues for b in batches)])
        return rows, found.filter(pl.col("code").is_in(["FILE-004", "FILE-007"]))


def read_lines(lines: list[str], end: str) -> tuple[pl.DataFrame, pl.DataFrame]:
    with tempfile.TemporaryDirectory() as folder:
        data = "".join(one + end for one in (HEADER, *lines))
        place = loose(Path(folder) / "drop", {"orgs.csv": data})
        return delivered(place)


@pytest.mark.threat("T40", "F25")
@settings(max_examples=100, deadline=None)
@given(
    st.lists(st.one_of(good, good, good, wrong_width, unreadable, st.just("")), max_size=25),
    st.sampled_from(["\n", "\r\n"]),
)
def test_good_rows_come_exactly_and_bad_ones_are_reported_by_line(rows: list[list[str] | str], end: str) -> None:
    expected, bad, lines = [], [], []
    for number, row in enumerate(rows, start=2):
        if isinstance(row, list):
            expected.append((f"k{number}", row[0] or None, row[1] or None, number))
            lines.append(line([f"k{number}", *row]))
        else:
            lines.append(row)
            bad += [number] if row else []
    found_rows, found = read_lines(lines, end)
    assert found_rows.rows() == expected
    assert found["line"].to_list() == bad


@pytest.mark.threat("T40", "T35")
@settings(max_examples=100, deadline=None)
@given(st.lists(st.one_of(good, good, stray_quote, with_line_break), max_size=20))
@example([["a", "b"], 'x,"open,y', ["c", "d"], 'x,y,"', ["e", ""], 'x,"a\nb",y', ["f", "g"]])
def test_with_stray_quotes_every_good_row_is_delivered_or_reported(rows: list[list[str] | str]) -> None:
    lines: list[str] = []
    mine: dict[int, tuple[str, str | None, str | None, int]] = {}
    for row in rows:
        number = len("\n".join([HEADER, *lines]).split("\n")) + 1
        if isinstance(row, list):
            mine[number] = (f"k{number}", row[0] or None, row[1] or None, number)
        lines.append(line([f"k{number}", *row]) if isinstance(row, list) else row)
    found_rows, found = read_lines(lines, "\n")
    by_line = {row[3]: row for row in found_rows.rows()}
    reported = dict(found.select("line", "key").rows())
    for number, row in mine.items():
        assert by_line.get(number) == row or reported.get(number) == row[0]
    assert all(number in mine or by_line[number][0] != "x" for number in by_line)
    assert found_rows["line"].is_sorted()
    assert not set(by_line) & set(reported)


@pytest.mark.threat("T40", "T35")
@settings(max_examples=50, deadline=None)
@given(
    st.binary(max_size=400)
    | st.lists(st.sampled_from([b'"', b",", b"\n", b"\r", b"\0", b"a", b"\xe9", b"\xff\xfe", b";"]), max_size=80).map(
        b"".join
    )
)
def test_any_bytes_never_raise(data: bytes) -> None:
    for content in (data, text(USER_HEADER, user("u1")).encode() + data, data + USERS.encode()):
        with tempfile.TemporaryDirectory() as folder:
            place = loose(Path(folder) / "drop", files(content))
            with opened(place, ALL_BAD) as package:
                for file in package.mode:
                    keys = [key for b in package.batches(file, 3) for key in b.frame["sourcedId"].to_list()]
                    assert package.keys(file).to_list() == keys


@pytest.mark.threat("T40")
@settings(max_examples=60, deadline=None)
@given(st.data())
def test_one_spoilt_byte_costs_at_most_its_rows(data: st.DataObject) -> None:
    rows = [user(f"u{n}", '"Ana, ""M"""' if n % 3 else "Zoë") for n in range(12)]
    whole = text(USER_HEADER, *rows).encode()
    place = data.draw(st.integers(len(USER_HEADER) + 2, len(whole) - 1))
    spoilt = (
        whole[:place]
        + data.draw(st.sampled_from([b'"', b",", b"\n", b"\r", b"\0", b"\xff", b"x", b""]))
        + whole[place + 1 :]
    )
    with tempfile.TemporaryDirectory() as folder, opened(loose(Path(folder) / "d", files(spoilt)), ALL_BAD) as package:
        batches = list(package.batches("users"))
        keys = {key for b in batches for key in b.frame["sourcedId"].to_list()}
        reported = {key for b in batches for key in b.issues["key"].to_list()}
        touched = whole[:place].count(b"\n") - 1
        others = {f"u{n}" for n in range(12) if n not in {touched, touched + 1}}
        assert others <= keys | reported
