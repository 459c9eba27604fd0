"""Social security numbers do not belong in a roster: what looks like one is dropped before anything else sees it."""

from __future__ import annotations

import re

import polars as pl

from transforms.issues import Action, Severity, declare
from transforms.marks import certain, without
from transforms.sheet import METADATA, Sheet

ID_009 = declare(
    "ID-009", Severity.BLOCK_RECORD, Action.DROP_VALUE,
    "A value that looks like a US social security number (as the sourcedId it keeps the row out)",
    "Take the number out of the export; the hub never stores it. Dashed numbers of 3, 2 and 4 digits "
    "count, and anything in columns that are named after the number.",
)  # fmt: skip

#: In a value that should be an identifier the whole value counts, elsewhere any part of the text.
WHOLE = r"^\s*[0-9]{3}-[0-9]{2}-[0-9]{4}\s*$"
PART = r"(?-u:\b)[0-9]{3}-[0-9]{2}-[0-9]{4}(?-u:\b)"
_NAMES = re.compile(r"(?:ssn|.*[._-]ssn|ssn[._-].*|.*social_?security.*)", re.IGNORECASE)


def drop_sensitive(sheet: Sheet, *, texts: list[str], identifiers: list[str]) -> None:
    """Nulls what looks like a social security number; a row whose key does is kept out and shows no key."""
    looks = {name: pl.col(name).is_not_null() if tells(name) else pl.col(name).str.contains(PART) for name in texts}
    looks |= {name: pl.col(name).str.contains(WHOLE) for name in identifiers}
    for name, look in looks.items():
        if name != "key":
            _drop(sheet, name, sheet.frame.select_seq(look).to_series())
    if "key" in looks:
        keys = certain(sheet["key"].str.contains(WHOLE))
        sheet.put("key", without(sheet["key"], keys))
        sheet.report(ID_009, keys, "sourcedId")
        sheet.out = sheet.out | keys


def tells(name: str) -> bool:
    """Whether a column is named after the number."""
    return _NAMES.fullmatch(name.removeprefix(METADATA)) is not None


def _drop(sheet: Sheet, name: str, marked: pl.Series) -> None:
    rows = certain(marked)
    if rows.any():
        sheet.report(ID_009, rows, name)
        sheet.put(name, without(sheet[name], rows))
