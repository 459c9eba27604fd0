"""What is new, what may have changed and what is gone, by key and content hash."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import polars as pl

from transforms.lookup import lookup
from transforms.marks import absent, among, certain, rows_of, stacked

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
    places = lookup(stored).places(frame["key"])
    rids, known, active = stored["rid"][places], ~absent(places), certain(stored["active"][places])
    changed = active & (frame["hash"] != stored["hash"][places])
    with_rid = frame.hstack([rids])
    return Difference(
        created=rows_of(frame, ~known),
        updated=rows_of(with_rid, changed),
        reactivated=rows_of(with_rid, known & ~active),
        seen=rids.filter(known),
        unchanged=int(active.sum()) - int(changed.sum()),
    )


def vanished(stored: pl.DataFrame, seen: Iterable[pl.Series], quarantined: Iterable[pl.Series]) -> pl.DataFrame:
    """The active stored rows (key, rid) that no batch brought and no quarantined row stands for."""
    if not stored.height:
        return stored[["key", "rid"]]
    rids = stacked([pl.Series("rid", [], dtype=pl.UInt32), *seen])
    keys = stacked([pl.Series("key", [], dtype=pl.String), *quarantined])
    # Numbers are dense, so that a table of all of them is small.
    known, here = stored["rid"].to_numpy(), rids.to_numpy()
    came = np.zeros(1 + max(known.max(), here.max(initial=0)), dtype=np.bool_)
    came[here] = True
    left = stored["active"] & ~pl.Series(came[known])
    if keys.len():
        left &= ~among(stored["key"], keys)
    return rows_of(stored[["key", "rid"]], left)
