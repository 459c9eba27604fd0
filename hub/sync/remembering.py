"""What rules make of changed records that the store knows from before: old and new documents are in memory already."""

from __future__ import annotations

from datetime import date
from typing import Any

import polars as pl

from hub.sync.changes import EntityChanges, members
from transforms import issues
from transforms.catalogue import Entity, Kind
from transforms.marks import as_list, beside
from transforms.rules.checks import remembered, snapshot
from transforms.rules.given import BEFORE
from transforms.rules.settings import RuleSettings


def found_in_changes(
    entity: Entity, stored: pl.DataFrame, changes: EntityChanges, settings: RuleSettings, today: date
) -> pl.DataFrame:
    """Findings of the phase ``cross_snapshot``. ``stored``: key and rid of what the source has said of the entity."""
    names = remembered(entity.name)
    bits = sum(1 << place for place, item in enumerate(entity.body) if item.name in names)
    rids = [rid for rid, update in changes.updates.items() if update.fields & bits]
    if not rids:
        return issues.empty()
    now, was = ([members(*texts) for texts in pairs] for pairs in zip(
        *((changes.updates[rid].new, changes.updates[rid].old) for rid in rids), strict=True
    ))  # fmt: skip
    columns = [pl.Series("rid", rids, dtype=pl.UInt32)]
    for name in names:
        columns += [_column(entity, name, name, now), _column(entity, name, name + BEFORE, was)]
    keys = stored.filter(pl.col("rid").is_in(as_list(columns[0]))).sort("active", descending=True)
    rows = beside(columns).join(keys.unique("rid", keep="first").select("rid", "key"), on="rid", how="inner")
    return snapshot(entity, rows.with_columns(line=pl.lit(None, pl.UInt32)), settings, today)


def _column(entity: Entity, name: str, alias: str, records: list[dict[str, Any]]) -> pl.Series:
    values = [record.get(name) for record in records]
    kind = pl.List(pl.String) if entity[name].many else pl.String
    found = pl.Series(alias, values, dtype=kind)
    return found.str.to_date("%Y-%m-%d", strict=False) if entity[name].kind is Kind.DATE else found
