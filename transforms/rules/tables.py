"""What rules read of an entity: its columns, columns that are made of them, and sums over enrollments.

Only what some rule asks for is made, once for all of them. Values that are only compared with each other are kept by
their hash: eight bytes each, and no personal data.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

import polars as pl

from transforms.catalogue import CATALOGUE
from transforms.marks import blank, nowhere
from transforms.shapes import dtype

_FAMILY: Final = ("guardian", "parent", "relative")
_NO_STAFF: Final = ("student", *_FAMILY)
_ROLES: Final = pl.col("roles").list.eval(pl.element().struct.field("role"))


def _has(roles: tuple[str, ...]) -> pl.Expr:
    return _ROLES.list.eval(pl.element().is_in(list(roles))).list.any().fill_null(value=False)


def _mark(text: pl.Expr) -> pl.Expr:
    """The hash of a text; null where there is none."""
    return pl.when(text.is_not_null()).then(text.hash(0))


def _real(name: str) -> pl.Expr:
    """A telephone number that somebody may have: those of 555-0100 to 555-0199 are for examples."""
    return pl.when(~pl.col(name).str.contains(r"55501[0-9]{2}$")).then(pl.col(name))


_ORG: Final = pl.col("roles").list.eval(pl.element().struct.field("org"))
#: (entity, column) to how it is made.
MADE: Final[Mapping[tuple[str, str], pl.Expr]] = {
    ("users", "student"): _has(("student",)),
    ("users", "guardian"): _has(_FAMILY),
    ("users", "staff"): (
        _ROLES.list.eval(~pl.element().is_in(list(_NO_STAFF)) & ~pl.element().str.starts_with("ext:")).list.any()
        .fill_null(value=False)
    ),
    ("users", "orgCount"): _ORG.list.n_unique().fill_null(0),
    ("users", "mark"): pl.col("key").hash(0),
    ("users", "nameMark"): _mark(
        pl.concat_str("givenName", "familyName", separator="\0", ignore_nulls=False).str.to_lowercase()
    ),
    ("users", "emailMark"): _mark(pl.col("email").str.to_lowercase()),
    ("users", "usernameMark"): _mark(pl.col("username").str.to_lowercase()),
    ("users", "phoneMark"): _mark(_real("phone")),
    ("users", "smsMark"): _mark(_real("sms")),
    ("users", "domain"): pl.col("email").str.extract(r"@([^@]+)$").str.to_lowercase(),
    ("classes", "mark"): pl.col("key").hash(0),
}  # fmt: skip

#: Rows of one batch and the marks of users' orgs (``belonging``) in, sums out.
Sum = Callable[[pl.DataFrame, pl.Series], pl.DataFrame]


def belonging(users: pl.DataFrame) -> pl.Series:
    """The marks of users and the orgs in which they have a role, in one ascending series."""
    rows = users.select("key", org=_ORG).explode("org").drop_nulls()
    return _places(rows["key"], rows["org"]).unique().sort()


def _places(users: pl.Series, orgs: pl.Series) -> pl.Series:
    return pl.select(users.hash(0) ^ orgs.hash(1)).to_series().alias("place")


def _sizes(rows: pl.DataFrame, belong: pl.Series) -> pl.DataFrame:
    """By class (its mark): students, teachers, and how many of the students belong to the school (here)."""
    student = rows["role"] == "student"
    here = _places(rows["user"], rows["school"])
    at = belong.search_sorted(here).clip(upper_bound=max(belong.len() - 1, 0))
    there = (belong.gather(at) == here) if belong.len() else nowhere(rows.height)
    columns = [rows["class"].hash(0), student.alias("student"), (rows["role"] == "teacher").alias("teacher"),
               (there & student).alias("there")]  # fmt: skip
    return pl.DataFrame(columns).group_by("class").agg(
        students=pl.col("student").sum(), teachers=pl.col("teacher").sum(), here=pl.col("there").sum()
    )  # fmt: skip


def _teaching(rows: pl.DataFrame, _belong: pl.Series) -> pl.DataFrame:
    """Who teaches which class: the marks of both."""
    return rows.filter(pl.col("role") == "teacher").select(pl.col("class").hash(0), pl.col("user").hash(0))


def _attending(rows: pl.DataFrame, _belong: pl.Series) -> pl.DataFrame:
    """How many enrollments users (their marks) who are no students have in a school."""
    others = rows.filter(pl.col("role") != "student").select(pl.col("user").hash(0), "school")
    return others.group_by("user", "school").agg(number=pl.len())


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
    return pl.concat(parts).group_by(SUMS[table][1]).agg(pl.all().sum())


def taken(entity: str, rows: pl.DataFrame, names: tuple[str, ...]) -> pl.DataFrame:
    """Key, line and the columns ``names`` of some rows of an entity; of those that did not come, nulls."""
    there = set(rows.columns)
    columns: list[pl.Series | pl.Expr] = []
    for name in names:
        if (entity, name) in MADE:
            columns.append(MADE[entity, name].alias(name))
        elif name in there:
            columns.append(rows[name])
        else:
            columns.append(blank(rows.height, dtype(CATALOGUE[entity][name])).alias(name))
    return rows.select("key", "line", *columns)
