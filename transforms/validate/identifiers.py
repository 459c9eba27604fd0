"""The sourcedId: there, of a storable form, and safe to show. Leading zeros and letter case are never touched."""

from __future__ import annotations

import re

import polars as pl

from transforms.issues import Action, Severity, declare
from transforms.marks import absent, certain, empty, without
from transforms.normalise.text import NAME_001
from transforms.sheet import Sheet
from transforms.storable import LONGEST, UNSTORABLE

ID_001 = declare(
    "ID-001", Severity.BLOCK_RECORD, Action.QUARANTINE, "The row has no sourcedId",
    "Give every object a stable identifier in the student system; the hub never invents one.",
    fields=("sourcedId",),
)  # fmt: skip
ID_010 = declare(
    "ID-010", Severity.BLOCK_RECORD, Action.QUARANTINE,
    "The sourcedId is longer than 255 characters or has control characters",
    "Use the student system's own short identifier: 1 to 255 letters, digits and . - _ / @",
    fields=("sourcedId",),
)  # fmt: skip
ID_011 = declare(
    "ID-011", Severity.INFO, Action.REPORT, "The sourcedId has characters that OneRoster does not allow",
    "The hub keeps it as it is. OneRoster allows letters, digits and . - _ / @ only; other systems may refuse the row.",
    fields=("sourcedId",),
)  # fmt: skip

ALLOWED = r"^[0-9A-Za-z./@_-]+$"
_INVISIBLE = r"\s\u200b\u2060\ufeff\x00"
_OUTSIDE = rf"^[{_INVISIBLE}]+|[{_INVISIBLE}]+$"
#: A cell without it has no identifier: commas, spaces and invisible characters alone.
SOMETHING = rf"[^,{_INVISIBLE}]"
#: The same characters (those of ``\s`` as the column engine reads it), to be stripped from the ends of one text.
_ENDS = "\t\n\x0b\x0c\r \x85\xa0\u1680" + "".join(map(chr, range(0x2000, 0x200B))) + (
    "\u2028\u2029\u202f\u205f\u3000\u200b\u2060\ufeff\x00"
)  # fmt: skip

_TRIMMED = pl.col("").str.replace_all(_OUTSIDE, "").replace("", None)
# Most texts are shorter in bytes already, which is cheaper to see.
_REFUSED = (
    (pl.col("").str.len_bytes() > LONGEST) & (pl.col("").str.len_chars() > LONGEST)
) | pl.col("").str.contains(UNSTORABLE)  # fmt: skip

_REFUSED_CHARACTER = re.compile(UNSTORABLE)
#: Up to so many identifiers are looked at one by one.
_FEW = 300


def trimmed(values: pl.Series) -> pl.Series:
    """Identifiers without spaces and invisible characters at their ends; blank becomes null."""
    if empty(values):
        return values
    if values.len() <= _FEW:
        texts = values.to_list()
        mended = [None if text is None else text.strip(_ENDS) or None for text in texts]
        return values if mended == texts else pl.Series(values.name, mended, dtype=pl.String)
    if values.str.contains(ALLOWED).all():
        return values
    return values.to_frame("").select_seq(_TRIMMED).to_series().alias(values.name)


def unstorable(values: pl.Series) -> pl.Series:
    """Where an identifier can be neither stored nor shown."""
    if values.len() <= _FEW:
        return pl.Series([None if text is None else _is_refused(text) for text in values.to_list()], dtype=pl.Boolean)
    return values.to_frame("").select_seq(_REFUSED).to_series()


def _is_refused(text: str) -> bool:
    return len(text) > LONGEST or _REFUSED_CHARACTER.search(text) is not None


def check_keys(sheet: Sheet) -> None:
    """Trims the keys and keeps out rows whose key is missing or unstorable; such keys become null, so none is shown."""
    before = sheet["key"]
    keys = trimmed(before)
    sheet.put("key", keys)
    refused = certain(unstorable(keys))
    sheet.put("key", without(keys, refused))
    sheet.report(NAME_001, before.ne_missing(keys) & ~absent(keys) & ~refused, "sourcedId")
    sheet.report(ID_001, absent(keys) & ~sheet.out, "sourcedId")
    sheet.report(ID_010, refused, "sourcedId")
    sheet.report(ID_011, ~sheet["key"].str.contains(ALLOWED), "sourcedId")
