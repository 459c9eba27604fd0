"""What a process keeps of districts beside its connections, so as not to read it again: values with their sizes."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable
from typing import Any

#: A district of 500,000 students has columns of about 130 MB.
MOST_BYTES = 384 << 20


class Kept:
    """Values by key, up to a number of bytes together; those that were used longest ago go first."""

    def __init__(self, most_bytes: int = MOST_BYTES) -> None:
        self._most, self._bytes = most_bytes, 0
        self._values: OrderedDict[Hashable, tuple[Any, int]] = OrderedDict()

    def get(self, key: Hashable) -> Any:
        """The value of a key, or None."""
        found = self._values.get(key)
        if found is None:
            return None
        self._values.move_to_end(key)
        return found[0]

    def put(self, key: Hashable, value: object, size: int) -> None:
        """Keeps a value of so many bytes in place of an older one of the key; what is larger than all is not kept."""
        self._bytes -= self._values.pop(key, (None, 0))[1]
        if size > self._most:
            return
        self._values[key] = (value, size)
        self._bytes += size
        while self._bytes > self._most:
            _, (_, gone) = self._values.popitem(last=False)
            self._bytes -= gone
