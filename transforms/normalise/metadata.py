"""``metadata.<name>`` columns to one JSON object per row."""

from __future__ import annotations

import polars as pl

from transforms.json_text import objects
from transforms.marks import blank
from transforms.sheet import METADATA, Sheet


def metadata_columns(sheet: Sheet) -> list[str]:
    """The sheet's metadata columns."""
    return [c for c in sheet.frame.columns if c.startswith(METADATA)]


def read_metadata(sheet: Sheet) -> None:
    """Puts the column ``metadata`` in the place of the columns that start with it; null where a row has none."""
    names = metadata_columns(sheet)
    found = objects((sheet[n] for n in names), (n.removeprefix(METADATA) for n in names))
    if names:
        sheet.frame = sheet.frame.drop(names)
    sheet.put("metadata", blank(sheet.frame.height, pl.String) if found is None else found)
