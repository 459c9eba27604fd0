"""Which receivers are known to work: those that took something a moment ago, whichever subscription it was of."""

from __future__ import annotations

import time
from collections import OrderedDict

from hub.webhooks.request import Origin, target

#: Origins that are remembered, those that took something last.
MOST = 4_096
#: A receiver may be asked again at once for one in so many that it takes, and for so many in a row at the most.
FOR_ONE_AT_ONCE, MOST_AT_ONCE = 5, 10


class Lively:
    """When receivers last took a message of this process, by the host and port that they are at.

    Of a subscription that has been told nothing yet its own row says nothing: one that errs now and then would wait for
    minutes, as one that is down, where it errs twice right at the beginning.

    It is the budget of retries at once too. Whoever fails often, as one that has too much to do, takes too little to
    earn them: it gets a fifth more requests by them at the most, and has the longer waits for the rest.
    """

    def __init__(self) -> None:
        self._took: OrderedDict[Origin, tuple[float, int]] = OrderedDict()

    def took(self, url: str) -> None:
        """It took something right now."""
        origin = target("POST", url).origin
        _, earned = self._took.get(origin, (0.0, 0))
        self._note(origin, time.monotonic(), min(earned + 1, FOR_ONE_AT_ONCE * MOST_AT_ONCE))

    def took_before(self, url: str, seconds: float) -> None:
        """It took something of whichever process so many seconds ago."""
        try:
            origin = target("POST", url).origin
        except ValueError:
            return
        at, earned = self._took.get(origin, (-float("inf"), 0))
        self._note(origin, max(at, time.monotonic() - seconds), earned)

    def since(self, url: str) -> float | None:
        """Seconds since it last took something; None where it is not known to have."""
        try:
            took = self._took.get(target("POST", url).origin)
        except ValueError:  # where nothing could be sent to
            return None
        return None if took is None else time.monotonic() - took[0]

    def may_at_once(self, url: str) -> bool:
        """Whether it may be asked again at once; that is then used up."""
        try:
            origin = target("POST", url).origin
        except ValueError:
            return False
        at, earned = self._took.get(origin, (0.0, 0))
        if earned < FOR_ONE_AT_ONCE:
            return False
        self._took[origin] = at, earned - FOR_ONE_AT_ONCE
        return True

    def _note(self, origin: Origin, at: float, earned: int) -> None:
        self._took[origin] = at, earned
        self._took.move_to_end(origin)
        if len(self._took) > MOST:
            self._took.popitem(last=False)
