"""What rules read of an entity: its columns, columns that are made of them, and sums over enrollments.

Only what some rule asks for is made, once for all of them. Values that are only compared with each other are kept by
their hash: eight bytes each, and no personal data.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import cached_property
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import polars as pl

from transforms.catalogue import CATALOGUE
from transforms.marks import (
    absent,
    beside,
    blank,
    certain,
    either,
    empty,
    nowhere,
    one_of,
    present,
    rows_of,
    without,
)
from transforms.shapes import dtype
from transforms.sheet import spread
from transforms.validate.hashed import Marks

_FAMILY: Final = ("guardian", "parent", "relative")
_NONE: Final = pl.Series([0], dtype=pl.UInt32)
_NO_STAFF: Final = ("student", *_FAMILY)
#: What stands behind the first @, which is nearly always the only one; null where nothing does.
_BEHIND: Final = pl.col("").str.splitn("@", 2).struct.field("field_1").replace("", None)


class Batch:
    """Good rows of one entity, with what several columns are made of."""

    def __init__(self, entity: str, rows: pl.DataFrame) -> None:
        self.entity, self.rows = entity, rows
        self._made: dict[str, pl.Series] = {}

    def __getitem__(self, name: str) -> pl.Series:
        """A column; one that did not come is all null."""
        if name in self.rows.columns:
            return self.rows.get_column(name)
        if name not in self._made:
            make = MADE.get((self.entity, name))
            kind = dtype(CATALOGUE[self.entity][name]) if make is None else None
            made = blank(self.rows.height, kind) if kind is not None else MADE[self.entity, name](self)
            self._made[name] = made.alias(name)
        return self._made[name]

    def table(self, names: Iterable[str]) -> pl.DataFrame:
        """Key, line and the columns ``names``."""
        return beside([self[name] for name in ("key", "line", *names)])

    @cached_property
    def roles(self) -> tuple[npt.NDArray[Any], pl.Series]:
        """All roles of all users: the place of the user, and the role."""
        lists = self.rows["roles"]
        known = lists.list.len()
        lengths = either(present(known), known, _NONE.new_from_index(0, known.len())).to_numpy()
        some = lengths > 0
        return np.repeat(np.flatnonzero(some), lengths[some]), lists.filter(pl.Series(some)).explode()

    def having(self, mark: Callable[[pl.Series], pl.Series]) -> pl.Series:
        """The users with a role whose name is marked."""
        places, roles = self.roles
        out = np.zeros(self.rows.height, dtype=np.bool_)
        out[places[certain(mark(roles.struct.field("role"))).to_numpy()]] = True
        return pl.Series(out)


def _hashed(values: pl.Series) -> pl.Series:
    """The hashes of texts; null where there is none."""
    if empty(values):
        return blank(values.len(), pl.UInt64)
    return without(values.hash(0), absent(values))


def _small(name: str) -> Callable[[Batch], pl.Series]:
    """The hashes of a column in small letters."""
    return lambda batch: _hashed(batch[name] if empty(batch[name]) else batch[name].str.to_lowercase())


def _number(name: str) -> Callable[[Batch], pl.Series]:
    """The hashes of telephone numbers that somebody may have: 555-0100 to 555-0199 are for examples."""

    def made(batch: Batch) -> pl.Series:
        values = batch[name]
        if empty(values):
            return _hashed(values)
        return _hashed(without(values, values.str.contains(r"55501[0-9]{2}$")))

    return made


def _names(batch: Batch) -> pl.Series:
    both = beside([batch["givenName"], batch["familyName"]])
    return _hashed(both.select(pl.concat_str(pl.all(), separator="\0").str.to_lowercase()).to_series())


def _domains(batch: Batch) -> pl.Series:
    values = batch["email"]
    if empty(values):
        return values
    domains = values.to_frame("").select_seq(_BEHIND).to_series()
    odd = certain(domains.str.contains("@", literal=True))
    if odd.any():
        domains = spread(domains, odd, values.filter(odd).str.extract(r"@([^@]+)$"))
    return domains.str.to_lowercase()


def _orgs(batch: Batch) -> pl.Series:
    places, roles = batch.roles
    numbers = np.bincount(places, minlength=batch.rows.height)
    several = numbers[places] > 1
    pairs = beside([pl.Series("place", places), roles.struct.field("org").alias("org")]).filter(pl.Series(several))
    some = numbers > 1
    numbers[some] = np.bincount(pairs.unique()["place"].to_numpy(), minlength=batch.rows.height)[some]
    return pl.Series(numbers)


#: (entity, column) to how it is made.
MADE: Final[Mapping[tuple[str, str], Callable[[Batch], pl.Series]]] = {
    ("users", "student"): lambda batch: batch.having(lambda role: role == "student"),
    ("users", "guardian"): lambda batch: batch.having(lambda role: one_of(role, _FAMILY)),
    ("users", "staff"): lambda batch: batch.having(
        lambda role: ~one_of(role, _NO_STAFF) & ~role.str.starts_with("ext:")
    ),
    ("users", "orgCount"): _orgs,
    ("users", "mark"): lambda batch: batch["key"].hash(0),
    ("users", "nameMark"): _names,
    ("users", "emailMark"): _small("email"),
    ("users", "usernameMark"): _small("username"),
    ("users", "phoneMark"): _number("phone"),
    ("users", "smsMark"): _number("sms"),
    ("users", "domain"): _domains,
    ("classes", "mark"): lambda batch: batch["key"].hash(0),
}

#: Rows of one batch and the marks of users' orgs (``belonging``) in, sums out.
Sum = Callable[[pl.DataFrame, Marks], pl.DataFrame]


def belonging(users: Batch) -> pl.Series:
    """The marks of users and the orgs in which they have a role."""
    places, roles = users.roles
    return _places(users.rows["key"][places], roles.struct.field("org"))


def _places(users: pl.Series, orgs: pl.Series) -> pl.Series:
    both = beside([users.alias("user"), orgs.alias("org")])
    return both.select_seq((pl.col("user").hash(0) ^ pl.col("org").hash(1)).alias("place")).to_series()


def _sizes(rows: pl.DataFrame, belong: Marks) -> pl.DataFrame:
    """By class (its mark): students, teachers, and how many of the students belong to the school (here)."""
    student = rows["role"] == "student"
    there = belong.among(_places(rows["user"], rows["school"])) if len(belong) else nowhere(rows.height)
    columns = [rows["class"].hash(0), student.alias("student"), (rows["role"] == "teacher").alias("teacher"),
               (there & student).alias("there")]  # fmt: skip
    return beside(columns).group_by("class").agg(
        students=pl.col("student").sum(), teachers=pl.col("teacher").sum(), here=pl.col("there").sum()
    )  # fmt: skip


def _teaching(rows: pl.DataFrame, _belong: Marks) -> pl.DataFrame:
    """Who teaches which class: the marks of both."""
    teachers = rows_of(rows[["class", "user"]], rows["role"] == "teacher")
    return teachers.select(pl.all().hash(0))


def _attending(rows: pl.DataFrame, _belong: Marks) -> pl.DataFrame:
    """How many enrollments users (their marks) who are no students have in a school."""
    others = rows_of(rows[["user", "school"]], rows["role"] != "student")
    return others.group_by(pl.col("user").hash(0), "school").agg(number=pl.len())


#: Sums over enrollments, by table, and the columns by which those of several batches are added up.
SUMS: Final[Mapping[str, tuple[Sum, tuple[str, ...]]]] = {
    "sizes": (_sizes, ("class",)),
    "teaching": (_teaching, ("class", "user")),
    "attending": (_attending, ("user", "school")),
}


def source_of(table: str) -> str:
    """The entity of which a table is made."""
    return "enrollments" if table in SUMS else table


def added(table: str, parts: list[pl.DataFrame]) -> pl.DataFrame:
    """The sums of several batches together."""
    if len(parts) == 1 and parts[0].width > len(SUMS[table][1]):
        return parts[0]
    return pl.concat(parts).group_by(SUMS[table][1]).agg(pl.all().sum())
