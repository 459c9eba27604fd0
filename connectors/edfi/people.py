"""Users of an Ed-Fi ODS: students, staff and contacts, each with the roles that their associations give them.

Unique ids are unique within their kind of person alone, so somebody who is staff and a contact is two users.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import polars as pl

from connectors.edfi import keys
from connectors.edfi.schools import Places
from connectors.edfi.tables import day_after

_ROLES = ("sourcedId", "userSourcedId", "roleType", "role", "orgSourcedId", "beginDate", "endDate")
_PLACED = {"unique": pl.String, "org": pl.String, "role": pl.String, "begin": pl.String, "end": pl.String}
_DETAILS = ("login", "email", "phone", "sms")
_RACES = ("americanIndianOrAlaskaNative", "asian", "blackOrAfricanAmerican", "nativeHawaiianOrOtherPacificIslander",
          "white")  # fmt: skip
_BY_RELATION = ("parent", "guardian", "relative")
_ADMINISTRATOR = "districtAdministrator"


@dataclass
class Side:
    """Rows of a resource that others are joined with, as they come; ``unique`` in lower case."""

    parts: list[pl.DataFrame] = field(default_factory=list)

    def begin_again(self) -> None:
        """Forgets everything."""
        self.parts = []

    def add(self, frame: pl.DataFrame) -> None:
        """One more page."""
        self.parts.append(folded(frame))

    def frame(self, *names: str) -> pl.DataFrame:
        """All rows, each once; ``names``: the columns where nothing came."""
        if not self.parts:
            return pl.DataFrame(schema=dict.fromkeys(names, pl.String))
        found = pl.concat(self.parts).unique(maintain_order=True)
        self.parts = [found]
        return found


def folded(frame: pl.DataFrame) -> pl.DataFrame:
    """Persons' ids in lower case: references may write them otherwise."""
    return frame.with_columns(pl.col(name).str.to_lowercase() for name in ("unique", "student") if name in frame)


@dataclass(frozen=True, slots=True)
class Made:
    """What some persons become. ``left_out``: those without a place; ``unnamed``: those without a login."""

    users: pl.DataFrame
    roles: pl.DataFrame
    left_out: int
    unnamed: int


def student_roles(schools: pl.DataFrame, places: Places) -> pl.DataFrame:
    """Who goes where, the main school of each student first, and that alone in roles of the type primary.

    The main school is one that the student has not left, the primary one, the one entered last.
    """
    known = schools.filter(pl.col("school").is_in(list(places.schools)), pl.col("unique").is_not_null())
    ordered = known.sort(
        "unique", pl.col("end").is_not_null(), pl.col("primary") != "1", "begin", "school",
        descending=[False, False, False, True, False], nulls_last=True,
    )  # fmt: skip
    main = pl.col("school").first().over("unique")
    return ordered.with_columns(
        main=main, grade=pl.col("grade").drop_nulls().first().over("unique"),
        roleType=pl.when(pl.col("school") == main).then(pl.lit("primary")).otherwise(pl.lit("secondary")),
    )  # fmt: skip


def students(
    frame: pl.DataFrame, roles: pl.DataFrame, details: pl.DataFrame, contacts: pl.DataFrame, places: Places
) -> Made:
    """Students with a school. ``roles``: by ``student_roles``; ``details``: what organizations say of them."""
    given = folded(frame.with_columns(own="unique")).unique("unique", keep="last", maintain_order=True)
    here = given.join(roles.group_by("unique", maintain_order=True).agg(pl.col("main", "grade").first()), on="unique",
                      how="inner", maintain_order="left")  # fmt: skip
    said = _said(details.join(here.select("unique", "main"), on="unique", how="inner"), places)
    here = here.join(said, on="unique", how="left", maintain_order="left")
    agents = _agents(contacts, here, "student", "unique", keys.CONTACT)
    here = here.join(agents, on="unique", how="left", maintain_order="left").with_columns(
        login=pl.coalesce("login", "saidLogin"), grades="grade", primaryOrgSourcedId="main",
    )  # fmt: skip
    users = _users(here, keys.STUDENT, "studentUniqueId")
    mine = roles.join(here.select("unique"), on="unique", how="semi").rename({"school": "org"})
    made = _role_rows(mine.with_columns(role=pl.lit("student")), keys.STUDENT)
    return Made(users, made, given.height - here.height, here["login"].null_count())


