"""What receivers and networks do wrong, cell by cell, and what comes of it. ``test_fault_matrix`` proves each."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Literal

from aiohttp import web

from tests.fakes.receiver import Behaviour, endless, hang, hang_up, in_turn, raw, status

#: Time-out of a whole exchange, in seconds.
TIMEOUT = 2.0
#: The wait after the first and after the second failure of a receiver that is not known to work, with its jitter.
FIRST, SECOND = (4.0, 6.0), (240.0, 360.0)
Place = Literal["usual", "refused", "expired", "other host", "unknown issuer", "no name", "inward name", "IPv6 alone"]


@dataclass(frozen=True)
class Failed:
    """One line of the attempt log. ``wait``: seconds until the next attempt, at least and at most."""

    status: int | None
    error: str
    wait: tuple[float, float] = FIRST


@dataclass(frozen=True)
class Cell:
    """One fault of a receiver, or of the network on the way to one.

    ``behave``: makes what the receiver does until it is mended; ``place``: how it is reached until then. ``failed``:
    the attempts that fail with the first batch before it is mended; ``again``: those with the second one. ``arrives``:
    whether a failed attempt reaches the receiver. ``state``: of the subscription before it is mended.
    """

    name: str
    behave: Callable[[], Behaviour] = lambda: status(204)
    failed: tuple[Failed, ...] = ()
    again: tuple[Failed, ...] = ()
    state: str = "active"
    place: Place = "usual"
    arrives: bool = True


def slow(seconds: float) -> Behaviour:
    """Answers well, after a while."""

    async def behave(_request: web.Request) -> web.Response:
        await asyncio.sleep(seconds)
        return web.Response(status=200)

    return behave


async def trickle(request: web.Request) -> web.StreamResponse:
    """Sends header bytes for ever, one at a time."""
    for byte in b"HTTP/1.1 200 OK\r\nx: " + b"y" * 10_000:
        if request.transport is None:  # it was given up
            break
        request.transport.write(bytes([byte]))
        await asyncio.sleep(0.05)
    return web.Response()


def reset(head: bytes) -> Behaviour:
    """Begins an answer and breaks the connection off."""

    async def behave(request: web.Request) -> web.StreamResponse:
        assert request.transport is not None
        request.transport.write(head)
        await asyncio.sleep(0.05)
        request.transport.abort()
        return web.Response()

    return behave


def busy(value: str, code: int = 429) -> Callable[[], Behaviour]:
    """Says when to come again."""
    return lambda: status(code, retry_after=value)


def in_two_hours() -> Behaviour:
    """Says so with a date."""
    return status(429, retry_after=format_datetime(datetime.now(UTC) + timedelta(hours=2), usegmt=True))


HEAD = b"HTTP/1.1 200 OK\r\ncontent-length: 5000\r\n\r\n"
#: Where the target of a redirect stands; nothing may ever arrive there.
INSIDE = "http://127.0.0.1:1/inside"

#: What keeps a request from its receiver, and the class of the error.
UNREACHED: tuple[tuple[str, Place, str], ...] = (
    ("TLS: the certificate has expired", "expired", "tls"),
    ("TLS: the certificate is another host's", "other host", "tls"),
    ("TLS: nobody knows the issuer", "unknown issuer", "tls"),
    ("DNS fails", "no name", "dns"),
    ("DNS turns inward (rebinding)", "inward name", "blocked_address"),
    ("connection refused", "refused", "connect"),
)
RECEIVERS = (
    Cell("200, slowly", lambda: slow(0.5)),
    Cell("200 with a body of a gigabyte", lambda: endless(1_000_000_000)),
    Cell("200 with a body that trickles", lambda: endless(10_000, pause=0.05, piece=b"x")),
    Cell("closes after the headers", lambda: raw(HEAD)),
    Cell("headers that trickle", lambda: trickle, (Failed(None, "timeout_read"), Failed(None, "timeout_read", SECOND))),
    Cell("never answers", lambda: hang, (Failed(None, "timeout_read"), Failed(None, "timeout_read", SECOND))),
    Cell("closes without an answer", lambda: hang_up, (Failed(None, "protocol"), Failed(None, "protocol", SECOND))),
    Cell("is no HTTP", lambda: raw(b"SSH-2.0-OpenSSH_9\r\n"), (Failed(None, "protocol"),)),
    Cell("301 to an address inside", lambda: status(301, location=INSIDE), (Failed(301, "status"),)),
    Cell("400 once", lambda: in_turn(status(400), status(204)), (Failed(400, "status"),)),
    Cell("400 always", lambda: status(400), (
        Failed(400, "status"), Failed(400, "status", SECOND), Failed(400, "status", (1440, 2160)),
        Failed(400, "status", (5760, 8640)), Failed(400, "status", (14400, 21600)))),
    Cell("410", lambda: status(410), (Failed(410, "status"),), state="disabled"),
    Cell("429 without Retry-After", lambda: status(429), (Failed(429, "status"), Failed(429, "status", SECOND))),
    Cell("429, Retry-After in seconds", busy("900"), (Failed(429, "status", (900, 900)),) * 2),
    Cell("429, Retry-After as a date", in_two_hours, (Failed(429, "status", (3600, 3600)),)),
    Cell("429, Retry-After as a date that is past", busy("Sun, 06 Nov 1994 08:49:37 GMT"),
         (Failed(429, "status", (5, 5)),)),
    Cell("429, Retry-After in 31 years", busy("999999999"), (Failed(429, "status", (3600, 3600)),)),
    Cell("429, Retry-After of a hundred digits", busy("9" * 100), (Failed(429, "status", (3600, 3600)),)),
    Cell("503, Retry-After: soon", busy("soon", 503), (Failed(503, "status"),)),
    Cell("500 now and then", lambda: in_turn(status(500), status(204), status(500), status(204)),
         (Failed(500, "status"),), (Failed(500, "status", (0.5, 0.5)),)),
)  # fmt: skip
NETWORKS = (
    *(
        Cell(name, place=place, failed=(Failed(None, error), Failed(None, error, SECOND)), arrives=False)
        for name, place, error in UNREACHED
    ),
    Cell("IPv6 alone", place="IPv6 alone"),
    Cell("reset in the middle of the body", lambda: reset(HEAD + b"x" * 100)),
    Cell("reset in the middle of the headers", lambda: reset(b"HTTP/1.1 200 OK\r\ncontent-le"),
         (Failed(None, "protocol"),)),
)  # fmt: skip
CELLS = RECEIVERS + NETWORKS
