"""Rules about birth dates, races and places of birth. Nobody's race is ever guessed."""

from __future__ import annotations

from datetime import date
from typing import Final

import polars as pl

from transforms.catalogue.vocabularies import GRADES
from transforms.issues import Action, Phase, Severity
from transforms.marks import absent, certain, filled, possible, present, rows_of
from transforms.rules.given import BEFORE, Given, found, in_fields, nothing, rule, whole

_BIRTH = ("birthDate",)
#: The age at the begin of a school year, by grade.
_AGES = {"IT": 1, "PR": 3, "PK": 4, "TK": 4, "KG": 5} | {g: int(g) + 5 for g in GRADES.both[5:17]}
_GRADES = pl.col("grades").list
#: The age of those who have one grade.
_USUAL_AGE = pl.when(_GRADES.len() == 1).then(_GRADES.first()).replace_strict(
    list(_AGES), list(_AGES.values()), default=None, return_dtype=pl.Int32
)  # fmt: skip
_RACES = (
    "americanIndianOrAlaskaNative", "asian", "blackOrAfricanAmerican", "nativeHawaiianOrOtherPacificIslander", "white",
)  # fmt: skip
_SEVERAL, _HISPANIC = "demographicRaceTwoOrMoreRaces", "hispanicOrLatinoEthnicity"
_SAYS_HISPANIC = r'(?i)"[^"]*(?:race|ethnic)[^"]*":"(?:hispanic|latin[oax@])\b[^"]*"'
_FEWEST = 20


@rule(
    "DOB-003", Severity.WARN, Action.REPORT, "A birth date in the future, or an age that no student or staff has",
    "Correct the birth date in the student system. What ages are usual can be set.",
    entity="demographics", fields=_BIRTH, phase=Phase.CROSS_ENTITY,
    reads={"demographics": _BIRTH, "users": ("student", "staff")},
    params={"youngest_student": 2, "oldest_student": 23, "youngest_staff": 16},
)  # fmt: skip
def ages(given: Given) -> pl.DataFrame:
    """People who are not born yet, and students and staff outside of the bounds."""
    if given.today is None:
        return nothing()
    rows = _with_users(given, "student", "staff")
    bounds, age = given.params, _age(rows["birthDate"], given.today)
    odd = (age < bounds["youngest_student"]) | (age > bounds["oldest_student"])
    young = age < bounds["youngest_staff"]
    student, staff = certain(rows["student"]), certain(rows["staff"])
    return found(rows, (age < 0) | (student & ~staff & odd) | (staff & young))


@rule(
    "DOB-004", Severity.INFO, Action.REPORT, "A student's age does not fit the grade",
    "Look which is wrong, the birth date or the grade, and correct it in the student system.",
    entity="demographics", fields=_BIRTH, phase=Phase.CROSS_ENTITY,
    reads={"demographics": _BIRTH, "users": ("student", "grades")}, params={"years": 3},
)  # fmt: skip
def age_and_grade(given: Given) -> pl.DataFrame:
    """Students more than ``years`` younger or older than those of their grade are in the course of a school year."""
    if given.today is None:
        return nothing()
    rows = _with_users(given, "student", "grades")
    usual = rows.select_seq(_USUAL_AGE).to_series()
    age, years = _age(rows["birthDate"], given.today), given.params["years"]
    odd = (age < usual - years) | (age > usual + 1 + years)
    return found(rows, certain(rows["student"]) & odd & (age >= 0))


@rule(
    "DOB-005", Severity.INFO, Action.REPORT, "Very many people with one birth date",
    "Look whether a system fills it in where it does not know the date. The hub keeps the dates.",
    entity="demographics", fields=_BIRTH, phase=Phase.ENTITY, reads={"demographics": _BIRTH}, params={"share": 0.01},
)  # fmt: skip
def spikes(given: Given) -> pl.DataFrame:
    """Birth dates of more than 20 people and a ``share`` of all: one finding, about the file."""
    dates = filled(given["demographics"]["birthDate"])
    if dates.len() <= _FEWEST:
        return nothing()
    most = dates.value_counts()["count"].max()
    assert isinstance(most, int), "there are dates"
    return whole() if most > max(_FEWEST, given.params["share"] * dates.len()) else nothing()


@rule(
    "DOB-006", Severity.WARN, Action.REPORT, "A birth date that changed by more than a slip since the last sync",
    "Look whether the sourcedId names another person now. If so, give that person a sourcedId of their own.",
    entity="demographics", fields=_BIRTH, phase=Phase.CROSS_SNAPSHOT, reads={"demographics": _BIRTH},
)  # fmt: skip
def other_birth(given: Given) -> pl.DataFrame:
    """People of whom less than two of year, month and day are as before, nor day and month swapped."""
    rows = given["demographics"]
    now, was = rows["birthDate"].dt, rows["birthDate" + BEFORE].dt
    same = [now.year() == was.year(), now.month() == was.month(), now.day() == was.day()]
    kept = sum((one.cast(pl.Int8) for one in same), pl.repeat(0, rows.height, dtype=pl.Int8, eager=True))
    turned = same[0] & (now.month() == was.day()) & (now.day() == was.month())
    return found(rows, (kept < 2) & ~turned)


