"""Roles of users: from the 1.1 columns ``orgSourcedIds`` and ``role``, or from the rows of 1.2's roles.csv.

A 1.1 user has the role in each of their orgs, as primary role; ``administrator`` becomes the administrator of that
kind of org; the first org is the primary one.
"""

from __future__ import annotations

import polars as pl

from transforms.catalogue import BASE_NAMES, CATALOGUE, Kind
from transforms.catalogue.vocabularies import USER_ROLE
from transforms.issues import Action, Phase, Severity, declare
from transforms.marks import certain, numbers, rows_of
from transforms.sheet import Sheet

USR_001 = declare(
    "USR-001", Severity.BLOCK_RECORD, Action.QUARANTINE, "A user without any role that can be used",
    "Give the user a role in an org that exists: in roles.csv (1.2) or in orgSourcedIds and role (1.1).",
    entity="users", fields=("roles",),
)  # fmt: skip
USR_003 = declare(
    "USR-003", Severity.INFO, Action.FIX, "administrator as a role in OneRoster 1.2, which splits it by kind of org",
    "The hub chose districtAdministrator in a district, siteAdministrator in a school, else systemAdministrator.",
    fields=("role",),
)  # fmt: skip
USR_011 = declare(
    "USR-011", Severity.WARN, Action.REPORT, "Several primary roles of one user in one org",
    "Mark one of them as primary. The hub keeps the one with the most responsibility, the others become secondary.",
    entity="roles", fields=("roleType",), phase=Phase.ENTITY,
)  # fmt: skip

ROLE_FIELDS = tuple(f for f in CATALOGUE["roles"].body if f.name not in BASE_NAMES)
_TYPES = {f.name: pl.Date() if f.kind is Kind.DATE else pl.String() for f in ROLE_FIELDS}
ROLE = pl.Struct(_TYPES)
_NAMES = [f.name for f in ROLE_FIELDS]
_ADMINISTRATOR = "administrator"
_BY_ORG = {"district": "districtAdministrator", "school": "siteAdministrator"}
# From most responsibility to least; it decides only which of several primary roles stays primary.
_RANK = (
    "systemAdministrator", "districtAdministrator", "principal", "siteAdministrator", "teacher", "counselor", "aide",
    "proctor", "student", "guardian", "parent", "relative",
)  # fmt: skip
if missing := {*USER_ROLE.both, *USER_ROLE.only_12} - set(_RANK):
    raise ValueError(f"roles without a rank: {sorted(missing)}")


def by_org(rows: pl.DataFrame, orgs: pl.DataFrame) -> pl.DataFrame:
    """``rows`` (columns org, role) with ``administrator`` replaced by the type of the org in ``orgs`` (key, type)."""
    if not (rows["role"] == _ADMINISTRATOR).any():
        return rows
    kind = pl.col("type").replace_strict(_BY_ORG, default="systemAdministrator", return_dtype=pl.String)
    typed = rows.join(orgs.select(org="key", type="type"), on="org", how="left", maintain_order="left")
    return typed.with_columns(
        role=pl.when(pl.col("role") == _ADMINISTRATOR).then(kind.fill_null("systemAdministrator")).otherwise("role")
    ).drop("type")


def roles_from_orgs(sheet: Sheet, orgs: pl.DataFrame) -> None:
    """1.1: adds ``roles`` and ``primaryOrg`` from ``orgs`` and ``role``, whose references are already resolved."""
    rows = numbers(sheet.frame.height)
    exploded = sheet.frame.select(row=rows, org="orgs", role="role").filter(pl.col("role").is_not_null())
    exploded = by_org(exploded.explode("org").drop_nulls("org"), orgs)
    empty = [pl.lit(None, t).alias(n) for n, t in _TYPES.items() if n not in ("roleType", "role", "org")]
    roles = exploded.with_columns(pl.lit("primary").alias("roleType"), *empty)
    lists = roles.sort("row", "org").group_by("row", maintain_order=True).agg(roles=pl.struct(_NAMES))
    found = rows.alias("row").to_frame().join(lists, on="row", how="left", maintain_order="left")["roles"]
    sheet.put("primaryOrg", sheet["orgs"].list.first())
    sheet.put("roles", found.cast(pl.List(ROLE)))


def administrators(sheet: Sheet, orgs: pl.DataFrame) -> None:
    """1.2: replaces ``administrator`` in a sheet of roles.csv."""
    sheet.report(USR_003, sheet["role"] == _ADMINISTRATOR, "role")
    sheet.frame = by_org(sheet.frame, orgs)


def check_primary(sheet: Sheet) -> None:
    """1.2: leaves one primary role per user and org in a sheet of roles.csv."""
    names = ["user", "org", "role", "beginDate", "endDate"]
    good = rows_of(sheet.frame[names], ~sheet.out & (sheet["roleType"] == "primary"))
    if good["user"].n_unique() == good.height:
        return
    several = good.unique().filter(pl.len().over("user", "org") > 1)
    if several.height == 0:
        return
    rank = pl.col("role").replace_strict(
        list(_RANK), list(range(len(_RANK))), default=len(_RANK), return_dtype=pl.Int64
    )
    order = several.with_columns(rank=rank).sort("user", "org", "rank", "role", "beginDate", "endDate", nulls_last=True)
    first = order.group_by("user", "org", maintain_order=True).agg(first=pl.col("role").first())
    others = sheet.frame.select("user", "org", "role", "roleType").join(
        first, on=["user", "org"], how="left", maintain_order="left"
    )  # fmt: skip
    loses = certain(others["role"] != others["first"]) & (others["roleType"] == "primary")
    sheet.report(USR_011, loses, "roleType")
    sheet.put("roleType", pl.select(pl.when(loses).then(pl.lit("secondary")).otherwise(sheet["roleType"])).to_series())


def roles_of_users(sheet: Sheet) -> pl.DataFrame:
    """1.2: one row per user: columns key (the user's) and roles, a sorted List of ``ROLE`` without repeats."""
    rows = rows_of(sheet.frame[["user", *_NAMES]], ~sheet.out).unique()
    rows = rows.sort("user", "org", *_NAMES, nulls_last=True)
    return rows.group_by(key="user", maintain_order=True).agg(roles=pl.struct(_NAMES)).cast({"roles": pl.List(ROLE)})
