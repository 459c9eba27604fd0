"""What one request reads through: a transaction, the gate, and the view that the gate stands for."""

from __future__ import annotations

from dataclasses import dataclass
from uuid import UUID

import numpy as np
import numpy.typing as npt
from pyroaring import BitMap

from hub.scope.sets import bitmap
from hub.scope.view import EntityView, View
from hub.store import conditions as sql
from hub.store import records
from hub.store.conditions import Condition
from hub.store.database import Transaction
from hub.store.records import Gate
from hub.store.schema import ROLE_COLUMNS
from transforms.catalogue import CATALOGUE, Entity, Field

_NOBODYS = UUID(int=0)
Rids = npt.NDArray[np.int32]


@dataclass(frozen=True, slots=True)
class Reading:
    """Every set that it gives is of the view's position: a gate that closed raises records.ClosedError."""

    tx: Transaction
    gate: Gate
    view: View

    def of(self, entity: str) -> EntityView:
        """The view's sets of one entity."""
        return self.view.entities[entity]

    async def matching(self, entity: Entity, condition: Condition) -> BitMap:
        """The present records that meet a condition on their columns."""
        return bitmap(unpacked(await records.matching(self.tx, self.gate, entity, condition))) & self.present(entity)

    async def matching_ids(self, entity: Entity, condition: Condition) -> BitMap:
        """The listed records that meet a condition on their sourcedId, which tombstones show too."""
        found = bitmap(unpacked(await records.matching(self.tx, self.gate, entity, condition)))
        return found & self.of(entity.name).listed

    async def linked(self, link: str, condition: Condition, far: Field) -> BitMap:
        """The targets of present link records that meet a condition; the targets may be outside the view."""
        packed = await records.linked(self.tx, self.gate, CATALOGUE[link], condition, far)
        pairs = unpacked(packed).reshape(-1, 2)
        present = np.fromiter((bitmap(pairs[:, 0]) & self.of(link).present), dtype=np.int32)
        return bitmap(pairs[np.isin(pairs[:, 0], present), 1])

    def shown_role(self, *conditions: Condition) -> Condition:
        """Users with a role entry that shows and meets the conditions on it.

        An entry shows when its org is in the view and its role is one that the grant admits.
        """
        shown = [sql.entry_refers("org", list(self.of("orgs").present))]
        admitted = self.view.definition.admitted_roles
        if admitted is not None:
            shown.append(sql.one_of(sql.item("role"), sorted(admitted)))
        return sql.any_entry(ROLE_COLUMNS, sql.both(*shown, *conditions))

    @property
    def version(self) -> tuple[object, ...]:
        """What the view stands for: sets and orders that were made for it stay true for it."""
        return self.gate.grant_id, self.gate.position, self.gate.changed_at

    def present(self, entity: Entity) -> BitMap:
        """The present records of an entity."""
        return self.of(entity.name).present


def as_sourced_id(text: str) -> UUID:
    """The sourcedId that a path names; one that nobody has for what is none, so that the same look-up follows."""
    try:
        sourced_id = UUID(text)
    except ValueError:
        return _NOBODYS
    return sourced_id if str(sourced_id) == text else _NOBODYS


def unpacked(packed: bytes) -> Rids:
    """The rids that the store packed."""
    return np.frombuffer(packed, dtype=">i4").astype(np.int32)
