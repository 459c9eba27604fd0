"""What is compared, as arrays of numbers: a row of them for each record, so that pairs are compared by indexing."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from functools import cached_property
from typing import TypeVar

import numpy as np
import numpy.typing as npt
import polars as pl

from transforms.marks import empty
from transforms.matching.few import People
from transforms.matching.hashes import MANY, U64, Part, Values, mixed, of_texts

I32 = npt.NDArray[np.int32]
U8 = npt.NDArray[np.uint8]
Bools = npt.NDArray[np.bool_]
Number = TypeVar("Number", bound=np.generic)
#: A date that is missing.
NO_DAY = np.iinfo(np.int32).min
_EPOCH = date(1970, 1, 1).toordinal()
#: As many entries of a list are compared; what lies behind them is no evidence.
LONGEST = {"family": 3, "nicknames": 4, "ids": 4, "guardians": 9, "schools": 4}
_GRADES = {"IT": -4, "PR": -3, "PK": -2, "TK": -1, "KG": 0, **{f"{n:02}": n for n in range(1, 14)}, "PS": 13}
NO_GRADE = np.int8(99)
_HOUSE, _BEHIND_HOUSE = re.compile(r"(\d+)\b"), re.compile(r"(?:\d+ )?(.{1,6})")


@dataclass(frozen=True)
class Columns:
    """The arrays of normalised people. Hashes are 0, numbers 0 and days ``NO_DAY`` where a value is missing."""

    people: People

    def __len__(self) -> int:
        """How many records there are."""
        return self.people.height

    def values(self, name: str) -> Values:
        """The values of a column: a list where they are few."""
        values = self.people[name]
        return values.to_list() if isinstance(values, pl.Series) and len(values) < MANY else values

    @cached_property
    def rid(self) -> npt.NDArray[np.uint32]:
        """Rid."""
        return np.asarray(self.people["rid"], np.uint32)

    @cached_property
    def matchable(self) -> Bools:
        """Matchable."""
        return np.asarray(self.people["c_matchable"], np.bool_)

    @cached_property
    def given(self) -> U64:
        """Given names, joined."""
        return of_texts(self.values("c_given"))

    @cached_property
    def first(self) -> U64:
        """First tokens of given names."""
        return of_texts(self.values("c_first"))

    @cached_property
    def compound(self) -> Bools:
        """Whether the given name has several tokens."""
        found: Bools = self.given != self.first
        return found

    @cached_property
    def initial(self) -> U64:
        """First letters."""
        return of_texts(self.values("c_first"), _beginning(1))

    @cached_property
    def is_initial(self) -> Bools:
        """Whether the given name is one letter."""
        found: Bools = of_texts(self.values("c_given"), _one_letter) != 0
        return found

    @cached_property
    def middle(self) -> U64:
        """Middle names, joined."""
        return of_texts(self.values("c_middle"))

    @cached_property
    def middle_initial(self) -> U64:
        """Middle initial."""
        return of_texts(self.values("c_middle"), _beginning(1))

    @cached_property
    def preferred(self) -> U64:
        """Preferred."""
        return of_texts(self.values("c_preferred"))

    @cached_property
    def family(self) -> U64:
        """Family."""
        return of_texts(self.values("c_family"))

    @cached_property
    def family_whole(self) -> U64:
        """Family names with their particles, as who writes them in one word has them."""
        whole = of_texts(self.values("c_family_whole"))
        return np.where(whole == 0, self.family, whole)

    @cached_property
    def family_tokens(self) -> list[U64]:
        """The set of a surname's tokens, in alphabetical order: an array for each place."""
        return [of_texts(tokens) for tokens in _places(self.values("c_family_set"), "family")]

    @cached_property
    def nicknames(self) -> list[U64]:
        """Nicknames."""
        return _numbers(self.values("c_nicknames"), "nicknames")

    @cached_property
    def names(self) -> list[U64]:
        """The groups of nicknames that a first name is of, or else its first token."""
        if not self.nicknames:
            return [self.first]
        groups = [mixed(2, group) for group in self.nicknames]
        groups[0] = np.where(self.nicknames[0] == 0, self.first, groups[0])
        return groups

    @cached_property
    def family_beginning(self) -> U64:
        """Family beginning."""
        return of_texts(self.values("c_family"), _beginning(4))

    @cached_property
    def first_beginning(self) -> U64:
        """First beginning."""
        return of_texts(self.values("c_first"), _beginning(2))

    @cached_property
    def both_names(self) -> U64:
        """The same for two names in either order."""
        both = self.given + self.family
        both[(self.given == 0) | (self.family == 0)] = 0
        return both

    @cached_property
    def name(self) -> U64:
        """First and last name in one hash."""
        return mixed(4, self.given, self.family)

    @cached_property
    def suffix(self) -> U64:
        """Suffix."""
        return of_texts(self.values("c_suffix"))

    @cached_property
    def birth(self) -> I32:
        """Birth."""
        return _days(self.values("c_birth"))

    @cached_property
    def date(self) -> tuple[I32, U8, U8]:
        """Year (0: missing), month and day of birth."""
        births = self.values("c_birth")
        if not isinstance(births, pl.Series):
            each = [(0, 0, 0) if day is None else (day.year, day.month, day.day) for day in births]
            parts = np.array(each, np.int32).reshape(-1, 3).T
            return parts[0], parts[1].astype(np.uint8), parts[2].astype(np.uint8)
        known = self.birth != NO_DAY
        days = np.where(known, self.birth, 0).astype("datetime64[D]")
        months = days.astype("datetime64[M]")
        year = np.where(known, days.astype("datetime64[Y]").astype(np.int32) + 1970, 0)
        month = np.where(known, months.astype(np.int32) % 12 + 1, 0)
        day = np.where(known, (days - months).astype(np.int32) + 1, 0)
        return year.astype(np.int32), month.astype(np.uint8), day.astype(np.uint8)

    @cached_property
    def date_digits(self) -> npt.NDArray[np.uint32]:
        """The eight digits of it, four bits for each."""
        year, month, day = (part.astype(np.uint32) for part in self.date)
        found = _digits(year // 100) << 24 | _digits(year % 100) << 16 | _digits(month) << 8 | _digits(day)
        return found.astype(np.uint32, copy=False)

    @cached_property
    def born(self) -> U64:
        """The date of birth as one number, 0 where there is none."""
        year, month, day = self.date
        return (year.astype(np.uint64) << np.uint64(16)) | (month.astype(np.uint64) << np.uint64(8)) | day

    @cached_property
    def year(self) -> U64:
        """Year."""
        return self.date[0].astype(np.uint64)

    @cached_property
    def month_day(self) -> U64:
        """Month day."""
        return self.born & np.uint64(0xFFFF)

    @cached_property
    def either(self) -> U64:
        """Month and day of birth, in either order."""
        _, month, day = self.date
        return (np.minimum(month, day).astype(np.uint64) << np.uint64(8)) | np.maximum(month, day)

    @cached_property
    def sex(self) -> U8:
        """Sex."""
        return _coded(self.values("c_sex"), {"f": 1, "m": 2, "x": 3}, np.uint8(0))

    @cached_property
    def kind(self) -> U8:
        """Kind."""
        return _coded(self.values("kind"), {"student": 1, "staff": 2, "guardian": 3}, np.uint8(0))

    @cached_property
    def source(self) -> U64:
        """Source."""
        return of_texts(self.values("source"))

    @cached_property
    def active(self) -> Bools:
        """Active."""
        return _known(self.values("active"), True, np.bool_)  # noqa: FBT003

    @cached_property
    def email(self) -> U64:
        """Email."""
        return of_texts(self.values("c_email"))

    @cached_property
    def local(self) -> U64:
        """What stands before the @."""
        return of_texts(self.values("c_email"), _local)

    @cached_property
    def phone(self) -> U64:
        """Phone."""
        return of_texts(self.values("c_phone"))

    @cached_property
    def username(self) -> U64:
        """Username."""
        return of_texts(self.values("c_username"))

    @cached_property
    def street(self) -> U64:
        """Street."""
        return of_texts(self.values("c_street"))

    @cached_property
    def house(self) -> U64:
        """The number that the street begins with."""
        return of_texts(self.values("c_street"), _house)

    @cached_property
    def street_beginning(self) -> U64:
        """Street beginning."""
        return of_texts(self.values("c_street"), _street_beginning)

    @cached_property
    def postcode(self) -> U64:
        """Postcode."""
        return of_texts(self.values("c_postcode"))

    @cached_property
    def home(self) -> U64:
        """Home."""
        return mixed(1, self.street, self.postcode)

    @cached_property
    def ids(self) -> list[U64]:
        """Ids."""
        return [of_texts(ids) for ids in _places(self.values("c_ids"), "ids")]

    @cached_property
    def id_types(self) -> list[U64]:
        """The type of each of ``ids``."""
        return [of_texts(ids, _type) for ids in _places(self.values("c_ids"), "ids")]

    @cached_property
    def guardians(self) -> list[U64]:
        """Guardians."""
        return _numbers(self.values("c_guardians"), "guardians")

    @cached_property
    def schools(self) -> list[U64]:
        """Schools, each number one higher, so that 0 is none."""
        return _numbers(self.values("schools"), "schools", 1)

    @cached_property
    def grade(self) -> npt.NDArray[np.int8]:
        """Grade."""
        return _coded(self.values("grade"), _GRADES, NO_GRADE)

    @cached_property
    def begin(self) -> I32:
        """Begin."""
        return _days(self.values("begin"))

    @cached_property
    def end(self) -> I32:
        """End."""
        return _days(self.values("end"))


def columns_of(people: People | Columns) -> Columns:
    """The arrays of normalised people; whoever has them already passes them on."""
    return people if isinstance(people, Columns) else Columns(people)


def _places(lists: Values, name: str) -> list[Values]:
    """The first entry of every list, the second …, as far as they are compared."""
    most = LONGEST[name]
    if not isinstance(lists, pl.Series):
        rows = [row or () for row in lists]
        return [
            [row[at] if at < len(row) else None for row in rows]
            for at in range(min(most, max(map(len, rows), default=0)))
        ]
    if empty(lists):
        return []
    longest = lists.list.len().max()
    return [lists.list.get(i, null_on_oob=True) for i in range(min(most, longest if isinstance(longest, int) else 0))]


def _numbers(lists: Values, name: str, more: int = 0) -> list[U64]:
    """The same of numbers, each ``more``; 0 where there is none."""
    found = []
    for part in _places(lists, name):
        if isinstance(part, pl.Series):
            found.append(_known(part.cast(pl.UInt64) + more, 0, np.uint64))
        else:
            found.append(np.array([0 if number is None else number + more for number in part], np.uint64))
    return found


def _digits(two: npt.NDArray[np.uint32]) -> npt.NDArray[np.uint32]:
    """Numbers of two digits as four bits for each."""
    return (two // 10 << 4 | two % 10).astype(np.uint32, copy=False)


def _days(dates: Values) -> I32:
    if isinstance(dates, pl.Series):
        return _known(dates.cast(pl.Int32), NO_DAY, np.int32)
    return np.array([NO_DAY if day is None else day.toordinal() - _EPOCH for day in dates], np.int32)


def _known(values: Values, otherwise: int, dtype: type[Number]) -> npt.NDArray[Number]:
    """The values as an array, with something else where there is none."""
    if not isinstance(values, pl.Series):
        return np.array([otherwise if value is None else value for value in values], dtype)
    if values.null_count() == 0:
        return values.to_numpy().astype(dtype, copy=False)
    if empty(values):
        return np.full(len(values), otherwise, dtype)
    return values.fill_null(otherwise).to_numpy().astype(dtype, copy=False)


def _coded(texts: Values, codes: Mapping[str, int], otherwise: Number) -> npt.NDArray[Number]:
    """The numbers that stand for texts."""
    dtype = type(otherwise)
    if not isinstance(texts, pl.Series):
        return np.array([codes.get(text, otherwise) for text in texts], dtype)
    numbers = texts.replace_strict(codes, default=int(otherwise), return_dtype=pl.Int16)
    return numbers.to_numpy().astype(dtype)


def _beginning(letters: int) -> Part:
    return lambda text: text[:letters]


def _one_letter(text: str) -> str | None:
    return text if len(text) == 1 and "a" <= text <= "z" else None


def _local(email: str) -> str:
    return email.partition("@")[0]


def _house(street: str) -> str | None:
    found = _HOUSE.match(street)
    return found[1] if found else None


def _street_beginning(street: str) -> str | None:
    found = _BEHIND_HOUSE.match(street)
    return found[1] if found else None


def _type(identifier: str) -> str:
    return "t" + identifier.partition(":")[0]
