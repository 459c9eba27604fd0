"""Days and years. A spelling is understood where it has one reading only; days and months are never guessed.

``3/4/2025`` alone is ambiguous. It is read where another date of the same column and batch shows the order
(``8/25/2025``) and none shows the opposite.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from datetime import date

import polars as pl

from transforms.catalogue import Field
from transforms.issues import Action, Phase, Severity, declare, one
from transforms.marks import absent, asked, certain, empty, words
from transforms.normalise.vocabulary import translate
from transforms.sheet import Sheet, file_of, required

_ISO = "Write dates as YYYY-MM-DD in the export, for example 2025-08-25."
DAT_004 = declare("DAT-004", Severity.INFO, Action.FIX, "A date in another spelling with one possible reading", _ISO)
DAT_005 = declare(
    "DAT-005", Severity.WARN, Action.DROP_VALUE,
    "Not a date, a two-digit year, a spreadsheet's serial number, or day and month cannot be told apart", _ISO,
)  # fmt: skip
DAT_006 = declare(
    "DAT-006", Severity.BLOCK_RECORD, Action.QUARANTINE,
    "A required date is not a date, or day and month cannot be told apart", _ISO,
)  # fmt: skip
DAT_008 = declare(
    "DAT-008", Severity.INFO, Action.FIX, "A school year written as two years (2024-2025)",
    "The hub took the year in which it ends. Write that year alone, for example 2025.",
    entity="academicSessions", fields=("schoolYear",),
)  # fmt: skip
DOB_001 = declare(
    "DOB-001", Severity.WARN, Action.DROP_VALUE,
    "A birth date is not a date, has a two-digit year, is a serial number, or can be read in two ways", _ISO,
    entity="demographics", fields=("birthDate",),
)  # fmt: skip
DOB_002 = declare(
    "DOB-002", Severity.WARN, Action.HOLD, "Nothing tells which is the day and which the month of birth dates",
    "Write dates as YYYY-MM-DD in the export, or say in the source's transform which comes first. The hub went on "
    "without those dates.",
    entity="demographics", fields=("birthDate",), phase=Phase.ENTITY, since="0.2",
)  # fmt: skip

#: So many different birth dates that can be read in two ways are no accident.
_MANY = 20
FIRST_YEAR, LAST_YEAR = 1900, 2199
_TIME = r"(?:[T ]\d{1,2}:\d{2}(?::\d{2}(?:\.\d+)?)?\s*(?:[AaPp][Mm])?\s*(?:Z|[+-]\d{2}:?\d{2})?)?"
_YEAR_FIRST = re.compile(rf"(\d{{4}})([-/.])(\d{{1,2}})\2(\d{{1,2}}){_TIME}", re.ASCII)
_PLAIN = re.compile(r"(\d{4})(\d{2})(\d{2})", re.ASCII)
_YEAR_LAST = re.compile(rf"(\d{{1,2}})([-/.])(\d{{1,2}})\2(\d{{4}}){_TIME}", re.ASCII)
_YEARS = re.compile(r"(\d{4})\s*[-/\u2013]\s*(\d{4}|\d{2})", re.ASCII)
_MONTHS = 12
_DAY = pl.col("").str.to_date("%Y-%m-%d", strict=False)
_IS_YEAR = pl.col("").str.contains(r"^(?:19|20|21)[0-9]{2}$")
_LENGTH = pl.col("").str.len_bytes()
_FIRST_DAY, _LAST_DAY = date(FIRST_YEAR, 1, 1), date(LAST_YEAR, 12, 31)


def read_date(sheet: Sheet, field: Field) -> None:
    """Makes the column Date."""
    values = sheet[field.name]
    if empty(values):
        sheet.put(field.name, values.cast(pl.Date))
        return
    day, length = values.to_frame("").select_seq(day=_DAY, length=_LENGTH).get_columns()
    usual = (day >= _FIRST_DAY) & (day <= _LAST_DAY) & (length == len("YYYY-MM-DD"))
    right = absent(values) | certain(usual)
    if right.all():
        sheet.put(field.name, day)
        return
    bad = DAT_006 if required(field, sheet.version) else DOB_001 if field.name == "birthDate" else DAT_005
    odd = words(values.filter(~right))
    reader = date_reader(odd)
    if bad is DOB_001 and sum(reader(v) is None and _YEAR_LAST.fullmatch(v.strip()) is not None for v in odd) > _MANY:
        file = file_of(sheet.entity)
        sheet.findings.append(one(DOB_002, entity=sheet.entity.name, file=file, field=field.name))
    translate(sheet, field.name, right, reader, fixed=DAT_004, bad=bad)
    sheet.put(field.name, sheet[field.name].str.to_date("%Y-%m-%d", strict=False))


def read_moment(sheet: Sheet, field: Field) -> None:
    """Makes a column of days hold moments (UTC): the last second of a day that something is due, else its first."""
    read_date(sheet, field)
    time = pl.time(23, 59, 59) if field.name == "dueDate" else pl.time(0)
    sheet.put(
        field.name,
        sheet.frame.select(pl.col(field.name).dt.combine(time, "ms").dt.replace_time_zone("UTC")).to_series(),
    )


def read_year(sheet: Sheet, field: Field) -> None:
    """Makes the column hold four digits: the year in which a school year ends."""
    bad = DAT_006 if required(field, sheet.version) else DAT_005
    translate(sheet, field.name, asked(sheet[field.name], _IS_YEAR), _year, fixed=DAT_008, bad=bad)


def date_reader(values: Iterable[str]) -> Callable[[str], str | None]:
    """A reader of odd spellings; ``values`` are all of one column, from which the order of day and month is learnt."""
    firsts = [(int(m[1]), int(m[3])) for v in values if (m := _YEAR_LAST.fullmatch(v.strip()))]
    day_first = any(a > _MONTHS for a, _ in firsts)
    month_first = any(b > _MONTHS for _, b in firsts)
    order = "day" if day_first and not month_first else "month" if month_first and not day_first else ""

    def read(value: str) -> str | None:
        text = value.strip()
        if not text:
            return ""
        if m := _YEAR_FIRST.fullmatch(text):
            return _day(m[1], m[3], m[4])
        if m := _PLAIN.fullmatch(text):
            return _day(m[1], m[2], m[3])
        if m := _YEAR_LAST.fullmatch(text):
            readings = {"month": _day(m[4], m[1], m[3]), "day": _day(m[4], m[3], m[1])}
            if order:
                return readings[order]
            possible = {r for r in readings.values() if r}
            return possible.pop() if len(possible) == 1 else None
        return None

    return read


def _day(year: str, month: str, day: str) -> str | None:
    try:
        found = date(int(year), int(month), int(day))
    except ValueError:
        return None
    return found.isoformat() if FIRST_YEAR <= found.year <= LAST_YEAR else None


def _year(value: str) -> str | None:
    text = value.strip()
    if m := _YEARS.fullmatch(text):
        end = m[2] if len(m[2]) > 2 else m[1][:2] + m[2]
        return end if int(end) == int(m[1]) + 1 and FIRST_YEAR <= int(end) <= LAST_YEAR else None
    plain = text.isascii() and text.isdigit() and len(text) == len("YYYY") and FIRST_YEAR <= int(text) <= LAST_YEAR
    return text if plain or not text else None
