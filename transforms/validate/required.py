"""Values that must be there. A row is kept out only where the object could not be served without the value."""

from __future__ import annotations

from collections.abc import Iterable

from transforms.catalogue import Field, Kind, Need
from transforms.issues import Action, Severity, declare
from transforms.marks import absent, certain, empty
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


#: A cell of spaces and commas alone has no value.
VALUE = r"[^\s,]"


def check_blank(sheet: Sheet, fields: Iterable[Field]) -> None:
    """Reports blank cells of required columns, some of ``needed``.

    Run it before unreadable values become null, so that each has one cause.

    Names have their own rules (one of two names is enough).
    """
    explained = sheet.out
    for field in fields:
        values = sheet[field.name]
        lacking = absent(values)
        if field.kind is not Kind.STRING and not empty(values):
            lacking = lacking | certain(~values.str.contains(SOMETHING if field.kind is Kind.REF else VALUE))
        sheet.report(REQ_001 if required(field, sheet.version) else REQ_002, lacking & ~explained, field.name)


def needed(sheet: Sheet) -> list[Field]:
    """The columns whose cells ``check_blank`` wants filled."""
    return [
        field
        for field in sheet.fields
        if field.csv_need(sheet.version) is Need.REQUIRED and field.name not in ("givenName", "familyName")
    ]
