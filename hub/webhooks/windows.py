"""What the batches of a window have in common is read once, not once a batch: the window, and the app's ids.

What a stretch of a feed says never changes, so subscriptions of one grant share it. Subscriptions of a district that
are told of the same records a moment later share what these are called.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections import OrderedDict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from hub import vault
from hub.changes import reading
from hub.changes.ids import Ids
from hub.changes.reading import Stretch
from hub.crypto import Keys
from hub.identifiers import Identifiers
from hub.scope.sets import Ints
from hub.store import grants
from hub.store.database import Transaction
from transforms.catalogue import Entity

#: Stretches that are kept, the latest used. One is some sets of numbers: mostly kilobytes, a megabyte at most.
MOST = 64
#: For so many seconds others are given the ids that one has read: a record may be purged.
RECENT_SECONDS = 2.0
_Key = tuple[UUID | None, UUID, int, int]
_Asked = tuple[UUID | None, str, bytes]


class Windows:
    """What one process has read."""

    def __init__(self, most: int = MOST) -> None:
        self._most = most
        self._identifiers: OrderedDict[tuple[UUID, datetime], Identifiers] = OrderedDict()
        self._found: OrderedDict[_Key, Stretch] = OrderedDict()
        self._named: OrderedDict[_Asked, tuple[float, Ids]] = OrderedDict()
        self._reading: dict[_Key | _Asked, asyncio.Lock] = {}

    async def stretch(self, tx: Transaction, grant_id: UUID, *, after: int, to: int) -> Stretch:
        """As hub.changes.reading.stretch."""
        key = (tx.district_id, grant_id, after, to)
        if (found := self._kept(key)) is not None:
            return found
        async with self._alone(key):
            if (found := self._kept(key)) is not None:
                return found
            found = await reading.stretch(tx, grant_id, after=after, to=to)
            self._found[key] = found
            while len(self._found) > self._most:
                self._found.popitem(last=False)
            return found

    async def named(self, tx: Transaction, entity: Entity, rids: Ints) -> tuple[float, Ids]:
        """As hub.changes.reading.ids, and when that was read (time.monotonic)."""
        key = (tx.district_id, entity.name, rids.tobytes())
        async with self._alone(key):
            found = self._named.pop(key, None)
            if found is None or time.monotonic() - found[0] > RECENT_SECONDS:
                found = time.monotonic(), await reading.ids(tx, entity, rids)
            self._named[key] = found
            while len(self._named) > self._most:
                self._named.popitem(last=False)
            return found

    @asynccontextmanager
    async def _alone(self, key: _Key | _Asked) -> AsyncIterator[None]:
        """Of those that ask for the same thing together one reads."""
        lock = self._reading.setdefault(key, asyncio.Lock())
        try:
            async with lock:
                yield
        finally:
            if not lock.locked():
                self._reading.pop(key, None)

    async def identifiers(self, tx: Transaction, grant_id: UUID, changed_at: datetime, key: Keys) -> Identifiers:
        """How the app of a grant names records. ``changed_at``: when the grant last changed."""
        assert tx.district_id is not None
        found = self._identifiers.get((grant_id, changed_at))
        if found is None:
            grant = await grants.get(tx, grant_id)
            await vault.to_open(tx, key, grant.id_key)
            found = Identifiers.of(grant, tx.district_id, key)
            self._identifiers[grant_id, changed_at] = found
            while len(self._identifiers) > self._most:
                self._identifiers.popitem(last=False)
        return found

    def _kept(self, key: _Key) -> Stretch | None:
        found = self._found.get(key)
        if found is not None:
            self._found.move_to_end(key)
        return found


@dataclass(slots=True)
class Recent:
    """How records are called, for one look at a window. ``read_at``: when the oldest of what it gave was read."""

    windows: Windows
    read_at: float = math.inf

    async def __call__(self, tx: Transaction, entity: Entity, rids: Ints) -> Ids:
        """As hub.changes.reading.ids."""
        read_at, found = await self.windows.named(tx, entity, rids)
        self.read_at = min(self.read_at, read_at)
        return found
