"""scoreScaleValue: ``{lhs:rhs}`` items in one cell, to structs of itemValueLHS and itemValueRHS in their order."""

from __future__ import annotations

import polars as pl

from transforms.catalogue import Field
from transforms.issues import Action, Severity, declare
from transforms.marks import as_list
from transforms.sheet import Sheet

GRB_002 = declare(
    "GRB-002", Severity.WARN, Action.DROP_VALUE, "An item of scoreScaleValue that is not {lhs:rhs}",
    "Write each step of the scale as {lhs:rhs}, several separated by commas, for example {A:90},{B:80}.",
    entity="scoreScales", fields=("scoreScaleValue",),
)  # fmt: skip
GRB_003 = declare(
    "GRB-003", Severity.BLOCK_RECORD, Action.QUARANTINE, "A score scale without any step that can be read",
    "Write each step of the scale as {lhs:rhs}, several separated by commas, for example {A:90},{B:80}.",
    entity="scoreScales", fields=("scoreScaleValue",),
)  # fmt: skip

SCALE_VALUE = pl.Struct({"itemValueLHS": pl.String, "itemValueRHS": pl.String})
_ITEM = r"\{[^{}]*\}"
_STEP = r"^([^:]*[^:\s][^:]*):([^:]*[^:\s][^:]*)$"


def read_scale(sheet: Sheet, field: Field) -> None:
    """Makes the column a List of ``SCALE_VALUE``; a row whose scale has no step is kept out."""
    cells = sheet[field.name]
    rows = pl.arange(0, cells.len(), dtype=pl.UInt32, eager=True)
    inside = pl.col("item").str.strip_chars("{} ")
    table = (
        pl.DataFrame({"row": rows, "item": cells.str.extract_all(_ITEM)})
        .explode("item")
        .drop_nulls("item")
        .select(
            "row",
            itemValueLHS=inside.str.extract(_STEP, 1).str.strip_chars(),
            itemValueRHS=inside.str.extract(_STEP, 2).str.strip_chars(),
        )
    )
    good = table.drop_nulls()
    bad = table.filter(pl.col("itemValueLHS").is_null())["row"]
    beside = cells.str.replace_all(_ITEM, "").str.contains(r"[^\s,]").fill_null(value=False)
    lists = good.group_by("row", maintain_order=True).agg(items=pl.struct("itemValueLHS", "itemValueRHS"))
    found = rows.alias("row").to_frame().join(lists, on="row", how="left", maintain_order="left")["items"]
    sheet.report(GRB_002, (beside | rows.is_in(as_list(bad))) & found.is_not_null(), field.name)
    sheet.report(GRB_003, found.is_null() & cells.is_not_null(), field.name)
    sheet.put(field.name, found.cast(pl.List(SCALE_VALUE)))
