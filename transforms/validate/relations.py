"""Checks between fields of one row and between rows of different files. Most of them report and keep the row."""

from __future__ import annotations

from datetime import timedelta

import polars as pl

from transforms.catalogue import Kind
from transforms.issues import Action, Phase, Severity, declare
from transforms.lookup import lookup
from transforms.marks import absent, as_list, beside, certain, empty, rows_of, without
from transforms.sheet import Sheet
from transforms.validate.enrolled import Enrolled
from transforms.validate.known import Known
from transforms.validate.people import check_schools

DAT_001 = declare(
    "DAT-001", Severity.WARN, Action.REPORT, "An enrollment or role that ends before it begins",
    "Correct beginDate and endDate in the student system. The hub keeps both as they are.",
    fields=("endDate",),
)  # fmt: skip
DAT_002 = declare(
    "DAT-002", Severity.WARN, Action.REPORT, "A session or the due day of a line item outside of its session",
    "Correct the dates: a term lies within its school year, and work is due within its term. The hub keeps them as "
    "they are.",
    phase=Phase.CROSS_ENTITY,
)  # fmt: skip
DAT_007 = declare(
    "DAT-007", Severity.BLOCK_RECORD, Action.QUARANTINE, "A session that ends before it begins",
    "Correct startDate and endDate in the student system; everything that points to the session waits for it.",
    entity="academicSessions", fields=("endDate",),
)  # fmt: skip
CRS_003 = declare(
    "CRS-003", Severity.WARN, Action.DROP_VALUE, "subjects and subjectCodes with different numbers of items",
    "Give each subject its code, in the same order, and take commas out of subject names. The hub dropped the codes.",
    fields=("subjectCodes",),
)  # fmt: skip
ENR_009 = declare(
    "ENR-009", Severity.WARN, Action.REPORT, "An enrollment or line item whose school is not the school of its class",
    "Correct schoolSourcedId of the row or of the class. The hub keeps the row.",
    fields=("school",), phase=Phase.CROSS_ENTITY,
)  # fmt: skip
ENR_010 = declare(
    "ENR-010", Severity.WARN, Action.DROP_VALUE, "primary set to true for somebody who does not teach the class",
    "Set primary for teachers only; the hub dropped the value.",
    entity="enrollments", fields=("primary",),
)  # fmt: skip
CLS_003 = declare(
    "CLS-003", Severity.INFO, Action.REPORT, "Several primary teachers of one class at the same time",
    "Mark one teacher as primary. The hub keeps all of them as they are.",
    entity="enrollments", fields=("primary",), phase=Phase.CROSS_ENTITY,
)  # fmt: skip
USR_012 = declare(
    "USR-012", Severity.WARN, Action.REPORT, "A primary org in which the user has no role",
    "Give the user a role there or choose another primary org. The hub keeps the value.",
    entity="users", fields=("primaryOrg",),
)  # fmt: skip


#: Systems disagree whether the last day of a session counts.
_DAY = timedelta(days=1)


def check_relations(sheet: Sheet, known: Known, enrolled: Enrolled | None = None) -> None:
    """Runs the checks that the sheet's columns allow; ``enrolled`` those of enrollments."""
    names = set(sheet.frame.columns)
    if {"startDate", "endDate"} <= names:
        sheet.report(DAT_007, sheet["endDate"] < sheet["startDate"], "endDate")
    if {"beginDate", "endDate"} <= names:
        sheet.report(DAT_001, sheet["endDate"] < sheet["beginDate"], "endDate")
    if {"subjects", "subjectCodes"} <= names:
        _check_subjects(sheet)
    if {"primary", "role"} <= names:
        _check_primary_flag(sheet)
    if {"class", "school"} <= names:
        _check_school(sheet, known, enrolled)
    if {"dueDate", "academicSession"} <= names:
        _check_due(sheet, known)
    if {"primaryOrg", "roles"} <= names:
        _check_primary_org(sheet)
        check_schools(sheet, known.rows("orgs"))


def with_whole_terms(sheet: Sheet) -> pl.DataFrame:
    """The rows of classes; those that lost a term have none: nobody knows when they begin and end."""
    lost = pl.concat(
        [pl.Series("line", [], dtype=pl.UInt32)]
        + [f["line"] for f in sheet.findings if f.height and (f["code"][0], f["field"][0]) == ("REF-002", "terms")]
    )
    if not lost.len():
        return sheet.frame
    return sheet.frame.with_columns(terms=pl.when(~pl.col("line").is_in(as_list(lost))).then("terms"))


