"""From what is stored to what stands in a CSV cell, in columns.

Every value passes the same policy as over REST: hidden fields are not even read, masks are laid here, references are
looked up in what the app sees. Source: CSV binding 1.2.1 sections 2 and 9.
"""

from __future__ import annotations

import polars as pl

from hub.export.layout import File
from hub.export.sight import Sight
from hub.scope import projection
from hub.scope.grants import Mask
from hub.store.extract import BETWEEN
from transforms.catalogue import BASE_NAMES, Entity, Field, Kind, Need

#: What cannot stand inside ``{left:right}``; the right side may hold a colon where the first one divides.
_NOT_LEFT = r"[{},:]"
_NOT_RIGHT = {Kind.USER_ID: r"[{},]", Kind.SCALE_VALUE: r"[{},:]"}


def read(file: File, sight: Sight) -> tuple[Field, ...]:
    """The fields of a file's owner whose columns the cells of its own file are made of."""
    return tuple(
        f
        for f in file.columns
        if f.name not in BASE_NAMES and f.stored and f.rest12 is not Need.ABSENT
        and sight.shows(file.owner.name, f.name)
    )  # fmt: skip


def cells(file: File, sight: Sight, table: pl.DataFrame) -> pl.DataFrame:
    """The cells of ``read`` under their headers, with the record's rid, and its shown sourcedId under its own."""
    found = [table["rid"], sight.own(file.owner.name, table["sourcedId"]).alias("sourcedId")]
    masks = sight.projections[file.owner.name].masks
    for field in read(file, sight):
        values = _cell(file.owner, field, sight, table)
        if field.name in masks:
            required = field.rest12 is Need.REQUIRED
            values = masked(masks[field.name], values, required=required)
        found.append(values.alias(field.csv_name or ""))
    metadata = [c for c in table.columns if c.startswith("metadata.")]
    return pl.DataFrame([*found, *(table[c] for c in metadata)])


def _cell(entity: Entity, field: Field, sight: Sight, table: pl.DataFrame) -> pl.Series:
    match field.kind:
        case Kind.REF if field.many:
            return joined(references(sight, field.target or "", table[field.name]), table.height)
        case Kind.REF:
            return sight.seen(field.target or "", table[field.name])
        case Kind.USER_ID | Kind.SCALE_VALUE:
            left, right = (table[c] for c in table.columns if c.startswith(f"{field.name}."))
            return _pairs(field.kind, left, right)
        case Kind.FLOAT if entity.name == "categories":  # a percentage without a fraction
            return table[field.name].cast(pl.Float64).round().cast(pl.Int64).cast(pl.String)
        case _ if field.many:
            return listed(table[field.name])
        case _:
            return table[field.name]


def masked(mask: Mask, values: pl.Series, *, required: bool) -> pl.Series:
    """The values as they show in part, each by the same function as over REST."""
    if mask is Mask.YEAR:
        return values.str.slice(0, 4) + "-01-01"
    distinct = values.drop_nulls().unique()
    shown = [projection.masked(mask, value, required=required) for value in distinct]
    values = values.replace(distinct, pl.Series(shown, dtype=pl.String))
    return values.fill_null(projection.NO_LETTER) if required else values


def listed(values: pl.Series) -> pl.Series:
    """Lists of texts in one cell each. No item can hold a comma there: it is taken out."""
    if values.str.contains(",", literal=True).any():
        values = values.str.replace_all(",", "", literal=True)
    return values.str.replace_all(BETWEEN, ",", literal=True).replace("", None)


def exploded(lists: pl.Series, *, name: str = "item") -> pl.DataFrame:
    """The items of each list: columns row (UInt32) and ``name``, in their order."""
    rows = pl.DataFrame({"row": pl.arange(0, lists.len(), dtype=pl.UInt32, eager=True), name: lists})
    filled = rows.filter((pl.col(name) != "").fill_null(value=False))
    return filled.with_columns(pl.col(name).str.split(BETWEEN)).explode(name)


def references(sight: Sight, target: str, lists: pl.Series) -> pl.DataFrame:
    """The visible ones of lists of references: columns row, rid (Int32) and item, their sourcedId."""
    items = exploded(lists, name="rid").with_columns(pl.col("rid").cast(pl.Int32))
    return items.with_columns(sight.seen(target, items["rid"]).alias("item")).drop_nulls("item")


def joined(items: pl.DataFrame, height: int) -> pl.Series:
    """One cell for each of ``height`` rows from ``items`` (row, item), null for rows without any."""
    lists = items.group_by("row", maintain_order=True).agg(pl.col("item").str.join(","))
    return every_row(height).join(lists, on="row", how="left", maintain_order="left")["item"]


def every_row(height: int) -> pl.DataFrame:
    """The numbers of ``height`` rows, column row."""
    return pl.DataFrame({"row": pl.arange(0, height, dtype=pl.UInt32, eager=True)})


def _pairs(kind: Kind, left: pl.Series, right: pl.Series) -> pl.Series:
    """Items of the form ``{left:right}``; what cannot be written so is left out."""
    if left.null_count() == left.len():
        return pl.repeat(None, left.len(), dtype=pl.String, eager=True)
    # Items that hold what stands between items: nobody can tell which ones belong together.
    told = (left != "") & (right != "") & (_length(left) == _length(right))
    lefts, rights = (
        exploded(pl.select(pl.when(told).then(side)).to_series(), name=name)
        for side, name in ((left, "left"), (right, "right"))
    )
    pairs = lefts.with_columns(rights["right"])
    good = ~pl.col("left").str.contains(_NOT_LEFT) & ~pl.col("right").str.contains(_NOT_RIGHT[kind])
    full = (pl.col("left") != "") & (pl.col("right") != "")
    items = pairs.filter(good & full).select("row", item=pl.format("{{{}:{}}}", "left", "right"))
    return joined(items, left.len())


def _length(lists: pl.Series) -> pl.Series:
    return lists.str.count_matches(BETWEEN, literal=True)


def one_line(frame: pl.DataFrame) -> pl.DataFrame:
    """The frame with line breaks inside cells as blanks: the standard forbids them inside quotes too."""
    return frame.with_columns(pl.col(pl.String).str.replace_all(r"\r\n|\r|\n", " "))
