"""Values that must be there. A row is kept out only where the object could not be served without the value."""

from __future__ import annotations

import polars as pl

from transforms.catalogue import Field, Kind, Need
from transforms.issues import Action, Severity, declare
from transforms.sheet import Sheet, required
from transforms.validate.identifiers import SOMETHING

REQ_001 = declare(
    "REQ-001", Severity.BLOCK_RECORD, Action.QUARANTINE, "A required value is missing",
    "Fill the field in the student system, or map it in the export. The row comes in with the next sync.",
)  # fmt: skip
REQ_002 = declare(
    "REQ-002", Severity.WARN, Action.REPORT,
    "A value is missing that the CSV standard requires and the hub can do without",
    "Fill the field in the student system or map it in the export; other systems may refuse the row.",
)  # fmt: skip


def check_blank(sheet: Sheet) -> None:
    """Reports blank cells of required columns; run it before unreadable values become null, so that each has one cause.

    Names have their own rules (one of two names is enough).
    """
    explained = sheet.out
    needed = [
        field
        for field in sheet.fields
        if field.csv_need(sheet.version) is Need.REQUIRED and field.name not in ("givenName", "familyName")
    ]
    # One look at all columns: most have all their values.
    found = sheet.frame.select(_lacking(field).any().alias(field.name) for field in needed)
    for field in (field for field in needed if found[field.name].any()):
        lacking = sheet.frame.select_seq(_lacking(field)).to_series()
        sheet.report(REQ_001 if required(field, sheet.version) else REQ_002, lacking & ~explained, field.name)


def _lacking(field: Field) -> pl.Expr:
    value = pl.col(field.name)
    if field.kind is Kind.REF:
        return value.is_null() | ~value.str.contains(SOMETHING)
    return value.is_null() if field.kind is Kind.STRING else value.is_null() | ~value.str.contains(r"[^\s,]")
