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

    ``share`` multiplies the settings: what costs less to check may be tried more often. ``clients``: whether tries at
    one client from many addresses count together, which helps where its secret could be guessed. An attempt is counted
    before it is known how it ends, so that many at once are held up as well, and taken back when it was right. From an
    address where a client was right once it is not held up by others' guesses.
    """

    def __init__(self, settings: Settings, now: Callable[[], float], *, share: float = 1, clients: bool = True) -> None:
        rate, burst = settings.wrong_credentials_per_second * share, settings.wrong_credentials_burst * share
        self._trusted = settings.trusted_proxies
        self._by_address = Buckets(rate, burst, now)
        self._by_client = Buckets(rate * _CLIENT_SHARE, burst * _CLIENT_SHARE, now) if clients else None
        self._known: ByteCache[tuple[str, Hashable], bool] = ByteCache(_MOST_KNOWN)

    def begin(self, request: web.Request, client: Hashable = None) -> Attempt:
        """Counts an attempt of this ``client``, where one is named. Raises HeldUpError."""
        attempt = Attempt(self, caller_address(request, self._trusted), client)
        if self._known.get((attempt.address, client)):
            return attempt
        wait = self._by_address.take(attempt.address)
        if client is not None and self._by_client is not None:
            wait = max(wait, self._by_client.take(client))
        if wait:
            raise HeldUpError(wait)
        attempt.counted = True
        return attempt

    def give_back(self, attempt: Attempt) -> None:
        """Takes an attempt out of the count."""
        if attempt.counted:
            attempt.counted = False
            self._by_address.give(attempt.address)
            if attempt.client is not None and self._by_client is not None:
                self._by_client.give(attempt.client)

    def know(self, attempt: Attempt) -> None:
        """Remembers that a client was right from here."""
        if attempt.client is not None:
            self._known.put((attempt.address, attempt.client), value=True, size=1)


class Attempt:
    """One attempt that was counted; nothing more is to be done about a wrong one."""

    __slots__ = ("_attempts", "address", "client", "counted")

    def __init__(self, attempts: Attempts, address: str, client: Hashable) -> None:
        self._attempts = attempts
        self.address = address
        self.client = client
        self.counted = False

    def right(self) -> None:
        """It showed a credential that counts."""
        self._attempts.give_back(self)
        self._attempts.know(self)


#: Those at tokens and signatures, of all APIs together.
ATTEMPTS = web.AppKey("attempts", Attempts)
