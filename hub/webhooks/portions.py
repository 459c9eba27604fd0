"""How many changes a receiver takes in time: half when it does not answer, some more when it does soon. Pure."""

from __future__ import annotations

#: Attempts that may run out of time with the same batch; then it is cut anew, smaller.
MOST_TIMEOUTS = 3
#: An answer is quick within this share of the time-out.
QUICK = 0.2
_STEP = 0.1


def halved(changes: int) -> int:
    """The next size after a batch of ``changes`` ran out of time."""
    return max(1, changes // 2)


def grown(size: int | None, most: int, *, milliseconds: int, timeout: float, full: bool) -> int | None:
    """The next size after a batch was taken; None once it is ``most`` (again), or bounds nothing.

    ``timeout``: in seconds. ``full``: whether the batch was as long as it may be in bytes, below its size.
    """
    if size is None or milliseconds > timeout * 1000 * QUICK:
        return size
    if full:
        return None
    more = size + max(1, round(most * _STEP))
    return more if more < most else None
