"""Lists in one cell: items separated by commas, worked on once per distinct cell.

The order of items has a meaning for subjects and their codes, and for the orgs of a 1.1 user (the first is the primary
one); every other list is kept sorted.
"""

from __future__ import annotations

import polars as pl

from transforms.catalogue import Field, Kind
from transforms.issues import Action, Severity, declare
from transforms.marks import FEW, as_list, asked, beside, empty, nowhere, numbers, rows_of
from transforms.normalise.text import NAME_001, NAME_003, tidy
from transforms.sheet import Sheet

LST_001 = declare(
    "LST-001", Severity.INFO, Action.FIX,
    "A list with blank items, spaces around items, repeated items, or identifiers separated by ; or |",
    "The hub understood it. Separate items by one comma, without spaces and blank items.",
)  # fmt: skip

ORDERED = ("subjects", "subjectCodes", "orgs")
_TIDY = r"^[^,\s]+$"
_ENDS = " \t\u00a0\u200b\ufeff"
#: Up to so many distinct cells, or items of these, Python is faster than the engine.
_FEW = 300
#: Stands in no text whose control characters are gone; what has it all the same goes the long way.
_BETWEEN = "\x1f"
_SPLIT = pl.col("").str.split(_BETWEEN)


def items(cells: pl.Series, *, identifiers: bool = False, ordered: bool = False) -> pl.DataFrame:
    """The items of the distinct non-null ``cells``: columns cell, place, item, trimmed, without blanks and repeats."""
    few = _few_distinct(cells)
    split = _split(cells, identifiers=identifiers) if few is None else _split_few(few, identifiers=identifiers)
    if ordered or split["cell"].n_unique() == split.height:  # one item in each cell
        return split
    return split.unique(["cell", "item"], keep="first", maintain_order=True)


def _few_distinct(cells: pl.Series) -> list[str] | None:
    """The distinct cells in the order in which they come, if they are few."""
    if cells.len() > FEW:
        return None
    distinct = [cell for cell in dict.fromkeys(cells.to_list()) if cell is not None]
    return distinct if len(distinct) <= _FEW else None


def _split_few(distinct: list[str], *, identifiers: bool) -> pl.DataFrame:
    found: list[tuple[str, str]] = []
    for cell in distinct:
        text = cell.replace(";", ",").replace("|", ",") if identifiers else cell
        found += [(cell, item) for part in text.split(",") if (item := part.strip(_ENDS))]
    return beside([
        pl.Series("cell", [cell for cell, _ in found], dtype=pl.String),
        pl.Series("item", [item for _, item in found], dtype=pl.String), numbers(len(found)).alias("place"),
    ])  # fmt: skip


def _split(cells: pl.Series, *, identifiers: bool) -> pl.DataFrame:
    distinct = cells.to_frame("cell").lazy().select(pl.col("cell").drop_nulls().unique(maintain_order=True))
    commas = pl.col("cell").str.replace_all(r"[;|]", ",") if identifiers else pl.col("cell")
    parts = distinct.with_columns(item=commas.str.split(",")).explode("item")
    split = parts.with_columns(pl.col("item").str.strip_chars(_ENDS)).collect()
    split = rows_of(split, split["item"] != "")
    split.insert_column(2, numbers(split.height).alias("place"))
    return split


def listed(cells: pl.Series, table: pl.DataFrame, *, ordered: bool = False) -> pl.Series:
    """The items of each of ``cells`` (of ``table``: cell, item, place) as a list; null where it has none.

    Sorted by length and text unless the order has a meaning.
    """
    lists = _by_cell(table) if cells.len() <= FEW and table.height <= _FEW else None
    if lists is None:
        return placed(cells, gathered(table, ordered=ordered))
    if not ordered:
        lists = {cell: sorted(found, key=lambda item: (len(item.encode()), item)) for cell, found in lists.items()}
    texts = {cell: _BETWEEN.join(found) for cell, found in lists.items()}
    values = pl.Series("items", [texts.get(cell) for cell in cells.to_list()], dtype=pl.String)
    return asked(values, _SPLIT).alias("items")


def _by_cell(table: pl.DataFrame) -> dict[str | None, list[str]] | None:
    """The items by their cell, in the order of their places; None where one has what is put between them."""
    found: dict[str | None, list[str]] = {}
    rows = zip(table["place"].to_list(), table["cell"].to_list(), table["item"].to_list(), strict=True)
    for _, cell, item in sorted(rows):
        if _BETWEEN in item:
            return None
        found.setdefault(cell, []).append(item)
    return found


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
    if table.height <= _FEW and (found := _by_cell(table)) is not None:
        mended = [cell for cell, parts in found.items() if ",".join(parts) != cell]
        changed = pl.Series("cell", mended, dtype=pl.String)
        return cells.is_in(as_list(changed)) if mended else nowhere(cells.len())
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
    sheet.put(field.name, listed(cells, table, ordered=ordered))


def single(cells: pl.Series) -> bool:
    """Whether every cell is one item or blank."""
    return empty(cells) or bool(cells.str.contains(_TIDY).all())
