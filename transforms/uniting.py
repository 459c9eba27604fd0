"""Roles of a person of whom several records came: teacher in one system and parent in another is both.

Pure. Which value of a field survives is ``transforms.merge``'s; there one source's list of roles goes before another's,
which is right where two systems describe one record, and wrong where each knows another side of a person.
"""

from __future__ import annotations

from collections.abc import Collection

import polars as pl

from transforms.marks import as_list

ROLES = "roles"
_PRIMARY, _SECONDARY = "primary", "secondary"


def unite_roles(merged: pl.DataFrame, statements: pl.DataFrame, rids: Collection[int]) -> pl.DataFrame:
    """``merged`` with the roles of all statements for some records; one set by hand stays.

    ``merged``: rid and roles among others; ``statements``: rid, source, rank and roles. A role in an org is one, with
    what the first source says of it; of several primary roles in one org (OneRoster 1.2 allows one) the first is.
    """
    told = statements.filter(pl.col("rid").is_in(list(rids)) & (pl.col(ROLES).list.len() > 0))
    by_hand = told.filter(pl.col("rank") < 0)["rid"].unique()
    told = told.filter(~pl.col("rid").is_in(as_list(by_hand))).sort("rid", "rank", "source")
    if not told.height:
        return merged
    entries = told.select("rid", ROLES).explode(ROLES)
    names = [field.name for field in entries.schema[ROLES].fields]  # type: ignore[attr-defined]
    entries = entries.unnest(ROLES).unique(["rid", "role", "org"], keep="first", maintain_order=True)
    nth = (pl.col("roleType") == _PRIMARY).cast(pl.UInt32).cum_sum().over("rid", "org")
    entries = entries.with_columns(
        roleType=pl.when((pl.col("roleType") == _PRIMARY) & (nth > 1)).then(pl.lit(_SECONDARY)).otherwise("roleType")
    )
    united = entries.group_by("rid", maintain_order=True).agg(pl.struct(names).alias("united"))
    found = merged.join(united, on="rid", how="left", maintain_order="left")
    return found.with_columns(pl.coalesce("united", ROLES).alias(ROLES)).drop("united")
