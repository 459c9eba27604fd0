"""Which files a package holds, and what each is read from: all of it derives from the catalogue.

Source: CSV binding 1.2.1 sections 3 to 5; 1.1 the same with fewer files.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from functools import cached_property

from hub.scope.projection import Projection
from transforms.catalogue import CATALOGUE, Entity, Field, Kind, Need, Version
from transforms.sheet import is_owner

_ENTITIES = frozenset(e.name for e in CATALOGUE.entities)


@dataclass(frozen=True)
class File:
    """One CSV file of a version: its columns, and the entity whose records its rows are made of.

    ``field`` is the member of the owner that holds the rows, None for the file of the owner itself.
    """

    version: Version
    entity: Entity
    owner: Entity
    field: Field | None = None

    @property
    def name(self) -> str:
        """The file's name without ``.csv``."""
        return self.entity.csv_file

    @cached_property
    def columns(self) -> tuple[Field, ...]:
        """The columns, in the order of the standard."""
        return self.entity.csv_columns(self.version)

    @cached_property
    def header(self) -> tuple[str, ...]:
        """The names of the columns."""
        return self.entity.csv_header(self.version)

    @cached_property
    def required(self) -> tuple[str, ...]:
        """The columns in which every row has a value."""
        return tuple(f.csv_name for f in self.columns if f.csv_name and f.csv_need(self.version) is Need.REQUIRED)

    @property
    def targets(self) -> frozenset[str]:
        """The entities that rows refer to, beside the record that they nest in."""
        return frozenset(
            f.target
            for f in self.columns
            if f.kind is Kind.REF and f.target in _ENTITIES and not (self.field and is_owner(f))
        )

    def column(self, name: str) -> str:
        """The header of a field."""
        return self.entity[name].csv_name or ""


def files(
    version: Version, entities: Collection[str], projections: Mapping[str, Projection]
) -> tuple[File, ...]:  # fmt: skip
    """The files that a package of these entities may hold, what is referred to before what refers to it.

    The file of a hidden member is not among them, nor one whose rows link to an entity that is not.
    """
    found = []
    for owner in CATALOGUE.entities:
        if owner.name not in entities or not owner.csv_file or version not in owner.versions:
            continue
        found.append(File(version, owner, owner))
        for field in owner.body:
            component = CATALOGUE[field.component] if field.component else None
            if component is None or version not in component.versions:
                continue
            linked = field.target is None or field.target in entities
            if field.name in projections[owner.name].visible and linked:
                found.append(File(version, component, owner, field))
    return tuple(found)
