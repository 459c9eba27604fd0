"""Lists in one cell: items separated by commas, worked on once per distinct cell.

The order of items has a meaning for subjects and their codes, and for the orgs of a 1.1 user (the first is the primary
one); every other list is kept sorted.
"""

from __future__ import annotations

import polars as pl

from transforms.catalogue import Field, Kind
from transforms.issues import Action, Severity, declare
from transforms.marks import as_list, empty, nowhere, numbers, rows_of
from transforms.normalise.text import NAME_001, NAME_003, tidy
from transforms.sheet import Sheet

LST_001 = declare(
    "LST-001", Severity.INFO, Action.FIX,
    "A list with blank items, spaces around items, repeated items, or identifiers separated by ; or |",
    "The hub understood it. Separate items by one comma, without spaces and blank items.",
)  # fmt: skip

ORDERED = ("subjects", "subjectCodes", "orgs")
_TIDY = r"^[^,\s]+$"


def items(cells: pl.Series, *, identifiers: bool = False, ordered: bool = False) -> pl.DataFrame:
    """The items of the distinct non-null ``cells``: columns cell, place, item, trimmed, without blanks and repeats."""
    distinct = cells.to_frame("cell").lazy().select(pl.col("cell").drop_nulls().unique(maintain_order=True))
    commas = pl.col("cell").str.replace_all(r"[;|]", ",") if identifiers else pl.col("cell")
    parts = distinct.with_columns(item=commas.str.split(",")).explode("item")
    split = parts.with_columns(pl.col("item").str.strip_chars(" \t\u00a0\u200b\ufeff")).collect()
    split = rows_of(split, split["item"] != "")
    split.insert_column(2, numbers(split.height).alias("place"))
    if ordered or split["cell"].n_unique() == split.height:  # one item in each cell
        return split
    return split.unique(["cell", "item"], keep="first", maintain_order=True)


def gathered(table: pl.DataFrame, *, ordered: bool = False) -> pl.DataFrame:
    """One row per cell with its list: columns cell, items. Sorted by length and text unless the order has a meaning."""
    sort = ["place"] if ordered else [pl.col("item").str.len_bytes(), pl.col("item")]
    if table["cell"].n_unique() == table.height:  # one item in each cell
        return table.select("cell", items=pl.concat_list("item"))
    return table.sort(sort).group_by("cell").agg(items=pl.col("item"))


def placed(cells: pl.Series, lists: pl.DataFrame) -> pl.Series:
    """The lists of ``lists`` (cell, items) in the place of ``cells``; null where a cell is not in it."""
    return cells.alias("cell").to_frame().join(lists, on="cell", how="left", maintain_order="left")["items"]


def untidy(cells: pl.Series, table: pl.DataFrame) -> pl.Series:
    """Where a cell is not simply its items joined by commas."""
    plain = table
    if table["cell"].n_unique() < table.height:
        plain = table.sort("place").group_by("cell", maintain_order=True).agg(pl.col("item").str.join(","))
    changed = plain["cell"].filter(plain["item"] != plain["cell"])
    return cells.is_in(as_list(changed)) if changed.len() else nowhere(cells.len())


def tidied(sheet: Sheet, name: str) -> pl.Series:
    """The cells of a list column with their text repaired and the repairs reported."""
    cells, spaced, decoded = tidy(sheet[name])
    sheet.report(NAME_001, spaced, name)
    sheet.report(NAME_003, decoded, name)
    return cells


def read_list(sheet: Sheet, field: Field) -> None:
    """Makes a column of plain texts a List of String."""
    if field.kind is not Kind.STRING:
        return
    cells = tidied(sheet, field.name)
    if empty(cells):
        sheet.put(field.name, cells.cast(pl.List(pl.String)))
        return
    ordered = field.name in ORDERED
    table = items(cells, ordered=ordered)
    sheet.report(LST_001, untidy(cells, table), field.name)
    sheet.put(field.name, placed(cells, gathered(table, ordered=ordered)))


def single(cells: pl.Series) -> bool:
    """Whether every cell is one item or blank."""
    return empty(cells) or bool(cells.str.contains(_TIDY).all())
