"""What is new, what may have changed and what is gone, by key and content hash."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import polars as pl

from transforms.marks import absent, certain, rows_of
from transforms.near import near

#: Columns of ``stored``: the source's key, the record's number, the hash of its last content, whether it is not
#: deleted.
STORED = {"key": pl.String, "rid": pl.UInt32, "hash": pl.UInt64, "active": pl.Boolean}


@dataclass(frozen=True, slots=True)
class Difference:
    """One batch against the store.

    ``created`` has the canonical columns. ``updated`` (hash differs: candidates, their documents decide) and
    ``reactivated`` (deleted in the store; the content may be equal or not) have the column ``rid`` too. ``seen`` are
    the rids of all rows that the store knows, ``unchanged`` counts the active ones with an equal hash.
    """

    created: pl.DataFrame
    updated: pl.DataFrame
    reactivated: pl.DataFrame
    seen: pl.Series
    unchanged: int


def diff(frame: pl.DataFrame, stored: pl.DataFrame) -> Difference:
    """Compares a canonical frame with ``stored`` (columns ``STORED``, keys unique)."""
    if not stored.height:
        none = frame.clear().hstack([pl.Series("rid", [], dtype=pl.UInt32)])
        return Difference(created=frame, updated=none, reactivated=none, seen=none["rid"], unchanged=0)
    right = near(stored, frame["key"])[["key", "rid", "active", "hash"]]
    found = frame[["key", "hash"]].join(right, on="key", how="left", maintain_order="left")
    known, active = ~absent(found["rid"]), certain(found["active"])
    changed = known & active & (found["hash"] != found["hash_right"])
    with_rid = frame.hstack([found["rid"]])
    return Difference(
        created=rows_of(frame, ~known),
        updated=rows_of(with_rid, changed),
        reactivated=rows_of(with_rid, known & ~active),
        seen=found["rid"].filter(known),
        unchanged=int((known & active).sum()) - int(changed.sum()),
    )


def vanished(stored: pl.DataFrame, seen: Iterable[pl.Series], quarantined: Iterable[pl.Series]) -> pl.DataFrame:
    """The active stored rows (key, rid) that no batch brought and no quarantined row stands for."""
    if not stored.height:
        return stored[["key", "rid"]]
    rids = pl.concat([pl.Series("rid", [], dtype=pl.UInt32), *seen])
    keys = pl.concat([pl.Series("key", [], dtype=pl.String), *quarantined])
    # Numbers among numbers are found ten times faster than by a join.
    left = pl.col("active") & ~pl.col("rid").is_in(pl.lit(rids).implode())
    if keys.len():
        left &= ~pl.col("key").is_in(pl.lit(keys).implode())
    return stored.filter(left)[["key", "rid"]]
