"""Names of people. They are reported on, never changed beyond what ``text`` repairs."""

from __future__ import annotations

import polars as pl

from transforms.catalogue import CATALOGUE
from transforms.issues import Action, Severity, declare
from transforms.marks import absent, certain, empty, without
from transforms.sheet import Sheet
from transforms.validate.required import REQ_001

NAMES = tuple(f.name for f in CATALOGUE["users"].fields if f.name.endswith("Name"))
NAME_007 = declare(
    "NAME-007", Severity.WARN, Action.REPORT, "A person without a given name or without a family name",
    "Nothing needs doing where a person has one name only; else fill the other one in the student system.",
    entity="users", fields=("givenName", "familyName"),
)  # fmt: skip
NAME_008 = declare(
    "NAME-008", Severity.WARN, Action.REPORT, "A placeholder in the place of a person's name (Test, Vacant, TBD)",
    "Take test accounts and vacant posts out of the export.",
    entity="users", fields=NAMES,
)  # fmt: skip
NAME_009 = declare(
    "NAME-009", Severity.WARN, Action.REPORT, "A name with digits, @, angle brackets, or a leading = + - @",
    "Correct the name in the student system. The hub keeps it as it is and escapes it wherever it is shown.",
    entity="users", fields=NAMES,
)  # fmt: skip
NAME_010 = declare(
    "NAME-010", Severity.BLOCK_RECORD, Action.QUARANTINE, "A name longer than 100 characters",
    "Shorten the name in the student system.",
    entity="users", fields=NAMES,
)  # fmt: skip
LONGEST = 100
_NOTHING = "-"
_PLACEHOLDER = (
    r"(?i)^(?:(?:test ?)?(?:student|teacher) ?[0-9]+|test(?: ?student| ?teacher)?|x{3,}|vacan(?:t|cy)|tb[da]|n/a"
    r"|none|unknown|teacher staff)$"
)
_STRANGE = r"[0-9@<>]|^[=+\-@]"
_LONG = pl.col("").str.len_bytes() > LONGEST
_NOBODY, _ODD = pl.col("").str.contains(_PLACEHOLDER), pl.col("").str.contains(_STRANGE)


def check_names(sheet: Sheet) -> None:
    """Reports on the names of a users sheet; a lone dash where a name is required says that there is none."""
    for name in ("givenName", "familyName"):
        if (nothing := sheet[name] == _NOTHING).any():
            sheet.put(name, without(sheet[name], certain(nothing)))
    given, family = absent(sheet["givenName"]), absent(sheet["familyName"])
    if given.any() or family.any():
        sheet.report(NAME_007, given & ~family, "givenName")
        sheet.report(NAME_007, family & ~given, "familyName")
        sheet.report(REQ_001, given & family, "familyName")
    for name in NAMES:
        if name not in sheet.frame.columns:
            continue
        values = sheet[name]
        if empty(values):
            continue
        about = values.to_frame("").select(long=_LONG, nobody=_NOBODY, strange=_ODD)
        if about["long"].any():
            sheet.report(NAME_010, values.str.len_chars() > LONGEST, name)
        sheet.report(NAME_008, about["nobody"], name)
        sheet.report(NAME_009, about["strange"], name)
