"""userProfiles.csv (one credential per row) to the profiles of each user. Passwords are not read at all."""

from __future__ import annotations

import polars as pl

from transforms.marks import rows_of
from transforms.sheet import Sheet

CREDENTIAL = pl.Struct({"type": pl.String, "username": pl.String})
PROFILE = pl.Struct(
    {
        "profileId": pl.String,
        "profileType": pl.String,
        "vendorId": pl.String,
        "applicationId": pl.String,
        "description": pl.String,
        "credentials": pl.List(CREDENTIAL),
    }
)
URN = "urn:rosterhub:profile:"
_SAME = ("user", "profileType", "vendorId", "applicationId")


def profile_ids(sheet: Sheet) -> pl.DataFrame:
    """Which profileId each good row belongs to: columns key, user, profileId.

    Rows with equal user, type, vendor and application are one profile, named after its smallest sourcedId.
    """
    return rows_of(sheet.frame, ~sheet.out).select("key", "user", profileId=URN + pl.col("key").min().over(_SAME))


def profiles_of_users(sheet: Sheet) -> pl.DataFrame:
    """One row per user: columns key (the user's) and userProfiles, a sorted List of ``PROFILE``."""
    rows = rows_of(sheet.frame, ~sheet.out).sort("key")
    credential = pl.struct(type="credentialType", username="username")
    complete = pl.col("credentialType").is_not_null() & pl.col("username").is_not_null()
    found = rows.group_by(_SAME, maintain_order=True).agg(
        profileId=URN + pl.col("key").first(),
        description=pl.col("description").drop_nulls().first(),
        credentials=credential.filter(complete).unique().sort(),
    )
    found = found.with_columns(pl.when(pl.col("credentials").list.len() > 0).then("credentials"))
    return (
        found.sort("user", "profileId")
        .group_by(key="user", maintain_order=True)
        .agg(userProfiles=pl.struct(*(f.name for f in PROFILE.fields)))
        .cast({"userProfiles": pl.List(PROFILE)})
    )
