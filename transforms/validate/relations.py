"""Checks between fields of one row and between rows of different files. Most of them report and keep the row."""

from __future__ import annotations

import polars as pl

from transforms.catalogue import Kind
from transforms.issues import Action, Severity, declare
from transforms.sheet import Sheet
from transforms.validate.known import Known

DAT_001 = declare(
    "DAT-001", Severity.WARN, Action.REPORT, "An enrollment or role that ends before it begins",
    "Correct beginDate and endDate in the student system. The hub keeps both as they are.",
)  # fmt: skip
DAT_007 = declare(
    "DAT-007", Severity.BLOCK_RECORD, Action.QUARANTINE, "A session that ends before it begins",
    "Correct startDate and endDate in the student system; everything that points to the session waits for it.",
)  # fmt: skip
CRS_003 = declare(
    "CRS-003", Severity.WARN, Action.DROP_VALUE, "subjects and subjectCodes with different numbers of items",
    "Give each subject its code, in the same order, and take commas out of subject names. The hub dropped the codes.",
)  # fmt: skip
ENR_009 = declare(
    "ENR-009", Severity.WARN, Action.REPORT, "An enrollment or line item whose school is not the school of its class",
    "Correct schoolSourcedId of the row or of the class. The hub keeps the row.",
)  # fmt: skip
ENR_010 = declare(
    "ENR-010", Severity.WARN, Action.DROP_VALUE, "primary set to true for somebody who does not teach the class",
    "Set primary for teachers only; the hub dropped the value.",
)  # fmt: skip
CLS_003 = declare(
    "CLS-003", Severity.INFO, Action.REPORT, "Several primary teachers of one class at the same time",
    "Mark one teacher as primary. The hub keeps all of them as they are.",
)  # fmt: skip
USR_012 = declare(
    "USR-012", Severity.WARN, Action.REPORT, "A primary org in which the user has no role",
    "Give the user a role there or choose another primary org. The hub keeps the value.",
)  # fmt: skip


def check_relations(sheet: Sheet, known: Known) -> None:
    """Runs the checks that the sheet's columns allow."""
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
        _check_school(sheet, known)
    if {"primaryOrg", "roles"} <= names:
        _check_primary_org(sheet)


def primary_teachers(sheet: Sheet) -> pl.DataFrame | None:
    """The good rows of primary teachers, for ``check_primary_teachers`` at the end of the entity."""
    if not {"primary", "class", "beginDate"} <= set(sheet.frame.columns):
        return None
    rows = sheet.frame.filter(~sheet.out & sheet["primary"] & (sheet["role"] == "teacher"))
    return rows.select("key", "line", "class", "user", "beginDate", "endDate")


def check_primary_teachers(rows: pl.DataFrame) -> pl.DataFrame:
    """The rows (columns key, line, cause) whose time overlaps that of another primary teacher of the same class."""
    begin = pl.col("beginDate").fill_null(pl.date(1, 1, 1))
    end = pl.col("endDate").fill_null(pl.date(9999, 12, 31))
    spans = (
        rows.filter(pl.len().over("class") > 1).with_columns(begin=begin, end=end).sort("class", "begin", "end", "key")
    )
    ends_before = pl.col("end").cum_max().shift(1).over("class")
    overlapping = spans.filter((ends_before > pl.col("begin")).fill_null(value=False))
    return overlapping.select("key", "line", cause="classes:" + pl.col("class"))


def _check_subjects(sheet: Sheet) -> None:
    names, codes = sheet["subjects"].list.len(), sheet["subjectCodes"].list.len()
    odd = (names != codes).fill_null(value=False)
    if odd.any():
        sheet.report(CRS_003, odd, "subjectCodes")
        sheet.put("subjectCodes", pl.select(pl.when(~odd).then(sheet["subjectCodes"])).to_series())


def _check_primary_flag(sheet: Sheet) -> None:
    if sheet.entity["primary"].kind is not Kind.BOOLEAN or sheet["primary"].null_count() == sheet.frame.height:
        return
    odd = (sheet["primary"] & (sheet["role"] != "teacher")).fill_null(value=False)
    if odd.any():
        sheet.report(ENR_010, odd, "primary")
        sheet.put("primary", pl.select(pl.when(~odd).then(sheet["primary"])).to_series())


def _check_school(sheet: Sheet, known: Known) -> None:
    schools = known.rows("classes").select("key", of_class="school")
    if schools.height == 0:
        return
    pairs = sheet.frame.select("class", "school").join(
        schools, left_on="class", right_on="key", how="left", maintain_order="left"
    )
    sheet.report(ENR_009, pairs["school"] != pairs["of_class"], "school")


def _check_primary_org(sheet: Sheet) -> None:
    if sheet["primaryOrg"].null_count() == sheet.frame.height:
        return
    orgs = pl.col("roles").list.eval(pl.element().struct.field("org"))
    there = sheet.frame.select(orgs.list.contains(pl.col("primaryOrg"))).to_series()
    sheet.report(USR_012, ~there & sheet["primaryOrg"].is_not_null() & ~sheet.out, "primaryOrg")
