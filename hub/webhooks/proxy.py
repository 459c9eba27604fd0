"""The operator's egress proxy: an HTTP proxy that opens tunnels (CONNECT) to receivers, and filters where they lead.

With it, nothing but the proxy is dialled for https: its name alone is looked up, and only the addresses that were found
for it get a socket. Where a receiver's name leads is then the proxy's to judge.
"""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import socket
from dataclasses import dataclass, field
from typing import Any, Self
from urllib.parse import unquote, urlsplit

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult
from yarl import URL


@dataclass(frozen=True, slots=True)
class Proxy:
    """Where the proxy is. ``headers``: what tells it who we are."""

    host: str
    port: int
    headers: dict[str, str] = field(default_factory=dict, repr=False)

    @classmethod
    def parse(cls, text: str) -> Self:
        """Reads ``http://user:password@host:port``, which the settings have checked."""
        parts = urlsplit(text)
        headers = {}
        if parts.username is not None:
            login = aiohttp.encode_basic_auth(unquote(parts.username), unquote(parts.password or ""))
            headers["Proxy-Authorization"] = login
        return cls(parts.hostname or "", parts.port or 80, headers)

    @property
    def url(self) -> URL:
        """Its address without the login."""
        return URL.build(scheme="http", host=self.host, port=self.port)


class ProxyResolver(AbstractResolver):
    """Looks up the proxy and nothing else, and remembers where it is. ``seconds``: longest wait for an answer."""

    def __init__(self, proxy: Proxy, names: AbstractResolver | None, seconds: float) -> None:
        self._proxy = proxy
        self._seconds = seconds
        self._names = names or aiohttp.DefaultResolver()
        self._found: set[str] = set()
        with contextlib.suppress(ValueError):  # a name is looked up when it is needed
            self._found.add(str(ipaddress.ip_address(proxy.host)))

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        """The addresses of the proxy. Raises OSError for any other name."""
        if host != self._proxy.host:
            raise OSError("only the proxy is looked up")
        async with asyncio.timeout(self._seconds):
            found = await self._names.resolve(host, port, family)
        self._found |= {each["host"] for each in found}
        return found

    async def close(self) -> None:
        """Ends the resolver that is asked."""
        await self._names.close()

    def is_proxy(self, place: Any) -> bool:
        """Whether an address that is about to be dialled is one of the proxy."""
        return str(place[0]) in self._found and place[1] == self._proxy.port
