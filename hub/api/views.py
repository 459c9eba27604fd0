"""The views that this process knows, by grant and position, bounded by bytes."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterable, Mapping
from datetime import datetime
from uuid import UUID

from pyroaring import BitMap

from hub.api.caches import ByteCache
from hub.errors import Code, HubError
from hub.scope.feed import FeedEntry
from hub.scope.grants import GrantDefinition
from hub.scope.stamps import Stamps
from hub.scope.view import EntityView, Step, View
from hub.store import views as store
from hub.store.database import Database
from hub.store.grants import Grant, Sets
from hub.store.records import ClosedError
from hub.store.views import Dated, Stored
from transforms.catalogue import CATALOGUE

MOST_BYTES = 256 * 2**20
_NONE = BitMap().serialize()
_EMPTY = Sets(_NONE, _NONE, _NONE)
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
        to = view.steps[step - 1].position if step else 0
        async with db.district(district_id, readonly=True) as tx:
            feed = await store.feed(tx, view.grant_id, to=to)
        return await asyncio.to_thread(_past, feed)


def _view(stored: Stored) -> tuple[View, int]:
    """A view made of what is stored, and about how many bytes it takes."""
    feed = _by_entity(stored.feed)
    entities = {}
    size = 10_000
    for name in (entity.name for entity in CATALOGUE.entities):
        sets = stored.sets.get(name, _EMPTY)
        entities[name] = EntityView(
            BitMap.deserialize(sets.present),
            BitMap.deserialize(sets.gone),
            BitMap.deserialize(sets.trimmed),
            Stamps.of_feed(feed[name]),
        )
        size += _size(entities[name])
    definition = GrantDefinition.model_validate(stored.grant.definition)
    steps = tuple(_steps(stored.feed))
    size += 200 * len(steps)
    extra_roles = _extra_roles(stored)
    size += 4 * sum(len(people) for _, _, people in stored.extra_roles)
    return View(stored.grant.grant_id, stored.grant.position, definition, entities, steps, extra_roles), size


def _extra_roles(stored: Stored) -> list[tuple[int, str, BitMap]]:
    return [(position, role, BitMap.deserialize(people)) for position, role, people in stored.extra_roles]


def _later(view: View, stored: Stored) -> tuple[View, int]:
    """A view of the same definition at a later position, given what was stored since."""
    feed = _by_entity(stored.feed)
    entities = dict(view.entities)
    for name, sets in stored.sets.items():
        entities[name] = EntityView(
            BitMap.deserialize(sets.present),
            BitMap.deserialize(sets.gone),
            BitMap.deserialize(sets.trimmed),
            view.entities[name].stamps.after(feed[name]),
        )
    later = view.later(stored.grant.position, entities, tuple(_steps(stored.feed)), _extra_roles(stored))
    return later, 10_000 + sum(map(_size, entities.values())) + 200 * len(later.steps)


def _past(feed: list[Dated]) -> tuple[Entities, int]:
    by_entity = _by_entity(feed)
    entities = {entity.name: EntityView.of_feed(by_entity[entity.name]) for entity in CATALOGUE.entities}
    return entities, 10_000 + sum(map(_size, entities.values()))


def _by_entity(feed: Iterable[Dated]) -> defaultdict[str, list[tuple[datetime, FeedEntry]]]:
    out: defaultdict[str, list[tuple[datetime, FeedEntry]]] = defaultdict(list)
    for dated in feed:
        entry = dated.entry
        parts = (BitMap.deserialize(part) for part in (entry.entered, entry.updated, entry.departed))
        out[entry.entity].append((dated.at, FeedEntry(entry.entity, *parts)))
    return out


def _steps(feed: Iterable[Dated]) -> Iterable[Step]:
    at: dict[int, datetime] = {}
    rewritten: defaultdict[int, set[str]] = defaultdict(set)
    for dated in feed:
        at[dated.position] = dated.at
        if dated.entry.updated != _NONE or dated.entry.departed != _NONE:
            rewritten[dated.position].add(dated.entry.entity)
    return (Step(position, at[position], frozenset(rewritten[position])) for position in at)


def _size(view: EntityView) -> int:
    sets = (view.present, view.gone, view.trimmed)
    return 4 * sum(len(one.serialize()) for one in sets) + int(view.stamps.layers.nbytes)
