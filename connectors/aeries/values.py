"""Single values of Aeries as OneRoster has them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import date, timedelta
from typing import Any

from connectors.aeries.fields import cell, whole

SEXES = {"M": "male", "F": "female", "X": "other"}
#: California's codes of races (CALPADS): by their first digit, and those that stand alone. Filipinos report as Asian.
_RACES = {"1": "americanIndianOrAlaskaNative", "2": "asian", "3": "nativeHawaiianOrOtherPacificIslander", "4": "asian",
          "6": "blackOrAfricanAmerican", "7": "white"}  # fmt: skip
_RACE_DIGITS = 3
_JULY, _YEAR_LENGTH = 7, 4
_LAST_GRADE = 12
_MOST_GRADES = 16


def grade(given: Any, others: Mapping[str, str]) -> str | None:
    """A grade's CEDS code: 0 is kindergarten. ``others``: the district's own; what nobody knows stays."""
    word = cell(given)
    if word is None or word in others:
        return None if word is None else others[word]
    found = whole(word)
    if found is None or not 0 <= found <= _LAST_GRADE:
        return word
    return "KG" if found == 0 else f"{found:02d}"


def grades(low: int | None, high: int | None, others: Mapping[str, str]) -> str | None:
    """All grades from the lowest to the highest, as the cell of a list."""
    if low is None or high is None or not 0 <= high - low < _MOST_GRADES:
        return None
    return ",".join(filter(None, (grade(one, others) for one in range(low, high + 1)))) or None


def day(given: Any) -> date | None:
    """The day in one of Aeries' moments (2003-11-11T00:00:00)."""
    try:
        return date.fromisoformat((cell(given) or "")[:10])
    except ValueError:
        return None


def day_text(given: Any) -> str | None:
    """A day as a cell; what is no day stays, for the hub to tell."""
    found = day(given)
    return cell(given) if found is None else found.isoformat()


def after(given: Any) -> str | None:
    """The day after the last one, as a cell: OneRoster's ends are exclusive."""
    found = day(given)
    return None if found is None else (found + timedelta(days=1)).isoformat()


def races(codes: Iterable[Any]) -> dict[str, str]:
    """The fields of OneRoster that are true for somebody with some codes of races."""
    words = [word for word in map(cell, codes) if word and len(word) == _RACE_DIGITS and word.isdecimal()]
    return {_RACES[word[0]]: "true" for word in words if word[0] in _RACES}


def school_year(given: Any, today: date) -> int:
    """The calendar year in which a school year ends: of Aeries' ``2025-2026``, else of a day. It begins in July."""
    begins, dash, ends = (cell(given) or "").partition("-")
    if dash and len(ends) == len(begins) == _YEAR_LENGTH and ends.isdecimal() and ends.isascii():
        return int(ends)
    return today.year + (today.month >= _JULY)


def periods(first: Any, block: Any) -> str | None:
    """The periods of a section, as the cell of a list: the first one, and how many there are."""
    word, length = cell(first), whole(block) or 1
    number = whole(word)
    if word is None or number is None or not 1 < length < _MOST_GRADES:
        return word
    return ",".join(str(number + more) for more in range(length))


def names(mailing: str) -> tuple[str | None, str]:
    """Given and family name in a whole name."""
    family, comma, given = mailing.partition(",")
    if comma:
        return given.strip() or None, family.strip() or mailing
    given, _, family = mailing.rpartition(" ")
    return given.strip() or None, family