def _said(details: pl.DataFrame, places: Places) -> pl.DataFrame:
    """One row for each student of what organizations say: the main school's word goes first, then its district's."""
    if not details.height:
        return pl.DataFrame(schema=dict.fromkeys(("unique", "saidLogin", *_DETAILS[1:], "ids"), pl.String))
    district = details["main"].replace_strict(
        list(places.schools), [place.district for place in places.schools.values()], default=None,
        return_dtype=pl.String,
    )  # fmt: skip
    rank = pl.when(pl.col("org") == pl.col("main")).then(0).when(pl.col("org") == district).then(1).otherwise(2)
    ordered = details.sort("unique", rank, "org")
    ids = pl.col("ids").drop_nulls().str.split(",").explode().unique().sort().str.join(",")
    return ordered.group_by("unique", maintain_order=True).agg(
        saidLogin=pl.col("login").drop_nulls().first(),
        **{name: pl.col(name).drop_nulls().first() for name in _DETAILS[1:]}, ids=ids,
    )  # fmt: skip


def _agents(pairs: pl.DataFrame, here: pl.DataFrame, of: str, other: str, kind: str) -> pl.DataFrame:
    """Unique ids and the sourcedIds of their agents. ``pairs``: unique (a contact's) and student."""
    near = pairs.select(person=of, agent=other).join(here.select(person="unique"), on="person", how="semi")
    return (
        near.unique().sort("person", "agent").group_by(unique="person", maintain_order=True)
        .agg(agents=(pl.lit(f"{kind}-") + pl.col("agent")).str.join(","))
    )  # fmt: skip


def placed_staff(assignments: pl.DataFrame, schools: pl.DataFrame, teaching: pl.DataFrame, places: Places, usual: str
) -> pl.DataFrame:  # fmt: skip
    """Where staff is, and as what: by assignments, by schools, by classes. ``usual``: the role where nothing says."""
    is_school = pl.col("org").is_in(list(places.schools))
    assigned = assignments.filter(is_school | pl.col("org").is_in(list(places.districts)))
    assigned = assigned.with_columns(end=day_after("end"))
    teach = (
        teaching.filter(is_school)
        .select("unique", "org")
        .unique(maintain_order=True)
        .with_columns(teaches=pl.lit(value=True))
    )
    above = (
        assigned.filter(~is_school, ~pl.col("role").is_in([_ADMINISTRATOR, "staff"])).sort("unique", "role")
        .group_by("unique").agg(above=pl.col("role").first())
    )  # fmt: skip
    beside = pl.concat([teach.select("unique", "org"), schools.filter(is_school).select("unique", "org")]).unique(
        maintain_order=True
    )
    beside = beside.join(assigned, on=["unique", "org"], how="anti").join(above, on="unique", how="left")
    beside = beside.with_columns(pl.lit(None, pl.String).alias(name) for name in ("begin", "end"))
    every = pl.concat([
        assigned.select(*_PLACED), beside.select("unique", "org", pl.col("above").alias("role"), "begin", "end"),
    ]).join(teach, on=["unique", "org"], how="left")  # fmt: skip
    said = pl.when(pl.col("role") != "staff").then(pl.col("role"))
    at_school = (
        pl.when((pl.col("role") == _ADMINISTRATOR) & is_school).then(pl.lit("siteAdministrator")).otherwise(said)
    )
    taught = pl.when(pl.col("teaches")).then(pl.lit("teacher"))
    # Who teaches somewhere beside an assignment elsewhere teaches, whatever that assignment is.
    return (
        every.with_columns(role=pl.coalesce(at_school, taught, pl.lit(usual)))
        .drop("teaches")
        .unique(maintain_order=True)
    )


def staffs(frame: pl.DataFrame, placed: pl.DataFrame, places: Places) -> Made:
    """Staff with a place."""
    given = folded(frame.with_columns(own="unique")).unique("unique", keep="last", maintain_order=True)
    school = pl.col("org").is_in(list(places.schools))
    ordered = placed.sort("unique", pl.col("end").is_not_null(), ~school, "org", "role", "begin", nulls_last=True)
    ordered = ordered.with_columns(
        roleType=pl.when(pl.col("role") == pl.col("role").first().over("unique", "org")).then(pl.lit("primary"))
        .otherwise(pl.lit("secondary"))
    )  # fmt: skip
    home = ordered.group_by("unique", maintain_order=True).agg(primaryOrgSourcedId=pl.col("org").first())
    here = given.join(home, on="unique", how="inner", maintain_order="left")
    mine = ordered.join(here.select("unique"), on="unique", how="semi")
    made = _role_rows(mine, keys.STAFF)
    users = _users(here, keys.STAFF, "staffUniqueId")
    return Made(users, made, given.height - here.height, here["login"].null_count())


