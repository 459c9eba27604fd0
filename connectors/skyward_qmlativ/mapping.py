"""From Qmlativ's tables to OneRoster's rows, whole columns at a time.

The sourcedIds are Qmlativ's: an entity's for an org, ``Y{year}`` and ``L{section length}`` for sessions, a course's, a
section's for a class, a person's (NameID, whatever roles they have) for a user, ``S{seat}`` and
``T{section}.{staff}`` for enrollments.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, timedelta

import polars as pl

SEXES = {"M": "male", "F": "female", "X": "other"}
_LAST_GRADE = 12
_TRUE = ("true", "1", "True")


def flag(name: str) -> pl.Expr:
    """Whether a flag is set."""
    return pl.col(name).is_in(_TRUE).fill_null(value=False)


def not_off(name: str) -> pl.Expr:
    """Whether a flag is set, or not told."""
    return flag(name) | pl.col(name).is_null()


def day(name: str) -> pl.Expr:
    """The day of a moment; what is no day is null."""
    return pl.col(name).str.slice(0, 10).str.to_date("%Y-%m-%d", strict=False)


def text_of(days: pl.Expr, *, after: bool = False) -> pl.Expr:
    """Days as cells; ``after``: the day after each, since OneRoster's ends are exclusive."""
    return (days.dt.offset_by("1d") if after else days).dt.to_string("%Y-%m-%d")


def entities(rows: pl.DataFrame, district: str) -> pl.DataFrame:
    """The district's own entities: in an instance that several share, those of its district."""
    own = rows.filter(pl.col("EntityID") == district)
    if own.is_empty() or own["DistrictID"].item() is None:
        return rows
    return rows.filter(pl.col("DistrictID") == own["DistrictID"].item())


def orgs(rows: pl.DataFrame, district: str) -> pl.DataFrame:
    """The district's entity, and the others as its schools."""
    top = pl.col("EntityID") == district
    return rows.filter(top | ~(flag("IsDistrictWide") | flag("IsSystemWide"))).select(
        sourcedId="EntityID", name="Name", type=pl.when(top).then(pl.lit("district")).otherwise(pl.lit("school")),
        identifier="Code", parentSourcedId=pl.when(~top).then(pl.lit(district)),
    )  # fmt: skip


def sessions(year: Mapping[str, str | None], terms: pl.DataFrame) -> tuple[pl.DataFrame, int]:
    """The school year and its terms; how many of them had no days."""
    key, ends = f"Y{year['SchoolYearID']}", int(year["NumericYear"] or 0)
    rows = pl.concat([
        pl.DataFrame([year], schema=dict.fromkeys(("SchoolYearID", "Description", "StartDate", "EndDate"), pl.String))
        .select(pl.lit(key).alias("sourcedId"), title="Description", type=pl.lit("schoolYear"), start=day("StartDate"),
                end=day("EndDate"), parentSourcedId=pl.lit(None, pl.String)),
        terms.select(pl.concat_str(pl.lit("L"), "SectionLengthID").alias("sourcedId"),
                     title=pl.coalesce("Description", "Code"), type=pl.lit("term"), start=day("StartDate"),
                     end=day("EndDate"), parentSourcedId=pl.lit(key)),
    ])  # fmt: skip
    undated = rows.filter(pl.col("start").is_null() | pl.col("end").is_null()).height
    first, last = rows["start"][0] or date(ends - 1, 7, 1), rows["end"][0] or date(ends, 7, 1) - timedelta(days=1)
    return rows.select(
        "sourcedId", "type", "parentSourcedId", title=pl.coalesce("title", "sourcedId"),
        startDate=text_of(pl.col("start").fill_null(first)),
        endDate=text_of(pl.col("end").fill_null(last), after=True), schoolYear=pl.lit(str(ends)),
    ), undated  # fmt: skip


