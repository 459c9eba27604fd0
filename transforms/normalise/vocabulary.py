"""Tokens of closed lists and true/false values, in any spelling that has one reading.

``translate`` is the one way in which odd spellings are mended: whatever is not yet right is read once per distinct
value, never per row.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

import polars as pl

from transforms.catalogue import Field
from transforms.catalogue.vocabularies import BOOLEAN, SEX, STATUS, Vocabulary
from transforms.issues import Action, Rule, Severity, declare
from transforms.marks import certain, empty, nowhere, one_of, renamed, words
from transforms.normalise.lists import placed
from transforms.sheet import Sheet, required, spread

VOC_001 = declare(
    "VOC-001", Severity.INFO, Action.FIX, "A listed word in another spelling (Active, TRUE, Y, school_year)",
    "The hub understood it. Write the standard's exact spelling in the export: lower case, true and false.",
)  # fmt: skip
VOC_002 = declare(
    "VOC-002", Severity.WARN, Action.DROP_VALUE, "A word that is not in OneRoster's list for this field",
    "Map the code to one of the listed words in the export, or to an ext: word where OneRoster 1.2 allows it.",
)  # fmt: skip
VOC_003 = declare(
    "VOC-003", Severity.BLOCK_RECORD, Action.QUARANTINE,
    "A required word that is not in OneRoster's list for this field",
    "Map the code to one of the listed words in the export, or to an ext: word where OneRoster 1.2 allows it.",
)  # fmt: skip
VOC_004 = declare(
    "VOC-004", Severity.INFO, Action.REPORT, "A word that only the other OneRoster version lists",
    "The hub accepts it. Declare the version in the manifest whose words the export uses.",
)  # fmt: skip
DEM_003 = declare(
    "DEM-003", Severity.INFO, Action.FIX, "Sex in another spelling (F, M, Female, unknown)",
    "The hub understood it. Write male, female, or in OneRoster 1.2 also unspecified or other.",
    entity="demographics", fields=("sex",),
)  # fmt: skip
USR_002 = declare(
    "USR-002", Severity.INFO, Action.FIX, "enabledUser in another spelling (TRUE, 1, Y)",
    "The hub understood it. Write true or false.",
    entity="users", fields=("enabledUser",),
)  # fmt: skip

_EXTENSION = re.compile(r"ext:[A-Za-z0-9._-]+")
_ALIASES: dict[str, dict[str, str]] = {
    BOOLEAN.name: {"1": "true", "y": "true", "yes": "true", "t": "true", "0": "false", "n": "false", "no": "false",
                   "f": "false"},
    SEX.name: {"m": "male", "f": "female", "u": "unspecified", "unknown": "unspecified", "notspecified": "unspecified"},
    STATUS.name: {"inactive": "tobedeleted", "deleted": "tobedeleted"},
}  # fmt: skip
_FIXED: Mapping[str, Rule] = {SEX.name: DEM_003}


def translate(
    sheet: Sheet, name: str, right: pl.Series, read: Callable[[str], str | None], *, fixed: Rule, bad: Rule,
) -> None:  # fmt: skip
    """Replaces what is not ``right`` by ``read(value)``: text is a repair, "" a blank cell, ``None`` unreadable."""
    if right.all():  # null where there is no value
        return
    odd = certain(~right)
    values = sheet[name].filter(odd)
    meant = {value: read(value) for value in words(values)}
    lost = _among(values, [v for v, m in meant.items() if m is None])
    same = _among(values, [v for v, m in meant.items() if m == v])
    sheet.replace(name, odd, renamed(values, {v: m or None for v, m in meant.items()}))
    sheet.report(fixed, spread(odd, odd, ~lost & ~same), name)
    sheet.report(bad, spread(odd, odd, lost), name)


def _among(values: pl.Series, some: list[str]) -> pl.Series:
    return one_of(values, some) if some else nowhere(values.len())


def read_enum(sheet: Sheet, field: Field) -> None:
    """Makes the column hold tokens of the field's vocabulary (of either version) or ``ext:`` words, else null."""
    vocabulary = field.vocabulary
    if vocabulary is None:
        return
    if empty(sheet[field.name]):
        return
    tokens = [*vocabulary.both, *vocabulary.only_12, *vocabulary.only_11]
    right = one_of(sheet[field.name], tokens)
    fixed = _FIXED.get(vocabulary.name, VOC_001)
    reader = token_reader(vocabulary)
    translate(sheet, field.name, right, reader, fixed=fixed, bad=bad_word(sheet, field))
    others = vocabulary.only_12 if sheet.version == "1.1" else ()
    if others:
        sheet.report(VOC_004, one_of(sheet[field.name], others), field.name)


def read_enums(sheet: Sheet, field: Field) -> None:
    """Makes a column of several tokens in one cell a sorted List of them; other words are dropped."""
    vocabulary = field.vocabulary
    if vocabulary is None:
        return
    reader = token_reader(vocabulary)
    cells = sheet[field.name]
    distinct = words(cells)
    read = [[(part.strip(), reader(part)) for part in cell.split(",") if part.strip()] for cell in distinct]
    lists = [sorted({token for _, token in parts if token}) or None for parts in read]
    fixed = [cell for cell, parts in zip(distinct, read, strict=True) if any(t and t != p for p, t in parts)]
    lost = [cell for cell, parts in zip(distinct, read, strict=True) if any(t is None for _, t in parts)]
    sheet.report(VOC_001, cells.is_in(fixed), field.name)
    sheet.report(VOC_002, cells.is_in(lost), field.name)
    table = pl.DataFrame({"cell": distinct, "items": lists}, schema={"cell": pl.String, "items": pl.List(pl.String)})
    sheet.put(field.name, placed(cells, table))


def read_boolean(sheet: Sheet, field: Field) -> None:
    """Makes the column Boolean."""
    if empty(sheet[field.name]):
        sheet.put(field.name, sheet[field.name].cast(pl.Boolean))
        return
    right = one_of(sheet[field.name], BOOLEAN.both)
    fixed = USR_002 if field.name == "enabledUser" else VOC_001
    translate(sheet, field.name, right, token_reader(BOOLEAN), fixed=fixed, bad=bad_word(sheet, field))
    sheet.put(field.name, sheet[field.name] == "true")


def bad_word(sheet: Sheet, field: Field) -> Rule:
    """The rule for an unreadable word: the row cannot go on without a required one."""
    return VOC_003 if required(field, sheet.version) else VOC_002


def token_reader(vocabulary: Vocabulary) -> Callable[[str], str | None]:
    """A function from any spelling to the token, ``""`` for a blank cell, ``None`` where there is no single reading."""
    tokens = (*vocabulary.both, *vocabulary.only_12, *vocabulary.only_11)
    table = {_folded(t): t for t in tokens} | _ALIASES.get(vocabulary.name, {})

    def read(value: str) -> str | None:
        text = value.strip()
        if vocabulary.extensible and _EXTENSION.fullmatch(text):
            return text
        return "" if not text else table.get(_folded(text))

    return read


def _folded(text: str) -> str:
    return re.sub(r"[\s_\u200b\ufeff-]", "", text).lower()
