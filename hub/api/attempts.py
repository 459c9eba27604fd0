"""Holds up who guesses: secrets, assertions, signatures and tokens, by the caller's address and by the claimed client.

Kept in the process, so each process counts for itself.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable

from aiohttp import web

from hub.api.buckets import Buckets
from hub.api.caches import ByteCache
from hub.api.callers import caller_address
from hub.settings import Settings

_MOST_KNOWN = 10_000
#: One client may be tried from many addresses.
_CLIENT_SHARE = 2


class HeldUpError(Exception):
    """Too many wrong credentials came from there; an answer says so in the form of its protocol, with status 429."""

    text = "Too many wrong credentials. Wait as long as Retry-After says."

    def __init__(self, seconds: int) -> None:
        super().__init__(self.text)
        self.seconds = seconds


class Attempts:
    """Attempts to show a credential, at most so many wrong ones at once and then so many a second.

    ``share`` multiplies the settings: what costs less to check may be tried more often. ``slow``: for what costs much
    to check and could be guessed. There tries at one client from many addresses count together too, and an attempt is
    counted before it is known how it ends, and taken back when it was right, so that many at once are held up as well.
    Elsewhere only what was wrong is counted: hundreds of right ones may come at once, and wrong ones that came together
    are owed. From an address where a client was right once it is not held up by others' guesses.
    """

    def __init__(self, settings: Settings, now: Callable[[], float], *, share: float = 1, slow: bool = True) -> None:
        rate, burst = settings.wrong_credentials_per_second * share, settings.wrong_credentials_burst * share
        self._trusted = settings.trusted_proxies
        self._by_address = Buckets(rate, burst, now)
        self._by_client = Buckets(rate * _CLIENT_SHARE, burst * _CLIENT_SHARE, now)
        self._slow = slow
        self._known: ByteCache[tuple[str, Hashable], bool] = ByteCache(_MOST_KNOWN)

    def begin(self, request: web.Request, client: Hashable = None) -> Attempt:
        """An attempt of this ``client``, where one is named: tell it how it ended. Raises HeldUpError."""
        attempt = Attempt(self, caller_address(request, self._trusted), client)
        if self._known.get((attempt.address, client)):
            return attempt
        wait = self._by_address.take(attempt.address) if self._slow else self._by_address.wait(attempt.address)
        if client is not None and self._slow:
            wait = max(wait, self._by_client.take(client))
        if wait:
            raise HeldUpError(wait)
        attempt.counts = True
        return attempt

    def end(self, attempt: Attempt, *, right: bool) -> None:
        """Counts an attempt that ended, or takes it out of the count and remembers that the client was right here."""
        if attempt.counts:
            attempt.counts = False
            if right and self._slow:
                self._by_address.give(attempt.address)
                if attempt.client is not None:
                    self._by_client.give(attempt.client)
            elif not right and not self._slow:
                self._by_address.owe(attempt.address)
        if right and attempt.client is not None:
            self._known.put((attempt.address, attempt.client), value=True, size=1)


class Attempt:
    """One attempt. ``counts``: it is counted, or will be if it was wrong."""

    __slots__ = ("_attempts", "address", "client", "counts")

    def __init__(self, attempts: Attempts, address: str, client: Hashable) -> None:
        self._attempts = attempts
        self.address = address
        self.client = client
        self.counts = False

    def right(self) -> None:
        """It showed a credential that is one, be it over by now."""
        self._attempts.end(self, right=True)

    def wrong(self) -> None:
        """It showed none; where that costs much to find out, it is counted already."""
        self._attempts.end(self, right=False)


#: Those at tokens and signatures, of all APIs together.
ATTEMPTS = web.AppKey("attempts", Attempts)
