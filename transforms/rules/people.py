"""Rules about users: their accounts, guardians, grades, and those who may be one person."""

from __future__ import annotations

import polars as pl

from transforms.catalogue.vocabularies import GRADES
from transforms.issues import Action, Phase, Severity
from transforms.marks import absent, as_list, certain, rows_of
from transforms.rules.given import BEFORE, FOUND, Given, all_differ, found, in_fields, nothing, rule, shared

_TEST = (
    r"(?i)^(?:test|demo|sample|dummy|fake)[._-]?(?:user|student|teacher|account|admin|parent|guardian)?[._-]?[0-9]*$"
)
#: Grades in the order in which one goes through them; of the others nobody knows what comes next.
_YEARS = {name: place for place, name in enumerate(["PK", "KG", *GRADES.both[5:17]])}


@rule(
    "GRD-003", Severity.INFO, Action.REPORT, "A grade that went back, or jumped by more than one, since the last sync",
    "Look whether the student repeats or skips a grade; otherwise correct the grade in the student system.",
    entity="users", fields=("grades",), phase=Phase.CROSS_SNAPSHOT, reads={"users": ("grades",)}, params={"jump": 1},
)  # fmt: skip
def jumped(given: Given) -> pl.DataFrame:
    """Users with one grade before and after, of which the second does not follow."""
    users = given["users"]
    step = _year(users["grades"]) - _year(users["grades" + BEFORE])
    return found(users, (step < 0) | (step > given.params["jump"]))


def _year(grades: pl.Series) -> pl.Series:
    one = pl.select(pl.when(grades.list.len() == 1).then(grades.list.first())).to_series()
    return one.replace_strict(list(_YEARS), list(_YEARS.values()), default=None, return_dtype=pl.Int32)


@rule(
    "GRD-004", Severity.WARN, Action.REPORT, "Several grades of one student",
    "Leave the grade that the student is in. The hub keeps all of them.",
    entity="users", fields=("grades",), phase=Phase.ROW, reads={"users": ("grades", "student")},
)  # fmt: skip
def several_grades(given: Given) -> pl.DataFrame:
    """Students with more than one grade."""
    users = given["users"]
    return found(users, (users["grades"].list.len() > 1) & users["student"])


@rule(
    "USR-004", Severity.WARN, Action.SUGGEST, "A student and a member of staff with one name and one e-mail address",
    "If they are one person, give one user both roles. The hub keeps them apart.",
    entity="users", fields=("email",), phase=Phase.ENTITY,
    reads={"users": ("nameMark", "emailMark", "student", "staff")},
)  # fmt: skip
def student_and_staff(given: Given) -> pl.DataFrame:
    """Users of whom one is a student alone, another staff alone, with equal names and addresses."""
    if all_differ(given["users"]["emailMark"]):
        return nothing()
    rows = given["users"].filter(pl.col("student") != pl.col("staff"))
    by = ["nameMark", "emailMark"]
    both = shared(rows, by, "users")
    if not both.height:
        return nothing()
    mixed = rows.drop_nulls(by).filter(pl.col("student").n_unique().over(by) > 1)["key"]
    return both.filter(pl.col("key").is_in(as_list(mixed)))


@rule(
    "USR-005", Severity.WARN, Action.REPORT,
    "Too many guardians of one student, none where nearly all others have some, or a guardian of nobody",
    "Correct the agents of the student or guardian in the student system.",
    entity="users", fields=("agents",), phase=Phase.ENTITY, reads={"users": ("agents", "student", "staff", "guardian")},
    params={"most": 6, "share": 0.95},
)  # fmt: skip
def guardians(given: Given) -> pl.DataFrame:
    """Students with more than ``most`` agents, or none where a ``share`` of students has some; lone guardians."""
    users = given["users"]
    number = users["agents"].list.len()
    mark = users["student"] & (number > given.params["most"])
    students = int(users["student"].sum())
    some = int((users["student"] & (number > 0)).sum())
    if students and some < students and some >= given.params["share"] * students:
        mark |= users["student"] & ~certain(number > 0)
    lone = users["guardian"] & ~users["student"] & ~users["staff"] & ~certain(number > 0)
    if some and lone.any():
        named = users["agents"].filter(number > 0).explode().unique()
        mark |= lone & ~users["key"].is_in(as_list(named))
    return found(users, mark)


@rule(
    "USR-006", Severity.WARN, Action.REPORT, "A username of several users (capitals make no difference)",
    "Give each user a username of their own: applications that sign people in by it cannot tell these apart.",
    entity="users", fields=("username",), phase=Phase.ENTITY, reads={"users": ("usernameMark",)},
)  # fmt: skip
def usernames(given: Given) -> pl.DataFrame:
    """Users who share a username."""
    return shared(given["users"], ["usernameMark"], "users")


@rule(
    "USR-010", Severity.INFO, Action.REPORT, "A test or demo account, by its sourcedId, username or e-mail address",
    "Take test accounts out of the export, or leave their rows out with `where` in the source's transform. Until then "
    "apps see them as anybody else.",
    entity="users", fields=("sourcedId", "username", "email"), phase=Phase.ROW,
    reads={"users": ("username", "email")},
)  # fmt: skip
def test_accounts(given: Given) -> pl.DataFrame:
    """Users of whom a name of the account is that of a test."""
    users = given["users"]

    marks = users.select(pl.col("key", "username").str.contains(_TEST), pl.col("email").str.contains(_TEST[:-1] + "@"))
    names = {"sourcedId": "key", "username": "username", "email": "email"}
    return in_fields({name: found(users, marks[column]) for name, column in names.items()})


@rule(
    "USR-014", Severity.INFO, Action.SUGGEST, "A user of several orgs without a primary one",
    "Say in primaryOrgSourcedId which org is the user's own. The cause names the one with most of the user's "
    "enrollments, if one has most.",
    entity="users", fields=("primaryOrg",), phase=Phase.CROSS_ENTITY,
    reads={"users": ("primaryOrg", "orgCount", "mark"), "attending": ("user", "school", "number")},
)  # fmt: skip
def no_primary_org(given: Given) -> pl.DataFrame:
    """Users with roles in several orgs and no primary one; the cause is the org where they are enrolled most."""
    users = rows_of(given["users"], (given["users"]["orgCount"] > 1) & absent(given["users"]["primaryOrg"]))
    if not users.height:
        return nothing()
    known = given["attending"].join(users.select(user="mark"), on="user", how="semi")
    best = known.filter(pl.col("number") == pl.col("number").max().over("user"))
    best = best.filter(pl.len().over("user") == 1).select(mark="user", cause=pl.lit("orgs:") + pl.col("school"))
    return users.join(best, on="mark", how="left", maintain_order="left").select(*FOUND)
