"""What is compared, as arrays of numbers: a row of them for each record, so that pairs are compared by indexing."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from transforms.matching.hashes import U64, mixed, of_texts

I32 = npt.NDArray[np.int32]
U8 = npt.NDArray[np.uint8]
Bools = npt.NDArray[np.bool_]
#: A date that is missing.
NO_DAY = np.iinfo(np.int32).min
#: As many entries of a list are compared; what lies behind them is no evidence.
_LONGEST = {"c_family_set": 3, "c_nicknames": 4, "c_ids": 4, "c_guardians": 9, "schools": 4}
_GRADES = {"IT": -4, "PR": -3, "PK": -2, "TK": -1, "KG": 0, **{f"{n:02}": n for n in range(1, 14)}, "PS": 13}
NO_GRADE = np.int8(99)
_SEXES, _KINDS = {"f": 1, "m": 2, "x": 3}, {"student": 1, "staff": 2, "guardian": 3}
#: Rows of a frame that are few: what is made of them is made at once, as setting it up takes longer than doing it.
_FEW = 1024


def _days(name: str) -> pl.Expr:
    return pl.col(name).to_physical().fill_null(NO_DAY)


def _coded(name: str, codes: dict[str, int], otherwise: int, dtype: type[pl.DataType]) -> pl.Expr:
    return pl.col(name).replace_strict(codes, default=otherwise, return_dtype=dtype)


_FIRST, _EMAIL, _STREET, _BORN = (
    pl.col("c_first").str,
    pl.col("c_email").str,
    pl.col("c_street").str,
    pl.col("c_birth").dt,
)
#: What arrays are made of beside the columns of a normalised frame.
_MADE = {
    "initial": _FIRST.slice(0, 1),
    "is initial": pl.col("c_given").str.contains(r"^[a-z]$").fill_null(value=False),
    "beginning of the first name": _FIRST.slice(0, 2),
    "middle initial": pl.col("c_middle").str.slice(0, 1),
    "beginning of the family name": pl.col("c_family").str.slice(0, 4),
    "birth": _days("c_birth"),
    "year": _BORN.year().fill_null(0).cast(pl.Int32),
    "month": _BORN.month().fill_null(0).cast(pl.UInt8),
    "day": _BORN.day().fill_null(0).cast(pl.UInt8),
    "sex": _coded("c_sex", _SEXES, 0, pl.UInt8),
    "kind": _coded("kind", _KINDS, 0, pl.UInt8),
    "grade": _coded("grade", _GRADES, int(NO_GRADE), pl.Int8),
    "active": pl.col("active").fill_null(value=True),
    "local part": _EMAIL.extract(r"^([^@]+)"),
    "domain": _EMAIL.extract(r"@(.+)$"),
    "house": _STREET.extract(r"^(\d+)\b"),
    "beginning of the street": _STREET.extract(r"^(?:\d+ )?(.{1,6})"),
    "begin": _days("begin"),
    "end": _days("end"),
}
_MADE = {name: made.alias(name) for name, made in _MADE.items()}


@dataclass(frozen=True)
class Columns:
    """The arrays of a normalised frame. Hashes are 0, numbers 0 and days ``NO_DAY`` where a value is missing."""

    frame: pl.DataFrame

    def __len__(self) -> int:
        return self.frame.height

    @cached_property
    def rid(self) -> npt.NDArray[np.uint32]:
        """The records' numbers."""
        return self.frame["rid"].to_numpy()

    @cached_property
    def matchable(self) -> Bools:
        """Whether a record may be matched at all."""
        return self.frame["c_matchable"].to_numpy()

    @cached_property
    def given(self) -> U64:
        """Given names, joined."""
        return of_texts(self.frame["c_given"])

    @cached_property
    def first(self) -> U64:
        """First tokens of given names."""
        return of_texts(self.frame["c_first"])

    @cached_property
    def compound(self) -> Bools:
        """Whether the given name has several tokens."""
        found: Bools = self.given != self.first
        return found

    @cached_property
    def initial(self) -> U64:
        """First letters of given names."""
        return of_texts(self._made("initial"))

    @cached_property
    def is_initial(self) -> Bools:
        """Whether the given name is one letter."""
        return self._made("is initial").to_numpy()

    @cached_property
    def middle(self) -> U64:
        """Middle names, joined."""
        return of_texts(self.frame["c_middle"])

    @cached_property
    def middle_initial(self) -> U64:
        """First letters of middle names."""
        return of_texts(self._made("middle initial"))

    @cached_property
    def preferred(self) -> U64:
        """Preferred first names, joined."""
        return of_texts(self.frame["c_preferred"])

    @cached_property
    def family(self) -> U64:
        """Family names, joined, without particles."""
        return of_texts(self.frame["c_family"])

    @cached_property
    def family_tokens(self) -> list[U64]:
        """The set of a surname's tokens, in alphabetical order: an array for each place."""
        return self._texts_in("c_family_set")

    @cached_property
    def nicknames(self) -> list[U64]:
        """The groups of nicknames that a given name is of: an array for each place."""
        return self._numbers_in("c_nicknames")

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
        """The first four letters of family names."""
        return of_texts(self._made("beginning of the family name"))

    @cached_property
    def first_beginning(self) -> U64:
        """The first two letters of given names."""
        return of_texts(self._made("beginning of the first name"))

    @cached_property
    def both_names(self) -> U64:
        """The same for two names in either order."""
        both = self.given + self.family
        both[(self.given == 0) | (self.family == 0)] = 0
        return both

    @cached_property
    def suffix(self) -> U64:
        """Jr, sr, or a number."""
        return of_texts(self.frame["c_suffix"])

    @cached_property
    def birth(self) -> I32:
        """The day of birth, from 1970 on."""
        return self._made("birth").to_numpy()

    @cached_property
    def date(self) -> tuple[I32, U8, U8]:
        """Year (0: missing), month and day of birth."""
        return self._made("year").to_numpy(), self._made("month").to_numpy(), self._made("day").to_numpy()

    @cached_property
    def born(self) -> U64:
        """The date of birth as one number, 0 where there is none."""
        year, month, day = self.date
        return (year.astype(np.uint64) << np.uint64(16)) | (month.astype(np.uint64) << np.uint64(8)) | day

    @cached_property
    def year(self) -> U64:
        """The year of birth."""
        return self.date[0].astype(np.uint64)

    @cached_property
    def month_day(self) -> U64:
        """Month and day of birth."""
        return self.born & np.uint64(0xFFFF)

    @cached_property
    def either(self) -> U64:
        """Month and day of birth, in either order."""
        _, month, day = self.date
        return (np.minimum(month, day).astype(np.uint64) << np.uint64(8)) | np.maximum(month, day)

    @cached_property
    def sex(self) -> U8:
        """1, 2 or 3."""
        return self._made("sex").to_numpy()

    @cached_property
    def kind(self) -> U8:
        """1 for students, 2 for staff, 3 for guardians."""
        return self._made("kind").to_numpy()

    @cached_property
    def source(self) -> U64:
        """The source that told of a record."""
        return of_texts(self.frame["source"])

    @cached_property
    def active(self) -> Bools:
        """Whether the source has a record still."""
        return self._made("active").to_numpy()

    @cached_property
    def email(self) -> U64:
        """Addresses."""
        return of_texts(self.frame["c_email"])

    @cached_property
    def local(self) -> U64:
        """What stands before the @."""
        return of_texts(self._made("local part"))

    @cached_property
    def domain(self) -> pl.Series:
        """What stands behind it."""
        return self._made("domain")

    @cached_property
    def phone(self) -> U64:
        """Digits of phone numbers."""
        return of_texts(self.frame["c_phone"])

    @cached_property
    def username(self) -> U64:
        """User names."""
        return of_texts(self.frame["c_username"])

    @cached_property
    def street(self) -> U64:
        """Streets, with the number of the house."""
        return of_texts(self.frame["c_street"])

    @cached_property
    def house(self) -> U64:
        """The number that the street begins with."""
        return of_texts(self._made("house"))

    @cached_property
    def street_beginning(self) -> U64:
        """Six letters of the street's name."""
        return of_texts(self._made("beginning of the street"))

    @cached_property
    def postcode(self) -> U64:
        """Postcodes."""
        return of_texts(self.frame["c_postcode"])

    @cached_property
    def home(self) -> U64:
        """Street and postcode."""
        return mixed(1, self.street, self.postcode)

    @cached_property
    def ids(self) -> list[U64]:
        """Identifiers with their types: an array for each place."""
        return self._texts_in("c_ids")

    @cached_property
    def id_types(self) -> list[U64]:
        """The type of each of ``ids``."""
        ids = self.frame["c_ids"]
        types = [ids.list.get(i, null_on_oob=True).str.extract(r"^([^:]*):") for i in range(len(self.ids))]
        return [of_texts("t" + text) for text in types]

    @cached_property
    def guardians(self) -> list[U64]:
        """What is known of guardians: an array for each place."""
        return self._numbers_in("c_guardians")

    @cached_property
    def schools(self) -> list[U64]:
        """Schools, each number one higher, so that 0 is none."""
        return self._numbers_in("schools", 1)

    @cached_property
    def grade(self) -> npt.NDArray[np.int8]:
        """Grades as numbers, kindergarten 0."""
        return self._made("grade").to_numpy()

    @cached_property
    def begin(self) -> I32:
        """The day on which a record began."""
        return self._made("begin").to_numpy()

    @cached_property
    def end(self) -> I32:
        """The day on which it ended."""
        return self._made("end").to_numpy()

    def _made(self, name: str) -> pl.Series:
        if self.frame.height < _FEW:
            return self._every[name]
        return self.frame.select(_MADE[name]).to_series()

    @cached_property
    def _every(self) -> pl.DataFrame:
        return self.frame.select(*_MADE.values())

    def _texts_in(self, name: str) -> list[U64]:
        """Hashes of the texts in lists: an array for each place."""
        if self.frame.height < _FEW:
            return [of_texts(pl.Series(texts, dtype=pl.String)) for texts in self._few(name)]
        lists = self.frame[name]
        return [of_texts(lists.list.get(i, null_on_oob=True)) for i in range(_longest(lists))]

    def _numbers_in(self, name: str, more: int = 0) -> list[U64]:
        """The numbers in lists, and ``more``, 0 where there is none: an array for each place."""
        if self.frame.height < _FEW:
            return [np.array([0 if n is None else n + more for n in ns], np.uint64) for ns in self._few(name)]
        lists = self.frame[name]
        parts = [lists.list.get(i, null_on_oob=True).cast(pl.UInt64) + more for i in range(_longest(lists))]
        return [part.fill_null(0).to_numpy() for part in parts]

    def _few(self, name: str) -> list[list[Any]]:
        rows: list[list[Any]] = [entries or [] for entries in self.frame[name].to_list()]
        longest = min(_LONGEST[name], max(map(len, rows), default=0))
        return [[entries[i] if i < len(entries) else None for entries in rows] for i in range(longest)]


def _longest(lists: pl.Series) -> int:
    most = lists.list.len().max()
    return min(_LONGEST[lists.name], most) if isinstance(most, int) else 0
