"""How an app names records, brought together with how the hub does. One mechanism for every form of an answer.

A record has one canonical id, which the hub mints. An app that wrote an object by PUT knows it by the id that it chose,
in its own name space; every other app knows the same object by the canonical id. Whatever an app sends is translated
on its way in (paths, filters, references), whatever it gets on its way out (objects, references and their addresses,
headers, webhooks). For an app without ids of its own nothing is looked up.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from uuid import UUID

from hub.scope import identifiers as scope
from hub.store import gradebook as store
from hub.store.database import Transaction
from transforms.catalogue import Entity
from transforms.validate.identifiers import storable

Key = tuple[str, str]


@dataclass(frozen=True, slots=True)
class Identifiers:
    """The ids of one app in one district. ``own``: the entities of which it calls some objects by ids of its own."""

    app_id: UUID
    own: frozenset[str] = frozenset()

    @classmethod
    def unknown(cls, app_id: UUID) -> Identifiers:
        """For who cannot know whether the app has ids of its own, and so has to look."""
        return cls(app_id, frozenset(store.WRITTEN))

    async def incoming(self, tx: Transaction, keys: Collection[Key]) -> dict[Key, str]:
        """(entity, id as the app gave it) to the canonical id. What cannot be an id of a record is left out."""
        asked = [key for key in keys if key[0] in self.own and storable(key[1])]
        found = await store.own_ids(tx, self.app_id, asked) if asked else {}
        return found | {key: key[1] for key in keys if key not in found and is_canonical(key[1])}

    def touches(self, entity: Entity) -> bool:
        """Whether objects of an entity may hold ids that the app knows by others."""
        return bool(self.own) and (entity.name in self.own or any(f.target in self.own for f in entity.references))

    async def outgoing(self, tx: Transaction, entity: Entity, objects: list[str]) -> list[str]:
        """Objects of an entity with ids as the app knows them; base addresses are not in them yet."""
        if not self.touches(entity):
            return objects
        names = await self.names(tx, scope.named(objects, self.own, heads=entity.name in self.own))
        return scope.renamed(objects, names) if names else objects

    async def names(self, tx: Transaction, sourced_ids: Iterable[str]) -> dict[str, str]:
        """Canonical id to the id that the app knows, for those of which it is another one."""
        wanted = set(sourced_ids) if self.own else set()
        return await store.keys_of(tx, self.app_id, wanted) if wanted else {}


#: Of an app that knows all records by the hub's own ids.
CANONICAL = Identifiers(UUID(int=0))


def is_canonical(text: str) -> bool:
    """Whether a text has the form of the hub's ids."""
    try:
        return str(UUID(text)) == text
    except ValueError:
        return False
