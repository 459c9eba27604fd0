"""What waits in memory while rows go to disk, and which of rows with one sourcedId stays."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest

from connectors import spool
from connectors.spool import CHUNK_CELLS, LINE, Spool

WIDE = ("sourcedId", *(f"column{n}" for n in range(24)))


def filled(folder: Path, page: int, rows: int = 12_000) -> tuple[Spool, int]:
    """A file with so many rows, and the most of them that waited."""
    made, most = Spool(folder, f"by-{page}", WIDE), 0
    for start in range(0, rows, page):
        ids = pl.int_range(start, min(start + page, rows), eager=True).cast(pl.String)
        made.add(pl.DataFrame({"sourcedId": ids}).with_columns(pl.lit("x").alias(name) for name in WIDE[1:]))
        most = max(most, made.rows - sum(pl.read_ipc(chunk).height for chunk in made.chunks))
    made.finish()
    return made, most


def test_no_more_waits_in_memory_than_a_chunk_of_cells(tmp_path: Path) -> None:
    small, waited = filled(tmp_path, 700)
    large, _ = filled(tmp_path, 7_000)
    assert waited <= CHUNK_CELLS / len(WIDE)
    assert [frame.height for frame in small.frames()] == [5_000, 5_000, 2_000]
    assert pl.concat(small.frames())[LINE].to_list() == list(range(2, 12_002))
    assert small.digest == large.digest
    assert small.keep_last() == 0
    # Narrow rows are no reason for many files.
    assert Spool(tmp_path, "narrow", ("user", "agent")).chunk_rows == spool.CHUNK_ROWS


def test_of_rows_with_one_id_the_last_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spool, "CHUNK_ROWS", 3)
    ids = ["a", "b", "a", None, "c", "b", "d", None, "a", "e"]
    rows = pl.DataFrame({"sourcedId": ids, "n": [str(n) for n in range(10)]}, schema=["sourcedId", "n"])
    found = Spool(tmp_path, "some", ("sourcedId", "n"))
    found.add(rows[:4].with_columns(pl.lit("m").alias("metadata.m")))
    found.add(rows[4:])
    found.finish()
    assert found.keep_last() == 3
    assert found.keep_last() == 0
    table = pl.concat(found.frames())
    assert table["n"].to_list() == ["3", "4", "5", "6", "7", "8", "9"]
    assert table["metadata.m"].to_list() == ["m", *[None] * 6]
    assert table[LINE].to_list() == list(range(2, 9))
    assert (found.rows, len(found.chunks), sorted(tmp_path.iterdir())) == (7, 3, sorted(found.chunks))
