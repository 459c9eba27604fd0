"""Grade levels: any usual spelling to the CEDS codes. What has no mapping is never turned into "Other"."""

from __future__ import annotations

import re

import polars as pl

from transforms.catalogue import Field
from transforms.catalogue.vocabularies import GRADES
from transforms.issues import Action, Severity, declare
from transforms.marks import absent, as_list, beside, empty, renamed, rows_of, words
from transforms.normalise.lists import items, listed, tidied
from transforms.sheet import METADATA, Sheet

GRD_001 = declare(
    "GRD-001", Severity.INFO, Action.FIX, "A grade in another spelling (K, 1, Kindergarten, 5th)",
    "The hub understood it. The codes are IT PR PK TK KG 01 to 13 PS UG Other.",
    fields=("grades",),
)  # fmt: skip
GRD_002 = declare(
    "GRD-002", Severity.WARN, Action.DROP_VALUE, "A grade without a known meaning; it is kept in the metadata only",
    "Map the grade to one of the codes IT PR PK TK KG 01 to 13 PS UG Other in the export.",
    fields=("grades",),
)  # fmt: skip

#: Where the unmapped spelling is kept.
RAW = METADATA + "rosterhub.unmappedGrades"
_WORDS = {
    "k": "KG", "kg": "KG", "0": "KG", "00": "KG", "kindergarten": "KG", "kinder": "KG",
    "-1": "PK", "p4": "PK", "pk": "PK", "prek": "PK", "prekindergarten": "PK", "pre-k": "PK",
    "tk": "TK", "transitionalkindergarten": "TK",
    "it": "IT", "infant": "IT", "toddler": "IT", "infanttoddler": "IT",
    "pr": "PR", "preschool": "PR",
    "12+": "13", "ps": "PS", "postsecondary": "PS", "ug": "UG", "ungraded": "UG", "other": "Other",
    "first": "01", "second": "02", "third": "03", "fourth": "04", "fifth": "05", "sixth": "06", "seventh": "07",
    "eighth": "08", "ninth": "09", "tenth": "10", "eleventh": "11", "twelfth": "12",
}  # fmt: skip
_NUMBER = re.compile(r"0*([1-9]|1[0-3])(?:st|nd|rd|th)?", re.ASCII)


def grade(text: str) -> str | None:
    """The CEDS code that ``text`` means, or ``None``."""
    if text in GRADES.both:
        return text
    folded = re.sub(r"[\s_]", "", text.lower())
    for spelling in (folded, re.sub(r"(?<=[a-z])-", "", folded), re.sub(r"^(?:grade|gr)[.:]?|grade$", "", folded)):
        if spelling in _WORDS:
            return _WORDS[spelling]
        if m := _NUMBER.fullmatch(spelling):
            return f"{int(m[1]):02d}"
    return None


def read_grades(sheet: Sheet, field: Field) -> None:
    """Makes a column of grades a List of CEDS codes; unmapped items go to the metadata."""
    cells = tidied(sheet, field.name)
    if empty(cells):
        sheet.put(field.name, cells.cast(pl.List(pl.String)))
        return
    table = items(cells)
    code = renamed(table["item"], {text: grade(text) for text in words(table["item"])})
    unknown = absent(code)
    codes = rows_of(beside([table["cell"], table["place"], code]), ~unknown)
    if codes["cell"].n_unique() < codes.height:  # two spellings of one grade
        codes = codes.unique(["cell", "item"])
    mended = table["cell"].filter(code != table["item"])
    if mended.len():
        sheet.report(GRD_001, cells.is_in(as_list(mended)), field.name)
    if unknown.any():
        lost = table.filter(unknown).group_by("cell", maintain_order=True).agg(pl.col("item").str.join(","))
        sheet.report(GRD_002, cells.is_in(as_list(lost["cell"])), field.name)
        kept = cells.alias("cell").to_frame().join(lost, on="cell", how="left", maintain_order="left")["item"]
        sheet.put(RAW, kept)
    sheet.put(field.name, listed(cells, codes))
