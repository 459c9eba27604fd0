"""What the roles of users say, for checks of their enrollments. Users are known by a hash of their key."""

from __future__ import annotations

from dataclasses import dataclass, field

import polars as pl

from transforms.issues import Action, Phase, Severity, declare
from transforms.marks import absent, as_list, beside, empty, one_of, possible, present, rows_of, stacked
from transforms.sheet import Sheet
from transforms.validate.hashed import Marks

ENR_007 = declare(
    "ENR-007", Severity.WARN, Action.REPORT, "A student with primary roles in two schools at the same time",
    "Look which school is the student's own and make the role in the other one secondary, or end it. The hub keeps "
    "both roles.",
    entity="users", fields=("roles",), phase=Phase.CROSS_ENTITY,
)  # fmt: skip

STUDENT = "student"
#: Who has none but these roles teaches nobody.
_NOT_STAFF = (STUDENT, "guardian", "parent", "relative")
_LEFT = pl.DataFrame(schema={"user": pl.UInt64, "school": pl.String, "until": pl.Date})
_STUDENT_ROLES = {"key": pl.String, "line": pl.UInt32, "school": pl.String, "begins": pl.Date, "ends": pl.Date}


@dataclass
class People:
    """The good users of this run that came with all their roles."""

    _users: list[pl.DataFrame] = field(default_factory=list)
    _left: list[pl.DataFrame] = field(default_factory=list)
    _students: list[pl.DataFrame] = field(default_factory=list)
    _ascending: tuple[Marks, pl.DataFrame] | None = None

    def add(self, sheet: Sheet) -> None:
        """Notes the users of a sheet whose roles are attached."""
        frame = rows_of(sheet.frame[["key", "line", "enabledUser", "roles"]], ~sheet.out & present(sheet["roles"]))
        if not frame.height:
            return
        users = frame.hstack([frame["key"].hash(0).alias("user")])
        rows = users.explode("roles").unnest("roles")
        studying = rows["user"].filter((rows["role"] == STUDENT) | rows["role"].str.starts_with("ext:"))
        teaching = rows["user"].filter(~one_of(rows["role"], _NOT_STAFF))
        user = pl.col("user")
        flags = {"stranger": ~user.is_in(as_list(studying)), "pupil": ~user.is_in(as_list(teaching))}
        self._users.append(users.select("user", **flags))
        self._ascending = None
        self._left.append(_left(rows))
        names = {"key": "key", "line": "line", "school": "org", "begins": "beginDate", "ends": "endDate"}
        roles = beside([rows[name].alias(shown) for shown, name in names.items()])
        self._students.append(rows_of(roles, (rows["role"] == STUDENT) & possible(rows["enabledUser"])))

    def users(self) -> tuple[Marks, pl.DataFrame]:
        """Everybody: their marks, and beside each user (the mark), stranger (no student), pupil (teaches nobody)."""
        if self._ascending is None:
            schema = {"user": pl.UInt64, "stranger": pl.Boolean, "pupil": pl.Boolean}
            users = stacked([pl.DataFrame(schema=schema), *self._users]).sort("user")
            self._users, self._ascending = [users], (Marks([users["user"]]), users)
        return self._ascending

    def left(self) -> pl.DataFrame:
        """Who has left a school, or will: user (the mark), school, until (the last day of the last role there)."""
        self._left = [stacked([_LEFT, *self._left])]
        return self._left[0]

    def students(self) -> pl.DataFrame:
        """The roles as a student of those who may log in: key and line (of the user), school, begins, ends."""
        self._students = [stacked([pl.DataFrame(schema=_STUDENT_ROLES), *self._students])]
        return self._students[0]


def check_schools(sheet: Sheet, orgs: pl.DataFrame) -> None:
    """Reports students who belong to two schools at once. OneRoster 1.1 does not say which of several is primary."""
    if sheet.version == "1.1" or not orgs.height:
        return
    several = sheet["roles"].list.len() > 1
    if not several.any():
        return
    schools = orgs["key"].filter(orgs["type"] == "school")
    rows = rows_of(sheet.frame[["line", "roles"]], several & ~sheet.out).explode("roles").unnest("roles")
    rows = rows_of(rows, (rows["role"] == STUDENT) & (rows["roleType"] == "primary"))
    if rows["line"].n_unique() == rows.height:
        return
    rows = rows_of(rows, rows["org"].is_in(as_list(schools)))
    spans = rows.select(
        "line", "org", begin=pl.col("beginDate").fill_null(pl.date(1, 1, 1)),
        end=pl.col("endDate").fill_null(pl.date(9999, 12, 31)),
    ).filter(pl.col("org").n_unique().over("line") > 1)  # fmt: skip
    if not spans.height:
        return
    pairs = spans.join(spans, on="line").filter(
        (pl.col("org") != pl.col("org_right")) & (pl.col("begin") < pl.col("end_right")) &
        (pl.col("begin_right") < pl.col("end"))
    )  # fmt: skip
    sheet.report(ENR_007, sheet["line"].is_in(as_list(pairs["line"].unique())), "roles")


def _left(rows: pl.DataFrame) -> pl.DataFrame:
    """The users and schools of which all roles end, with the last end."""
    if empty(rows["endDate"]):
        return _LEFT.clone()
    dated, stays = rows_of(rows, present(rows["endDate"])), rows_of(rows, absent(rows["endDate"]))
    ended = dated.join(stays, on=["user", "org"], how="anti")
    return ended.group_by("user", school="org").agg(until=pl.col("endDate").max())
