"""When an object, or a whole target, is tried again. Pure: seconds in, seconds out."""

from __future__ import annotations

from collections.abc import Sequence

MINUTE, HOUR = 60.0, 3600.0
#: The waits of an object after its first, second, … failure.
OBJECT_STEPS = (5.0, 30.0, 2 * MINUTE, 10 * MINUTE, 30 * MINUTE, HOUR, 2 * HOUR, 4 * HOUR, 8 * HOUR, 12 * HOUR)
#: Those of a target. It is never given up: one request in a quarter of an hour costs nothing, and it is found soon.
TARGET_STEPS = (5.0, 15.0, MINUTE, 5 * MINUTE, 15 * MINUTE)
JITTER = 0.2
SHORTEST_RETRY_AFTER, LONGEST_RETRY_AFTER = 1.0, HOUR


def object_wait(failures: int, *, chance: float) -> float:
    """Seconds until an object is sent again after ``failures`` (1 or more); ``chance`` in [0, 1) draws the jitter."""
    return _step(OBJECT_STEPS, failures, chance)


def target_wait(failures: int, *, chance: float, retry_after: float | None = None) -> float:
    """Seconds until a target is asked again after ``failures`` (1 or more) in a row.

    ``retry_after`` is what it asked for, honoured from one second up to an hour.
    """
    if retry_after is not None:
        return min(max(retry_after, SHORTEST_RETRY_AFTER), LONGEST_RETRY_AFTER)
    return _step(TARGET_STEPS, failures, chance)


def _step(steps: Sequence[float], failures: int, chance: float) -> float:
    return steps[min(failures, len(steps)) - 1] * (1 + JITTER * (2 * chance - 1))
