"""Which objects of the gradebook hold each other: what is deleted together, and what may not be deleted.

Source: OneRoster 1.2 REST binding (``deletefailure``); what it leaves open is decided in docs/gradebook.md.
"""

from __future__ import annotations

from hub.store import gradebook as store
from hub.store.database import Transaction
from transforms.catalogue import CATALOGUE, Entity

Reference = tuple[str, str]

#: Records that are deleted with the one that this reference of theirs is to.
_TOGETHER: frozenset[Reference] = frozenset({("results", "lineItem"), ("assessmentResults", "assessmentLineItem")})
#: The references of gradebook records to records of each entity.
REFERRERS: dict[str, tuple[Reference, ...]] = {
    target.name: tuple(
        (e.name, f.name)
        for e in CATALOGUE.of_service("gradebook")
        for f in e.references
        if f.target == target.name
    )
    for target in CATALOGUE.of_service("gradebook")
}  # fmt: skip


async def holds(tx: Transaction, entity: Entity, rid: int) -> bool:
    """Whether a record is in use so that it cannot be deleted: by others than those that are deleted with it."""
    others = [reference for reference in REFERRERS[entity.name] if reference not in _TOGETHER]
    return await _referred(tx, others, rid)


async def in_use(tx: Transaction, entity: Entity, rid: int) -> bool:
    """Whether any record of the gradebook refers to a record: it then stays in its class."""
    return await _referred(tx, REFERRERS[entity.name], rid)


async def together(tx: Transaction, entity: Entity, rid: int) -> list[tuple[str, list[int]]]:
    """The active records, by entity, that are deleted with a record."""
    return [
        (name, await store.referring(tx, name, field, rid))
        for name, field in REFERRERS[entity.name]
        if (name, field) in _TOGETHER
    ]


async def _referred(tx: Transaction, references: tuple[Reference, ...] | list[Reference], rid: int) -> bool:
    for name, field in references:
        if await store.refers(tx, name, field, rid):
            return True
    return False
