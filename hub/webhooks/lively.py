"""Which receivers are known to work, and how soon they answer: those that took something a moment ago, of whomever."""

from __future__ import annotations

import time
from collections import OrderedDict
from dataclasses import dataclass

from hub.webhooks.request import Origin, Patience, target

#: Origins that are remembered, those that took something last.
MOST = 4_096
#: A receiver may be asked again at once for one in so many that it takes, and for so many in a row at the most.
FOR_ONE_AT_ONCE, MOST_AT_ONCE = 5, 10
#: How soon a receiver answers is known after so many answers.
KNOWN_AFTER = 20
#: A request is given up before this share of the time-out has passed in no case, and after that one in none.
LEAST_PATIENCE, MOST_PATIENCE = 0.1, 0.5


@dataclass(slots=True)
class _Known:
    """Of an origin: when it last took something, what it has earned, and the milliseconds that its answers take.

    ``usual`` and ``spread`` are the smoothed time and its variation, as TCP has them (RFC 6298 section 2).
    """

    at: float = -float("inf")
    earned: int = 0
    answers: int = 0
    usual: float = 0.0
    spread: float = 0.0

    def answered(self, milliseconds: int) -> None:
        self.answers += 1
        if self.answers == 1:
            self.usual, self.spread = milliseconds, milliseconds / 2
            return
        self.spread += (abs(milliseconds - self.usual) - self.spread) / 4
        self.usual += (milliseconds - self.usual) / 8


class Lively:
    """When receivers last took a message of this process, by the host and port that they are at.

    Of a subscription that has been told nothing yet its own row says nothing: one that errs now and then would wait for
    minutes, as one that is down, where it errs twice right at the beginning.

    It is the budget of retries at once too. Whoever fails often, as one that has too much to do, takes too little to
    earn them: it gets a fifth more requests by them at the most, and has the longer waits for the rest.
    """

    def __init__(self) -> None:
        self._known: OrderedDict[Origin, _Known] = OrderedDict()

    def took(self, url: str, milliseconds: int) -> None:
        """It took something right now, so many milliseconds after it was sent."""
        known = self._of(target("POST", url).origin)
        known.at = time.monotonic()
        known.earned = min(known.earned + 1, FOR_ONE_AT_ONCE * MOST_AT_ONCE)
        known.answered(milliseconds)

    def took_before(self, url: str, seconds: float) -> None:
        """It took something of whichever process so many seconds ago."""
        try:
            known = self._of(target("POST", url).origin)
        except ValueError:
            return
        known.at = max(known.at, time.monotonic() - seconds)

    def since(self, url: str) -> float | None:
        """Seconds since it last took something; None where it is not known to have."""
        known = self._found(url)
        return None if known is None else time.monotonic() - known.at

    def may_at_once(self, url: str) -> bool:
        """Whether it may be asked again at once; that is then used up."""
        known = self._found(url)
        if known is None or known.earned < FOR_ONE_AT_ONCE:
            return False
        known.earned -= FOR_ONE_AT_ONCE
        return True

    def patience(self, url: str, timeout: float) -> Patience | None:
        """How long an answer is waited for where that is less than ``timeout``, in seconds.

        Then the request is given up if its receiver may be asked again at once, which is used up by that.
        """
        known = self._found(url)
        if known is None or known.answers < KNOWN_AFTER:
            return None
        seconds = max((known.usual + 4 * known.spread) / 1000, LEAST_PATIENCE * timeout)
        return Patience(seconds, lambda: self.may_at_once(url)) if seconds <= MOST_PATIENCE * timeout else None

    def _found(self, url: str) -> _Known | None:
        try:
            return self._known.get(target("POST", url).origin)
        except ValueError:  # where nothing could be sent to
            return None

    def _of(self, origin: Origin) -> _Known:
        known = self._known.setdefault(origin, _Known())
        self._known.move_to_end(origin)
        if len(self._known) > MOST:
            self._known.popitem(last=False)
        return known
