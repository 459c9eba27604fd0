"""Numbers with a decimal point. Decimal commas and units are never guessed, except a percent sign at the end."""

from __future__ import annotations

import polars as pl

from transforms.catalogue import Field, Kind
from transforms.issues import Action, Severity, declare
from transforms.normalise.vocabulary import translate
from transforms.sheet import Sheet, required

NUM_001 = declare(
    "NUM-001", Severity.INFO, Action.FIX, "A number with spaces or a percent sign",
    "The hub understood it. Write the number alone.",
)  # fmt: skip
NUM_002 = declare(
    "NUM-002", Severity.WARN, Action.DROP_VALUE, "Not a number",
    "Write numbers with a decimal point and without separators, for example 87.5.",
)  # fmt: skip
NUM_003 = declare(
    "NUM-003", Severity.BLOCK_RECORD, Action.QUARANTINE, "A required number is not a number",
    "Write numbers with a decimal point and without separators, for example 87.5.",
)  # fmt: skip

_INTEGER = r"^-?(?:0|[1-9][0-9]{0,17})$"
_FLOAT = r"^-?(?:[0-9]{1,17}\.?[0-9]{0,17}|\.[0-9]{1,17})(?:[eE][+-]?[0-9]{1,2})?$"


def read_number(sheet: Sheet, field: Field) -> None:
    """Makes the column Int64 or Float64."""
    pattern = _INTEGER if field.kind is Kind.INTEGER else _FLOAT

    def read(value: str) -> str | None:
        text = value.strip().removesuffix("%").strip()
        return text if not text or pl.Series([text]).str.contains(pattern).all() else None

    bad = NUM_003 if required(field, sheet.version) else NUM_002
    translate(sheet, field.name, sheet[field.name].str.contains(pattern), read, fixed=NUM_001, bad=bad)
    sheet.put(field.name, sheet[field.name].cast(pl.Int64 if field.kind is Kind.INTEGER else pl.Float64))
