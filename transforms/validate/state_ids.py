"""Identifiers that a state gives: of userIds the items of such a type, and userMasterIdentifier. All of them stay.

Who is who is nobody's to decide by one number that may be wrong: the hub tells, and links nobody by it of itself.
"""

from __future__ import annotations

import polars as pl

from transforms.issues import Action, Phase, Severity, declare
from transforms.marks import as_list, beside, certain, nowhere, present, rows_of
from transforms.sheet import Sheet
from transforms.validate.hashed import repeats

ID_006 = declare(
    "ID-006", Severity.WARN, Action.REPORT, "A placeholder in the place of a state identifier (000…, 999…, 123456789)",
    "Correct the identifier in the student system, or leave it empty until the state has given one.",
    entity="users", fields=("userIds", "userMasterIdentifier"),
)  # fmt: skip
ID_007 = declare(
    "ID-007", Severity.WARN, Action.REPORT, "One state identifier of several users",
    "Look whether these are one person who was entered twice, or whether one of them has somebody else's number. The "
    "hub keeps all of them apart.",
    entity="users", fields=("userIds", "userMasterIdentifier"), phase=Phase.ENTITY,
)  # fmt: skip
ID_008 = declare(
    "ID-008", Severity.WARN, Action.REPORT, "Two different state identifiers of one user",
    "Take the wrong one out of userIds. The hub keeps both.",
    entity="users", fields=("userIds",),
)  # fmt: skip

_STATE = r"(?i)^(?:ssid|state(?:[ _-]?(?:student|staff|unique))?(?:[ _-]?id(?:entifier)?)?)$"
_PLACEHOLDER = rf"^(?:{'|'.join(f'{digit}{{5,}}' for digit in range(10))}|0+|9{{3,}}|0?12345678(?:90?)?)$"
_FIELDS = ("userIds", "userMasterIdentifier")


def check_state_ids(sheet: Sheet) -> pl.DataFrame:
    """Reports what is wrong with each user's own; those that look right for ``check_shared`` (key, line, field, id)."""
    parts = [_items(sheet)]
    if "userMasterIdentifier" in sheet.frame.columns:
        parts.append(_identifiers(sheet.frame, "userMasterIdentifier", sheet["userMasterIdentifier"]))
    rows = pl.concat(parts)
    odd = rows["id"].str.contains(_PLACEHOLDER) if rows.height else nowhere(0)
    if odd.any():
        for name in _FIELDS:
            lines = rows["line"].filter(odd & (rows["field"] == name))
            if lines.len():
                sheet.report(ID_006, sheet["line"].is_in(as_list(lines)), name)
        rows = rows_of(rows, certain(~odd))
    own = parts[0]
    once = own["line"].n_unique() == own.height
    several = own["line"].clear() if once else own.filter(pl.col("id").n_unique().over("line") > 1)["line"]
    if several.len():
        sheet.report(ID_008, sheet["line"].is_in(as_list(several)), "userIds")
    out = sheet["line"].filter(sheet.out)
    return rows.filter(~pl.col("line").is_in(as_list(out))) if out.len() else rows


def check_shared(rows: pl.DataFrame) -> dict[str, pl.DataFrame]:
    """By field the users (key, line, cause) who share an identifier with another one; the first by key is the cause."""
    marks = rows["field"].hash(0) ^ rows["id"].hash(1)
    again = pl.Series(repeats(marks))
    if not again.len():
        return {}
    twice = rows.filter(marks.is_in(as_list(again)))
    shared = twice.filter(pl.col("key").n_unique().over("field", "id") > 1)
    first = shared.with_columns(cause=pl.lit("users:") + pl.col("key").min().over("field", "id"))
    return {
        name: found.sort("key", "line").unique("key", keep="first", maintain_order=True)
        for name in _FIELDS
        if (found := first.filter(field=name).select("key", "line", "cause")).height
    }


def _items(sheet: Sheet) -> pl.DataFrame:
    """The state's identifiers among userIds: key, line, field, id."""
    cells = rows_of(sheet.frame[["key", "line", "userIds"]], present(sheet["userIds"]))
    items = cells.explode("userIds").unnest("userIds")
    of_state = rows_of(items, items["type"].str.contains(_STATE)) if items.height else items
    return _identifiers(of_state, "userIds", of_state["identifier"])


def _identifiers(rows: pl.DataFrame, name: str, ids: pl.Series) -> pl.DataFrame:
    """Key, line, field (the name) and id, where there is one."""
    field = pl.Series("field", [name]).new_from_index(0, rows.height)
    return rows_of(beside([rows["key"], rows["line"], field, ids.alias("id")]), present(ids))
