"""How an app names records, brought together with how the hub does. One mechanism for every form of an answer.

A record has one canonical id, which the hub mints. An app knows it by another one in three cases. What it wrote by PUT
it knows by the id that it chose, in its own name space. Where its grant has pseudonyms (hub.scope.pseudonyms), it
knows everything else by these and the canonical ids of nothing. And where its grant names a source, it knows what that
one speaks of by the ids of the source (hub.store.shown_ids), and the rest by canonical ones. Whatever an app sends is
translated on its way in (paths, filters, references), whatever it gets on its way out (objects, references and their
addresses, headers, files, webhooks). For an app with none of these nothing is looked up.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from uuid import UUID

import numpy as np
import numpy.typing as npt
from pyroaring import BitMap

from hub import crypto
from hub.crypto import Keys, Sealer
from hub.scope import identifiers as scope
from hub.scope.places import renamed
from hub.scope.pseudonyms import KEY_BYTES, Pseudonyms, is_pseudonym, texts
from hub.store import gradebook as store
from hub.store import shown_ids
from hub.store.database import Transaction
from hub.store.grants import Grant
from transforms.catalogue import Entity
from transforms.storable import storable

Key = tuple[str, str]
_MOST_KEYS = 10_000
_RID_BYTES = 4


@dataclass(frozen=True, slots=True)
class Identifiers:
    """The ids of one app in one district.

    ``own``: the entities of which it calls some objects by ids of its own. ``pseudonyms``: what it calls all others by.
    ``by_source``: the grant, where that names a source by whose ids the app knows others. Neither: the hub's own ids.
    """

    app_id: UUID
    own: frozenset[str] = frozenset()
    pseudonyms: Pseudonyms | None = None
    by_source: UUID | None = None

    @classmethod
    def of(cls, grant: Grant, district_id: UUID, key: Keys, own: frozenset[str] | None = None) -> Identifiers:
        """Those of a grant's app, whose key is at hand (hub.vault.to_open).

        ``key``: hub.crypto.load_key; ``own`` None: nobody knows, so that it is looked up.

        Raises HubError(INTERNAL) for a grant whose key cannot be opened.
        """
        chosen = frozenset(store.WRITTEN) if own is None else own
        by_source = None if grant.source_ids is None else grant.grant_id
        return cls(grant.app_id, chosen, pseudonyms_of(grant, district_id, key), by_source)

    async def incoming(self, tx: Transaction, keys: Collection[Key]) -> dict[Key, str]:
        """(entity, id as the app gave it) to the canonical id. What cannot be an id of a record is left out."""
        asked = [key for key in keys if key[0] in self.own and storable(key[1])]
        found = await store.own_ids(tx, self.app_id, asked) if asked else {}
        others = [key for key in keys if key not in found]
        if self.by_source is not None:
            return found | await self._of_source(tx, self.by_source, others)
        if self.pseudonyms is None:
            return found | {key: key[1] for key in others if is_canonical(key[1])}
        told = [key for key in others if is_pseudonym(key[1])]
        return found | dict(zip(told, self.pseudonyms.canonical([id_ for _, id_ in told]), strict=True))

    async def _of_source(self, tx: Transaction, grant_id: UUID, keys: Collection[Key]) -> dict[Key, str]:
        """Like ``incoming`` for what the app did not choose: what has an id of the source has none of the hub's."""
        asked = [key for key in keys if storable(key[1])]
        found = await shown_ids.meant(tx, grant_id, asked) if asked else {}
        plain = {key: key[1] for key in keys if key not in found and is_canonical(key[1])}
        otherwise = await shown_ids.keys_of(tx, grant_id, plain.values()) if plain else {}
        return found | {key: id_ for key, id_ in plain.items() if id_ not in otherwise}

    @property
    def renames(self) -> bool:
        """Whether the app knows records of any entity by other ids than the hub's."""
        return self.pseudonyms is not None or self.by_source is not None

    def touches(self, entity: Entity) -> bool:
        """Whether objects of an entity may hold ids that the app knows by others."""
        return self.renames or self._chosen(entity)

    async def outgoing(self, tx: Transaction, entity: Entity, objects: list[str]) -> list[str]:
        """Objects of an entity with ids as the app knows them; base addresses are not in them yet."""
        if not self.touches(entity):
            return objects
        over = self.written_over(entity)
        if over is not None:
            found = renamed(objects, over.of_blocks)
            if found is not None:
                return found
        members = scope.standing_in(entity)
        page, names = scope.Page.of(objects), dict[str, str]()
        if self._chosen(entity) and (ids := page.ids(self.own, heads=entity.name in self.own)):
            names = await store.keys_of(tx, self.app_id, ids)
        if self.pseudonyms is not None:
            names = self._with_pseudonyms(self.pseudonyms, page.ids(None, heads=True), names)
        elif self.by_source is not None:
            names = await shown_ids.keys_of(tx, self.by_source, page.ids(None, heads=True)) | names
        return page.renamed(names, members) if names else objects

    def written_over(self, entity: Entity) -> Pseudonyms | None:
        """What gives all ids in objects of an entity, where they are as long as those whose places they take."""
        return None if scope.standing_in(entity) or self._chosen(entity) else self.pseudonyms

    def _chosen(self, entity: Entity) -> bool:
        """Whether objects of an entity may hold ids that the app chose."""
        return bool(self.own) and (entity.name in self.own or any(f.target in self.own for f in entity.references))

    async def names(self, tx: Transaction, sourced_ids: Iterable[str]) -> dict[str, str]:
        """Canonical id to the id that the app knows, for those of which it is another one."""
        wanted = set(sourced_ids)
        found = await store.keys_of(tx, self.app_id, wanted) if self.own and wanted else {}
        if self.by_source is not None and wanted:
            return await shown_ids.keys_of(tx, self.by_source, wanted) | found
        return found if self.pseudonyms is None else self._with_pseudonyms(self.pseudonyms, wanted, found)

    async def shown(self, tx: Transaction, entity: Entity, packed: bytes) -> ShownIds:
        """All records of an entity, as hub.store.records.ids packs them, with the ids that the app knows."""
        keys = await store.keys_by_rid(tx, self.app_id, entity.name) if entity.name in self.own else {}
        if self.by_source is not None:
            keys = await shown_ids.keys_by_rid(tx, self.by_source, entity) | keys
        return await asyncio.to_thread(ShownIds.of, packed, self.pseudonyms, keys)

    def _with_pseudonyms(self, pseudonyms: Pseudonyms, wanted: set[str], names: dict[str, str]) -> dict[str, str]:
        others = [id_ for id_ in wanted if id_ not in names]
        return names | dict(zip(others, pseudonyms.of(others), strict=True))


