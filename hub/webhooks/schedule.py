"""When a subscription whose receiver failed is tried again, and when it is given up. Pure: seconds in, seconds out."""

from __future__ import annotations

MINUTE = 60.0
HOUR = 60 * MINUTE
DAY = 24 * HOUR

#: The waits after the first, second, … failure: Standard Webhooks' example schedule, about 75 hours in all.
STEPS = (5.0, 5 * MINUTE, 30 * MINUTE, 2 * HOUR, 5 * HOUR, 10 * HOUR, 14 * HOUR, 20 * HOUR, 24 * HOUR)
#: The waits before those, for a receiver that has answered with 2xx within the last minute, the subscription or another
#: one at the same host and port: it errs now and then.
QUICK = (0.5, 2.0)
#: And before all of these, under the same lease: about so soon, where it may (hub.webhooks.lively). A second time only
#: after an answer: whoever gives none twice may be given too much.
AT_ONCE = (0.05, 0.2)
LIVELY_SECONDS = 60.0
#: After the last step, one probe an hour: one request costs the receiver nothing, and a mended one is found soon.
PROBE = HOUR
JITTER = 0.2
LONGEST_RETRY_AFTER = HOUR
#: A receiver that always says "at once" is not asked more often than this.
SHORTEST_RETRY_AFTER = 5.0
SHORTEST_PROBE = 5 * MINUTE
#: After a fault of the egress proxy, which all receivers share and which is mended at one place.
PROXY_WAIT = 5.0
PAUSE_AFTER = 5 * DAY
APART = 12 * HOUR


def lively(since_taken: float | None) -> bool:
    """Whether a receiver is known to work; ``since_taken``: seconds since its last 2xx, None for none."""
    return since_taken is not None and since_taken < LIVELY_SECONDS


def quick(used: int, since_taken: float | None) -> float | None:
    """Seconds until the next attempt at a receiver that errs now and then; None for one that is not known to work.

    ``used``: such waits since the receiver's last 2xx; ``since_taken``: seconds since that.
    """
    return QUICK[used] if lively(since_taken) and used < len(QUICK) else None


def at_once(before: int, chance: float) -> float:
    """Seconds until a receiver that takes most of what it is sent is asked once more; ``chance`` as for ``wait``.

    ``before``: how often it was so before, for the same batch.
    """
    return AT_ONCE[before] * (0.5 + chance)


def wait(failures: int, *, chance: float, retry_after: float | None = None) -> float:
    """Seconds until the next attempt after ``failures`` (1 or more) failures in a row.

    ``chance`` in [0, 1) draws the jitter of ±20 %. ``retry_after`` is what the receiver asked for, honoured from 5
    seconds (5 minutes once the schedule is through) up to an hour.
    """
    if retry_after is not None:
        least = SHORTEST_RETRY_AFTER if failures <= len(STEPS) else SHORTEST_PROBE
        return min(max(retry_after, least), LONGEST_RETRY_AFTER)
    step = STEPS[failures - 1] if failures <= len(STEPS) else PROBE
    return step * (1 + JITTER * (2 * chance - 1))


def proxy_wait(chance: float) -> float:
    """Seconds until the next attempt after a fault of the egress proxy; ``chance`` as for ``wait``."""
    return PROXY_WAIT * (1 + JITTER * (2 * chance - 1))


def worn_out(failing: float, apart: float) -> bool:
    """Whether a subscription is to be paused at this failure.

    ``failing``: seconds since the first failure in a row. ``apart``: seconds between the first failure and the one
    before this one. Both must be long: a hub that was switched off for a week has seen only one failure.
    """
    return failing >= PAUSE_AFTER and apart >= APART
