"""Rules about e-mail addresses and telephone numbers that several people share, or that are not the district's."""

from __future__ import annotations

import polars as pl

from transforms.issues import Action, Phase, Severity
from transforms.marks import as_list, distinct, empty, filled
from transforms.rules.given import Given, all_differ, found, nothing, rule, shared

#: Of everybody: a district whose students all have one of these has no domain of its own.
_PUBLIC = (
    "gmail.com", "yahoo.com", "hotmail.com", "outlook.com", "icloud.com", "aol.com", "live.com", "msn.com", "gmx.net",
    "proton.me", "protonmail.com",
)  # fmt: skip


@rule(
    "EML-003", Severity.WARN, Action.REPORT, "One e-mail address of several students, or of several members of staff",
    "Give each of them an address of their own, or leave it empty: applications may take them for one person.",
    entity="users", fields=("email",), phase=Phase.ENTITY, reads={"users": ("emailMark", "student", "staff")},
)  # fmt: skip
def one_address(given: Given) -> pl.DataFrame:
    """Users of one kind of role who share an address."""
    users = given["users"]
    if all_differ(users["emailMark"]):
        return nothing()
    parts = [shared(users.filter(users[kind]), ["emailMark"], "users") for kind in ("student", "staff")]
    return pl.concat(parts).unique("key").sort("key")


@rule(
    "EML-004", Severity.INFO, Action.REPORT, "One e-mail address of a guardian and of a member of staff",
    "Nothing needs doing where they are one person or one household.",
    entity="users", fields=("email",), phase=Phase.ENTITY, reads={"users": ("emailMark", "guardian", "staff")},
)  # fmt: skip
def of_the_household(given: Given) -> pl.DataFrame:
    """Guardians and staff, each nothing of the other, who share an address."""
    users = given["users"]
    if all_differ(users["emailMark"]):
        return nothing()
    rows = users.filter(users["guardian"] != users["staff"])
    both = shared(rows, ["emailMark"], "users")
    if not both.height:
        return nothing()
    mixed = rows.drop_nulls("emailMark").filter(pl.col("staff").n_unique().over("emailMark") > 1)["key"]
    return both.filter(pl.col("key").is_in(as_list(mixed)))


@rule(
    "EML-005", Severity.INFO, Action.REPORT, "A student's e-mail address outside of the district's domains",
    "Look whether it is a private address, and take it out of the export then. No app sees an address of anybody "
    "unless its grant asks for contact data. Which domains are the district's can be set; else those count that a "
    "share of all students and staff have.",
    entity="users", fields=("email",), phase=Phase.ENTITY, reads={"users": ("domain", "student", "staff")},
    params={"domains": (), "share": 0.05},
)  # fmt: skip
def private_address(given: Given) -> pl.DataFrame:
    """Students whose domain is none of ``domains`` nor below one of them."""
    users = given["users"]
    own = _domains(users, given)
    if not own:
        return nothing()
    domains = distinct(filled(users["domain"]))
    theirs = [any(name == one or name.endswith("." + one) for one in own) for name in domains.to_list()]
    strange = domains.filter(~pl.Series(theirs, dtype=pl.Boolean))
    return found(users, users["student"] & users["domain"].is_in(as_list(strange))) if strange.len() else nothing()


def _domains(users: pl.DataFrame, given: Given) -> list[str]:
    if given.params["domains"]:
        return [name.lower() for name in given.params["domains"]]
    people = filled(users["domain"].filter(users["student"] | users["staff"]))
    counts = people.value_counts()
    usual = counts["domain"].filter(counts["count"] >= max(given.params["share"] * people.len(), 2))
    return sorted(set(usual.to_list()) - set(_PUBLIC))


@rule(
    "PHN-003", Severity.INFO, Action.REPORT, "One telephone number of very many people",
    "Nothing needs doing where it is that of a school or a home; else correct it in the student system.",
    entity="users", fields=("phone",), phase=Phase.ENTITY, reads={"users": ("phoneMark", "smsMark")},
    params={"people": 6},
)  # fmt: skip
def one_number(given: Given) -> pl.DataFrame:
    """Users of a number, of telephone or text messages, that more than ``people`` users have."""
    users = given["users"]
    if all(all_differ(users[name]) for name in ("phoneMark", "smsMark")) and empty(users["smsMark"]):
        return nothing()
    parts = [users.select("key", "line", number=name).drop_nulls() for name in ("phoneMark", "smsMark")]
    numbers = pl.concat(parts).unique(["key", "number"])
    many = numbers.filter(numbers["number"].is_duplicated()) if numbers.height else numbers
    many = many.filter(pl.len().over("number") > given.params["people"])
    if not many.height:
        return nothing()
    cause = pl.lit("users:") + pl.col("key").min().over("number")
    return many.select("key", "line", cause=cause).sort("key", "cause").unique("key", keep="first", maintain_order=True)