def contacts(frame: pl.DataFrame, pairs: pl.DataFrame, main: pl.DataFrame) -> Made:
    """Contacts of students who are here. ``main``: unique and main, the students' main schools."""
    given = folded(frame.with_columns(own="unique")).unique("unique", keep="last", maintain_order=True)
    near = pairs.join(main.select(student="unique", org="main").unique("student"), on="student", how="inner")
    rank = pl.col("role").replace_strict(
        list(_BY_RELATION), range(len(_BY_RELATION)), default=len(_BY_RELATION), return_dtype=pl.Int64
    )
    ordered = near.sort("unique", rank, "org", "student")
    best = ordered.group_by("unique", "org", maintain_order=True).agg(pl.col("role").first())
    home = best.group_by("unique", maintain_order=True).agg(primaryOrgSourcedId=pl.col("org").first())
    here = given.join(home, on="unique", how="inner", maintain_order="left")
    agents = _agents(near, here, "unique", "student", keys.STUDENT)
    here = here.join(agents, on="unique", how="left", maintain_order="left")
    mine = best.join(here.select("unique"), on="unique", how="semi").with_columns(
        roleType=pl.lit("primary"), begin=pl.lit(None, pl.String), end=pl.lit(None, pl.String)
    )
    users = _users(here, keys.CONTACT, "contactUniqueId")
    return Made(users, _role_rows(mine, keys.CONTACT), given.height - here.height, here["login"].null_count())


def _users(here: pl.DataFrame, kind: str, system: str) -> pl.DataFrame:
    """The rows of users.csv."""
    for name in ("agents", "grades", "ids", *_DETAILS):
        if name not in here:
            here = here.with_columns(pl.lit(None, pl.String).alias(name))
    own = pl.lit(f"{{{system}:") + pl.col("own").str.replace_all(r"[{},]", " ") + "}"
    return here.select(
        sourcedId=_user(kind), enabledUser=pl.lit("true"), username=pl.coalesce("login", "email", "own"),
        userIds=pl.concat_str(own, "ids", separator=",", ignore_nulls=True), givenName="givenName",
        familyName="familyName", middleName="middleName", identifier="own", email="email", sms="sms", phone="phone",
        agentSourcedIds="agents", grades="grades", preferredGivenName="preferredGivenName",
        preferredFamilyName="preferredFamilyName", primaryOrgSourcedId="primaryOrgSourcedId",
    )  # fmt: skip


def _user(kind: str) -> pl.Expr:
    """The sourcedId of a person."""
    return pl.lit(f"{kind}-") + pl.col("unique")


def _role_rows(placed: pl.DataFrame, kind: str) -> pl.DataFrame:
    """The rows of roles.csv, called by what they say. One that is told several times ends with the last of them."""
    parts = [pl.col(name).fill_null("") for name in ("org", "role", "begin")]
    made = placed.with_columns(
        sourcedId=pl.concat_str(_user(kind), *parts, separator="-"), userSourcedId=_user(kind), orgSourcedId="org",
        beginDate="begin",
    )  # fmt: skip
    end = pl.col("end")
    until = pl.when(~end.is_null().any().over("sourcedId")).then(end.max().over("sourcedId"))
    return made.with_columns(endDate=until).select(*_ROLES).unique("sourcedId", keep="first", maintain_order=True)


def demographics(born: pl.DataFrame, details: pl.DataFrame, roles: pl.DataFrame) -> pl.DataFrame:
    """What there is of students who are here. Races are those that any organization names."""
    born = folded(born).unique("unique", keep="last", maintain_order=True)
    born = born.join(roles.select("unique").unique(), on="unique", how="semi", maintain_order="left")
    near = details.join(born.select("unique"), on="unique", how="semi").sort("unique", "org")
    told = near.group_by("unique", maintain_order=True).agg(
        races=pl.col("races").fill_null("").str.split(",").explode().unique(),
        hispanic=pl.col("hispanic").sort(descending=True, nulls_last=True).first(),  # "true" before "false"
        sex=pl.col("sex").drop_nulls().first(),
    )
    found = born.join(told, on="unique", how="left", maintain_order="left")
    races = pl.col("races").list
    flags: Sequence[pl.Expr] = [_flag(races.contains(race)).alias(race) for race in _RACES]
    several = pl.col("races").list.set_intersection(pl.lit(list(_RACES))).list.len() > 1
    return found.select(
        _user(keys.STUDENT).alias("sourcedId"), "birthDate", pl.coalesce("birthSex", "sex").alias("sex"), *flags,
        _flag(several).alias("demographicRaceTwoOrMoreRaces"), pl.col("hispanic").alias("hispanicOrLatinoEthnicity"),
        "countryOfBirthCode", "stateOfBirthAbbreviation", "cityOfBirth",
    )  # fmt: skip


def _flag(condition: pl.Expr) -> pl.Expr:
    """``true`` where it is so; blank where nobody says so."""
    return pl.when(condition).then(pl.lit("true"))
