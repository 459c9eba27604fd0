"""Which addresses webhooks may go to: public ones, and private ones that the operator allowed by network.

Deny by default. ``ipaddress.is_global`` is no guard: Python 3.11 calls NAT64 and 6to4 forms of private addresses,
multicast and site-local addresses global.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network

from yarl import URL

from hub.errors import Code, HubError

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

LONGEST_URL = 2048

_DENIED_4 = tuple(
    IPv4Network(n)
    for n in (
        "0.0.0.0/8",  # this network
        "10.0.0.0/8",
        "100.64.0.0/10",  # carrier-grade NAT, and a cloud's metadata at 100.100.100.200
        "127.0.0.0/8",
        "168.63.129.16/32",  # a cloud's host agent behind an address that looks public
        "169.254.0.0/16",  # link-local: the metadata address of most clouds
        "172.16.0.0/12",
        "192.0.0.0/24",  # protocol assignments
        "192.0.2.0/24",  # documentation
        "192.88.99.0/24",  # 6to4 relays
        "192.168.0.0/16",
        "198.18.0.0/15",  # benchmarking
        "198.51.100.0/24",
        "203.0.113.0/24",
        "224.0.0.0/4",  # multicast
        "240.0.0.0/4",  # reserved, and the broadcast address
    )
)
#: Global unicast. Everything else (loopback, ULA, link-local, site-local, multicast, IPv4-compatible) is denied.
_PUBLIC_6 = IPv6Network("2000::/3")
_DENIED_6 = tuple(
    IPv6Network(n)
    for n in (
        "2001::/23",  # protocol assignments, Teredo among them
        "2001:db8::/32",  # documentation
        "2002::/16",  # 6to4: any IPv4 address in disguise
        "3ffe::/16",  # the former 6bone
        "3fff::/20",  # documentation
    )
)
_NAT64 = IPv6Network("64:ff9b::/96")
_NUMBER = re.compile(r"(0[xX][0-9a-fA-F]*|[0-9]+)\.?\Z")
_PLAIN = re.compile(r"[!-\[\]-~]+\Z")  # visible ASCII without the backslash, which some readers take for a slash
_HOST = re.compile(r"[A-Za-z0-9._-]+\Z")


def plain(address: Address) -> Address:
    """The IPv4 address inside an IPv4-mapped or NAT64 one, else the address itself."""
    if isinstance(address, IPv6Address):
        if address.ipv4_mapped is not None:
            return address.ipv4_mapped
        if address in _NAT64:
            return IPv4Address(int(address) & 0xFFFFFFFF)
    return address


def allowed(address: Address, allow: Sequence[Network]) -> bool:
    """Whether the operator named a network that holds the address."""
    address = plain(address)
    return any(address.version == network.version and address in network for network in allow)


def public(address: Address) -> bool:
    """Whether the address is one of the open internet."""
    address = plain(address)
    if isinstance(address, IPv4Address):
        return not any(address in network for network in _DENIED_4)
    return address in _PUBLIC_6 and not any(address in network for network in _DENIED_6)


def reachable(text: str, allow: Sequence[Network], *, encrypted: bool) -> bool:
    """Whether a connection to the address ``text`` may be opened. Plain HTTP goes to allowed networks only."""
    try:
        address = ipaddress.ip_address(text.partition("%")[0])  # without the zone of a link-local address
    except ValueError:
        return False
    return allowed(address, allow) or (encrypted and public(address))


def parse(text: str, allow: Sequence[Network]) -> URL:
    """The URL of a receiver, checked as far as that goes without asking the network.

    Raises HubError(INVALID_REQUEST) that says what is wrong.
    """
    if len(text) > LONGEST_URL or not _PLAIN.match(text):
        raise _refusal(f"The URL must be plain ASCII without spaces, at most {LONGEST_URL} characters.")
    try:
        url = URL(text)
        host, port = url.raw_host, url.port
    except ValueError:
        raise _refusal("The URL cannot be read.") from None
    if url.scheme not in {"https", "http"} or not host or not port:
        raise _refusal("The URL must begin with https:// and name a host.")
    authority = re.split("[/?#]", text.partition("://")[2], maxsplit=1)[0]  # as written, not as it was understood
    if "@" in authority:
        raise _refusal("The URL must not hold a user name or password: each request is signed instead.")
    if url.raw_fragment:
        raise _refusal("The URL must not have a fragment (#): it is never sent.")
    _check_host(url, host, authority, allow)
    return url


def _check_host(url: URL, host: str, authority: str, allow: Sequence[Network]) -> None:
    try:
        ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        if "[" in authority or not _HOST.match(host) or _NUMBER.match(host.rstrip(".").rpartition(".")[2]):
            raise _refusal("The host is neither a name nor an address in its usual form.") from None
        if url.scheme == "http" and not allow:
            raise _refusal("The URL must begin with https://.") from None
        return
    if not reachable(host, allow, encrypted=url.scheme == "https"):
        raise refused(encrypted=url.scheme == "https")


def refused(*, encrypted: bool) -> HubError:
    """The error for a receiver that webhooks may not go to."""
    if encrypted:
        return _refusal("The host is at a private or reserved address. An operator may allow it: HUB_WEBHOOK_ALLOW.")
    return _refusal("Plain http:// goes only to networks that an operator allowed: HUB_WEBHOOK_ALLOW. Use https://.")


def unknown() -> HubError:
    """The error for a host that has no address."""
    return _refusal("The host of the URL is not known to the name service. Check its spelling.")


def _refusal(message: str) -> HubError:
    return HubError(Code.INVALID_REQUEST, message)
