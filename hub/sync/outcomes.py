"""Outcomes of the transform next to what the store knows: what comes back to the hub, and what stands for several."""

from __future__ import annotations

from dataclasses import replace

import polars as pl

from connectors.protocol import Package, pair_marks
from transforms.catalogue import Entity
from transforms.marks import as_list
from transforms.pipeline import Outcome, several
from transforms.sheet import no_keys


def repeated_pairs(package: Package, entity: Entity) -> pl.Series | None:
    """The marks of class and user that come more than once in a whole file of enrollments; None for other files."""
    if entity.name != "enrollments" or package.mode[entity.csv_file] == "delta":
        return None
    return several(pair_marks(package, entity.csv_file))


def without_returned(outcome: Outcome, own: pl.DataFrame | None) -> tuple[Outcome, int]:
    """The same without objects that apps wrote and that come back from the system which they were passed to.

    They stay the apps' own: neither does the system's copy replace them, nor does it become a second record. ``own``:
    those objects (column key). Says how many they were, too.
    """
    if own is None or own.is_empty():
        return outcome, 0
    kept = outcome.frame.filter(~pl.col("key").is_in(as_list(own["key"])))
    return replace(outcome, frame=kept), outcome.frame.height - kept.height


def joined_rids(outcome: Outcome, fresh: pl.DataFrame, stored: pl.DataFrame) -> list[int]:
    """The records of an outcome's rows that stand for several. ``fresh``, ``stored``: columns key and rid."""
    if not outcome.joined.len():
        return []
    rows = pl.concat([fresh.select("key", "rid"), stored.select("key", "rid")])
    return rows.filter(pl.col("key").is_in(as_list(outcome.joined)))["rid"].to_list()


def joined_keys(rids: list[int], stored: pl.DataFrame | None) -> pl.Series:
    """The keys of enrollments that stand for several, as the last whole package left them."""
    if not rids or stored is None:
        return no_keys()
    return stored.filter(pl.col("rid").is_in(as_list(pl.Series(rids, dtype=pl.UInt32))))["key"]
