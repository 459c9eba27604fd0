"""Short files are read without the column engine: what comes out is what the engine gives."""

from __future__ import annotations

import csv
import io
import tempfile
from pathlib import Path

import polars as pl
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from connectors.oneroster_csv import short
from connectors.oneroster_csv.scan import scan
from connectors.oneroster_csv.table import Table
from transforms import issues
from transforms.catalogue import CATALOGUE

COLUMNS = ("sourcedId", None, "name", "type")
CELL = st.text(st.sampled_from('ab1é🎉 ,"\t\x0b\x1c\x85\u2028\ufeff'), max_size=5)
ROWS = st.lists(st.lists(CELL, min_size=4, max_size=4), min_size=1, max_size=8)


def table(path: Path, rows: list[list[str]], line_end: str, *, last: bool) -> Table:
    text = io.StringIO(newline="")
    csv.writer(text, lineterminator=line_end).writerows([["a", "b", "c", "d"], *rows])
    whole = text.getvalue()
    path.write_text(whole if last else whole.removesuffix(line_end), encoding="utf-8", newline="")
    seen = scan(path, path.read_bytes().index(b"\n") + 1, len(COLUMNS), 1 << 20)
    assert seen.well_formed
    return Table(CATALOGUE["orgs"], "1.2", path, COLUMNS, seen.rows, seen.quotes, None, issues.empty())


@example([["\ufeff\ufeffa", "", "", ""], ["\ufeff", "", "", ""]], "\n", True, ["sourcedId", "name", "type"])  # noqa: FBT003
@example([["\ufeff ,", "", "", ""]], "\n", False, ["sourcedId", "name", "type"])  # noqa: FBT003
@given(ROWS, st.sampled_from(["\n", "\r\n"]), st.booleans(), st.permutations(["sourcedId", "name", "type"]))
def test_a_short_file_is_what_the_engine_reads(
    rows: list[list[str]], line_end: str, last: bool, wanted: list[str]
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        given = table(Path(folder) / "t.csv", rows, line_end, last=last)
        engine = given._scan(wanted).collect(engine="in-memory")
        assert_frame_equal(short.read_short(given.path, given.columns, wanted), engine)
        assert engine.height == len(rows)
        assert_frame_equal(given._whole(wanted), engine)


@pytest.mark.parametrize("longest", [0, 1 << 20])
def test_how_long_a_file_is_does_not_show(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, longest: int) -> None:
    monkeypatch.setattr(short, "LONGEST", longest)
    given = table(tmp_path / "t.csv", [["1", "x", "", 'a "b"'], ["2", "", " ", ""]], "\r\n", last=True)

    found = [batch.frame for batch in given.batches(10)]

    assert pl.concat(found).rows() == [("1", None, 'a "b"', 2), ("2", " ", None, 3)]
