"""From where a request comes: the address that limits on guessing count by."""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence

from aiohttp import web

from hub.settings import Network

_NETWORK_BITS = 64  # of IPv6: who has one address there has all of them


def caller_address(request: web.Request, trusted: Sequence[Network]) -> str:
    """The caller's IPv4 address or IPv6 network; empty where there is none.

    Behind proxies in ``trusted`` networks it is the nearest address of X-Forwarded-For that is not in them. What
    stands further to the left there is the caller's own word.
    """
    address = _address(request.remote or "")
    if trusted and address is not None:
        said = ",".join(request.headers.getall("X-Forwarded-For", [])).split(",")
        while said and any(address in network for network in trusted):
            further = _address(said.pop().strip())
            if further is None:
                break
            address = further
    if isinstance(address, ipaddress.IPv6Address):
        return str(ipaddress.ip_network((address, _NETWORK_BITS), strict=False))
    return str(address or "")


def _address(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        address = ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return None
    return (address.ipv4_mapped or address) if isinstance(address, ipaddress.IPv6Address) else address
