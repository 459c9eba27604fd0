"""How one app looks at the records of a district."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from hub.behaviour import DEFAULT, Behaviour
from hub.identifiers import CANONICAL, Identifiers
from hub.scope import v1p1
from hub.scope.view import EntityView, View
from hub.store.database import Transaction
from hub.store.gate import Gate
from transforms.catalogue import BASE_NAMES, Entity, Version


class Lens(NamedTuple):
    """How one app looks at a district: its view, ids and settings, and the version of OneRoster that it asks in."""

    view: View
    behaviour: Behaviour = DEFAULT
    version: Version = "1.2"
    identifiers: Identifiers = CANONICAL

    def filterable(self, entity: Entity) -> frozenset[str]:
        """The members of an entity in this version by which the app may filter or sort, the base fields included."""
        names = self.view.projections[entity.name].filterable
        return names if self.version == "1.2" else v1p1.filterable(entity, names)

    def visible(self, entity: Entity) -> frozenset[str]:
        """The members of an entity in this version that the app sees, the base fields included."""
        names = self.view.projections[entity.name].visible.union(BASE_NAMES)
        return names if self.version == "1.2" else v1p1.visible(entity, names)


@dataclass(frozen=True, slots=True)
class Looking:
    """What records are looked at through: a transaction, the gate, and the view that the gate stands for.

    Every set that it gives is of the view's position: a gate that closed raises gate.ClosedError.
    """

    tx: Transaction
    gate: Gate
    lens: Lens

    @property
    def view(self) -> View:
        """The view of now."""
        return self.lens.view

    @property
    def behaviour(self) -> Behaviour:
        """The app's settings."""
        return self.lens.behaviour

    def of(self, entity: str) -> EntityView:
        """The sets by which records of an entity are shown: those of now."""
        return self.view.entities[entity]

    async def named(self, entity: Entity, objects: list[str]) -> list[str]:
        """Objects of an entity with the ids by which the app knows records."""
        return await self.lens.identifiers.outgoing(self.tx, entity, objects)

    @property
    def pseudonymous(self) -> bool:
        """Whether the app knows records by pseudonyms, of which PostgreSQL knows nothing."""
        return self.lens.identifiers.pseudonyms is not None
