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
import socket
import ssl
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
from httptools import HttpParserError
from yarl import URL

from hub.addresses import Network, reachable
from hub.errors import HubError
from hub.settings import Settings
from hub.webhooks import address
from hub.webhooks.certificates import ClientCertificate
from hub.webhooks.failure import BlockedAddressError, Failure, classify, classify_tunnel
from hub.webhooks.line import Line, ProtocolError
from hub.webhooks.pools import Key, Pool, Pools
from hub.webhooks.proxy import Proxy, ProxyResolver
from hub.webhooks.request import Patience, Target, target, written

_LONGEST_CONNECT_SECONDS = 10.0
_LOOK_UP_SECONDS = 5.0
#: A second request is as good as one (RFC 9110 section 9.2.2): where a kept connection was gone it is made.
_AGAIN = frozenset({"PUT", "DELETE"})
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


@dataclass(slots=True)
class _Attempt:
    """How far a request came. ``until`` and ``by``: when it has to be over and connected, by the loop's clock.

    ``kept``: whether its connection had served before.
    """

    started: float
    until: float
    patience: Patience | None
    by: float = 0
    dialled: list[str] = field(default_factory=list)
    connected: bool = False
    kept: bool = False


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
        self._pools = Pools(self._pool)

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

    async def _pool(self, key: Key) -> Pool:
        names = self._resolver
        guide = None
        if self._proxy is not None and self._proxied(key.scheme):
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

        # How many there may be, and which are kept, is the pool's to say.
        context = await self._context(key)
        connector = aiohttp.TCPConnector(socket_factory=dial, resolver=names, ssl=context, limit=0)
        return Pool(connector, self._concurrency)

    async def _context(self, key: Key) -> ssl.SSLContext | bool:
        """TLS of a pool. True: by aiohttp's own context, which trusts whom the system does."""
        if key.scheme == "http" or (self._trust is None and key.certificate is None):
            return True
        return await asyncio.to_thread(_made_context, self._trust or ssl.create_default_context, key.certificate)

    async def post(
        self, url: str, body: bytes, headers: Mapping[str, str], *, certificate: ClientCertificate | None = None,
        patience: Patience | None = None,
    ) -> Answer:  # fmt: skip
        """One attempt to post JSON, as ``send``."""
        headers = {"content-type": "application/json", **headers}
        return await self.send("POST", url, body, headers, certificate=certificate, patience=patience)

    async def send(
        self, method: str, url: str, body: bytes | None, headers: Mapping[str, str], *,
        certificate: ClientCertificate | None = None, patience: Patience | None = None,
    ) -> Answer:  # fmt: skip
        """One request. The status line is the answer; never raises for what a receiver or the network does.

        ``certificate``: what the receiver is shown, on connections that nobody else uses.
        """
        started = asyncio.get_running_loop().time()
        attempt = _Attempt(started, started + self.timeout, patience)
        failure: Failure | None = None
        line: Line | None = None
        try:
            to = target(method, url)
            if self._proxied(to.url.scheme):
                self._check(url)
            line = await self._exchange(attempt, to, body or b"", headers, certificate)
        except (aiohttp.ClientError, HttpParserError, ProtocolError, OSError, ValueError) as error:
            failure = self._class(error, url, attempt)
        milliseconds = int((asyncio.get_running_loop().time() - started) * 1000)
        # Behind a proxy nobody here knows who it was, and the proxy's own address is none of the receiver's.
        direct = self._proxy is None or not url.lower().startswith("https:")
        if line is None or line.status is None:
            known = direct and attempt.dialled and failure is not Failure.BLOCKED_ADDRESS
            return Answer(None, failure, milliseconds, remote_ip=attempt.dialled[-1] if known else None)
        if not HTTPStatus.OK <= line.status < HTTPStatus.MULTIPLE_CHOICES:
            failure = Failure.STATUS
        return Answer(line.status, failure, milliseconds, _retry_after(line), line.told, line.peer if direct else None)

    async def _exchange(
        self, attempt: _Attempt, to: Target, body: bytes, headers: Mapping[str, str],
        certificate: ClientCertificate | None,
    ) -> Line:  # fmt: skip
        """The connection on which a request was answered."""
        request = written(to, headers, body)
        key = Key(to.url.scheme, certificate)
        pool = await self._pools.enter(key)
        attempt.by = min(asyncio.get_running_loop().time() + self._connect, attempt.until)
        try:
            await self._turn(pool, attempt)
            try:
                line = await self._asked(pool, to, request, attempt)
            finally:
                pool.places.release()
            if line.kept:
                pool.keep(to.origin, line)
            return line
        finally:
            await self._pools.leave(key, pool)

    async def _turn(self, pool: Pool, attempt: _Attempt) -> None:
        """Waits for a place among the connections in use. Raises aiohttp.ConnectionTimeoutError."""
        if not pool.places.locked():
            await pool.places.acquire()
            return
        try:
            async with asyncio.timeout_at(attempt.by):
                await pool.places.acquire()
        except TimeoutError as error:
            raise aiohttp.ConnectionTimeoutError from error

    async def _asked(self, pool: Pool, to: Target, request: bytes, attempt: _Attempt) -> Line:
        line = pool.take(to.origin)
        attempt.kept = line is not None
        if line is None:
            line = await self._line(pool, to, attempt)
        attempt.connected = True
        try:
            await line.ask(request, attempt.until, attempt.patience)
        except ConnectionError:
            if not attempt.kept or to.method not in _AGAIN:
                raise
            line = await self._line(pool, to, attempt)
            await line.ask(request, attempt.until)
        except asyncio.CancelledError:
            line.close()  # what may come yet answers nobody
            raise
        return line

    async def _line(self, pool: Pool, to: Target, attempt: _Attempt) -> Line:
        """A connection that stands: through the proxy where there is one, with TLS where it is asked for."""
        _dialled.set(attempt.dialled)
        way: dict[str, Any] = {}
        if self._proxied(to.url.scheme):
            assert self._proxy is not None
            way = {"proxy": self._proxy.url, "proxy_headers": dict(self._proxy.headers)}
        # Looking the proxy up and dialling it have a quarter of the time each: so what took too long can be told apart.
        each = aiohttp.ClientTimeout(total=None, sock_connect=self._connect / 4 if way else None)
        dialler = aiohttp.ClientRequest(to.method, to.url, loop=asyncio.get_running_loop(), **way)
        try:
            async with asyncio.timeout_at(attempt.by):
                connection = await pool.connector.connect(dialler, [], each)
        except TimeoutError as error:
            raise aiohttp.ConnectionTimeoutError from error
        try:
            return Line(connection)
        except BaseException:
            connection.close()
            raise

    def _proxied(self, scheme: str) -> bool:
        return self._proxy is not None and scheme == "https"

    def _check(self, url: str) -> None:
        """Raises BlockedAddressError: behind a proxy the dial does not see a literal address any more."""
        try:
            address.parse(url, self._allow)
        except HubError:
            raise BlockedAddressError from None

    def _class(self, error: BaseException, url: str, attempt: _Attempt) -> Failure:
        known = isinstance(error, BlockedAddressError | ValueError)  # nothing was dialled
        if self._proxy is None or attempt.connected or known or not url.lower().startswith("https:"):
            return classify(error)
        seconds = asyncio.get_running_loop().time() - attempt.started
        return classify_tunnel(error, reached=seconds >= self._connect * 3 / 4)


def _made_context(trust: Callable[[], ssl.SSLContext], certificate: ClientCertificate | None) -> ssl.SSLContext:
    context = trust()
    context.set_alpn_protocols(("http/1.1",))
    if certificate is not None:
        certificate.load_into(context)
    return context


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


def _retry_after(line: Line) -> float | None:
    """Seconds that an overloaded receiver asks us to wait; None where it does not, or not in a form we can read."""
    if line.status not in _RETRY_AFTER or line.retry_after is None:
        return None
    value = line.retry_after.decode("latin-1").strip()
    if value.isascii() and value.isdigit():
        return float(value[:9])
    try:
        when = parsedate_to_datetime(value)
    except (ValueError, OverflowError):
        return None
    if when.tzinfo is None:
        when = when.replace(tzinfo=UTC)
    return max(0.0, (when - datetime.now(UTC)).total_seconds())
