"""Social security numbers do not belong in a roster: what looks like one is dropped before anything else sees it."""

from __future__ import annotations

import polars as pl

from transforms.issues import Action, Severity, declare
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
_NAMES = r"(?i)^(?:ssn|.*[._-]ssn|ssn[._-].*|.*social_?security.*)$"


def drop_sensitive(sheet: Sheet, *, texts: list[str], identifiers: list[str]) -> None:
    """Nulls what looks like a social security number; a row whose key does is kept out and shows no key."""
    named = pl.Series(texts, dtype=pl.String).str.strip_prefix(METADATA).str.contains(_NAMES).to_list()
    for name, telling in zip(texts, named, strict=True):
        _drop(sheet, name, sheet[name].is_not_null() if telling else sheet[name].str.contains(PART))
    for name in identifiers:
        _drop(sheet, name, sheet[name].str.contains(WHOLE))
    keys = sheet["key"].str.contains(WHOLE).fill_null(value=False)
    if keys.any():
        sheet.put("key", pl.select(pl.when(~keys).then(sheet["key"])).to_series())
        sheet.report(ID_009, keys, "sourcedId")
        sheet.out = sheet.out | keys


def _drop(sheet: Sheet, name: str, marked: pl.Series) -> None:
    rows = marked.fill_null(value=False)
    if rows.any():
        sheet.report(ID_009, rows, name)
        sheet.put(name, pl.select(pl.when(~rows).then(sheet[name])).to_series())
