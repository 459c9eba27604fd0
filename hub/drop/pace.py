"""How fast one login may write."""

from __future__ import annotations

from collections.abc import Callable


class Pace:
    """So many bytes a second, and a second's worth at once. ``now``: a monotonic time in seconds."""

    def __init__(self, per_second: int, now: Callable[[], float]) -> None:
        self._per_second, self._now = per_second, now
        self._free_at = now() - 1

    def owed(self, size: int) -> float:
        """Takes so many bytes; the seconds to wait before they are written."""
        now = self._now()
        self._free_at = max(self._free_at, now - 1) + size / self._per_second
        return max(0.0, self._free_at - now)
