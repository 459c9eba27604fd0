"""From Qmlativ's students, staff and guardians to OneRoster's users: each person once, with all roles.

A person is known by the NameID, whatever they are in the district.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import polars as pl

from connectors.skyward_qmlativ.config import QmlativConfig
from connectors.skyward_qmlativ.mapping import SEXES, day, flag, grade, not_off, text_of

_HELD = {"NameID": pl.String, "role": pl.String, "org": pl.String, "first": pl.Boolean}


@dataclass(frozen=True)
class Held:
    """Who holds which role where. ``ids``: by StudentID or StaffID the NameID. ``first``: where somebody is at home."""

    rows: pl.DataFrame
    ids: pl.DataFrame


def _held(rows: pl.DataFrame) -> pl.DataFrame:
    return rows.select(pl.col(name).cast(kind) for name, kind in _HELD.items())


def students(rows: pl.DataFrame, years: pl.DataFrame, orgs: pl.Series, year: str) -> Held:
    """The students who are active at one of the district's schools in a year."""
    here = years.filter((pl.col("SchoolYearID") == year) & flag("IsActive") & pl.col("EntityID").is_in(orgs.implode()))
    found = here.join(rows, on="StudentID", maintain_order="left")
    held = found.select("NameID", role=pl.lit("student"), org="EntityID", first=flag("IsDefaultEntity"))
    return Held(_held(held), found.select("StudentID", "NameID").unique("StudentID", maintain_order=True))


def staff(rows: pl.DataFrame, years: pl.DataFrame, orgs: pl.Series, year: str, config: QmlativConfig) -> Held:
    """The active staff: teachers where Qmlativ says so, else staff; at the district where it names no school."""
    active = rows.filter(not_off("IsActiveForDistrict"))
    here = years.filter(
        (pl.col("SchoolYearID") == year) & not_off("IsActive") & pl.col("EntityID").is_in(orgs.implode())
    )
    found = active.join(here, on="StaffID", how="left", maintain_order="left")
    role = pl.when(flag("IsTeacher")).then(pl.lit("teacher")).otherwise(pl.lit(config.staff_role))
    held = found.select(
        "NameID", role=role, org=pl.coalesce("EntityID", pl.lit(str(config.entity))), first=flag("IsTeacher")
    )
    return Held(_held(held), active.select("StaffID", "NameID"))


def guardians(rows: pl.DataFrame, of: Held, config: QmlativConfig) -> tuple[Held, pl.DataFrame]:
    """The guardians of the students, and who has whom as an agent (user, agent)."""
    found = rows.join(of.ids, on="StudentID", maintain_order="left").rename({"NameIDGuardian": "guardian"})
    held = found.select(
        NameID="guardian", role=pl.lit("guardian"), org=pl.lit(str(config.entity)), first=pl.lit(value=False)
    ).unique(maintain_order=True)
    pairs = found.select(user="NameID", agent="guardian")
    both = pl.concat([pairs, pairs.select(user="agent", agent="user")])
    return Held(_held(held), of.ids.clear()), both


def roles(held: pl.DataFrame) -> pl.DataFrame:
    """The rows of roles: each role of somebody at an org once."""
    once = held.unique(["NameID", "role", "org"], maintain_order=True).sort(
        "NameID", ~pl.col("first"), "org", "role", maintain_order=True
    )
    return once.select(
        pl.concat_str("NameID", pl.lit("."), pl.col("role").str.replace("ext:", "", literal=True), pl.lit("."), "org")
        .alias("sourcedId"),
        userSourcedId="NameID", role="role", orgSourcedId="org",
        roleType=pl.when(pl.int_range(pl.len()).over("NameID", "org") == 0).then(pl.lit("primary"))
        .otherwise(pl.lit("secondary")),
    )  # fmt: skip


def users(held: pl.DataFrame, tables: Mapping[str, pl.DataFrame], agents: pl.DataFrame, config: QmlativConfig) -> tuple[
    pl.DataFrame, int, int
]:  # fmt: skip
    """The rows of users; how many people have no name, and how many users no username."""
    home = held.sort("NameID", ~pl.col("first"), "org").unique("NameID", keep="first", maintain_order=True)
    people = home.select("NameID", "org").join(tables["names"], on="NameID", how="left", maintain_order="left")
    there = people.filter(pl.col("FirstName").is_not_null() | pl.col("LastName").is_not_null())
    listed = (
        agents.unique()
        .sort("user", "agent")
        .group_by("user", maintain_order=True)
        .agg(agents=pl.col("agent").str.join(","))
    )
    emails = (
        tables["emails"]
        .sort(pl.col("Rank").cast(pl.Int64, strict=False), nulls_last=True)
        .unique("NameID", keep="first", maintain_order=True)
    )
    logins = tables["logins"].filter(not_off("IsActive")).unique("NameID", keep="first", maintain_order=True)
    found = there
    for other in (
        emails.select("NameID", "EmailAddress"), logins.select("NameID", "Username"), tables["students"],
        tables["staff"], listed.rename({"user": "NameID"}),
    ):  # fmt: skip
        found = found.join(other, on="NameID", how="left", maintain_order="left")
    state = pl.col("CalculatedStudentStateID")
    rows = found.select(
        sourcedId="NameID", enabledUser=pl.lit("true"),
        username=pl.coalesce("Username", "EmailAddress", "NameID"),
        userIds=pl.when(state.is_not_null() & ~state.str.contains(r"[{},]")).then(
            pl.concat_str(pl.lit("{stateId:"), state, pl.lit("}"))
        ),
        givenName="FirstName", familyName="LastName", middleName="MiddleName",
        identifier=pl.coalesce("StudentNumber", "StaffNumber"), email="EmailAddress", agentSourcedIds="agents",
        grades=grade("Grade", config.grades), primaryOrgSourcedId="org",
    )  # fmt: skip
    return rows.sort("sourcedId"), people.height - there.height, int(found["Username"].null_count())


def demographics(students: pl.DataFrame, names: pl.DataFrame) -> pl.DataFrame:
    """Birthdays and sexes of some students, where they have one of them."""
    found = students.select("NameID").unique(maintain_order=True).join(names, on="NameID", maintain_order="left")
    sex = pl.col("GenderCode").str.to_uppercase().replace_strict(SEXES, default=None, return_dtype=pl.String)
    rows = found.select(sourcedId="NameID", birthDate=text_of(day("BirthDate")), sex=sex)
    return rows.filter(pl.col("birthDate").is_not_null() | pl.col("sex").is_not_null()).sort("sourcedId")
