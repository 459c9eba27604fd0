"""What one app sees at one moment, as columns can use it: the ids that show, by rid."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

import numpy as np
import polars as pl
from pyroaring import BitMap

from hub.scope.projection import Projection
from hub.scope.sets import mask

#: From the hub's ids of records to those by which an app knows them.
Naming = Callable[[pl.Series], pl.Series]
#: By entity; the records of others are known by the hub's own ids.
Shown = Mapping[str, Naming]


@dataclass(frozen=True)
class Sight:
    """What an app sees.

    ``projections`` by entity. ``ids``: for each entity that anything refers to, the shown sourcedIds at the index of
    their rids; null for what is not in the view, so that looking a reference up filters it. ``shown`` as above.
    """

    projections: Mapping[str, Projection]
    ids: Mapping[str, pl.Series]
    shown: Shown = field(default_factory=dict)

    def shows(self, entity: str, name: str) -> bool:
        """Whether a member of an entity's records shows."""
        return name in self.projections[entity].visible

    def whole(self, entity: str, name: str) -> bool:
        """Whether it shows and is not masked."""
        return self.shows(entity, name) and name not in self.projections[entity].masks

    def own(self, entity: str, sourced_ids: pl.Series) -> pl.Series:
        """The ids of records as the app knows them."""
        return renamed(self.shown, entity, sourced_ids)

    def without(self, entity: str, rids: BitMap) -> Sight:
        """The same without some records of an entity."""
        if not rids or entity not in self.ids:
            return self
        ids = self.ids[entity]
        there = ~mask(rids & BitMap(range(ids.len())), ids.len())[:-1]
        return replace(self, ids={**self.ids, entity: pl.select(pl.when(pl.Series(there)).then(ids)).to_series()})

    def seen(self, entity: str, rids: pl.Series) -> pl.Series:
        """The sourcedIds of references; null where there is none and where its target does not show."""
        ids = self.ids[entity]
        known = pl.select(pl.when(rids < ids.len()).then(rids)).to_series()
        return ids.gather(known)


@dataclass(frozen=True)
class Ids:
    """The shown sourcedIds of some records of each entity, by rid, whoever may see them."""

    all: Mapping[str, pl.Series] = field(default_factory=dict)

    def within(self, present: Mapping[str, BitMap]) -> dict[str, pl.Series]:
        """The ids of these records, null elsewhere. Those of ``present`` that are not known have none."""
        found = {}
        for name, ids in self.all.items():
            here = mask(present[name] & BitMap(range(ids.len())), ids.len())[:-1]
            found[name] = pl.select(pl.when(pl.Series(here)).then(ids)).to_series()
        return found


def renamed(shown: Shown, entity: str, sourced_ids: pl.Series) -> pl.Series:
    """The ids of an entity's records as an app knows them."""
    return shown[entity](sourced_ids) if entity in shown else sourced_ids


def at_rids(rids: pl.Series, values: pl.Series) -> pl.Series:
    """The values at the indexes that their rids are; null elsewhere. The rids ascend."""
    numbers = rids.to_numpy()
    places = np.full(int(numbers[-1]) + 1 if len(numbers) else 0, -1, dtype=np.int64)
    places[numbers] = np.arange(len(numbers))
    where = pl.Series(places)
    return values.gather(pl.select(pl.when(where >= 0).then(where)).to_series())


def others(of: Callable[[list[str]], list[str]], own: Naming | None) -> Naming:
    """What puts the ids that ``of`` makes in the places of all but those for which ``own`` has another one."""

    def named(given: pl.Series) -> pl.Series:
        made = pl.Series(given.name, of(given.to_list()), dtype=pl.String)
        if own is None:
            return made
        chosen = own(given)
        return pl.select(pl.when(chosen == given).then(made).otherwise(chosen).alias(given.name)).to_series()

    return named


def instead(ids: pl.Series, keys: pl.Series) -> Naming:
    """What puts ``keys`` in the places of ``ids``, which ascend, and leaves every other id as it is."""

    def named(given: pl.Series) -> pl.Series:
        at = ids.search_sorted(given).clip(upper_bound=ids.len() - 1)
        return pl.select(pl.when(ids.gather(at) == given).then(keys.gather(at)).otherwise(given)).to_series()

    return named
