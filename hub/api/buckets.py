"""Token buckets: how often something may happen. Kept in the process, so each process counts for itself."""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Callable, Hashable

_MOST_KEYS = 50_000


class Buckets:
    """One bucket per key: it holds ``burst`` tokens at most and gains ``rate`` a second.

    ``now`` is a monotonic time in seconds.
    """

    def __init__(self, rate: float, burst: float, now: Callable[[], float]) -> None:
        self._rate = rate
        self._burst = burst
        self._now = now
        self._held: OrderedDict[Hashable, tuple[float, float]] = OrderedDict()

    def wait(self, key: Hashable) -> int:
        """The seconds until a token is there; 0 where one is."""
        tokens = self._tokens(key)
        return 0 if tokens >= 1 else max(1, math.ceil((1 - tokens) / self._rate))

    def take(self, key: Hashable) -> int:
        """Takes a token and answers 0, or takes none and answers the seconds until one is there."""
        wait = self.wait(key)
        if not wait:
            self._put(key, self._tokens(key) - 1)
        return wait

    def owe(self, key: Hashable) -> None:
        """Takes a token that may not be there: what is owed has to be gained first, ``burst`` of them at most."""
        self._put(key, max(-self._burst, self._tokens(key) - 1))

    def give(self, key: Hashable) -> None:
        """Puts a token back."""
        self._held[key] = (min(self._burst, self._tokens(key) + 1), self._now())

    def _put(self, key: Hashable, tokens: float) -> None:
        self._held[key] = (tokens, self._now())
        self._held.move_to_end(key)
        if len(self._held) > _MOST_KEYS:
            self._held.popitem(last=False)

    def _tokens(self, key: Hashable) -> float:
        tokens, at = self._held.get(key, (self._burst, 0.0))
        return min(self._burst, tokens + (self._now() - at) * self._rate)
