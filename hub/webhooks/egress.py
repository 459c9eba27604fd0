"""The one place that opens HTTP connections to others' servers, and the guard at the moment of dialling.

Webhooks and grade pass-back go through it.

The guard sits in the connector's ``socket_factory``: it sees the very address that is about to be dialled, for names,
literals and every later answer of a resolver alike, so a name that is public when looked up and private when dialled
(rebinding) gets nowhere. With an egress proxy it lets nothing through but the proxy, which must filter. Redirects are
never followed, no proxy is taken from the environment, no cookie is kept, nothing is unpacked, and no more of an answer
than 16 kB is read.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
import time
from collections.abc import Callable, Mapping, Sequence
from contextvars import ContextVar
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from types import TracebackType
from typing import Any, Self

import aiohttp
from aiohttp.abc import AbstractResolver
from yarl import URL

from hub import __version__
from hub.addresses import Network, reachable
from hub.errors import HubError
from hub.settings import Settings
from hub.webhooks import address
from hub.webhooks.certificates import ClientCertificate
from hub.webhooks.failure import BlockedAddressError, Failure, classify, classify_tunnel
from hub.webhooks.pools import Key, Pools
from hub.webhooks.proxy import Proxy, ProxyResolver

MOST_ANSWER_BYTES = 16_384
_DRAIN_SECONDS = 2.0
_LONGEST_CONNECT_SECONDS = 10.0
_LOOK_UP_SECONDS = 5.0
_RETRY_AFTER = frozenset({HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.SERVICE_UNAVAILABLE})


@dataclass(frozen=True, slots=True)
class Answer:
    """What came of one request. ``failure`` is None for a 2xx; ``retry_after`` is in seconds from now.

    ``body``: the first 16 kB of it, for who reads it; it may hold anything, so it is never shown or logged as it is.
    ``remote_ip``: the address that was dialled last; None where none was that may be, and through a proxy.
    """

    status: int | None
    failure: Failure | None
    milliseconds: int
    retry_after: float | None = None
    body: bytes = field(default=b"", repr=False)
    remote_ip: str | None = None


#: Where the request of this task was dialled to: the addresses one after the other.
_dialled: ContextVar[list[str] | None] = ContextVar("dialled", default=None)


def _note(address: object) -> None:
    noted = _dialled.get()
    if noted is not None:
        noted.append(str(address).partition("%")[0])


class _Response(aiohttp.ClientResponse):
    """Notes who is at the other end also where no dial was needed, since a connection was kept."""

    async def start(self, connection: Any) -> aiohttp.ClientResponse:
        transport = connection.transport
        peer = transport.get_extra_info("peername") if transport is not None else None
        if peer:
            _note(peer[0])
        return await super().start(connection)


@dataclass(slots=True)
class _Progress:
    """How far a request came: what traces tell of it."""

    connected: bool = False


class Egress:
    """Sends requests. Open it with ``async with``; one per process.

    ``allow``: networks that may be reached although they are private, also without TLS. ``timeout``: seconds for a
    whole exchange. ``proxy``: where all of https goes through; plain http goes to allowed networks alone, and
    straight. ``resolver``, ``trust`` (makes a TLS context, may block) and ``open_socket`` replace those of the system.
    """

    def __init__(
        self, *, allow: Sequence[Network] = (), timeout: float = 15, concurrency: int = 64,
        proxy: Proxy | None = None, resolver: AbstractResolver | None = None,
        trust: Callable[[], ssl.SSLContext] | None = None,
        open_socket: Callable[[int, int, int], socket.socket] = socket.socket,
    ) -> None:  # fmt: skip
        self._allow = tuple(allow)
        self.timeout = timeout
        self._connect = min(_LONGEST_CONNECT_SECONDS, timeout * 2 / 3)
        self._concurrency = concurrency
        self._proxy = proxy
        self._resolver = resolver
        self._trust = trust
        self._open_socket = open_socket
        self._pools = Pools(self._session)

    @classmethod
    def of(cls, settings: Settings) -> Self:
        """The way out that the settings give to webhooks, for receivers of changes and of notices."""
        proxy = settings.webhook_proxy
        return cls(
            allow=settings.webhook_allow,
            timeout=settings.webhook_timeout_seconds,
            concurrency=settings.webhook_concurrency,
            proxy=Proxy.parse(proxy.get_secret_value()) if proxy else None,
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._pools.close()

    async def _session(self, key: Key) -> aiohttp.ClientSession:
        names = self._resolver
        guide = None
        if self._proxy is not None and key.scheme == "https":
            names = guide = ProxyResolver(self._proxy, names, self._connect / 4)

        def dial(info: Any) -> socket.socket:
            family, kind, protocol, _, place = info
            known = family in {socket.AF_INET, socket.AF_INET6}
            encrypted = key.scheme == "https"
            fine = guide.is_proxy(place) if guide else reachable(str(place[0]), self._allow, encrypted=encrypted)
            if not known or not fine:
                raise BlockedAddressError
            _note(place[0])
            return self._open_socket(family, kind, protocol)

        connector = aiohttp.TCPConnector(
            socket_factory=dial,
            resolver=names,
            ssl=await self._context(key),
            limit=self._concurrency,
            # Shorter than the idle time after which usual servers hang up: a POST is not sent twice by the client.
            keepalive_timeout=3,
        )
        # Looking the proxy up and dialling it have a quarter of the time each: so what took too long can be told apart.
        dialling = self._connect / 4 if guide else None
        return aiohttp.ClientSession(
            connector=connector,
            cookie_jar=aiohttp.DummyCookieJar(),
            trust_env=False,
            auto_decompress=False,
            response_class=_Response,
            read_bufsize=MOST_ANSWER_BYTES,
            timeout=aiohttp.ClientTimeout(total=None, connect=self._connect, sock_connect=dialling),
            headers={"user-agent": f"RosterHub/{__version__}", "accept-encoding": "identity"},
            trace_configs=[_traces()] if guide else None,
        )

    async def _context(self, key: Key) -> ssl.SSLContext | bool:
        """TLS of a pool. True: by aiohttp's own context, which trusts whom the system does."""
        if key.scheme == "http" or (self._trust is None and key.certificate is None):
            return True
        return await asyncio.to_thread(_made_context, self._trust or ssl.create_default_context, key.certificate)

    async def post(
        self, url: str, body: bytes, headers: Mapping[str, str], *, certificate: ClientCertificate | None = None
    ) -> Answer:
        """One attempt to post JSON, as ``send``."""
        headers = {"content-type": "application/json", **headers}
        return await self.send("POST", url, body, headers, certificate=certificate)

    async def send(
        self, method: str, url: str, body: bytes | None, headers: Mapping[str, str], *,
        certificate: ClientCertificate | None = None,
    ) -> Answer:  # fmt: skip
        """One request. The status line is the answer; never raises for what a receiver or the network does.

        ``certificate``: what the receiver is shown, on connections that nobody else uses.
        """
        started = time.monotonic()
        status: int | None = None
        retry_after: float | None = None
        failure: Failure | None = None
        told = bytearray()
        progress = _Progress()
        dialled: list[str] = []
        _dialled.set(dialled)
        try:
            async with asyncio.timeout(self.timeout):
                parsed = URL(url)
                way = self._way(url, parsed)
                async with (
                    self._pools.session(Key(parsed.scheme, certificate)) as session,
                    session.request(
                        method, parsed, data=body, headers=headers, allow_redirects=False,
                        trace_request_ctx=progress, **way,
                    ) as response,
                ):  # fmt: skip
                    status = response.status
                    retry_after = _retry_after(response)
                    await _drain(response, told)
        except (aiohttp.ClientError, OSError, ValueError, KeyError) as error:
            # After a status line whatever else goes wrong is of no interest: the receiver has answered.
            failure = None if status is not None else self._class(error, url, progress, time.monotonic() - started)
        if status is not None and not HTTPStatus.OK <= status < HTTPStatus.MULTIPLE_CHOICES:
            failure = Failure.STATUS
        # Behind a proxy nobody here knows it, and the proxy's own address is none of the receiver's.
        direct = self._proxy is None or not url.lower().startswith("https:")
        remote_ip = dialled[-1] if direct and dialled and failure is not Failure.BLOCKED_ADDRESS else None
        return Answer(status, failure, int((time.monotonic() - started) * 1000), retry_after, bytes(told), remote_ip)

    def _way(self, url: str, parsed: URL) -> dict[str, Any]:
        """What a request needs to go through the proxy. Raises BlockedAddressError, KeyError for another scheme."""
        if parsed.scheme not in {"https", "http"}:
            raise KeyError(parsed.scheme)
        if self._proxy is None or parsed.scheme == "http":
            return {}
        try:
            address.parse(url, self._allow)  # the dial does not see a literal address any more
        except HubError:
            raise BlockedAddressError from None
        return {"proxy": self._proxy.url, "proxy_headers": self._proxy.headers}

    def _class(self, error: BaseException, url: str, progress: _Progress, seconds: float) -> Failure:
        known = isinstance(error, BlockedAddressError | ValueError | KeyError)  # nothing was dialled
        if self._proxy is None or progress.connected or known or not url.lower().startswith("https:"):
            return classify(error)
        return classify_tunnel(error, reached=seconds >= self._connect * 3 / 4)


def _made_context(trust: Callable[[], ssl.SSLContext], certificate: ClientCertificate | None) -> ssl.SSLContext:
    context = trust()
    context.set_alpn_protocols(("http/1.1",))
    if certificate is not None:
        certificate.load_into(context)
    return context


def _traces() -> aiohttp.TraceConfig:
    """Notes when the connection to the receiver stands, through a proxy too."""

    async def connected(_session: aiohttp.ClientSession, context: Any, _params: object) -> None:
        context.trace_request_ctx.connected = True

    traces = aiohttp.TraceConfig()
    traces.on_connection_create_end.append(connected)
    traces.on_connection_reuseconn.append(connected)
    return traces


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
    if response.content.at_eof() and response.content.exception() is None:
        return  # mostly there is nothing to read
    with contextlib.suppress(aiohttp.ClientError, OSError):
        async with asyncio.timeout(_DRAIN_SECONDS):
            left = MOST_ANSWER_BYTES
            while left > 0 and (piece := await response.content.read(left)):
                told += piece
                left -= len(piece)
            if left > 0:
                return
    response.close()


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
