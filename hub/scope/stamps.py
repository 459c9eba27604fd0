"""The ``dateLastModified`` that an app sees: when a record last entered, changed or left its view.

A change that the app may not see has no feed entry, so it moves no stamp (T16).
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import lru_cache

import numpy as np
import numpy.typing as npt
from pyroaring import BitMap

from hub.scope.feed import FeedEntry
from hub.scope.sets import bitmap, rids

_MOST_SMALL = np.iinfo(np.uint16).max
Layers = npt.NDArray[np.uint16] | npt.NDArray[np.uint32]


def cut(at: datetime) -> datetime:
    """``at`` in UTC without what is below a millisecond. Raises ``ValueError`` for times without an offset."""
    if at.tzinfo is None:
        raise ValueError("times need an offset from UTC")
    at = at.astimezone(UTC)
    return at.replace(microsecond=at.microsecond // 1000 * 1000)


@lru_cache(1_000)
def text(at: datetime) -> str:
    """A time cut to milliseconds as OneRoster writes it, ``2024-04-23T18:25:43.511Z``."""
    return at.strftime("%Y-%m-%dT%H:%M:%S.") + f"{at.microsecond // 1000:03d}Z"


@dataclass(frozen=True, slots=True)
class Stamps:
    """The stamps of one (grant, entity).

    ``times`` ascend; ``layers`` holds, at the index of a rid, the number of its time counted from 1, and 0 for records
    that were never in the view. Never changed: ``apply`` makes anew.
    """

    times: tuple[datetime, ...] = ()
    layers: Layers = field(default_factory=lambda: _zeros(0, 0))

    @classmethod
    def of_feed(cls, feed: Iterable[tuple[datetime, FeedEntry]]) -> Stamps:
        """The stamps after these entries, which come in the order of the feed."""
        times: list[datetime] = []
        touched: list[BitMap] = []
        for at, entry in feed:
            if entry.touched:
                _append(times, cut(at))
                touched.extend([entry.touched] if len(touched) < len(times) else [touched.pop() | entry.touched])
        size = max((members.max() + 1 for members in touched), default=0)
        layers = _zeros(size, len(times))
        for number, members in enumerate(touched, start=1):
            layers[rids(members)] = number
        return cls(tuple(times), layers)

    def apply(self, at: datetime, entry: FeedEntry) -> Stamps:
        """The stamps after one more entry. A clock that went back does not: the newest time so far is used again."""
        return self.after([(at, entry)])

    def after(self, feed: Iterable[tuple[datetime, FeedEntry]]) -> Stamps:
        """The stamps after some more entries, which come in the order of the feed."""
        times, touched = list(self.times), []
        for at, entry in feed:
            if entry.touched:
                _append(times, cut(at))
                touched.append((len(times), entry.touched))
        if not touched:
            return self
        layers = _zeros(max(len(self.layers), *(members.max() + 1 for _, members in touched)), len(times))
        layers[: len(self.layers)] = self.layers
        for number, members in touched:
            layers[rids(members)] = number
        return Stamps(tuple(times), layers)

    def of(self, wanted: Sequence[int]) -> list[datetime]:
        """The stamps of these rids, in their order. Raises ``KeyError`` for a record that was never in the view."""
        return [self.times[number - 1] for number in self._numbers(wanted)]

    def texts(self, wanted: Sequence[int]) -> list[str]:
        """Like ``of``, as OneRoster writes times."""
        numbers = self._numbers(wanted)
        written = {number: text(self.times[number - 1]) for number in set(numbers)}
        return [written[number] for number in numbers]

    def column(self, wanted: Sequence[int]) -> npt.NDArray[np.bytes_]:
        """Like ``texts``, as a column of bytes."""
        numbers = self.layers[np.asarray(wanted, dtype=np.int64)]
        found = np.flatnonzero(np.bincount(numbers))  # few, and small: faster than sorting for them
        written = np.array([text(self.times[number - 1]) for number in found.tolist()], dtype=np.bytes_)
        return written[np.searchsorted(found, numbers)]

    def common(self, wanted: Sequence[int]) -> str | None:
        """The stamp of these rids, of which there is one, as OneRoster writes it; None where they have several."""
        numbers = self.layers.take(np.asarray(wanted))
        first, size = int(numbers[0]), numbers.itemsize
        packed = numbers.tobytes()
        return text(self.times[first - 1]) if first and packed == packed[:size] * len(numbers) else None

    def since(self, after: datetime, *, inclusive: bool) -> BitMap:
        """The records stamped after ``after``, or at it too; ``after`` is not cut."""
        find = bisect_left if inclusive else bisect_right
        return bitmap(np.flatnonzero(self.layers > find(self.times, after)))

    def ranks(self, wanted: npt.NDArray[np.integer]) -> npt.NDArray[np.integer]:
        """Numbers that sort like the stamps of these rids; equal for equal stamps."""
        ranks: npt.NDArray[np.integer] = self.layers[wanted]
        return ranks

    def _numbers(self, wanted: Sequence[int]) -> list[int]:
        try:
            numbers: list[int] = self.layers[np.asarray(wanted, dtype=np.int64)].tolist()
        except IndexError as error:
            raise KeyError("a record was never in the view") from error
        if 0 in numbers:
            raise KeyError("a record was never in the view")
        return numbers


def _append(times: list[datetime], at: datetime) -> None:
    if not times or at > times[-1]:
        times.append(at)


def _zeros(size: int, numbers: int) -> Layers:
    return np.zeros(size, np.uint16) if numbers <= _MOST_SMALL else np.zeros(size, np.uint32)
