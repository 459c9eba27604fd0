"""The views that this process knows, by grant and position, bounded by bytes."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from datetime import datetime
from uuid import UUID

from hub import views
from hub.api.caches import ByteCache
from hub.errors import Code, HubError
from hub.scope.view import EntityView, View
from hub.store import views as store
from hub.store.database import Database
from hub.store.gate import ClosedError
from hub.store.grants import Grant
from hub.store.views import Dated, Stored

MOST_BYTES = 256 * 2**20
Entities = Mapping[str, EntityView]
_Key = tuple[UUID, int, datetime]
_PastKey = tuple[UUID, int]


class Views:
    """Loads each view once, however many requests want it at the same time."""

    def __init__(self, most_bytes: int = MOST_BYTES) -> None:
        self._cache: ByteCache[_Key | _PastKey, View | Entities] = ByteCache(most_bytes)
        self._loading: dict[_Key | _PastKey, asyncio.Task[View | Entities]] = {}
        self._newest: dict[UUID, _Key] = {}

    async def get(self, db: Database, district_id: UUID, grant: Grant) -> View:
        """The view of this version of a grant. Raises ClosedError when there is a newer one by now."""
        key = (grant.grant_id, grant.position, grant.changed_at)
        found = await self._once(key, lambda: self._load(db, district_id, key))
        if not isinstance(found, View) or (found.grant_id, found.position) != key[:2]:
            raise HubError(Code.INTERNAL, "A view was kept under the name of another.")
        return found

    async def past(self, db: Database, district_id: UUID, view: View, step: int) -> Entities:
        """The sets of an earlier step of a view's feed, ``trimmed`` left out."""
        key = (view.grant_id, step)
        found = await self._once(key, lambda: self._load_past(db, district_id, view, step))
        assert not isinstance(found, View)
        return found

    async def _once(
        self, key: _Key | _PastKey, load: Callable[[], Awaitable[tuple[View | Entities, int]]]
    ) -> View | Entities:
        held = self._cache.get(key)
        if held is not None:
            return held
        task = self._loading.get(key)
        if task is None:
            task = asyncio.create_task(self._keep(key, load))
            self._loading[key] = task
            task.add_done_callback(lambda done: self._done(key, done))
        return await asyncio.shield(task)  # one request that goes away does not end the others' loading

    async def _keep(
        self, key: _Key | _PastKey, load: Callable[[], Awaitable[tuple[View | Entities, int]]]
    ) -> View | Entities:
        found, size = await load()
        self._cache.put(key, found, size)
        return found

    def _done(self, key: _Key | _PastKey, task: asyncio.Task[View | Entities]) -> None:
        self._loading.pop(key, None)
        if not task.cancelled():
            task.exception()  # seen here, should all who wait have gone away

    async def _load(self, db: Database, district_id: UUID, key: _Key) -> tuple[View, int]:
        before = self._newest.get(key[0])
        known = self._cache.get(before) if before is not None and before[2] == key[2] else None
        async with db.district(district_id, readonly=True) as tx:
            if isinstance(known, View):
                stored = await store.load_since(tx, key[0], known.position)
            else:
                stored = await store.load(tx, key[0])
        if (stored.grant.position, stored.grant.changed_at) != key[1:]:
            raise ClosedError
        if isinstance(known, View):  # a sync, or an app that wrote some grades: most of the view is as it was
            view, size = await asyncio.to_thread(_later, known, stored)
        else:
            view, size = await asyncio.to_thread(_view, stored)
        if before is not None:
            self._cache.drop(before)  # the gate is closed for it: nobody asks for it again
        self._newest[key[0]] = key
        return view, size

    async def _load_past(self, db: Database, district_id: UUID, view: View, step: int) -> tuple[Entities, int]:
        to = view.position_of(step)
        async with db.district(district_id, readonly=True) as tx:
            feed = await store.feed(tx, view.grant_id, to=to)
        return await asyncio.to_thread(_past, feed)


def _view(stored: Stored) -> tuple[View, int]:
    view = views.of_stored(stored)
    return view, _size(view.entities) + _size_beside(view)


def _later(view: View, stored: Stored) -> tuple[View, int]:
    later = views.later(view, stored)
    return later, _size(later.entities) + _size_beside(later)


def _past(feed: list[Dated]) -> tuple[Entities, int]:
    entities = views.past(feed)
    return entities, _size(entities)


def _size(entities: Entities) -> int:
    """About how many bytes they take."""
    sets = (part for one in entities.values() for part in (one.present, one.gone, one.trimmed))
    stamps = sum(int(one.stamps.layers.nbytes) for one in entities.values())
    return 10_000 + 4 * sum(len(part.serialize()) for part in sets) + stamps


def _size_beside(view: View) -> int:
    return 200 * len(view.steps) + 4 * sum(len(people.serialize()) for *_, people in view.extra_roles)
