"""Which addresses the hub may open connections to: public ones, and private ones that the operator allowed by network.

Deny by default. ``ipaddress.is_global`` is no guard: Python 3.11 calls NAT64 and 6to4 forms of private addresses,
multicast and site-local addresses global.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

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
    """Whether a connection to the address ``text`` may be opened; without encryption, to allowed networks only."""
    try:
        address = ipaddress.ip_address(text.partition("%")[0])  # without the zone of a link-local address
    except ValueError:
        return False
    return allowed(address, allow) or (encrypted and public(address))
