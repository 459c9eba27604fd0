"""The one place that opens HTTP connections to others' servers, and the guard at the moment of dialling.

Webhooks and grade pass-back go through it.

The guard sits in the connector's ``socket_factory``: it sees the very address that is about to be dialled, for names,
literals and every later answer of a resolver alike, so a name that is public when looked up and private when dialled
(rebinding) gets nowhere. Redirects are never followed, no proxy is taken from the environment, no cookie is kept,
nothing is unpacked, and no more of an answer than 16 kB is read.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from enum import StrEnum
from http import HTTPStatus
from types import TracebackType
from typing import Any, Self

import aiohttp
from aiohttp.abc import AbstractResolver
from yarl import URL

from hub import __version__
from hub.addresses import Network, reachable
from hub.webhooks import address

MOST_ANSWER_BYTES = 16_384
_DRAIN_SECONDS = 2.0
_LONGEST_CONNECT_SECONDS = 10.0
_LOOK_UP_SECONDS = 5.0
_RETRY_AFTER = frozenset({HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.SERVICE_UNAVAILABLE})
_BLOCKED = "the hub may not go to this address"


class Failure(StrEnum):
    """Why an attempt failed. Stable: they stand in the attempt log."""

    DNS = "dns"
    CONNECT = "connect"
    TLS = "tls"
    TIMEOUT_CONNECT = "timeout_connect"
    TIMEOUT_READ = "timeout_read"
    STATUS = "status"
    BLOCKED_ADDRESS = "blocked_address"
    PROTOCOL = "protocol"


@dataclass(frozen=True, slots=True)
class Answer:
    """What came of one request. ``failure`` is None for a 2xx; ``retry_after`` is in seconds from now.

    ``body``: the first 16 kB of it, for who reads it; it may hold anything, so it is never shown or logged as it is.
    """

    status: int | None
    failure: Failure | None
    milliseconds: int
    retry_after: float | None = None
    body: bytes = field(default=b"", repr=False)


class BlockedAddressError(OSError):
    """A dial to an address that is not allowed. One text for all: that keeps aiohttp from merging it with others."""

    def __init__(self) -> None:
        super().__init__(_BLOCKED)


class Egress:
    """Sends requests. Open it with ``async with``; one per process.

    ``allow``: networks that may be reached although they are private, also without TLS. ``timeout``: seconds for a
    whole exchange. ``resolver``, ``trust`` and ``open_socket`` replace those of the system.
    """

    def __init__(
        self, *, allow: Sequence[Network] = (), timeout: float = 15, concurrency: int = 64,
        resolver: AbstractResolver | None = None, trust: ssl.SSLContext | None = None,
        open_socket: Callable[[int, int, int], socket.socket] = socket.socket,
    ) -> None:  # fmt: skip
        self._allow = tuple(allow)
        self.timeout = timeout
        self._concurrency = concurrency
        self._resolver = resolver
        self._trust = trust
        self._open_socket = open_socket
        self._sessions: dict[str, aiohttp.ClientSession] = {}

    async def __aenter__(self) -> Self:
        self._sessions = {scheme: self._session(scheme) for scheme in ("https", "http")}
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for session in self._sessions.values():
            await session.close()
        self._sessions = {}

    def _session(self, scheme: str) -> aiohttp.ClientSession:
        def dial(info: Any) -> socket.socket:
            family, kind, protocol, _, place = info
            known = family in {socket.AF_INET, socket.AF_INET6}
            if not known or not reachable(str(place[0]), self._allow, encrypted=scheme == "https"):
                raise BlockedAddressError
            return self._open_socket(family, kind, protocol)

        connector = aiohttp.TCPConnector(
            socket_factory=dial,
            resolver=self._resolver,
            ssl=self._trust or True,
            limit=self._concurrency,
            # Shorter than the idle time after which usual servers hang up: a POST is not sent twice by the client.
            keepalive_timeout=3,
        )
        return aiohttp.ClientSession(
            connector=connector,
            cookie_jar=aiohttp.DummyCookieJar(),
            trust_env=False,
            auto_decompress=False,
            read_bufsize=MOST_ANSWER_BYTES,
            timeout=aiohttp.ClientTimeout(total=None, connect=min(_LONGEST_CONNECT_SECONDS, self.timeout * 2 / 3)),
            headers={"user-agent": f"RosterHub/{__version__}", "accept-encoding": "identity"},
        )

    async def post(self, url: str, body: bytes, headers: Mapping[str, str]) -> Answer:
        """One attempt to post JSON, as ``send``."""
        return await self.send("POST", url, body, {"content-type": "application/json", **headers})

    async def send(self, method: str, url: str, body: bytes | None, headers: Mapping[str, str]) -> Answer:
        """One request. The status line is the answer; never raises for what a receiver or the network does."""
        started = time.monotonic()
        status: int | None = None
        retry_after: float | None = None
        failure: Failure | None = None
        told = bytearray()
        try:
            async with asyncio.timeout(self.timeout):
                parsed = URL(url)
                async with self._sessions[parsed.scheme].request(
                    method, parsed, data=body, headers=headers, allow_redirects=False
                ) as response:
                    status = response.status
                    retry_after = _retry_after(response)
                    await _drain(response, told)
        except (aiohttp.ClientError, OSError, ValueError, KeyError) as error:
            # After a status line whatever else goes wrong is of no interest: the receiver has answered.
            failure = None if status is not None else classify(error)
        if status is not None and not HTTPStatus.OK <= status < HTTPStatus.MULTIPLE_CHOICES:
            failure = Failure.STATUS
        return Answer(status, failure, int((time.monotonic() - started) * 1000), retry_after, bytes(told))


async def check_host(url: URL, allow: Sequence[Network], setting: str = address.SETTING) -> None:
    """Looks a receiver's host up; ``setting``: the one that holds ``allow``.

    Raises HubError(INVALID_REQUEST) when the host is unknown or at no allowed address.
    """
    loop = asyncio.get_running_loop()
    try:
        async with asyncio.timeout(_LOOK_UP_SECONDS):
            found = await loop.getaddrinfo(url.raw_host, url.port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        raise address.unknown() from None
    encrypted = url.scheme == "https"
    if not any(reachable(str(place[0]), allow, encrypted=encrypted) for *_, place in found):
        raise address.refused(encrypted=encrypted, setting=setting)


async def _drain(response: aiohttp.ClientResponse, told: bytearray) -> None:
    """Reads a short answer to its end, so that the connection can serve again; a longer one is cut off."""
    with contextlib.suppress(aiohttp.ClientError, OSError):
        async with asyncio.timeout(_DRAIN_SECONDS):
            left = MOST_ANSWER_BYTES
            while left > 0 and (piece := await response.content.read(left)):
                told += piece
                left -= len(piece)
            if left > 0:
                return
    response.close()


def classify(error: BaseException) -> Failure:
    """The class of an error that a request without an answer ended with."""
    table: tuple[tuple[type[BaseException] | tuple[type[BaseException], ...], Failure], ...] = (
        (aiohttp.ConnectionTimeoutError, Failure.TIMEOUT_CONNECT),
        (TimeoutError, Failure.TIMEOUT_READ),
        (aiohttp.ClientConnectorDNSError, Failure.DNS),
        ((aiohttp.ClientSSLError, ssl.SSLError), Failure.TLS),
        (aiohttp.ClientConnectorError, Failure.CONNECT),
    )
    if isinstance(getattr(error, "os_error", None), BlockedAddressError):
        return Failure.BLOCKED_ADDRESS
    return next((failure for kind, failure in table if isinstance(error, kind)), Failure.PROTOCOL)


def _retry_after(response: aiohttp.ClientResponse) -> float | None:
    """Seconds that an overloaded receiver asks us to wait; None where it does not, or not in a form we can read."""
    value = response.headers.get("retry-after", "").strip()
    if response.status not in _RETRY_AFTER or not value:
        return None
    if value.isascii() and value.isdigit():
        return float(value[:9])
    try:
        when = parsedate_to_datetime(value)
    except (ValueError, OverflowError):
        return None
    if when.tzinfo is None:
        when = when.replace(tzinfo=UTC)
    return max(0.0, (when - datetime.now(UTC)).total_seconds())
