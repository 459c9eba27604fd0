"""From rows of PowerQueries to the columns of OneRoster 1.2 CSV files, whole columns at a time.

Ids are those that the public OneRoster plugin for PowerSchool makes (README.md lists them), so that a district can go
from one to the other. Source of the rules: github.com/Lawrence-Public-Schools/OneRoster-1.1-PowerQueries.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import date

import polars as pl

from connectors.powerschool.config import PowerSchoolConfig, SectionRole

_ENABLED_STATUS = ("0", "-1")
_NOT_IN_LISTS, _NOT_IN_PAIRS = ",", r"[{}:,]"
_SEX = {"M": "male", "F": "female", "X": "other"}
#: Codes of races in studentrace and students.ethnicity.
RACES = {
    "americanIndianOrAlaskaNative": "I", "asian": "A", "blackOrAfricanAmerican": "B",
    "nativeHawaiianOrOtherPacificIslander": "P", "white": "W", "demographicRaceTwoOrMoreRaces": "M",
}  # fmt: skip
_SESSION_TYPES = {"1": "schoolYear", "2": "semester", "4": "gradingPeriod", "8": "gradingPeriod"}


@dataclass(frozen=True, slots=True)
class Mapped:
    """``rows``: by file. ``ended``: sourcedIds of the first file of rows that are not of the roster."""

    rows: Mapping[str, pl.DataFrame]
    ended: pl.Series
    never_there: int = 0


@dataclass(frozen=True, slots=True)
class Scope:
    """What decides beside a row what becomes of it.

    ``district``: its number, which its org has as sourcedId. ``links``: guardians and their students, and ``agents``:
    guardians by student (``student_dcid``, ``agents``), where contacts are pulled; ``races``: by student.
    """

    config: PowerSchoolConfig
    district: str
    links: pl.DataFrame | None = None
    agents: pl.DataFrame | None = None
    races: pl.DataFrame | None = None

    @property
    def statuses(self) -> tuple[str, ...]:
        """The statuses of students who are pulled."""
        return tuple(str(one) for one in self.config.enroll_status)

    def beside(self, tables: Mapping[str, pl.DataFrame]) -> Scope:
        """The same with what rows are joined with, by the queries' names."""
        links = tables.get("guardian_links")
        known = None if links is None else agents(links)
        return replace(self, links=links, agents=known, races=tables.get("races"))

    def org(self, column: str) -> pl.Expr:
        """The sourcedId of an org: a school's number, where 0 stands for the district."""
        return pl.when(pl.col(column) == "0").then(pl.lit(self.district)).otherwise(pl.col(column))


#: Says of rows, maybe with the columns of their keys alone, which are pulled, and the sourcedIds of the others.
Keyed = Callable[[pl.DataFrame, Scope], tuple[pl.DataFrame, pl.Series]]
Mapper = Callable[[pl.DataFrame, Scope], Mapped]


def orgs(schools: pl.DataFrame, district: str, name: str) -> pl.DataFrame:
    """The district and its schools."""
    top = pl.DataFrame({"sourcedId": [district], "name": [name], "type": ["district"], "identifier": [district]})
    below = schools.filter(pl.col("school_number").is_not_null() & (pl.col("school_number") != "0")).select(
        sourcedId="school_number", name="name", type=pl.lit("school"), identifier="school_number",
        parentSourcedId=pl.lit(district),
    )  # fmt: skip
    return pl.concat([top, below], how="diagonal")


@dataclass(frozen=True, slots=True)
class Years:
    """The school years that are pulled: their yearids. ``under_way``: whether any of them is.

    ``until``: the first day on which the choice may be another one.
    """

    ids: tuple[int, ...]
    under_way: bool
    until: date

    @property
    def terms(self) -> Mapping[str, int]:
        """The bounds of their terms' ids, which are a hundred times the yearid and a number."""
        return {"firstterm": min(self.ids, default=0) * 100, "lastterm": max(self.ids, default=0) * 100 + 99}


