"""Where OneRoster stands below the hub's address, and the addresses in documents.

1.2 has three services, each at a base address of its own; 1.1 has one for everything.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache, lru_cache
from uuid import UUID

from transforms.catalogue import Entity, Service, Version
from transforms.references import BASES, bases

#: Where a district's OneRoster begins below the hub's address.
DISTRICT = "/d/{district}/ims/oneroster"
#: Where the OneRoster of all districts that grant an app something begins.
EVERYWHERE = "/ims/oneroster"
#: Where the services stand below that, by version. References lead to the service that has their target.
PATHS: Mapping[Version, Mapping[Service, str]] = {
    "1.2": {"rostering": "/rostering/v1p2", "gradebook": "/gradebook/v1p2", "resources": "/resources/v1p2"},
    "1.1": {"rostering": "/v1p1", "gradebook": "/v1p1", "resources": "/v1p1"},
}
#: The bytes that stand for the services' addresses in documents, and these addresses.
Bases = Sequence[tuple[bytes, bytes]]


def district_root(public_url: str, district_id: UUID) -> str:
    """Where a district's OneRoster begins. ``public_url``: the hub's address, without a slash."""
    return public_url + DISTRICT.replace("{district}", str(district_id))


@cache
def marks(entity: Entity, version: Version) -> tuple[tuple[bytes, str], ...]:
    """The bytes that stand for addresses in an entity's documents, and the paths below ``…/ims/oneroster``."""
    return tuple((BASES[service].encode(), PATHS[version][service]) for service in bases(entity))


@lru_cache(1_000)
def bases_of(public_url: str, district_id: UUID, entity: Entity, version: Version) -> Bases:
    """The addresses in an entity's documents, in a district of the hub at ``public_url``."""
    return bases_at(district_root(public_url, district_id), entity, version)


def bases_at(root: str, entity: Entity, version: Version) -> Bases:
    """The addresses in an entity's documents, where OneRoster begins at ``root``."""
    return [(mark, (root + path).encode()) for mark, path in marks(entity, version)]


def addressed(text: bytes, bases: Bases) -> bytes:
    """Documents with the addresses in their places."""
    for mark, base in bases:
        text = text.replace(mark, base)
    return text
