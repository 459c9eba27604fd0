"""Learning objectives: rows of the two files of objective ids to the sets of each line item or result."""

from __future__ import annotations

import polars as pl

from transforms.issues import Action, Severity, declare
from transforms.sheet import Sheet

GRB_001 = declare(
    "GRB-001", Severity.BLOCK_RECORD, Action.QUARANTINE, "A learning objective of source case whose id is not a UUID",
    "Write the CASE identifier as urn:uuid: and the UUID, or give another source.",
    entity="lineItemLearningObjectiveIds",
)  # fmt: skip

OBJECTIVES = pl.Struct({"source": pl.String, "learningObjectiveIds": pl.List(pl.String)})
OBJECTIVE_RESULT = pl.Struct({"learningObjectiveId": pl.String, "score": pl.Float64, "textScore": pl.String})
OBJECTIVE_RESULTS = pl.Struct({"source": pl.String, "learningObjectiveResults": pl.List(OBJECTIVE_RESULT)})
_URN = r"(?i)^urn:uuid:"
_UUID = r"(?i)^[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}$"


def read_objectives(sheet: Sheet) -> None:
    """Takes the URN's beginning off ids of source ``case``, which JSON has as plain UUIDs, and checks them."""
    of_case = (sheet["source"] == "case").fill_null(value=False)
    plain = sheet["learningObjectiveId"].str.replace(_URN, "")
    sheet.report(GRB_001, of_case & ~plain.str.contains(_UUID), "learningObjectiveId")
    lower = plain.str.to_lowercase()
    sheet.put(
        "learningObjectiveId",
        pl.select(pl.when(of_case).then(lower).otherwise(sheet["learningObjectiveId"])).to_series(),
    )


def objectives_of(sheet: Sheet, owner: str) -> pl.DataFrame:
    """One row per owner: columns key and learningObjectiveSet, sorted Lists of ``OBJECTIVES`` or its results' kind."""
    rows = sheet.frame.filter(~sheet.out & sheet["source"].is_not_null() & sheet["learningObjectiveId"].is_not_null())
    if "score" in rows.columns:
        one = pl.struct("learningObjectiveId", "score", "textScore")
        kind, name = pl.List(OBJECTIVE_RESULTS), "learningObjectiveResults"
    else:
        one = pl.col("learningObjectiveId")
        kind, name = pl.List(OBJECTIVES), "learningObjectiveIds"
    sets = rows.group_by(key=owner, source="source").agg(one.unique().sort().alias(name)).sort("key", "source")
    grouped = sets.group_by("key", maintain_order=True).agg(learningObjectiveSet=pl.struct("source", name))
    return grouped.cast({"key": pl.String, "learningObjectiveSet": kind})