def years(terms: pl.DataFrame, today: date, days: int) -> Years:
    """The years that begin or end within ``days`` or are under way; else the next one, or else the last."""
    dated = terms.select(
        pl.col("yearid").cast(pl.Int64, strict=False), pl.col("portion"),
        first=pl.col("firstday").str.to_date("%Y-%m-%d", strict=False),
        last=pl.col("lastday").str.to_date("%Y-%m-%d", strict=False),
    ).filter(pl.col("portion") == "1").drop_nulls()  # fmt: skip
    each = dated.group_by("yearid").agg(pl.col("first").min(), pl.col("last").max()).sort("yearid")
    near = pl.duration(days=days)
    begins, ends = pl.col("first") - near, pl.col("last") + near
    edges = pl.concat([each.select(day=begins), each.select(day=ends + pl.duration(days=1))])["day"].to_list()
    until = min((day for day in edges if day > today), default=date.max)
    now = each.filter((begins <= today) & (ends >= today))["yearid"].to_list()
    if now:
        return Years(tuple(now), under_way=True, until=until)
    coming = each.filter(pl.col("first") > today)["yearid"].to_list()
    return Years(tuple(coming[:1] or each["yearid"].to_list()[-1:]), under_way=False, until=until)


def sessions(terms: pl.DataFrame, chosen: Years) -> pl.DataFrame:
    """Academic sessions of some years, each below the shortest longer one of its school that holds its first day."""
    rows = terms.filter(pl.col("yearid").cast(pl.Int64, strict=False).is_in(chosen.ids) & pl.col("id").is_not_null())
    rows = rows.with_columns(
        key=pl.concat_str("schoolid", pl.lit("-"), "id"), part=pl.col("portion").cast(pl.Int64, strict=False)
    )
    above = rows.select("schoolid", "yearid", above="key", wide="part", first="firstday", last="lastday")
    pairs = rows.join(above, on=["schoolid", "yearid"]).filter(
        (pl.col("wide") < pl.col("part")) & (pl.col("part") % pl.col("wide") == 0)
        & (pl.col("first") <= pl.col("firstday")) & (pl.col("firstday") <= pl.col("last"))
    )  # fmt: skip
    parents = pairs.sort("wide", "above").group_by("key").agg(pl.col("above").last())
    # OneRoster names a year by the one in which it ends; yearid 0 began in July 1990.
    ends = (pl.col("yearid").cast(pl.Int64) + 1991).cast(pl.String)
    return rows.join(parents, on="key", how="left", maintain_order="left").select(
        sourcedId="key", title="name", type=pl.col("portion").replace_strict(_SESSION_TYPES, default="term"),
        startDate="firstday", endDate="lastday", parentSourcedId="above", schoolYear=ends,
    )  # fmt: skip


def grade(column: str) -> pl.Expr:
    """A grade level as CEDS calls it: below -2 infants, below 0 before kindergarten, 0 kindergarten, then 01 to 13."""
    level = pl.col(column).cast(pl.Float64, strict=False).cast(pl.Int64)
    return (
        pl.when(level.is_null()).then(None)
        .when(level <= -3).then(pl.lit("IT"))
        .when(level < 0).then(pl.lit("PK"))
        .when(level == 0).then(pl.lit("KG"))
        .when(level <= 13).then(level.cast(pl.String).str.zfill(2))
        .otherwise(pl.lit("PS"))
    )  # fmt: skip


def courses(rows: pl.DataFrame, scope: Scope) -> Mapped:
    """Courses; those of school 0 are the district's."""
    made = rows.filter(pl.col("dcid").is_not_null()).select(
        sourcedId="dcid", title="course_name", courseCode="course_number", orgSourcedId=scope.org("schoolid"),
        subjects=_item("subject"),
    )  # fmt: skip
    return Mapped({"courses": made}, _none())


def sections(rows: pl.DataFrame, scope: Scope) -> Mapped:
    """Classes."""
    made = rows.filter(pl.col("id").is_not_null()).select(
        sourcedId="id",
        title=pl.concat_str("course_name", "section_number", separator=" - ", ignore_nulls=True),
        grades=grade("grade_level"), courseSourcedId="course_dcid",
        classCode=pl.concat_str("course_number", "section_number", separator=".", ignore_nulls=True),
        classType=pl.lit("scheduled"), location="room", schoolSourcedId=scope.org("schoolid"),
        termSourcedIds=pl.concat_str("schoolid", pl.lit("-"), "termid"), periods=_item("expression"),
    )  # fmt: skip
    return Mapped({"classes": made}, _none())