@rule(
    "DEM-001", Severity.WARN, Action.SUGGEST, "Several races of one person, and two or more races is not true",
    "Set demographicRaceTwoOrMoreRaces beside each race, or correct the races. The hub changes none of them.",
    entity="demographics", fields=(_SEVERAL,), phase=Phase.ROW, reads={"demographics": (*_RACES, _SEVERAL)},
)  # fmt: skip
def several_races(given: Given) -> pl.DataFrame:
    """People with two races or more whose flag of that is not true."""
    rows = given["demographics"]
    number = rows.select(pl.sum_horizontal(pl.col(_RACES).fill_null(value=False).cast(pl.UInt8))).to_series()
    return found(rows, (number > 1) & ~certain(rows[_SEVERAL]))


def _hispanic(_name: str, values: pl.Series) -> pl.Series:
    return possible(values)


@rule(
    "DEM-002", Severity.INFO, Action.KEEP, "Hispanic or Latino written as a race, in a column of the source's own",
    "Nothing needs doing: the hub set hispanicOrLatinoEthnicity, which was empty. What was written stays in metadata.",
    entity="demographics", fields=(_HISPANIC,), phase=Phase.ROW, reads={"demographics": (_HISPANIC, "metadata")},
    fix=_hispanic,
)  # fmt: skip
def hispanic_as_race(given: Given) -> pl.DataFrame:
    """People of whom a metadata column about race or ethnicity says so, and the flag nothing."""
    rows = given["demographics"]
    if rows["metadata"].null_count() == rows.height:
        return nothing()
    return found(rows, rows["metadata"].str.contains(_SAYS_HISPANIC) & absent(rows[_HISPANIC]))


_COUNTRIES: Final = {
    "usa": "US", "u.s.": "US", "u.s.a.": "US", "united states": "US", "united states of america": "US", "mex": "MX",
    "mexico": "MX", "can": "CA", "canada": "CA",
}  # fmt: skip
_STATES: Final = {
    "alabama": "AL", "alaska": "AK", "arizona": "AZ", "arkansas": "AR", "california": "CA", "colorado": "CO",
    "connecticut": "CT", "delaware": "DE", "district of columbia": "DC", "florida": "FL", "georgia": "GA",
    "hawaii": "HI", "idaho": "ID", "illinois": "IL", "indiana": "IN", "iowa": "IA", "kansas": "KS", "kentucky": "KY",
    "louisiana": "LA", "maine": "ME", "maryland": "MD", "massachusetts": "MA", "michigan": "MI", "minnesota": "MN",
    "mississippi": "MS", "missouri": "MO", "montana": "MT", "nebraska": "NE", "nevada": "NV", "new hampshire": "NH",
    "new jersey": "NJ", "new mexico": "NM", "new york": "NY", "north carolina": "NC", "north dakota": "ND",
    "ohio": "OH", "oklahoma": "OK", "oregon": "OR", "pennsylvania": "PA", "puerto rico": "PR", "rhode island": "RI",
    "south carolina": "SC", "south dakota": "SD", "tennessee": "TN", "texas": "TX", "utah": "UT", "vermont": "VT",
    "virginia": "VA", "washington": "WA", "west virginia": "WV", "wisconsin": "WI", "wyoming": "WY",
}  # fmt: skip
_PLACES: Final = {"countryOfBirthCode": _COUNTRIES, "stateOfBirthAbbreviation": _STATES}
_SMALL_CODE = r"^[A-Za-z]{2}$"


def _code(name: str, values: pl.Series) -> pl.Series:
    return values.to_frame("").select_seq(_CODES[name]).to_series()


def _codes(table: dict[str, str]) -> pl.Expr:
    text = pl.col("")
    named = text.str.to_lowercase().replace_strict(
        list(table), list(table.values()), default=None, return_dtype=pl.String
    )  # fmt: skip
    return pl.coalesce(named, pl.when(text.str.contains(_SMALL_CODE)).then(text.str.to_uppercase()), text)


_CODES: Final = {name: _codes(table) for name, table in _PLACES.items()}


@rule(
    "DEM-004", Severity.INFO, Action.FIX, "A country or state of birth by its name, or by its code in small letters",
    "The hub understood it. Write codes of two capitals in the export, for example US and NM.",
    entity="demographics", fields=tuple(_PLACES), phase=Phase.ROW, reads={"demographics": tuple(_PLACES)}, fix=_code,
)  # fmt: skip
def places_of_birth(given: Given) -> pl.DataFrame:
    """Where a country or state has a code, and another spelling of it stands there."""
    rows = given["demographics"]
    named = {name: rows[name] for name in _PLACES if rows[name].null_count() < rows.height}
    return in_fields({name: found(rows, values != _code(name, values)) for name, values in named.items()})


def _with_users(given: Given, *names: str) -> pl.DataFrame:
    rows = rows_of(given["demographics"], present(given["demographics"]["birthDate"]))
    return rows.join(given["users"][["key", *names]], on="key", how="left", maintain_order="left")


def _age(births: pl.Series, today: date) -> pl.Series:
    """Whole years; negative for who is not born yet."""
    birth = pl.col("").dt
    before = (birth.month() > today.month) | ((birth.month() == today.month) & (birth.day() > today.day))
    return births.to_frame("").select_seq(today.year - birth.year() - before.cast(pl.Int32)).to_series()