def courses(rows: pl.DataFrame, orgs_: pl.Series, district: str) -> pl.DataFrame:
    """The courses of the year."""
    where = pl.when(pl.col("EntityID").is_in(orgs_.implode())).then("EntityID").otherwise(pl.lit(district))
    return rows.filter(not_off("IsActive")).select(
        sourcedId="CourseID", title="Description", courseCode="CourseCode", orgSourcedId=where
    )


def classes(
    rows: pl.DataFrame, courses_: pl.DataFrame, terms: pl.Series, year: str, orgs_: pl.Series
) -> tuple[pl.DataFrame, int]:
    """The sections of the year at the district's schools; how many of them have no term."""
    known = pl.concat_str(pl.lit("L"), "SectionLengthID")
    titled = courses_.select(CourseID="sourcedId", course="title", number="courseCode")
    found = (
        rows.filter(not_off("IsActive") & pl.col("EntityID").is_in(orgs_.implode()))
        .with_columns(term=pl.when(known.is_in(terms.implode())).then(known))
        .join(titled, on="CourseID", how="left", maintain_order="left")
    )  # fmt: skip
    return found.select(
        sourcedId="SectionID", title=pl.coalesce("course", "Code", "SectionID"), courseSourcedId="CourseID",
        classCode=pl.concat_str("number", "Code", separator="-", ignore_nulls=True).replace("", None),
        classType=pl.when(pl.col("HomeroomID").is_not_null()).then(pl.lit("homeroom")).otherwise(pl.lit("scheduled")),
        schoolSourcedId="EntityID", termSourcedIds=pl.coalesce("term", pl.lit(f"Y{year}")),
    ), int(found["term"].null_count())  # fmt: skip


def grade(name: str, others: Mapping[str, str]) -> pl.Expr:
    """CEDS codes of grades: numbers with two digits, K; others as the district says, or as they are."""
    number = pl.col(name).str.strip_chars().cast(pl.Int64, strict=False)
    digits = pl.when(number.is_between(1, _LAST_GRADE)).then(number.cast(pl.String).str.zfill(2))
    return pl.col(name).replace_strict(
        {"K": "KG", "0": "KG", "00": "KG"} | dict(others),
        default=digits.otherwise(pl.col(name)), return_dtype=pl.String,
    )  # fmt: skip


def enrollments(
    seats: pl.DataFrame, teaching: pl.DataFrame, classes_: pl.DataFrame, people: Mapping[str, pl.DataFrame]
) -> pl.DataFrame:
    """Students and teachers in classes. ``people``: by "StudentID" and "StaffID" the users that they are."""
    at = classes_.select(SectionID="sourcedId", schoolSourcedId="schoolSourcedId")
    sat = (
        seats.join(at, on="SectionID", maintain_order="left")
        .join(people["StudentID"], on="StudentID", maintain_order="left")
        .select(
            pl.concat_str(pl.lit("S"), "StudentSectionID").alias("sourcedId"), classSourcedId="SectionID",
            schoolSourcedId="schoolSourcedId", userSourcedId="NameID", role=pl.lit("student"),
            primary=pl.lit(None, pl.String), beginDate=text_of(day("StartDate")),
            endDate=text_of(day("EndDate"), after=True),
        )
    )  # fmt: skip
    taught = (
        teaching.group_by("SectionID", "StaffID", maintain_order=True).agg(first=flag("IsPrimary").any())
        .join(at, on="SectionID", maintain_order="left").join(people["StaffID"], on="StaffID", maintain_order="left")
        .select(
            pl.concat_str(pl.lit("T"), "SectionID", pl.lit("."), "StaffID").alias("sourcedId"),
            classSourcedId="SectionID", schoolSourcedId="schoolSourcedId", userSourcedId="NameID",
            role=pl.lit("teacher"), primary=pl.col("first").cast(pl.String), beginDate=pl.lit(None, pl.String),
            endDate=pl.lit(None, pl.String),
        )
    )  # fmt: skip
    return pl.concat([sat, taught])