@dataclass(frozen=True, slots=True)
class ShownIds:
    """Records of one entity with the ids by which an app knows them."""

    rids: npt.NDArray[np.int32]
    texts: Sequence[str]
    _places: npt.NDArray[np.int32]

    @classmethod
    def of(cls, packed: bytes, pseudonyms: Pseudonyms | None, keys: Mapping[int, str]) -> ShownIds:
        """From pairs of rid and canonical id, and ``keys``, the app's or a source's own, by rid. CPU-bound."""
        rows = np.frombuffer(packed, np.uint8).reshape(-1, _RID_BYTES + 16)
        rids = np.ascontiguousarray(rows[:, :_RID_BYTES]).view(">i4")[:, 0].astype(np.int32)
        blocks = rows[:, _RID_BYTES:]
        written = texts(blocks if pseudonyms is None else pseudonyms.of_blocks(blocks))
        shown = [keys.get(rid, text) for rid, text in zip(rids.tolist(), written, strict=True)] if keys else written
        places = np.full(int(rids.max(initial=-1)) + 2, -1, dtype=np.int32)  # the last one is for what is not there
        order = sorted(range(len(shown)), key=shown.__getitem__)
        places[rids[order]] = np.arange(len(order), dtype=np.int32)
        return cls(rids, shown, places)

    @property
    def in_order(self) -> npt.NDArray[np.int32]:
        """The rids in the order of the ids, which are compared by code point."""
        return self.rids[np.argsort(self._places[self.rids])]

    def places(self, rids: npt.NDArray[np.int32]) -> npt.NDArray[np.int32]:
        """Where some records stand in that order; before all others where they are none of these."""
        return self._places[np.minimum(rids, len(self._places) - 1)]

    def where(self, holds: Callable[[str], bool]) -> BitMap:
        """The records with an id for which something holds. CPU-bound."""
        return BitMap(rid for rid, text in zip(self.rids.tolist(), self.texts, strict=True) if holds(text))


#: Of an app that knows all records by the hub's own ids.
CANONICAL = Identifiers(UUID(int=0))


def is_canonical(text: str) -> bool:
    """Whether a text has the form of the hub's ids."""
    try:
        return str(UUID(text)) == text
    except ValueError:
        return False


def new_key(sealer: Sealer, district_id: UUID, grant_id: UUID) -> bytes:
    """A random key for the pseudonyms of one grant, sealed for its row."""
    return crypto.seal(sealer, os.urandom(KEY_BYTES), district_id=district_id, table="grants", column="id_key",
                       row=str(grant_id))  # fmt: skip


def pseudonyms_of(grant: Grant, district_id: UUID, key: Keys) -> Pseudonyms | None:
    """The pseudonyms of a grant, None where it has none. Raises HubError(INTERNAL) for a key that cannot be opened."""
    return None if grant.id_key is None else _opened(key, grant.id_key, district_id, grant.grant_id)


@lru_cache(_MOST_KEYS)
def _opened(key: Keys, sealed: bytes, district_id: UUID, grant_id: UUID) -> Pseudonyms:
    plain = crypto.unseal(key, sealed, district_id=district_id, table="grants", column="id_key", row=str(grant_id))
    return Pseudonyms(plain)
