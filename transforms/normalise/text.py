"""Text as people typed it: spaces, invisible characters, composed letters, wrongly decoded UTF-8.

Repairs run until nothing changes, so a repaired value is never repaired again.
"""

from __future__ import annotations

import polars as pl

from transforms.issues import Action, Severity, declare
from transforms.marks import FEW, asked, certain, empty, nowhere, possible, without, words
from transforms.sheet import Sheet, required, spread

NAME_001 = declare(
    "NAME-001", Severity.INFO, Action.FIX,
    "Spaces at the ends, double spaces, invisible or decomposed characters",
    "Nothing needs doing: the hub removed them. They often come from copying out of a document.",
)  # fmt: skip
NAME_003 = declare(
    "NAME-003", Severity.WARN, Action.FIX,
    "UTF-8 text that was read as Windows-1252 on its way (two strange characters in the place of one letter)",
    "The hub restored the letters, because the way back is exact. Set the export's encoding to UTF-8 to end it.",
)  # fmt: skip
TXT_001 = declare(
    "TXT-001", Severity.WARN, Action.DROP_VALUE, "A value is longer than 4,000 characters",
    "Shorten the field in the student system. Often a quote is missing, so that one cell swallowed many lines.",
)  # fmt: skip
TXT_002 = declare(
    "TXT-002", Severity.BLOCK_RECORD, Action.QUARANTINE, "A required value is longer than 4,000 characters",
    "Shorten the field in the student system. Often a quote is missing, so that one cell swallowed many lines.",
)  # fmt: skip

LONGEST = 4_000
_ODD = r"^ | $|  |[^ -~]|^$"
_CONTROL = r"[\x00-\x08\x0e-\x1f\x7f-\x9f]"
# Zero-width space and no-break space, word joiner, soft hyphen, embedding and override marks. The joiners U+200C and
# U+200D stay: they carry meaning in Persian, Indic scripts and emoji.
_INVISIBLE = r"[\u200b\u2060\ufeff\u00ad\u202a-\u202e\u2066-\u2069]"
_BREAK = r"[\t\n\x0b\x0c\r\u0085\u2028\u2029]+"
# A lead byte of a UTF-8 sequence read as a letter, followed by a continuation byte read as Latin-1 or Windows-1252.
_SUSPECT = (
    "[\u00c2-\u00f4][\u0080-\u00bf\u0152\u0153\u0160\u0161\u0178\u017d\u017e"
    "\u0192\u02c6\u02dc\u2013-\u203a\u20ac\u2122]"
)

_CLEANED = (  # one expression: each step by itself would be planned by itself
    pl.col("")
    .str.replace_all(_INVISIBLE, "")
    .str.replace_all(_BREAK, " ")
    .str.replace_all(_CONTROL, "")
    .str.normalize("NFC")
    .str.replace_all(r"\s{2,}", " ")
    .str.strip_chars()
)

_LATIN_1 = "".join(chr(byte) for byte in range(256))
# As browsers read it: the five bytes that Windows-1252 leaves open are control characters.
_WINDOWS_1252 = "".join(bytes([b]).decode("cp1252", "ignore") or chr(b) for b in range(256))

_LONGEST = pl.col("").str.len_bytes().max()
_IS_ODD, _IS_SUSPECT = pl.col("").str.contains(_ODD), pl.col("").str.contains(_SUSPECT)
_LONG = (pl.col("").str.len_bytes() > LONGEST) & (pl.col("").str.len_chars() > LONGEST)

_READINGS = tuple((table, {letter: byte for byte, letter in enumerate(table)}) for table in (_WINDOWS_1252, _LATIN_1))


def tidy(values: pl.Series) -> tuple[pl.Series, pl.Series, pl.Series]:
    """The repaired values (blank becomes null), where NAME-001 repaired and where NAME-003 did."""
    odd = nowhere(values.len()) if empty(values) else certain(asked(values, _IS_ODD))
    if not odd.any():
        return values, odd, odd
    before = values.filter(odd)
    text, decoded = before, nowhere(before.len())
    while True:
        restored = _restored(text)
        decoded = decoded | (restored != text)
        step = _cleaned(restored)
        if (step == text).all():
            break
        text = step
    after = without(text, text == "")
    spaced = possible(after != before) & ~decoded
    return spread(values, odd, after), spread(odd, odd, spaced), spread(odd, odd, decoded)


def _tidy_together(columns: list[pl.Series]) -> list[tuple[pl.Series, pl.Series, pl.Series]]:
    """``tidy`` of each of some columns. Short ones are repaired at once: it is calls that cost, not values."""
    found = [tidy(part) for part in _together(columns)]
    if len(found) == len(columns):
        return found
    height = columns[0].len()
    values, spaced, decoded = ([part.slice(n * height, height) for n in range(len(columns))] for part in found[0])
    return list(zip(values, spaced, decoded, strict=True))


def _together(columns: list[pl.Series]) -> list[pl.Series]:
    """Short columns, one behind the other, as one; long ones as they are."""
    if len(columns) < 2 or columns[0].len() > FEW:
        return columns
    return [pl.concat([column.alias("") for column in columns])]


def _may_be_long(values: pl.Series) -> bool:
    longest = asked(values, _LONGEST).item()
    return isinstance(longest, int) and longest > LONGEST


def tidy_columns(sheet: Sheet, names: list[str]) -> None:
    """Repairs the text columns ``names`` of a sheet and drops what is absurdly long."""
    needed = {f.name for f in sheet.fields if required(f, sheet.version)}
    tidied = _tidy_together([sheet[name] for name in names])
    long = any(_may_be_long(part) for part in _together([values for values, _, _ in tidied]))
    for name, (values, spaced, decoded) in zip(names, tidied, strict=True):
        if spaced.any() or decoded.any():
            sheet.put(name, values)
            sheet.report(NAME_001, spaced, name)
            sheet.report(NAME_003, decoded, name)
        if long:
            drop_long(sheet, name, needed=name in needed)


def drop_long_lists(sheet: Sheet, names: list[str]) -> None:
    """``drop_long`` for columns that no row needs."""
    for name in names:
        drop_long(sheet, name, needed=False)


def drop_long(sheet: Sheet, name: str, *, needed: bool) -> None:
    """Nulls what is longer than any real value; keeps the row out where the value was required."""
    values = sheet[name]
    long = certain(asked(values, _LONG))
    if not long.any():
        return
    sheet.report(TXT_002 if needed else TXT_001, long, name)
    sheet.put(name, without(values, long))


def mended(text: str) -> str:
    """Undoes UTF-8 read as Windows-1252 or Latin-1, where the way back is exact; else the text itself."""
    for table, letters in _READINGS:
        try:
            found = bytes(letters[letter] for letter in text).decode("utf-8")
        except (KeyError, UnicodeDecodeError):
            continue
        if found != text and "".join(table[byte] for byte in found.encode()) == text:
            return found
    return text


def _restored(text: pl.Series) -> pl.Series:
    suspects = text.filter(asked(text, _IS_SUSPECT))
    table = {s: mended(s) for s in words(suspects)}
    table = {k: v for k, v in table.items() if k != v}
    return text.replace(table) if table else text


def _cleaned(text: pl.Series) -> pl.Series:
    return asked(text, _CLEANED)
