"""A package of the whole district as it was at an earlier position, for the district itself."""

from __future__ import annotations

from uuid import UUID

from pyroaring import BitMap

from hub.export.package import Order, Package
from hub.scope.grants import GrantDefinition
from hub.scope.view import EntityView, View
from hub.store import asof
from hub.store.database import Transaction
from hub.sync.lives import made_later
from transforms.catalogue import CATALOGUE, Privacy, Version

#: Nothing is hidden from the district that the records are of.
EVERYTHING = GrantDefinition(
    entities=tuple(e.name for e in CATALOGUE.entities),
    privacy=tuple(p for p in Privacy if p is not Privacy.DIRECTORY),
)


async def package(tx: Transaction, position: int, version: Version) -> Package:
    """The records that were active at a position. ``tx`` sees one moment."""
    return Package(tx, await view(tx, position), order(version), as_of=position)


def order(version: Version) -> Order:
    """A package of everything that there are files for."""
    return Order(version, frozenset(e.name for e in CATALOGUE.entities if e.csv_file and version in e.versions))


async def view(tx: Transaction, position: int) -> View:
    """All records that were active at a position."""
    present = {}
    for entity in CATALOGUE.entities:
        now, changed, before = map(BitMap, await asof.active_sets(tx, entity, position))
        present[entity.name] = EntityView(((now - changed) | before) - await made_later(tx, entity, position))
    return View(UUID(int=0), position, EVERYTHING, present)
