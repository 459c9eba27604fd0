"""Stretches of feeds that were read and merged a moment ago: a window of many batches is read once, not once a batch.

What a stretch says never changes, so subscriptions of one grant share it.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from uuid import UUID

from hub.changes import reading
from hub.changes.reading import Stretch
from hub.store.database import Transaction

#: Stretches that are kept, the latest used. One is some sets of numbers: mostly kilobytes, a megabyte at most.
MOST = 64
_Key = tuple[UUID | None, UUID, int, int]


class Windows:
    """The stretches of one process."""

    def __init__(self, most: int = MOST) -> None:
        self._most = most
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

    def _kept(self, key: _Key) -> Stretch | None:
        found = self._found.get(key)
        if found is not None:
            self._found.move_to_end(key)
        return found
