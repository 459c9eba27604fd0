"""The same sourcedId more than once in a file: equal rows are one row, different rows are both kept out.

Which of two different rows is right is never decided by their order.
"""

from __future__ import annotations

import polars as pl

from transforms.hashing import content_hash
from transforms.issues import Action, Phase, Severity, declare
from transforms.marks import as_list, beside, distinct, filled, present, rows_of
from transforms.sheet import Sheet, split, spread
from transforms.validate.hashed import repeats
from transforms.validate.identifiers import trimmed

ID_002 = declare(
    "ID-002", Severity.INFO, Action.FIX, "The same row more than once",
    "The hub kept one of the equal rows. Look for a join in the export that multiplies rows.",
    fields=("sourcedId",), phase=Phase.ENTITY,
)  # fmt: skip
ID_003 = declare(
    "ID-003", Severity.BLOCK_RECORD, Action.QUARANTINE, "Different rows with the same sourcedId",
    "Give each object its own sourcedId, or take the outdated row out of the export. An older good version stays.",
    fields=("sourcedId",), phase=Phase.ENTITY,
)  # fmt: skip


def duplicated(keys: pl.Series) -> pl.Series:
    """The keys that come more than once in a file, from its whole key column.

    They are compared by hash first, which is cheap for millions; a chance collision only sets a row aside for a moment.
    """
    marks = trimmed(keys).hash(0)
    twice = pl.Series(repeats(marks))
    some = keys.filter(marks.is_in(as_list(twice))) if twice.len() else keys.clear()
    return distinct(filled(trimmed(some))).alias("key")


def resolve_duplicates(sheet: Sheet) -> Sheet:
    """Collapses equal rows (the first line stays) and keeps different rows of one key out."""
    keys = sheet["key"]
    if keys.n_unique() == keys.len() - max(keys.null_count() - 1, 0):  # all nulls count as one value
        return sheet
    names = [f.name for f in sheet.fields] + ["metadata"] * ("metadata" in sheet.frame.columns)
    several = keys.is_duplicated() & present(keys)
    rows = rows_of(sheet.frame, several)
    kinds = pl.col("content").n_unique().over("key")
    first = pl.col("line") == pl.col("line").min().over("key")
    flags = beside([rows["key"], rows["line"], content_hash(rows, names).alias("content")]).select(
        differ=kinds > 1, again=(kinds == 1) & ~first,
    )  # fmt: skip
    again, differ = (spread(several, several, flags[name]) for name in ("again", "differ"))
    sheet.report(ID_002, again, "sourcedId")
    sheet.report(ID_003, differ, "sourcedId")
    return split(sheet, again)[0]
