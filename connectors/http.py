"""The one place where connectors open HTTP connections, with the guard at the moment of dialling.

The guard sits in aiohttp's ``socket_factory``: it sees the very address that is about to be dialled, for names,
literals and every later answer of a resolver alike. Redirects are not followed, no proxy is taken from the environment,
and an answer is cut off where it grows past its bound, as it comes over the wire or unpacked.
"""

from __future__ import annotations

import asyncio
import ipaddress
import socket
import ssl
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from types import TracebackType
from typing import Any, Self

import aiohttp
from yarl import URL

from connectors.answer import Answer
from connectors.limits import DEFAULT_TIMEOUTS, Timeouts
from connectors.protocol import ConnectorError, Intent, SourceContext
from connectors.tracing import Exchange

_PIECE = 1 << 16
_BLOCKED = "the hub may not go to this address"
_UNKNOWN = "The name service does not know the system's host. Check the address."
_UNTRUSTED = "The system's certificate cannot be trusted{}. Whoever runs the system must mend or renew it."
#: What OpenSSL's numbers of a refusal mean (X509_V_ERR_… of x509_vfy.h).
_REFUSALS = {
    9: "it is not valid yet", 10: "it has expired", 18: "it is signed by itself", 19: "its authority is not known here",
    20: "its authority is not known here, or the system does not send the certificates in between",
    21: "the system does not send the certificates in between", 23: "it was revoked", 62: "it is for another host",
    64: "it is for another address",
}  # fmt: skip
_CLOSED = "No connection to the system could be opened. Is it running, and does its firewall let the hub in?"
_FAILURES: tuple[tuple[type[BaseException] | tuple[type[BaseException], ...], str, str, Intent], ...] = (
    (aiohttp.ClientConnectorDNSError, "host_unknown", _UNKNOWN, Intent.RETRY),
    ((aiohttp.ConnectionTimeoutError, aiohttp.ClientConnectorError), "not_connected", _CLOSED, Intent.RETRY),
    (TimeoutError, "timed_out", "The system did not answer in time.", Intent.RETRY),
)


@dataclass(frozen=True, slots=True)
class Greeting:
    """A connection that was opened and closed. ``until``: when the certificate ends; None where there is none."""

    addresses: int
    until: datetime | None


class BlockedAddressError(OSError):
    """A dial to an address that is not allowed. One text for all: that keeps aiohttp from merging it with others."""

    def __init__(self) -> None:
        super().__init__(_BLOCKED)


