"""How alike two birth dates are, held against their digits as they are written."""

from __future__ import annotations

from datetime import date

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from transforms.matching.columns import Columns
from transforms.matching.compare import _birth
from transforms.matching.few import Few
from transforms.matching.normal import PERSON, normalised
from transforms.matching.sides import Sides
from transforms.matching.weights import Birth

YEARS = st.sampled_from([1999, 2001, 2009, 2010, 2011, 2012, 2021, 2101])
MONTHS, DAYS = st.sampled_from([1, 2, 10, 11, 12]), st.sampled_from([1, 2, 9, 10, 11, 12, 20, 21])
#: So few different digits that two dates are often nearly one.
NEAR = st.builds(date, YEARS, MONTHS, DAYS)
DATES = st.none() | NEAR | st.dates(date(1000, 1, 1), date(2999, 12, 31))
PAIRS = st.one_of(
    st.tuples(DATES, DATES),
    st.builds(lambda day, year: (day, day.replace(year=year)), NEAR, YEARS),
    st.builds(lambda day, month: (day, day.replace(month=month)), NEAR, MONTHS),
    st.builds(lambda day, other: (day, day.replace(day=other)), NEAR, DAYS),
)


def levels(born: list[tuple[date | None, date | None]], *, few: bool) -> list[int]:
    both = [one for pair in born for one in pair]
    frame = pl.DataFrame([{"rid": rid, "given": "Ada", "birth_date": day} for rid, day in enumerate(both)], PERSON)
    people = Columns(normalised(Few.of(frame) if few else frame))
    rows = np.arange(0, len(both), 2)
    found: list[int] = _birth(Sides(people, rows, rows + 1)).tolist()
    return found


def said(one: date | None, other: date | None) -> int:
    """The level, by what is written."""
    if one is None or other is None:
        return Birth.MISSING
    a, b = (f"{day.year:04}{day.month:02}{day.day:02}" for day in (one, other))
    if a == b:
        return Birth.EQUAL
    if one.year == other.year and (one.month, one.day) == (other.day, other.month):
        return Birth.SWAPPED
    places = [at for at in range(8) if a[at] != b[at]]
    # The last two digits of the year, those of the month, or of the day.
    neighbours = places in ([2, 3], [4, 5], [6, 7]) and [a[at] for at in places] == [b[at] for at in reversed(places)]
    if len(places) == 1 or neighbours:
        return Birth.SLIP
    same = (one.year == other.year) + (one.month == other.month) + (one.day == other.day)
    return Birth.PARTS if same == 2 else Birth.DIFFERENT


@pytest.mark.parametrize("few", [True, False])
@given(born=st.lists(PAIRS, min_size=1, max_size=30))
def test_birth_dates_are_as_alike_as_their_digits_say(
    born: list[tuple[date | None, date | None]], *, few: bool
) -> None:
    assert levels(born, few=few) == [said(*pair) for pair in born]


@pytest.mark.parametrize(
    ("one", "other", "level"),
    [
        ("2012-03-04", "2012-04-03", Birth.SWAPPED),
        ("2012-12-21", "2012-12-12", Birth.SLIP),
        ("2012-05-07", "2021-05-07", Birth.SLIP),
        ("2012-05-07", "2013-05-07", Birth.SLIP),
        ("2012-05-07", "2012-05-19", Birth.PARTS),
        ("1912-05-07", "2112-05-07", Birth.PARTS),
        ("2012-05-07", "2013-06-07", Birth.DIFFERENT),
    ],
)
def test_dates_that_are_nearly_one(one: str, other: str, level: int) -> None:
    pair = date.fromisoformat(one), date.fromisoformat(other)
    assert levels([pair], few=True) == levels([pair], few=False) == [level]
