"""How the reads of OneRoster are declared: what a path names, which records it answers with, which scopes it needs.

The tables of the services are in ``rostering``, ``gradebook`` and ``resources``; ``bindings`` puts them together.
Routes, permissions, the discovery documents and tests derive from them.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cached_property

from hub.api.oneroster.scopes import V1P1, V1P2
from transforms.catalogue import CATALOGUE, Entity, Version


@dataclass(frozen=True, slots=True)
class Subset:
    """A named part of an entity's collection: records with ``token`` in ``field``.

    For ``roles`` any visible role entry counts. Tombstones are in every subset, since what a record was before it left
    the view may have changed unseen.
    """

    field: str
    token: str


@dataclass(frozen=True, slots=True)
class Through:
    """Records that ``link`` records point to with ``far``, where their ``near`` is the parent.

    ``role`` limits the link records to those with this enrollment role.
    """

    link: str
    near: str
    far: str
    role: str | None = None
    free: bool = False  # records that no link points to belong to every parent


@dataclass(frozen=True, slots=True)
class Hop:
    """Records whose reference ``field`` is a record whose own reference ``beyond`` is the parent."""

    field: str
    beyond: str


@dataclass(frozen=True, slots=True)
class ListedBy:
    """Records that the parent, a record of ``entity``, lists in its own reference ``field``."""

    entity: str
    field: str


@dataclass(frozen=True, slots=True)
class Own:
    """Records whose own reference ``field`` is the parent, and those of ``also`` for an app that wants these."""

    field: str
    also: Through | None = None


@dataclass(frozen=True, slots=True)
class RoleAt:
    """Users with a visible role entry of this role at the parent."""

    role: str


Relation = Own | Through | Hop | ListedBy | RoleAt


@dataclass(frozen=True, slots=True)
class Parent:
    """A record named in the path. ``within`` is its reference that must be the parent before it."""

    variable: str
    entity: str
    subset: Subset | None = None
    within: str | None = None

    @property
    def token(self) -> str | None:
        """What its subset is known by."""
        return None if self.subset is None else self.subset.token


@dataclass(frozen=True)
class Operation:
    """One read. ``relations`` all have to hold, each with its parent's place in ``parents``."""

    path: str
    name: str
    entity: Entity
    single: bool = False
    subset: Subset | None = None
    parents: tuple[Parent, ...] = ()
    relations: tuple[tuple[int, Relation], ...] = ()
    version: Version = "1.2"

    @property
    def envelope(self) -> str:
        """The one top-level member of the answer."""
        return self.entity.singular if self.single else self.entity.name

    @cached_property
    def scopes(self) -> tuple[str, ...]:
        """The scopes of which any one is enough."""
        return _scopes(self.entity, self.version, nested=bool(self.parents))

    @cached_property
    def variables(self) -> tuple[str, ...]:
        """Names of the path's variable parts."""
        return tuple(re.findall(r"\{(\w+)\}", self.path))


def scopes_of(entity: Entity, version: Version) -> tuple[str, ...]:
    """The scopes of which any one lets an app read an entity's collection."""
    return _scopes(entity, version, nested=False)


def _scopes(entity: Entity, version: Version, *, nested: bool) -> tuple[str, ...]:
    if version == "1.1":
        if entity.name == "demographics":
            return (V1P1.DEMOGRAPHICS,)
        if entity.service == "rostering":
            return (V1P1.ROSTER,) if nested else (V1P1.ROSTER, V1P1.ROSTER_CORE)
        return (V1P1.GRADEBOOK if entity.service == "gradebook" else V1P1.RESOURCE,)
    if entity.name == "demographics":
        return (V1P2.DEMOGRAPHICS,)
    if entity.name.startswith("assessment"):
        return (V1P2.ASSESSMENT,)
    all_reads, core = {
        "rostering": (V1P2.ROSTER, V1P2.ROSTER_CORE),
        "gradebook": (V1P2.GRADEBOOK, V1P2.GRADEBOOK_CORE),
        "resources": (V1P2.RESOURCE, V1P2.RESOURCE_CORE),
    }[entity.service]
    return (all_reads,) if nested else (all_reads, core)


SCHOOL = Subset("type", "school")
TERM = Subset("type", "term")
PERIOD = Subset("type", "gradingPeriod")
STUDENT = Subset("roles", "student")
TEACHER = Subset("roles", "teacher")


def both(collection: str, one: str, path: str, entity: str, subset: Subset | None = None) -> tuple[Operation, ...]:
    """A collection and the read of one of its objects."""
    which = CATALOGUE[entity]
    return (
        Operation(path, collection, which, subset=subset),
        Operation(path + "/{sourcedId}", one, which, single=True, subset=subset),
    )


def nested(
    path: str, name: str, entity: str, parents: tuple[Parent, ...], *relations: tuple[int, Relation],
    subset: Subset | None = None,
) -> Operation:  # fmt: skip
    """A collection below the objects that its path names."""
    return Operation(path, name, CATALOGUE[entity], subset=subset, parents=parents, relations=relations)
