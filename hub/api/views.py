"""The views that this process knows, by grant and position, bounded by bytes."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from datetime import datetime
from uuid import UUID

from pyroaring import BitMap

from hub.api.caches import ByteCache
from hub.scope.feed import FeedEntry
from hub.scope.grants import GrantDefinition
from hub.scope.stamps import Stamps
from hub.scope.view import EntityView, View
from hub.store import views as store
from hub.store.database import Database
from hub.store.grants import Grant, Sets
from hub.store.records import ClosedError
from hub.store.views import Stored
from transforms.catalogue import CATALOGUE

MOST_BYTES = 256 * 2**20
_NONE = BitMap().serialize()
_EMPTY = Sets(_NONE, _NONE, _NONE)
_Key = tuple[UUID, int, datetime]


class Views:
    """Loads each view once, however many requests want it at the same time."""

    def __init__(self, most_bytes: int = MOST_BYTES) -> None:
        self._cache: ByteCache[_Key, View] = ByteCache(most_bytes)
        self._loading: dict[_Key, asyncio.Task[View]] = {}
        self._newest: dict[UUID, _Key] = {}

    async def get(self, db: Database, district_id: UUID, grant: Grant) -> View:
        """The view of this version of a grant. Raises ClosedError when there is a newer one by now."""
        key = (grant.grant_id, grant.position, grant.changed_at)
        view = self._cache.get(key)
        if view is not None:
            return view
        task = self._loading.get(key)
        if task is None:
            task = asyncio.create_task(self._load(db, district_id, key))
            self._loading[key] = task
            task.add_done_callback(lambda done: self._done(key, done))
        return await asyncio.shield(task)  # one request that goes away does not end the others' loading

    def _done(self, key: _Key, task: asyncio.Task[View]) -> None:
        self._loading.pop(key, None)
        if not task.cancelled():
            task.exception()  # seen here, should all who wait have gone away

    async def _load(self, db: Database, district_id: UUID, key: _Key) -> View:
        async with db.district(district_id, readonly=True) as tx:
            stored = await store.load(tx, key[0])
        if (stored.grant.position, stored.grant.changed_at) != key[1:]:
            raise ClosedError
        view, size = await asyncio.to_thread(_view, stored)
        before = self._newest.get(key[0])
        if before is not None:
            self._cache.drop(before)  # the gate is closed for it: nobody asks for it again
        self._newest[key[0]] = key
        self._cache.put(key, view, size)
        return view


def _view(stored: Stored) -> tuple[View, int]:
    """A view made of what is stored, and about how many bytes it takes."""
    feed: defaultdict[str, list[tuple[datetime, FeedEntry]]] = defaultdict(list)
    for at, entry in stored.feed:
        parts = (BitMap.deserialize(part) for part in (entry.entered, entry.updated, entry.departed))
        feed[entry.entity].append((at, FeedEntry(entry.entity, *parts)))
    entities = {}
    size = 10_000
    for name in (entity.name for entity in CATALOGUE.entities):
        sets = stored.sets.get(name, _EMPTY)
        view = EntityView(
            BitMap.deserialize(sets.present),
            BitMap.deserialize(sets.gone),
            BitMap.deserialize(sets.trimmed),
            Stamps.of_feed(feed[name]),
        )
        entities[name] = view
        size += 4 * (len(sets.present) + len(sets.gone) + len(sets.trimmed)) + view.stamps.layers.nbytes
    definition = GrantDefinition.model_validate(stored.grant.definition)
    return View(stored.grant.grant_id, stored.grant.position, definition, entities), size