def students(rows: pl.DataFrame, scope: Scope) -> Mapped:
    """Students, each with their role at their school."""
    rows, gone = student_keys(rows, scope)
    if "email" not in rows.columns:
        rows = rows.with_columns(email=pl.lit(None, pl.String))
    if scope.agents is not None:
        rows = rows.join(scope.agents, left_on="dcid", right_on="student_dcid", how="left", maintain_order="left")
    else:
        rows = rows.with_columns(agents=pl.lit(None, pl.String))
    org = scope.org("schoolid")
    users = rows.select(
        sourcedId="key", enabledUser=_truth(pl.col("enroll_status").is_in(_ENABLED_STATUS)), username="student_web_id",
        userIds=_pair("PowerSchool", "id"), givenName="first_name", familyName="last_name", middleName="middle_name",
        identifier="student_number", email="email", agentSourcedIds="agents", grades=grade("grade_level"),
        primaryOrgSourcedId=org,
    )  # fmt: skip
    roles = rows.select(
        sourcedId=pl.concat_str("key", pl.lit("-"), org), userSourcedId="key", roleType=pl.lit("primary"),
        role=pl.lit("student"), orgSourcedId=org,
    )  # fmt: skip
    return Mapped({"users": users, "roles": roles}, gone)


def staff(rows: pl.DataFrame, scope: Scope) -> Mapped:
    """Staff: one user of all the rows that a person has, one a school; the role at the home school is the primary one.

    ``rows`` are all that there are: people without an active row that has a role are no users.
    """
    rows = rows.filter(pl.col("users_dcid").is_not_null()).with_columns(
        key=_staff("users_dcid"), org=scope.org("schoolid"), role=_staff_role(scope.config),
        home=pl.col("schoolid") == pl.col("homeschoolid"),
    )  # fmt: skip
    active = rows.filter((pl.col("status") == "1") & pl.col("role").is_not_null())
    places = active.sort(
        pl.col("users_dcid").cast(pl.Int64, strict=False), ~pl.col("home").fill_null(value=False),
        pl.col("schoolid").cast(pl.Int64, strict=False), maintain_order=True,
    ).unique(["key", "org"], keep="first", maintain_order=True)  # fmt: skip
    people = places.unique("key", keep="first", maintain_order=True)
    users = people.select(
        sourcedId="key", enabledUser=pl.lit("true"), username=pl.coalesce("teacherloginid", "loginid"),
        givenName="first_name", familyName="last_name", middleName="middle_name", identifier="teachernumber",
        email="email", primaryOrgSourcedId="org",
    )  # fmt: skip
    roles = places.select(
        sourcedId=pl.concat_str("key", pl.lit("-"), "org"), userSourcedId="key",
        roleType=pl.when(pl.col("key").is_first_distinct()).then(pl.lit("primary")).otherwise(pl.lit("secondary")),
        role="role", orgSourcedId="org",
    )  # fmt: skip
    gone = rows.join(people.select("key"), on="key", how="anti", maintain_order="left")["key"]
    return Mapped({"users": users, "roles": roles}, gone.unique(maintain_order=True))


def enrollments(rows: pl.DataFrame, scope: Scope) -> Mapped:
    """Students' enrollments. Who dropped a class has a negative term and section and keeps an enrollment that ended.

    PowerSchool's exit date is the first day on which a student is not there any more.
    """
    there, gone = enrollment_keys(rows, scope)
    made = there.select(
        sourcedId="key", classSourcedId=pl.col("sectionid").str.strip_prefix("-"),
        schoolSourcedId=scope.org("schoolid"), userSourcedId=_student("student_dcid"), role=pl.lit("student"),
        beginDate="dateenrolled",
        endDate=pl.col("dateleft").str.to_date("%Y-%m-%d", strict=False).dt.offset_by("-1d").dt.to_string("%Y-%m-%d"),
    )  # fmt: skip
    never = rows.filter(_kept(scope) & ~_took_part()).height
    return Mapped({"enrollments": made}, gone, never)