class Web:
    """Connections to one system. Open it with ``async with``; cookies that the system sets live as long.

    ``reachable`` and ``observer`` as in SourceContext. ``trust`` replaces the machine's certificate authorities.
    """

    def __init__(
        self, reachable: Callable[[str, bool], bool], *, trust: ssl.SSLContext | None = None,
        timeouts: Timeouts = DEFAULT_TIMEOUTS, observer: Callable[[Exchange], Awaitable[None]] | None = None,
    ) -> None:  # fmt: skip
        self._observer = observer
        self._reachable, self._trust, self._connect_seconds = reachable, trust, timeouts.connect
        self._timeout = aiohttp.ClientTimeout(timeouts.total, timeouts.connect, timeouts.idle)
        self._sessions: dict[str, aiohttp.ClientSession] = {}

    @classmethod
    def of(cls, context: SourceContext, *, most_seconds: float = float("inf")) -> Self:
        """Connections as a source's context has them. ``most_seconds``: of a whole request, where that is less."""
        timeouts = replace(context.timeouts, total=min(context.timeouts.total, most_seconds))
        return cls(context.reachable, timeouts=timeouts, observer=context.observer)

    async def __aenter__(self) -> Self:
        cookies = aiohttp.CookieJar(unsafe=True)  # of servers without a name as well
        self._sessions = {scheme: self._session(scheme, cookies) for scheme in ("https", "http")}
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for session in self._sessions.values():
            await session.close()

    def _session(self, scheme: str, cookies: aiohttp.CookieJar) -> aiohttp.ClientSession:
        def dial(info: Any) -> socket.socket:
            family, kind, protocol, _, place = info
            known = family in {socket.AF_INET, socket.AF_INET6}
            if not known or not self._reachable(str(place[0]), scheme == "https"):
                raise BlockedAddressError
            return socket.socket(family, kind, protocol)

        return aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(socket_factory=dial, ssl=self._trust or True, limit=8),
            cookie_jar=cookies, trust_env=False, timeout=self._timeout, headers={"User-Agent": "RosterHub"},
        )  # fmt: skip

    async def send(
        self, method: str, url: URL, *, headers: Mapping[str, str], body: bytes | None = None, most_bytes: int
    ) -> Answer:
        """One request and its whole answer.

        Raises ConnectorError (``address_blocked``, ``host_unknown``, ``not_connected``, ``tls_failed``, ``timed_out``,
        ``answer_cut_off``, ``answer_too_large``).
        """
        begun, answer, code = time.monotonic(), None, ""
        try:
            answer = await self._sent(method, url, headers, body, most_bytes)
        except (aiohttp.ClientError, OSError, ValueError) as error:
            failure = _failure(error)
            code = failure.code
            raise failure from None
        except ConnectorError as error:
            code = error.code
            raise
        else:
            return answer
        finally:
            if self._observer is not None and (answer is not None or code):
                status, got, came = (answer.status, answer.headers, answer.body) if answer else (0, {}, b"")
                seconds = time.monotonic() - begun
                await self._observer(Exchange(method, str(url), headers, status, got, came, seconds, code))

    async def _sent(
        self, method: str, url: URL, headers: Mapping[str, str], body: bytes | None, most_bytes: int
    ) -> Answer:
        async with self._sessions[url.scheme].request(
            method, url, data=body, headers=headers, allow_redirects=False
        ) as response:
            found = await _read(response, most_bytes)
            link = response.links.get("next")
            following = link.get("url") if link is not None else None
            return Answer(response.status, response.headers, found, following if isinstance(following, URL) else None)

    async def greet(self, url: URL) -> Greeting:
        """Opens a connection and closes it again: the name, the address and the certificate are judged as by ``send``.

        Raises ConnectorError (``address_blocked``, ``host_unknown``, ``not_connected``, ``tls_failed``).
        """
        host, encrypted = url.host or "", url.scheme == "https"
        try:
            async with asyncio.timeout(self._connect_seconds):
                places = await _places(host, url.port)
                dialled = await self._dialled(places, encrypted=encrypted)
                return Greeting(len({place[4][0] for place in places}), await self._ended(dialled, host, encrypted))
        except socket.gaierror:
            raise ConnectorError("host_unknown", _UNKNOWN, intent=Intent.RETRY) from None
        except (ssl.SSLError, BlockedAddressError) as error:
            raise _failure(error) from None
        except OSError:
            raise ConnectorError("not_connected", _CLOSED, intent=Intent.RETRY) from None

    async def _dialled(self, places: Sequence[Any], *, encrypted: bool) -> socket.socket:
        """A socket that is connected to the first place that takes it. Raises OSError."""
        last: OSError = BlockedAddressError()
        for family, kind, protocol, _, place in places:
            if not self._reachable(str(place[0]), encrypted):
                continue
            made = socket.socket(family, kind, protocol)
            made.settimeout(0)
            try:
                await asyncio.get_running_loop().sock_connect(made, place)
            except OSError as error:
                made.close()
                last = error
            except BaseException:
                made.close()
                raise
            else:
                return made
        raise last

    async def _ended(self, dialled: socket.socket, host: str, encrypted: bool) -> datetime | None:
        """When the certificate of the other side ends. Closes the socket."""
        if not encrypted:
            dialled.close()
            return None
        try:
            trust = self._trust or await asyncio.to_thread(ssl.create_default_context)
            _, writer = await asyncio.open_connection(sock=dialled, ssl=trust, server_hostname=host)
        except BaseException:
            dialled.close()
            raise
        shown = writer.get_extra_info("ssl_object").getpeercert()
        writer.transport.abort()
        return datetime.fromtimestamp(ssl.cert_time_to_seconds(shown["notAfter"]), UTC) if shown else None


async def _places(host: str, port: int | None) -> Sequence[Any]:
    """Where a host may be dialled, as ``getaddrinfo`` says it. Raises socket.gaierror."""
    try:
        literal = ipaddress.ip_address(host)
    except ValueError:
        return await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    family = socket.AF_INET if literal.version == 4 else socket.AF_INET6
    return [(family, socket.SOCK_STREAM, 0, "", (host, port))]


async def _read(response: aiohttp.ClientResponse, most_bytes: int) -> bytes:
    found, size = list[bytes](), 0  # one that grows would be copied now and then, and be there twice
    async for piece in response.content.iter_chunked(_PIECE):
        found.append(piece)
        size += len(piece)
        if size > most_bytes:
            response.close()
            text = f"The system's answer is larger than {most_bytes >> 20} MiB. Ask for fewer rows a page (page_rows)."
            raise ConnectorError("answer_too_large", text, intent=Intent.ASK_HUMAN)
        await asyncio.sleep(0)  # a gzip bomb unpacks without ever waiting for the network
    return b"".join(found)


def _failure(error: BaseException) -> ConnectorError:
    """What a request without an answer ended with, in plain words."""
    if isinstance(getattr(error, "os_error", None), BlockedAddressError) or isinstance(error, BlockedAddressError):
        text = (
            "The address leads into a private network, or is not encrypted. Mend it, or have the operator allow the "
            "network (HUB_SOURCE_ALLOW)."
        )
        return ConnectorError("address_blocked", text, intent=Intent.ASK_HUMAN)
    if isinstance(error, (aiohttp.ClientSSLError, ssl.SSLError)):
        number = getattr(getattr(error, "certificate_error", error), "verify_code", None)
        why = f": {_REFUSALS[number]}" if number in _REFUSALS else ""
        return ConnectorError("tls_failed", _UNTRUSTED.format(why), intent=Intent.ASK_HUMAN)
    for kinds, code, text, intent in _FAILURES:
        if isinstance(error, kinds):
            return ConnectorError(code, text, intent=intent)
    return ConnectorError("answer_cut_off", "The system's answer ended in the middle.", intent=Intent.RETRY)
