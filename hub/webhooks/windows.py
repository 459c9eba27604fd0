"""What the batches of a window have in common is read once, not once a batch: the window, and the app's ids.

What a stretch of a feed says never changes, so subscriptions of one grant share it.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from datetime import datetime
from uuid import UUID

from hub import vault
from hub.changes import reading
from hub.changes.reading import Stretch
from hub.crypto import Keys
from hub.identifiers import Identifiers
from hub.store import grants
from hub.store.database import Transaction

#: Stretches that are kept, the latest used. One is some sets of numbers: mostly kilobytes, a megabyte at most.
MOST = 64
_Key = tuple[UUID | None, UUID, int, int]


class Windows:
    """What one process has read."""

    def __init__(self, most: int = MOST) -> None:
        self._most = most
        self._identifiers: OrderedDict[tuple[UUID, datetime], Identifiers] = OrderedDict()
        self._found: OrderedDict[_Key, Stretch] = OrderedDict()
        self._reading: dict[_Key, asyncio.Lock] = {}

    async def stretch(self, tx: Transaction, grant_id: UUID, *, after: int, to: int) -> Stretch:
        """As hub.changes.reading.stretch."""
        key = (tx.district_id, grant_id, after, to)
        if (found := self._kept(key)) is not None:
            return found
        lock = self._reading.setdefault(key, asyncio.Lock())
        try:
            async with lock:  # of those that ask for it together one reads
                if (found := self._kept(key)) is not None:
                    return found
                found = await reading.stretch(tx, grant_id, after=after, to=to)
                self._found[key] = found
                while len(self._found) > self._most:
                    self._found.popitem(last=False)
                return found
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