def teachers(rows: pl.DataFrame, scope: Scope) -> Mapped:
    """Teachers' enrollments; the role comes from the name of its definition."""
    there, gone = teacher_keys(rows, scope)
    named = pl.col("role").str.to_lowercase().str.strip_chars().fill_null("")
    role, lead = _section_role(scope.config, named), named == scope.config.lead_role.strip().lower()
    made = there.select(
        sourcedId="key", classSourcedId="sectionid", schoolSourcedId=scope.org("schoolid"),
        userSourcedId=_staff("users_dcid"), role=role,
        primary=pl.when(role == "teacher").then(_truth(lead)), beginDate="start_date", endDate="end_date",
    )  # fmt: skip
    return Mapped({"enrollments": made}, gone)


def student_keys(rows: pl.DataFrame, scope: Scope) -> tuple[pl.DataFrame, pl.Series]:
    """The rows of students who are pulled, with their sourcedId as ``key``; and the sourcedIds of the others."""
    rows = rows.filter(pl.col("dcid").is_not_null()).with_columns(key=_student("dcid"))
    return _divided(rows, _kept(scope))


def enrollment_keys(rows: pl.DataFrame, scope: Scope) -> tuple[pl.DataFrame, pl.Series]:
    """The same of students' enrollments."""
    rows = rows.filter(pl.col("dcid").is_not_null()).with_columns(key=_student("dcid"))
    return _divided(rows, _took_part() & _kept(scope) & pl.col("student_dcid").is_not_null())


def teacher_keys(rows: pl.DataFrame, scope: Scope) -> tuple[pl.DataFrame, pl.Series]:
    """The same of teachers' enrollments: of active staff with a role."""
    rows = rows.filter(pl.col("id").is_not_null() & pl.col("users_dcid").is_not_null()).with_columns(
        key=pl.concat_str(pl.lit("ST"), "id", pl.lit("-T"), "users_dcid")
    )
    return _divided(rows, (pl.col("status") == "1") & _staff_role(scope.config).is_not_null())


def plain_keys(column: str, prefix: str = "") -> Keyed:
    """The same of rows that all count: their sourcedId is a column with a prefix."""

    def keyed(rows: pl.DataFrame, _scope: Scope) -> tuple[pl.DataFrame, pl.Series]:
        named = rows.filter(pl.col(column).is_not_null())
        return named.with_columns(key=pl.concat_str(pl.lit(prefix), column)), _none()

    return keyed


def _divided(rows: pl.DataFrame, kept: pl.Expr) -> tuple[pl.DataFrame, pl.Series]:
    known = kept.fill_null(value=False)
    return rows.filter(known), rows.filter(~known)["key"]


def _took_part() -> pl.Expr:
    """Whether a student was in a class at all: one without an exit date is, unless the class was dropped."""
    dropped = pl.col("termid").str.starts_with("-") | pl.col("sectionid").str.starts_with("-")
    return (pl.col("dateleft") > pl.col("dateenrolled")).fill_null(~dropped.fill_null(value=False))


def agents(links: pl.DataFrame) -> pl.DataFrame:
    """Guardians by student, those with the lowest numbers first."""
    pairs = links.drop_nulls(["studentdcid", "guardianid"]).unique(["studentdcid", "guardianid"])
    pairs = pairs.sort("studentdcid", pl.col("guardianid").cast(pl.Int64, strict=False))
    return pairs.group_by("studentdcid", maintain_order=True).agg(
        agents=pl.concat_str(pl.lit("G"), "guardianid").str.join(",")
    ).rename({"studentdcid": "student_dcid"})  # fmt: skip


