"""What is compared, as arrays of numbers: a row of them for each record, so that pairs are compared by indexing."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

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
_LONGEST = {"family": 3, "nicknames": 4, "ids": 4, "guardians": 9, "schools": 4}
_GRADES = {"IT": -4, "PR": -3, "PK": -2, "TK": -1, "KG": 0, **{f"{n:02}": n for n in range(1, 14)}, "PS": 13}
NO_GRADE = np.int8(99)


@dataclass(frozen=True)
class Columns:
    """The arrays of a normalised frame. Hashes are 0, numbers 0 and days ``NO_DAY`` where a value is missing."""

    frame: pl.DataFrame

    def __len__(self) -> int:
        """Len  ."""
        return self.frame.height

    @cached_property
    def rid(self) -> npt.NDArray[np.uint32]:
        """Rid."""
        return self.frame["rid"].to_numpy()

    @cached_property
    def matchable(self) -> Bools:
        """Matchable."""
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
        """First letters."""
        return of_texts(self.frame["c_first"].str.slice(0, 1))

    @cached_property
    def is_initial(self) -> Bools:
        """Whether the given name is one letter."""
        found: Bools = self.frame["c_given"].str.contains(r"^[a-z]$").fill_null(value=False).to_numpy()
        return found

    @cached_property
    def middle(self) -> U64:
        """Middle names, joined."""
        return of_texts(self.frame["c_middle"])

    @cached_property
    def middle_initial(self) -> U64:
        """Middle initial."""
        return of_texts(self.frame["c_middle"].str.slice(0, 1))

    @cached_property
    def preferred(self) -> U64:
        """Preferred."""
        return of_texts(self.frame["c_preferred"])

    @cached_property
    def family(self) -> U64:
        """Family."""
        return of_texts(self.frame["c_family"])

    @cached_property
    def family_tokens(self) -> list[U64]:
        """The set of a surname's tokens, in alphabetical order: an array for each place."""
        tokens = self.frame["c_family_set"]
        longest = _longest(tokens, "family")
        return [of_texts(tokens.list.get(i, null_on_oob=True)) for i in range(longest)]

    @cached_property
    def nicknames(self) -> list[U64]:
        """Nicknames."""
        return _places(self.frame["c_nicknames"], "nicknames")

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
        return of_texts(self.frame["c_family"].str.slice(0, 4))

    @cached_property
    def first_beginning(self) -> U64:
        """First beginning."""
        return of_texts(self.frame["c_first"].str.slice(0, 2))

    @cached_property
    def both_names(self) -> U64:
        """The same for two names in either order."""
        both = self.given + self.family
        both[(self.given == 0) | (self.family == 0)] = 0
        return both

    @cached_property
    def suffix(self) -> U64:
        """Suffix."""
        return of_texts(self.frame["c_suffix"])

    @cached_property
    def birth(self) -> I32:
        """Birth."""
        return _days(self.frame["c_birth"])

    @cached_property
    def date(self) -> tuple[I32, U8, U8]:
        """Year (0: missing), month and day of birth."""
        born = self.frame["c_birth"].dt
        year, month, day = born.year(), born.month(), born.day()
        return (
            year.fill_null(0).cast(pl.Int32).to_numpy(),
            month.fill_null(0).cast(pl.UInt8).to_numpy(),
            day.fill_null(0).cast(pl.UInt8).to_numpy(),
        )

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
        return self.frame["c_sex"].replace_strict({"f": 1, "m": 2, "x": 3}, default=0, return_dtype=pl.UInt8).to_numpy()

    @cached_property
    def kind(self) -> U8:
        """Kind."""
        codes = {"student": 1, "staff": 2, "guardian": 3}
        return self.frame["kind"].replace_strict(codes, default=0, return_dtype=pl.UInt8).to_numpy()

    @cached_property
    def source(self) -> U64:
        """Source."""
        return of_texts(self.frame["source"])

    @cached_property
    def active(self) -> Bools:
        """Active."""
        return self.frame["active"].fill_null(value=True).to_numpy()

    @cached_property
    def email(self) -> U64:
        """Email."""
        return of_texts(self.frame["c_email"])

    @cached_property
    def local(self) -> U64:
        """What stands before the @."""
        return of_texts(self.frame["c_email"].str.extract(r"^([^@]+)"))

    @cached_property
    def domain(self) -> pl.Series:
        """Domain."""
        return self.frame["c_email"].str.extract(r"@(.+)$")

    @cached_property
    def phone(self) -> U64:
        """Phone."""
        return of_texts(self.frame["c_phone"])

    @cached_property
    def username(self) -> U64:
        """Username."""
        return of_texts(self.frame["c_username"])

    @cached_property
    def street(self) -> U64:
        """Street."""
        return of_texts(self.frame["c_street"])

    @cached_property
    def house(self) -> U64:
        """The number that the street begins with."""
        return of_texts(self.frame["c_street"].str.extract(r"^(\d+)\b"))

    @cached_property
    def street_beginning(self) -> U64:
        """Street beginning."""
        return of_texts(self.frame["c_street"].str.extract(r"^(?:\d+ )?(.{1,6})"))

    @cached_property
    def postcode(self) -> U64:
        """Postcode."""
        return of_texts(self.frame["c_postcode"])

    @cached_property
    def home(self) -> U64:
        """Home."""
        return mixed(1, self.street, self.postcode)

    @cached_property
    def ids(self) -> list[U64]:
        """Ids."""
        ids = self.frame["c_ids"]
        return [of_texts(ids.list.get(i, null_on_oob=True)) for i in range(_longest(ids, "ids"))]

    @cached_property
    def id_types(self) -> list[U64]:
        """The type of each of ``ids``."""
        ids = self.frame["c_ids"]
        types = [ids.list.get(i, null_on_oob=True).str.extract(r"^([^:]*):") for i in range(len(self.ids))]
        return [of_texts("t" + text) for text in types]

    @cached_property
    def guardians(self) -> list[U64]:
        """Guardians."""
        return _places(self.frame["c_guardians"], "guardians")

    @cached_property
    def schools(self) -> list[U64]:
        """Schools, each number one higher, so that 0 is none."""
        return _places(self.frame["schools"], "schools", 1)

    @cached_property
    def grade(self) -> npt.NDArray[np.int8]:
        """Grade."""
        grades = self.frame["grade"].replace_strict(_GRADES, default=int(NO_GRADE), return_dtype=pl.Int8)
        return grades.to_numpy()

    @cached_property
    def begin(self) -> I32:
        """Begin."""
        return _days(self.frame["begin"])

    @cached_property
    def end(self) -> I32:
        """End."""
        return _days(self.frame["end"])


def _longest(lists: pl.Series, name: str) -> int:
    most = lists.list.len().max()
    return min(_LONGEST[name], most) if isinstance(most, int) else 0


def _places(lists: pl.Series, name: str, more: int = 0) -> list[U64]:
    """The first entry of every list, the second …: numbers, 0 where there is none."""
    parts = [lists.list.get(i, null_on_oob=True).cast(pl.UInt64) + more for i in range(_longest(lists, name))]
    return [part.fill_null(0).to_numpy() for part in parts]


def _days(dates: pl.Series) -> I32:
    return dates.to_physical().fill_null(NO_DAY).to_numpy()
