"""Checks of line items and results against each other and against who is enrolled. None of them keeps a row out."""

from __future__ import annotations

import polars as pl

from transforms.issues import Action, Phase, Severity, declare
from transforms.sheet import Sheet
from transforms.validate.known import Known

GRB_005 = declare(
    "GRB-005", Severity.WARN, Action.DROP_VALUE, "A line item whose lowest score is above its highest",
    "Correct resultValueMin and resultValueMax of the line item. The hub dropped both.",
    entity="lineItems", fields=("resultValueMin",),
)  # fmt: skip
GRB_006 = declare(
    "GRB-006", Severity.WARN, Action.REPORT, "A score outside the bounds of its line item",
    "Nothing needs doing where it is extra credit. The hub keeps the score as it is.",
    entity="results", fields=("score",), phase=Phase.CROSS_ENTITY,
)  # fmt: skip
GRB_007 = declare(
    "GRB-007", Severity.WARN, Action.DROP_VALUE, "A result whose class is not the class of its line item",
    "Correct classSourcedId of the result, or leave it blank. The hub took the class of the line item.",
    entity="results", fields=("class",), phase=Phase.CROSS_ENTITY,
)  # fmt: skip
GRB_008 = declare(
    "GRB-008", Severity.WARN, Action.REPORT, "A result of somebody who is not enrolled in the class as a student",
    "Enroll the student in the class of the line item, or take the result out. The hub keeps the result.",
    entity="results", fields=("student",), phase=Phase.CROSS_ENTITY,
)  # fmt: skip
GRB_009 = declare(
    "GRB-009", Severity.WARN, Action.REPORT, "Several results of one student for one line item",
    "Keep one result of each student for each line item. The hub keeps all of them.",
    entity="results", fields=("lineItem",), phase=Phase.ENTITY,
)  # fmt: skip


def check_gradebook(sheet: Sheet, known: Known) -> None:
    """Checks the rows of line items or results; others have nothing to check here."""
    if sheet.entity.name == "lineItems":
        _check_bounds(sheet)
    elif sheet.entity.name == "results":
        items = known.rows("lineItems").rename({"class": "of_item"})
        of_item = sheet.frame.select(key="lineItem").join(items, on="key", how="left", maintain_order="left")
        _check_class(sheet, of_item["of_item"])
        _check_score(sheet, of_item)
        _check_enrolled(sheet, known)


def result_marks(sheet: Sheet) -> pl.DataFrame | None:
    """Which student's result for which line item each good row is, for ``check_repeated`` at the end of the entity."""
    if sheet.entity.name != "results":
        return None
    rows = sheet.frame.filter(~sheet.out)
    # A chance collision of two hashes, of which there is one in 400,000 runs over ten million results, is one warning
    # too many.
    return rows.select("key", "line", mark=rows.select("lineItem", "student").hash_rows(0))


def check_repeated(rows: pl.DataFrame) -> pl.DataFrame:
    """Of the rows of ``result_marks`` all but the first of each mark, by key: columns key, line, cause."""
    again = rows.filter(pl.col("mark").is_duplicated()).sort("key")
    return again.filter(~pl.col("mark").is_first_distinct()).select("key", "line", cause=pl.lit(None, pl.String))


def _check_bounds(sheet: Sheet) -> None:
    odd = (sheet["resultValueMin"] > sheet["resultValueMax"]).fill_null(value=False)
    if odd.any():
        sheet.report(GRB_005, odd, "resultValueMin")
        for name in ("resultValueMin", "resultValueMax"):
            sheet.put(name, pl.select(pl.when(~odd).then(sheet[name])).to_series())


def _check_class(sheet: Sheet, of_item: pl.Series) -> None:
    """Replaces a class that is not the line item's, and fills a missing one."""
    if "class" in sheet.frame.columns:
        sheet.report(GRB_007, (sheet["class"] != of_item) & ~sheet.out, "class")
        of_item = of_item.fill_null(sheet["class"])
    sheet.put("class", of_item)


def _check_score(sheet: Sheet, items: pl.DataFrame) -> None:
    score = sheet["score"]
    low, high = (score < items["resultValueMin"]), (score > items["resultValueMax"])
    sheet.report(GRB_006, low.fill_null(value=False) | high.fill_null(value=False), "score")


def _check_enrolled(sheet: Sheet, known: Known) -> None:
    there = known.enrolled(sheet["class"], sheet["student"])
    if there is not None:
        sheet.report(GRB_008, ~there & sheet["class"].is_not_null() & ~sheet.out, "student")
