"""Rules about classes: who is in them, and whether they agree with their course."""

from __future__ import annotations

from datetime import timedelta

import polars as pl

from transforms.issues import Action, Phase, Severity
from transforms.marks import as_list, beside, empty, present, rows_of
from transforms.rules.given import FOUND, Given, found, in_fields, nothing, rule

#: Until then schools move students about.
_SETTLED = timedelta(days=14)
_SPAN = ("startDate", "endDate")
_RUNNING = {"classes": ("terms", "mark"), "academicSessions": _SPAN, "sizes": ("students", "teachers")}


def _running(given: Given) -> pl.DataFrame:
    """The classes that began two weeks ago or before and go on, with how many are in them."""
    rows = given["classes"]
    if given.today is None or not rows.height:
        return rows.clear().with_columns(students=pl.lit(0), teachers=pl.lit(0))
    sessions = given["academicSessions"].select(*_SPAN, terms="key")
    spans = rows.select("key", "terms").explode("terms").join(sessions, on="terms", how="left")
    now = spans.group_by("key").agg(pl.col("startDate").min(), pl.col("endDate").max()).filter(
        (pl.col("startDate") + _SETTLED <= given.today) & (pl.col("endDate") > given.today)
    )  # fmt: skip
    sizes = given["sizes"].select("students", "teachers", mark="class")
    here = rows.join(now.select("key"), on="key", how="semi", maintain_order="left")
    known = here.join(sizes, on="mark", how="left", maintain_order="left")
    return known.with_columns(pl.col("students", "teachers").fill_null(0))


def _all_have(given: Given, who: str) -> bool:
    """Whether each class has somebody, which is nearly always so."""
    sizes = given["sizes"]
    return sizes.height >= given["classes"].height and bool((sizes[who] > 0).all())


@rule(
    "CLS-001", Severity.WARN, Action.REPORT, "A class without a teacher two weeks after it began",
    "Enroll the teacher in the student system, or end the class.",
    entity="classes", fields=("sourcedId",), phase=Phase.CROSS_ENTITY, reads=_RUNNING,
)  # fmt: skip
def no_teacher(given: Given) -> pl.DataFrame:
    """Running classes in which nobody teaches."""
    if _all_have(given, "teachers"):
        return nothing()
    rows = _running(given)
    return found(rows, rows["teachers"] == 0)


@rule(
    "CLS-002", Severity.INFO, Action.REPORT, "A class without students two weeks after it began, or with very many",
    "Look whether the class takes place, or whether several classes were put into one.",
    entity="classes", fields=("sourcedId",), phase=Phase.CROSS_ENTITY, reads=_RUNNING,
    params={"most": 200},
)  # fmt: skip
def odd_sizes(given: Given) -> pl.DataFrame:
    """Running classes without students or with more than ``most``."""
    if _all_have(given, "students") and not (given["sizes"]["students"] > given.params["most"]).any():
        return nothing()
    rows = _running(given)
    return found(rows, (rows["students"] == 0) | (rows["students"] > given.params["most"]))


_SAME = ("school", "course", "terms", "periods")


@rule(
    "CLS-004", Severity.WARN, Action.SUGGEST, "One class twice: same school, course, terms, periods and teachers",
    "If both are one class, keep one of them in the student system. The hub takes them for two.",
    entity="classes", fields=("sourcedId",), phase=Phase.CROSS_ENTITY,
    reads={"classes": (*_SAME, "mark"), "teaching": ("class", "user")},
)  # fmt: skip
def twice(given: Given) -> pl.DataFrame:
    """Classes with periods that agree in all of it with another one; the first by key is the cause."""
    rows = given["classes"]
    if empty(rows["periods"]):
        return nothing()
    rows = rows_of(rows, present(rows["periods"]) & present(rows["course"]))
    # By hash: a chance collision of two would suggest what is not so, once in a million runs.
    alike = rows.select(pl.col(name).hash(place) for place, name in enumerate(_SAME)).hash_rows(0)
    if alike.n_unique() == alike.len():
        return nothing()
    rows = rows.with_columns(alike=alike).filter(alike.is_duplicated())
    teaching = given["teaching"].filter(given["teaching"]["class"].is_in(as_list(rows["mark"]))).unique()
    teachers = teaching.group_by(mark="class").agg(teachers=pl.col("user").sort())
    rows = rows.join(teachers, on="mark", how="inner", maintain_order="left")
    same = beside([rows["alike"], rows["teachers"].hash(0)]).hash_rows(0)
    rows = rows.with_columns(same=same).filter(same.is_duplicated())
    first = pl.col("key").min().over("same")
    return rows.with_columns(first=first).filter(pl.col("key") != pl.col("first")).select(
        "key", "line", cause="classes:" + pl.col("first")
    )  # fmt: skip


@rule(
    "CLS-005", Severity.INFO, Action.REPORT, "A class in a school to which none of its students belongs",
    "Look whether the class has the right school, or whether its students lack a role there.",
    entity="classes", fields=("school",), phase=Phase.CROSS_ENTITY,
    reads={"classes": ("mark",), "sizes": ("students", "here")}, params={"fewest": 3},
)  # fmt: skip
def strangers(given: Given) -> pl.DataFrame:
    """Classes with ``fewest`` students or more, of whom none has a role in the school of the enrollment."""
    some = pl.col("students") >= given.params["fewest"]
    odd = given["sizes"].filter(some & (pl.col("here") == 0)).select(mark="class")
    return given["classes"].join(odd, on="mark", how="semi", maintain_order="left").select(
        "key", "line", cause=pl.lit(None, FOUND["cause"])
    )  # fmt: skip


@rule(
    "CRS-002", Severity.WARN, Action.REPORT, "A class and its course disagree: school, grades or subjects",
    "Correct the class or its course, which the cause names. The hub keeps both.",
    entity="classes", fields=("school", "grades", "subjects"), phase=Phase.CROSS_ENTITY,
    reads={"classes": ("school", "course", "grades", "subjects"), "courses": ("org", "grades", "subjects"),
           "orgs": ("type",)},
)  # fmt: skip
def other_than_the_course(given: Given) -> pl.DataFrame:
    """Classes of a course of another school, or that share no grade, or no subject, with it."""
    schools = given["orgs"].filter(pl.col("type") == "school")["key"]
    courses = given["courses"].select(course="key", org="org", of_course="grades", taught="subjects")
    rows = given["classes"].join(courses, on="course", how="inner", maintain_order="left")
    if not rows.height:
        return nothing()
    cause = "courses:" + rows["course"]
    return in_fields({
        "school": found(rows, (rows["org"] != rows["school"]) & rows["org"].is_in(as_list(schools)), cause),
        "grades": found(rows, _apart(rows["grades"], rows["of_course"]), cause),
        "subjects": found(rows, _apart(_small(rows["subjects"]), _small(rows["taught"])), cause),
    })  # fmt: skip


def _apart(one: pl.Series, other: pl.Series) -> pl.Series:
    pairs = beside([one.alias("a"), other.alias("b")])
    return pairs.select(pl.col("a").list.set_intersection("b").list.len() == 0).to_series()


def _small(lists: pl.Series) -> pl.Series:
    return lists.to_frame("").select(pl.col("").list.eval(pl.element().str.to_lowercase())).to_series()
