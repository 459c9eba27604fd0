"""Values that must be there. A row is kept out only where the object could not be served without the value."""

from __future__ import annotations

from transforms.catalogue import Kind, Need
from transforms.issues import Action, Severity, declare
from transforms.marks import absent
from transforms.sheet import Sheet, required
from transforms.validate.identifiers import nothing

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
    for field in sheet.fields:
        if field.csv_need(sheet.version) is not Need.REQUIRED or field.name in ("givenName", "familyName"):
            continue
        values = sheet[field.name]
        if field.kind is Kind.STRING and values.null_count() == 0:
            continue
        lacking = absent(values)
        if field.kind is Kind.REF:
            lacking |= nothing(values)
        elif field.kind is not Kind.STRING:
            lacking |= ~values.str.contains(r"[^\s,]")
        sheet.report(REQ_001 if required(field, sheet.version) else REQ_002, lacking & ~explained, field.name)
