"""The bytes of a request. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

from yarl import URL

from hub import __version__

_METHODS = frozenset({"POST", "PUT", "DELETE"})
#: A host, as it is dialled, and a port.
Origin = tuple[str, int]


class Patience(NamedTuple):
    """How long an answer is waited for at first, in seconds, and whether the request may then be given up.

    Where it may not, its answer is waited for until the time-out.
    """

    seconds: float
    is_over: Callable[[], bool]


@dataclass(frozen=True, slots=True)
class Target:
    """Where a request goes, and what all that go there begin with."""

    method: str
    url: URL
    origin: Origin
    head: str


@lru_cache(maxsize=4096)
def target(method: str, url: str) -> Target:
    """Raises ValueError where that is no URL of http or https, and for other methods than POST, PUT and DELETE."""
    parsed = URL(url)
    if parsed.scheme not in {"https", "http"} or not parsed.raw_host or not parsed.port or method not in _METHODS:
        raise ValueError("no request of this kind goes there")
    head = (
        f"{method} {parsed.raw_path_qs} HTTP/1.1\r\nHost: {parsed.host_port_subcomponent}\r\n"
        f"user-agent: RosterHub/{__version__}\r\nAccept: */*\r\naccept-encoding: identity\r\n"
    )
    return Target(method, parsed, (parsed.raw_host, parsed.port), head)


def written(to: Target, headers: Mapping[str, str], body: bytes) -> bytes:
    """A whole request. Raises ValueError for a header that would be more than one."""
    told = "".join([f"{name}: {value}\r\n" for name, value in headers.items()])
    if told.count("\r") != len(headers) or told.count("\n") != len(headers) or "\0" in told:
        raise ValueError("a header may not end a line")
    return f"{to.head}{told}Content-Length: {len(body)}\r\n\r\n".encode() + body
