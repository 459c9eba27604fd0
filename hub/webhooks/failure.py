"""Why a request failed: the classes that stand in the attempt log, and which error belongs to which."""

from __future__ import annotations

import ssl
from enum import StrEnum
from http import HTTPStatus

import aiohttp

_BLOCKED = "the hub may not go to this address"


class Failure(StrEnum):
    """Why an attempt failed. Stable: they stand in the attempt log."""

    DNS = "dns"
    CONNECT = "connect"
    TLS = "tls"
    TIMEOUT_CONNECT = "timeout_connect"
    TIMEOUT_READ = "timeout_read"
    TIMEOUT_EARLY = "timeout_early"  # far longer than this receiver usually takes, see hub.webhooks.lively
    STATUS = "status"
    BLOCKED_ADDRESS = "blocked_address"
    PROTOCOL = "protocol"
    CHALLENGE = "challenge"  # a 2xx that did not repeat what it was asked to, see hub.webhooks.challenge
    PROXY = "proxy"  # the operator's egress proxy, so no fault of the receiver


class BlockedAddressError(OSError):
    """A dial to an address that is not allowed. One text for all: that keeps aiohttp from merging it with others."""

    def __init__(self) -> None:
        super().__init__(_BLOCKED)


class EarlyTimeoutError(TimeoutError):
    """No answer where this receiver usually has one long before: its request is given up and made once more."""


#: What proxies say of a host behind them in the parameter ``error`` of Proxy-Status (RFC 9209 section 2.3).
_PROXY_STATUS = {
    "dns_timeout": Failure.DNS,
    "dns_error": Failure.DNS,
    "destination_not_found": Failure.DNS,
    "destination_unavailable": Failure.CONNECT,
    "destination_ip_prohibited": Failure.BLOCKED_ADDRESS,
    "destination_ip_unroutable": Failure.CONNECT,
    "connection_refused": Failure.CONNECT,
    "connection_terminated": Failure.CONNECT,
    "connection_timeout": Failure.TIMEOUT_CONNECT,
    "http_request_denied": Failure.BLOCKED_ADDRESS,
}
#: What CONNECT was answered with, where the proxy says no more (RFC 9110 section 15.6: gateways speak of the far side).
_TUNNEL = {
    HTTPStatus.FORBIDDEN: Failure.BLOCKED_ADDRESS,
    HTTPStatus.BAD_GATEWAY: Failure.CONNECT,
    HTTPStatus.GATEWAY_TIMEOUT: Failure.TIMEOUT_CONNECT,
}


def classify(error: BaseException) -> Failure:
    """The class of an error that a request without an answer ended with."""
    table: tuple[tuple[type[BaseException] | tuple[type[BaseException], ...], Failure], ...] = (
        (aiohttp.ConnectionTimeoutError, Failure.TIMEOUT_CONNECT),
        (EarlyTimeoutError, Failure.TIMEOUT_EARLY),
        (TimeoutError, Failure.TIMEOUT_READ),
        (aiohttp.ClientConnectorDNSError, Failure.DNS),
        ((aiohttp.ClientSSLError, ssl.SSLError), Failure.TLS),
        (aiohttp.ClientConnectorError, Failure.CONNECT),
    )
    if isinstance(error, BlockedAddressError) or isinstance(getattr(error, "os_error", None), BlockedAddressError):
        return Failure.BLOCKED_ADDRESS
    if isinstance(error.__cause__, ssl.SSLError):  # since TLS 1.3 a certificate is refused after the handshake
        return Failure.TLS
    return next((failure for kind, failure in table if isinstance(error, kind)), Failure.PROTOCOL)


def classify_tunnel(error: BaseException, *, reached: bool) -> Failure:
    """The class of an error on the way to a receiver through a proxy, before the receiver's connection stood.

    ``reached``: whether the proxy had taken the connection when a time-out came. What the proxy says about the
    receiver is the receiver's; everything else, and whatever could be either's, is the proxy's.
    """
    if isinstance(error, aiohttp.ClientHttpProxyError):
        return _said(error)
    if isinstance(error, aiohttp.ConnectionTimeoutError | TimeoutError):
        return Failure.TIMEOUT_CONNECT if reached else Failure.PROXY
    if isinstance(error, aiohttp.ClientProxyConnectionError | aiohttp.ClientConnectorDNSError):
        return Failure.PROXY
    # Inside the tunnel only the handshake with the receiver is left.
    found = classify(error)
    return found if found in {Failure.TLS, Failure.CONNECT, Failure.BLOCKED_ADDRESS} else Failure.PROXY


def _said(error: aiohttp.ClientHttpProxyError) -> Failure:
    told = error.headers.get("proxy-status", "") if error.headers else ""
    for word in told.split(";"):
        name, _, value = word.strip().partition("=")
        if name.lower() == "error":
            return _PROXY_STATUS.get(value.strip('"'), Failure.PROXY)
    try:
        return _TUNNEL.get(HTTPStatus(error.status), Failure.PROXY)
    except ValueError:
        return Failure.PROXY
