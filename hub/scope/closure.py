"""The rule of closure for the gradebook, stated once: which references decide whether a record is in a view.

A record of the gradebook is in a view if its entity is granted and all its deciding references lead to records of that
view. Compiling a grant asks this of whole columns, a write of single records; both ask here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache

from transforms.catalogue import Entity, Field, Kind, Need

#: Optional references that decide like required ones where they are set.
BINDING = frozenset({("assessmentLineItems", "class")})


@cache
def deciding(entity: Entity) -> tuple[Field, ...]:
    """The single references that decide: all required ones, and those in ``BINDING``."""
    return tuple(
        f
        for f in entity.body
        if f.kind is Kind.REF and not f.many and (f.rest12 is Need.REQUIRED or (entity.name, f.name) in BINDING)
    )


def may_lack(entity: Entity, field: Field) -> bool:
    """Whether a record without this deciding reference is in the view all the same."""
    return (entity.name, field.name) in BINDING


def inside(entity: Entity, references: Mapping[str, int | None], sees: Callable[[str, int], bool]) -> bool:
    """Whether an active record belongs to a view that grants its entity.

    ``references``: rids by field; ``sees``: whether a record of an entity is present in the view.
    """
    for field in deciding(entity):
        target = references.get(field.name)
        if target is None:
            if not may_lack(entity, field):
                return False
        elif not sees(field.target or "", target):
            return False
    return True
