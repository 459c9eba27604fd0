"""Which receivers are known to work: those that took something a moment ago, whichever subscription it was of."""

from __future__ import annotations

import time
from collections import OrderedDict

from hub.webhooks.request import Origin, target

#: Origins that are remembered, those that took something last.
MOST = 4_096


class Lively:
    """When receivers last took a message of this process, by the host and port that they are at.

    Of a subscription that has been told nothing yet its own row says nothing: one that errs now and then would wait for
    minutes, as one that is down, where it errs twice right at the beginning.
    """

    def __init__(self) -> None:
        self._took: OrderedDict[Origin, float] = OrderedDict()

    def took(self, url: str) -> None:
        """It took something right now."""
        origin = target("POST", url).origin
        self._took[origin] = time.monotonic()
        self._took.move_to_end(origin)
        if len(self._took) > MOST:
            self._took.popitem(last=False)

    def since(self, url: str) -> float | None:
        """Seconds since it last took something; None where it is not known to have."""
        try:
            took = self._took.get(target("POST", url).origin)
        except ValueError:  # where nothing could be sent to
            return None
        return None if took is None else time.monotonic() - took
