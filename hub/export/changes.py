"""What a delta holds: the records that changed in a view since a position, and what was visible then."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime

import numpy as np
import polars as pl
from pyroaring import BitMap

from hub.scope.feed import FeedEntry, merge
from hub.scope.stamps import cut, text
from hub.scope.view import View


@dataclass(frozen=True)
class Changes:
    """What happened in a view.

    ``since``: the district's position at which the app's last package was made. ``touched`` by entity: the records that
    entered, look different or left. ``present`` by entity: what was visible then. ``newest``: when the last change was.
    """

    since: int
    touched: Mapping[str, BitMap]
    present: Mapping[str, BitMap]
    newest: datetime

    def with_touched(self, more: Mapping[str, BitMap]) -> Changes:
        """These changes with further records of which rows are compared."""
        both = {name: rids | more.get(name, BitMap()) for name, rids in self.touched.items()}
        return Changes(self.since, both, self.present, self.newest)

    def modified(self, view: View, entity: str) -> pl.Series:
        """The dateLastModified of the touched records, at the index of their rids.

        Rows that changed because of another record have the time of the last change: their own is older.
        """
        touched = self.touched[entity]
        size = touched.max() + 1 if touched else 0
        stamps = view.entities[entity].stamps
        layers = np.zeros(size, dtype=np.int64)
        known = min(size, len(stamps.layers))
        layers[:known] = stamps.layers[:known]
        times = pl.Series([text(self.newest), *map(text, stamps.times)], dtype=pl.String)
        return times.gather(pl.Series(layers))


def since(view: View, feed: Iterable[tuple[datetime, FeedEntry]], position: int) -> Changes | None:
    """What ``feed``, the entries after the last package, did; None for nothing. ``position``: see ``Changes.since``."""
    entries: defaultdict[str, list[FeedEntry]] = defaultdict(list)
    newest: datetime | None = None
    for at, entry in feed:
        entries[entry.entity].append(entry)
        newest = max(newest or at, at)
    touched, present = {}, {}
    for name, one in view.entities.items():
        net = merge(entries[name]) if entries[name] else FeedEntry(name)
        touched[name] = net.touched
        present[name] = (one.present - net.entered) | net.left
    return Changes(position, touched, present, cut(newest)) if newest else None
