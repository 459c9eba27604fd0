"""Members of line items that one OneRoster version has and the other derives."""

from __future__ import annotations

import polars as pl

from transforms.sheet import Sheet
from transforms.validate.known import Known
from transforms.validate.references import REF_001


def complete(sheet: Sheet, known: Known) -> None:
    """Fills a line item's session and grading period from each other, and its school from the class.

    Source: 1.1 has the grading period alone, CSV 1.2 the academic session alone, JSON 1.2 both; the school is new in
    1.2 and required there. Where the class was kept out itself nobody knows its school: the line item waits with it.
    """
    if sheet.entity.name != "lineItems":
        return
    _fill(sheet, "academicSession", _column(sheet, "gradingPeriod"))
    _fill(sheet, "gradingPeriod", sheet["academicSession"])
    _fill(sheet, "school", _looked_up(sheet["class"], known.rows("classes"), "school"))
    lacking = sheet["school"].is_null() & ~sheet.out
    if lacking.any():
        sheet.report(REF_001, lacking, "school", known.cause("classes", sheet["class"]))


def _column(sheet: Sheet, name: str) -> pl.Series:
    if name in sheet.frame.columns:
        return sheet[name]
    return pl.repeat(None, sheet.frame.height, dtype=pl.String, eager=True)


def _fill(sheet: Sheet, name: str, values: pl.Series) -> None:
    sheet.put(name, _column(sheet, name).fill_null(values))


def _looked_up(keys: pl.Series, rows: pl.DataFrame, name: str) -> pl.Series:
    return keys.alias("key").to_frame().join(rows, on="key", how="left", maintain_order="left")[name]
