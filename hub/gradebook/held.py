"""The sets of a district's grants that a write looks at, kept in memory between writes.

A write of one result has to know, for each grant of the district, whether it sees the line item and the student. The
sets that say so are large and seldom change, so a process keeps them, each with the position at which it was stored:
under the district's lock one small statement tells which of them still hold.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Protocol
from uuid import UUID

from pyroaring import BitMap

from hub.scope.grants import GrantDefinition
from hub.scope.projection import Projection
from hub.store import grants as store
from hub.store.database import Transaction


class Cache(Protocol):
    """A bounded memory: values by key, each put with its size in bytes."""

    def get(self, key: Any) -> Any:
        """The value, or None."""
        ...

    def put(self, key: Any, value: Any, size: int) -> None:
        """Keeps a value."""
        ...


@dataclass(frozen=True, slots=True)
class EntitySets:
    """The sets of one entity in one view. Not to be written to."""

    present: BitMap = field(default_factory=BitMap)
    gone: BitMap = field(default_factory=BitMap)
    trimmed: BitMap = field(default_factory=BitMap)

    @classmethod
    def of(cls, stored: store.Sets) -> EntitySets:
        """The sets as they are stored."""
        return cls(*(BitMap.deserialize(part) for part in (stored.present, stored.gone, stored.trimmed)))

    @property
    def stored(self) -> store.Sets:
        """The inverse of ``of``."""
        return store.Sets(self.present.serialize(), self.gone.serialize(), self.trimmed.serialize())


_NONE = EntitySets()


@dataclass(frozen=True)
class Living:
    """A grant that is not revoked, as it is under the lock."""

    grant_id: UUID
    position: int
    changed_at: datetime
    definition: GrantDefinition
    versions: Mapping[str, int]
    projections: dict[str, Projection]

    def projection(self, entity: str) -> Projection:
        """How the grant shows records of an entity."""
        if entity not in self.projections:
            self.projections[entity] = Projection(self.definition, entity)
        return self.projections[entity]


class Held:
    """The grants of a district and those of their sets that were asked for, within one transaction."""

    def __init__(self, cache: Cache, grants: Mapping[UUID, Living]) -> None:
        self._cache = cache
        self.grants = grants
        self._sets: dict[tuple[UUID, str], EntitySets] = {}

    @classmethod
    async def load(cls, tx: Transaction, cache: Cache) -> Held:
        """All living grants of the transaction's district, whose lock the caller holds."""
        key = ("grants", tx.district_id)
        known: dict[UUID, Living] = cache.get(key) or {}
        heads = await store.living(tx, [(grant_id, living.changed_at) for grant_id, living in known.items()])
        grants = {}
        for head in heads:
            if head.definition is None:
                definition, projections = known[head.grant_id].definition, known[head.grant_id].projections
            else:
                definition, projections = GrantDefinition.model_validate(head.definition), {}
            grants[head.grant_id] = Living(
                head.grant_id, head.position, head.changed_at, definition, head.versions, projections
            )
        cache.put(key, grants, sum(1_000 + 40 * _named(living.definition) for living in grants.values()))
        return cls(cache, grants)

    async def want(self, tx: Transaction, grant_ids: Collection[UUID], entities: Collection[str]) -> None:
        """Makes the sets of these grants and entities ready for ``sets`` and ``sees``."""
        missing = []
        for grant_id in grant_ids:
            for entity in entities:
                place, version = (grant_id, entity), self.grants[grant_id].versions.get(entity)
                if place in self._sets:
                    continue
                kept = self._cache.get(("sets", *place))
                if version is None:
                    self._sets[place] = _NONE
                elif kept is not None and kept[0] == version:
                    self._sets[place] = kept[1]
                else:
                    missing.append(place)
        if not missing:
            return
        for place, stored in (await store.some_views(tx, missing)).items():
            self._sets[place] = EntitySets.of(stored)
            self._keep(place, self.grants[place[0]].versions[place[1]], self._sets[place])

    def sets(self, grant_id: UUID, entity: str) -> EntitySets:
        """The sets of one entity of a view. Raises KeyError for what was not wanted."""
        return self._sets[grant_id, entity]

    def sees(self, grant_id: UUID, entity: str, rid: int) -> bool:
        """Whether a record is present in a view. Raises KeyError for what was not wanted."""
        return rid in self._sets[grant_id, entity].present

    def committed(self, position: int, moved: Mapping[tuple[UUID, str], EntitySets]) -> None:
        """Keeps the sets that a transaction stored at a position. Only to be called after its commit."""
        for place, sets in moved.items():
            self._keep(place, position, sets)

    def _keep(self, place: tuple[UUID, str], version: int, sets: EntitySets) -> None:
        size = 500 + sum(_bytes(part) for part in (sets.present, sets.gone, sets.trimmed))
        self._cache.put(("sets", *place), (version, sets), size)


def _bytes(part: BitMap) -> int:
    told = part.get_statistics()
    return int(told["n_bytes_array_containers"] + told["n_bytes_run_containers"] + told["n_bytes_bitset_containers"])


def _named(definition: GrantDefinition) -> int:
    return sum(len(r.schools) + len(r.courses) + len(r.classes) + len(r.terms) for r in definition.rules)
