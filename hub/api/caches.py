"""A bounded memory of what was computed: the oldest used goes first when the bytes run out."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable
from typing import Generic, TypeVar

Key = TypeVar("Key", bound=Hashable)
Value = TypeVar("Value")


class ByteCache(Generic[Key, Value]):
    """Values by key, at most ``most`` bytes of them; each ``put`` says how large its value is."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._held: OrderedDict[Key, tuple[Value, int]] = OrderedDict()
        self.bytes = 0

    def get(self, key: Key) -> Value | None:
        """The value of a key, or None."""
        held = self._held.get(key)
        if held is None:
            return None
        self._held.move_to_end(key)
        return held[0]

    def put(self, key: Key, value: Value, size: int) -> None:
        """Keeps a value, and forgets others for it; one that is too large by itself is not kept."""
        self.drop(key)
        if size > self._most:
            return
        self._held[key] = (value, size)
        self.bytes += size
        while self.bytes > self._most:
            _, (_, freed) = self._held.popitem(last=False)
            self.bytes -= freed

    def drop(self, key: Key) -> None:
        """Forgets a value, if it is there."""
        held = self._held.pop(key, None)
        if held is not None:
            self.bytes -= held[1]

    def __len__(self) -> int:
        return len(self._held)
