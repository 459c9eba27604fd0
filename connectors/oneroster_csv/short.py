"""Short files read without the column engine, which costs one to two milliseconds of processor time for any file."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path

import polars as pl

#: Bytes of a file up to which Python is faster; no cell is longer than what its csv module takes.
LONGEST = 24_000


def read_short(path: Path, columns: Sequence[str | None], wanted: Sequence[str]) -> pl.DataFrame:
    """The ``wanted`` ones of the ``columns`` of a well-formed file (``scan``) of several columns; blank is null."""
    lines = path.read_bytes().decode().split("\n")  # no other character ends a line
    first = lines[1].removeprefix("\ufeff")  # the engine takes it for a byte order mark there, too
    rows = csv.reader([first, *(lines[2:] if lines[-1] else lines[2:-1])])
    cells = list(zip(*rows, strict=True))
    places = {name: place for place, name in enumerate(columns)}
    return pl.DataFrame(
        [pl.Series(name, [cell or None for cell in cells[places[name]]], dtype=pl.String) for name in wanted]
    )
