"""What a delta holds: the records that changed in a view since a position, and what was visible then."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime

import numpy as np
import polars as pl
from pyroaring import BitMap

from hub.export.layout import File
from hub.scope.feed import FeedEntry, merge
from hub.scope.sets import rids as array_of
from hub.scope.stamps import cut, text
from hub.scope.view import View
from hub.store import extract
from hub.store.database import Transaction
from transforms.catalogue import CATALOGUE


@dataclass(frozen=True)
class Changes:
    """What happened in a view.

    ``since``: the district's position at which the app's last package was made. ``moved`` by entity: the records that
    entered, look different or left, and in ``touched`` also those of which rows have to be compared for another reason.
    ``present`` by entity: what was visible then. ``newest``: when the last change was.
    """

    since: int
    moved: Mapping[str, BitMap]
    touched: Mapping[str, BitMap]
    present: Mapping[str, BitMap]
    newest: datetime | None

    def with_touched(self, more: Mapping[str, BitMap]) -> Changes:
        """These changes with further records of which rows are compared."""
        both = {name: rids | more.get(name, BitMap()) for name, rids in self.touched.items()}
        return replace(self, touched=both)

    def modified(self, view: View, entity: str) -> pl.Series:
        """The dateLastModified of the touched records, at the index of their rids."""
        touched = self.touched[entity]
        size = touched.max() + 1 if touched else 0
        stamps = view.entities[entity].stamps
        layers = np.zeros(size, dtype=np.int64)
        known = min(size, len(stamps.layers))
        # Rows that changed because of another record have the time of the last change: their own is older.
        own = np.isin(np.arange(known), array_of(self.moved[entity]))
        layers[:known][own] = stamps.layers[:known][own]
        newest = text(cut(self.newest)) if self.newest else None
        times = pl.Series([newest, *map(text, stamps.times)], dtype=pl.String)
        return times.gather(pl.Series(layers))


def since(view: View, feed: Iterable[tuple[datetime, FeedEntry]], position: int) -> Changes:
    """What ``feed``, the entries after the last package, did. ``position``: see ``Changes.since``."""
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
    return Changes(position, touched, touched, present, newest)


#: Rows that may change because of another record: what stands in for missing references of the class, and 1.1's users.
_BY_CLASS = (("scoreScales", "class"), ("lineItems", "class"))
_BY_PEOPLE = (("enrollments", "user"), ("results", "student"), ("users", "agents"))


async def dependent(
    tx: Transaction, files: Iterable[File], changes: Changes, people: BitMap
) -> dict[str, BitMap]:  # fmt: skip
    """Records of which rows may have changed although they did not: by changed classes, and by changed ``people``."""
    owners = {f.owner.name for f in files}
    found: defaultdict[str, BitMap] = defaultdict(BitMap)
    for table, causes in ((_BY_CLASS, changes.touched["classes"]), (_BY_PEOPLE, people)):
        for name, field in table:
            if causes and name in owners:
                entity = CATALOGUE[name]
                found[name] |= BitMap(await extract.referring(tx, entity, entity[field], list(causes)))
    if people:
        found["users"] |= people
    return dict(found)
