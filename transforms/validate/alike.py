"""Enrollments of one user in one class and role under several sourcedIds: those that say one thing become one.

Two enrollments at different times stay two: somebody left the class and came back. Nothing refers to enrollments, so
nothing is lost with the rows that go into another. What becomes of the others is told by whole packages only: a file of
changes names some of them, so that the hub does not act on it (ENR-011).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import reduce
from operator import xor

import polars as pl

from transforms.catalogue import CATALOGUE
from transforms.hashing import content_hash
from transforms.issues import Action, Phase, Severity, declare
from transforms.marks import as_list
from transforms.sheet import Sheet, no_keys, split
from transforms.validate.hashed import repeats

ENR_002 = declare(
    "ENR-002", Severity.INFO, Action.FIX, "The same enrollment under several sourcedIds",
    "The hub kept one of them. Look for a join in the export that multiplies rows, or end the others in the student "
    "system.",
    entity="enrollments", fields=("sourcedId",), phase=Phase.ENTITY,
)  # fmt: skip
ENR_003 = declare(
    "ENR-003", Severity.WARN, Action.FIX, "Enrollments of one user in one class and role whose times overlap",
    "The hub made one enrollment of them, from the first day to the last. Keep one of them in the student system.",
    entity="enrollments", fields=("sourcedId",), phase=Phase.ENTITY,
)  # fmt: skip
ENR_011 = declare(
    "ENR-011", Severity.BLOCK_RECORD, Action.QUARANTINE,
    "A file of changes names an enrollment that the hub joined with others of the same user",
    "Send a whole package: only that says which of the joined enrollments go on. Until then it stays as it is.",
    entity="enrollments", fields=("sourcedId",), phase=Phase.ENTITY,
)  # fmt: skip

_PAIR = ("class", "user")
_GROUP = ("class", "user", "role")
_FIRST, _LAST = pl.date(1, 1, 1), pl.date(9999, 12, 31)


#: The columns of enrollments.csv that ``pair_marks`` looks at, in every version.
PAIR_COLUMNS = tuple(str(CATALOGUE["enrollments"][name].csv_name) for name in _PAIR)


def pair_marks(names: Sequence[str] = PAIR_COLUMNS) -> pl.Expr:
    """A hash (UInt64) of an enrollment's class and user, whatever their columns are called."""
    return reduce(xor, (pl.col(name).replace("", None).hash(seed) for seed, name in enumerate(names))).alias("mark")


def marks_of(frame: pl.DataFrame) -> pl.Series:
    """The marks of RAW rows of enrollments.csv; a missing column counts as blank."""
    missing = [pl.lit(None, pl.String).alias(name) for name in PAIR_COLUMNS if name not in frame.columns]
    return frame.with_columns(missing).select(pair_marks()).to_series()


def several(found: pl.Series) -> pl.Series:
    """Those of a file's marks that come more than once; a chance collision only sets a row aside for a moment."""
    return pl.Series(found.name, repeats(found))


def may_be_alike(sheet: Sheet, repeated: pl.Series) -> pl.Series:
    """The rows of a sheet, its references as they came, whose class and user are in ``repeated`` (marks)."""
    marks = (sheet[name].hash(seed) for seed, name in enumerate(_PAIR))  # a blank one is null already
    return reduce(xor, marks).is_in(as_list(repeated))


def join_alike(sheet: Sheet, held: Callable[[], pl.Series]) -> tuple[Sheet, pl.Series]:
    """The sheet with one row in the place of those that say one thing, and the keys of these rows.

    The rows of a user, class and role are all on the sheet. Of several the one stays that the store knows (``held()``),
    or whose key is the first.
    """
    extra = ["metadata"] if "metadata" in sheet.frame.columns else []
    rows = sheet.frame.select("key", "line", *_GROUP, "beginDate", "endDate", "primary").with_columns(
        content=content_hash(sheet.frame, [*(f.name for f in sheet.fields), *extra])
    )
    rows = rows.filter(~sheet.out).filter(pl.len().over(_GROUP) > 1)
    if not rows.height:
        return sheet, no_keys()
    rows = rows.with_columns(new=~pl.col("key").is_in(as_list(held()))).sort("new", "key")
    rows = rows.with_columns(kept=pl.col("key").first().over(*_GROUP, "content"))
    kept = _spans(rows.filter(pl.col("key") == pl.col("kept")).drop("kept"))
    repeated = _of(sheet, rows.filter(pl.col("key") != pl.col("kept")))
    sheet.report(ENR_002, repeated["kept"].is_not_null(), "sourcedId", "enrollments:" + repeated["kept"])
    joined = _of(sheet, kept.filter(pl.col("key") != pl.col("kept")))
    sheet.report(ENR_003, joined["kept"].is_not_null(), "sourcedId", "enrollments:" + joined["kept"])
    wider = _of(sheet, kept.filter((pl.col("key") == pl.col("kept")) & (pl.len().over("kept") > 1)))
    for name in ("beginDate", "endDate", "primary"):
        wide = pl.when(wider["kept"].is_not_null()).then(wider[name])
        sheet.put(name, pl.select(wide.otherwise(sheet[name])).to_series())
    several = pl.concat([repeated["kept"].drop_nulls(), joined["kept"].drop_nulls()]).unique()
    # A row that others went into may have gone into another itself.
    several = several.filter(~several.is_in(as_list(joined.filter(pl.col("kept").is_not_null())["key"])))
    return split(sheet, repeated["kept"].is_not_null() | joined["kept"].is_not_null())[0], several.rename("key")


def _spans(rows: pl.DataFrame) -> pl.DataFrame:
    """``rows`` with the key of the row that stays of those whose times overlap, and the time and duty of all of them.

    Rows that end before they begin overlap with none.
    """
    begin, end = pl.col("beginDate").fill_null(_FIRST), pl.col("endDate").fill_null(_LAST)
    table = rows.with_columns(begin=begin, end=end, odd=end < begin).sort(*_GROUP, "odd", "begin", "end", "key")
    before = pl.col("end").cum_max().shift(1).over(*_GROUP, "odd")
    apart = (pl.col("begin") >= before).fill_null(value=True) | pl.col("odd")
    table = table.with_columns(island=apart.cum_sum()).sort("new", "key")
    return table.with_columns(
        kept=pl.col("key").first().over("island"), primary=pl.col("primary").max().over("island"),
        **{n: _unless_open(n, o).over("island") for n, o in (("beginDate", "min"), ("endDate", "max"))},
    )  # fmt: skip


def _unless_open(name: str, bound: str) -> pl.Expr:
    """The first begin or the last end; null, which is open, if one is."""
    return pl.when(pl.col(name).null_count() == 0).then(getattr(pl.col(name), bound)())


def _of(sheet: Sheet, rows: pl.DataFrame) -> pl.DataFrame:
    """``rows`` beside the rows of a sheet, null for the others."""
    names = ("kept", "beginDate", "endDate", "primary")
    return sheet.frame.select("key", "line").join(
        rows.select("line", *names), on="line", how="left", maintain_order="left"
    )  # fmt: skip