def guardians(rows: pl.DataFrame, scope: Scope) -> Mapped:
    """Guardians with an account, with a role at each school of their students, or at the district."""
    key, links = pl.concat_str(pl.lit("G"), "guardianid"), scope.links
    if links is None:
        raise ValueError("guardians are mapped with the links to their students")
    rows = rows.filter(pl.col("guardianid").is_not_null()).with_columns(key=key)
    own = links.join(rows.select("guardianid"), on="guardianid").with_columns(
        key=key, org=scope.org("schoolid"), place=pl.col("schoolid").cast(pl.Int64, strict=False)
    )
    named = own.drop_nulls(["studentdcid"]).sort(pl.col("studentdcid").cast(pl.Int64, strict=False))
    students_of = named.unique(["key", "studentdcid"], keep="first", maintain_order=True).group_by(
        "key", maintain_order=True
    ).agg(students=_student("studentdcid").str.join(","))  # fmt: skip
    places = own.drop_nulls(["org"]).unique(["key", "org"]).select("key", "org", "place").sort("place", "org")
    everywhere = rows.select("key").join(places, on="key", how="left", maintain_order="left_right")
    everywhere = everywhere.with_columns(org=pl.col("org").fill_null(scope.district))
    first = everywhere.unique("key", keep="first", maintain_order=True).select("key", "org")
    users = rows.join(first, on="key", how="left", maintain_order="left").join(
        students_of, on="key", how="left", maintain_order="left"
    ).select(
        sourcedId="key", enabledUser=_truth(pl.col("enabled") == "1"), username="username", givenName="firstname",
        familyName="lastname", middleName="middlename", email="email", agentSourcedIds="students",
        primaryOrgSourcedId="org",
    )  # fmt: skip
    roles = everywhere.select(
        sourcedId=pl.concat_str("key", pl.lit("-"), "org"), userSourcedId="key",
        roleType=pl.when(pl.col("key").is_first_distinct()).then(pl.lit("primary")).otherwise(pl.lit("secondary")),
        role=pl.lit("guardian"), orgSourcedId="org",
    )  # fmt: skip
    return Mapped({"users": users, "roles": roles}, _none())


def demographics(rows: pl.DataFrame, scope: Scope) -> Mapped:
    """Demographics of students. A race counts that stands among the races or as the ethnicity."""
    if scope.races is None:
        raise ValueError("demographics are mapped with the races")
    listed = scope.races.drop_nulls().group_by("student_dcid").agg(codes=pl.col("racecd").unique())
    rows, gone = student_keys(rows, scope)
    rows = rows.join(listed, left_on="dcid", right_on="student_dcid", how="left", maintain_order="left")
    of = {
        name: _truth(
            pl.col("codes").list.contains(code).fill_null(value=False)
            | (pl.col("ethnicity") == code).fill_null(value=False)
        )
        for name, code in RACES.items()
    }  # fmt: skip
    made = rows.select(
        sourcedId="key", birthDate="dob",
        sex=pl.col("gender").str.to_uppercase().replace_strict(_SEX, default=None),
        hispanicOrLatinoEthnicity=_truth(pl.col("fedethnicity") == "1"), **of,
    )  # fmt: skip
    return Mapped({"demographics": made}, gone)


def _student(column: str) -> pl.Expr:
    return pl.concat_str(pl.lit("S"), column)


def _staff(column: str) -> pl.Expr:
    return pl.concat_str(pl.lit("T"), column)


def _kept(scope: Scope) -> pl.Expr:
    return pl.col("enroll_status").is_in(scope.statuses).fill_null(value=False)


def _staff_role(config: PowerSchoolConfig) -> pl.Expr:
    roles = {str(status): str(role) for status, role in config.staff_roles.items()}
    return pl.col("staffstatus").replace_strict(roles, default=None, return_dtype=pl.String)


def _section_role(config: PowerSchoolConfig, named: pl.Expr) -> pl.Expr:
    known: dict[str, SectionRole] = config.section_roles
    teaches = named.str.contains("teacher", literal=True) & ~named.str.contains("aide|student")
    guessed = pl.when(teaches).then(pl.lit("teacher")).otherwise(pl.lit("proctor"))
    return pl.coalesce(named.replace_strict(known, default=None, return_dtype=pl.String), guessed)


def _truth(condition: pl.Expr) -> pl.Expr:
    return pl.when(condition).then(pl.lit("true")).otherwise(pl.lit("false"))


def _item(column: str) -> pl.Expr:
    """One item of a list, where a comma would divide it."""
    return pl.col(column).str.replace_all(_NOT_IN_LISTS, " ", literal=True)


def _pair(kind: str, column: str) -> pl.Expr:
    """One pair of userIds."""
    value = pl.col(column).str.replace_all(_NOT_IN_PAIRS, " ")
    return pl.when(value.is_not_null()).then(pl.concat_str(pl.lit(f"{{{kind}:"), value, pl.lit("}")))


def _none() -> pl.Series:
    return pl.Series("key", [], dtype=pl.String)