def check_sessions(sheet: Sheet, known: Known) -> None:
    """Sessions against the sessions that they belong to, once all are known."""
    outer = sheet.frame.select(key="parent").join(
        known.rows("academicSessions"), on="key", how="left", maintain_order="left"
    )  # fmt: skip
    sheet.report(DAT_002, (sheet["startDate"] < outer["startDate"] - _DAY) & ~sheet.out, "startDate")
    sheet.report(DAT_002, (sheet["endDate"] > outer["endDate"] + _DAY) & ~sheet.out, "endDate")


def primary_teachers(sheet: Sheet) -> pl.DataFrame | None:
    """The good rows of primary teachers, for ``check_primary_teachers`` at the end of the entity."""
    if not {"primary", "class", "beginDate"} <= set(sheet.frame.columns):
        return None
    columns = [sheet[name] for name in ("key", "line", "class", "user", "beginDate", "endDate")]
    return rows_of(beside(columns), ~sheet.out & sheet["primary"] & (sheet["role"] == "teacher"))


def check_primary_teachers(rows: pl.DataFrame) -> pl.DataFrame:
    """The rows (columns key, line, cause) whose time overlaps that of another primary teacher of the same class."""
    begin = pl.col("beginDate").fill_null(pl.date(1, 1, 1))
    end = pl.col("endDate").fill_null(pl.date(9999, 12, 31))
    if rows["class"].n_unique() == rows.height:
        return rows[["key", "line"]].clear().hstack([pl.Series("cause", [], dtype=pl.String)])
    spans = (
        rows.filter(pl.len().over("class") > 1).with_columns(begin=begin, end=end).sort("class", "begin", "end", "key")
    )
    ends_before = pl.col("end").cum_max().shift(1).over("class")
    overlapping = spans.filter((ends_before > pl.col("begin")).fill_null(value=False))
    return overlapping.select("key", "line", cause="classes:" + pl.col("class"))


def _check_subjects(sheet: Sheet) -> None:
    if empty(sheet["subjects"]) or empty(sheet["subjectCodes"]):
        return
    names, codes = sheet["subjects"].list.len(), sheet["subjectCodes"].list.len()
    odd = certain(names != codes)
    if odd.any():
        sheet.report(CRS_003, odd, "subjectCodes")
        sheet.put("subjectCodes", without(sheet["subjectCodes"], odd))


def _check_primary_flag(sheet: Sheet) -> None:
    if sheet.entity["primary"].kind is not Kind.BOOLEAN or empty(sheet["primary"]):
        return
    odd = certain(sheet["primary"] & (sheet["role"] != "teacher"))
    if odd.any():
        sheet.report(ENR_010, odd, "primary")
        sheet.put("primary", without(sheet["primary"], odd))


def _check_due(sheet: Sheet, known: Known) -> None:
    sessions = known.rows("academicSessions")
    if sessions.height == 0:
        return
    session = sheet.frame.select(key="academicSession").join(sessions, on="key", how="left", maintain_order="left")
    due = sheet["dueDate"].dt.date()
    odd = (due < session["startDate"]) | (due > session["endDate"] + _DAY)
    sheet.report(DAT_002, odd & ~sheet.out, "dueDate")


def _check_school(sheet: Sheet, known: Known, enrolled: Enrolled | None) -> None:
    schools = known.classes()
    if schools.height == 0:
        return
    at = lookup(schools).places(sheet["class"])
    sheet.report(ENR_009, sheet["school"] != schools["of_class"][at], "school")
    if enrolled is not None:
        enrolled.check(sheet, beside([schools[name][at] for name in ("begins", "ends")]))


def _check_primary_org(sheet: Sheet) -> None:
    if empty(sheet["primaryOrg"]):
        return
    orgs = pl.col("roles").list.eval(pl.element().struct.field("org"))
    there = sheet.frame.select(orgs.list.contains(pl.col("primaryOrg"))).to_series()
    sheet.report(USR_012, ~there & ~absent(sheet["primaryOrg"]) & ~sheet.out, "primaryOrg")
