"""Compression of answers: zstd and gzip, as the client prefers (RFC 9110 §12.5.3, RFC 8878).

Fast levels: on rosters the fastest zstd is as small as the middle ones and costs a hundredth of what the page does;
gzip costs four times that. What would hold up the event loop is compressed in a thread.
"""

from __future__ import annotations

import asyncio
import sys
import zlib
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache

from aiohttp import web
from aiohttp.typedefs import Handler

from hub.api.negotiation import weight
from hub.api.oneroster.errors import Minor, RefusedError

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

#: Smaller bodies go as they are: one packet stays one packet.
LEAST_BYTES = 1_200
_COMPRESSIBLE = ("application/json", "application/problem+json", "text/")
_LONGEST_HEADER = 500
_ZSTD_LEVEL = 1
_GZIP_LEVEL = 2
_GZIP_BITS = 31  # zlib's way to say: with gzip's header


class Coding(StrEnum):
    """A content coding, the preferred one first."""

    ZSTD = "zstd"
    GZIP = "gzip"


#: The largest body that is compressed where it is, in about a third of a millisecond.
_INLINE_BYTES = {Coding.ZSTD: 262_144, Coding.GZIP: 65_536}


class Compressor:
    """Compresses what it is given, piece by piece."""

    def __init__(self, coding: Coding) -> None:
        if coding is Coding.ZSTD:
            self._zstd = zstd.ZstdCompressor(level=_ZSTD_LEVEL)
        self._gzip = zlib.compressobj(_GZIP_LEVEL, zlib.DEFLATED, _GZIP_BITS) if coding is Coding.GZIP else None

    def add(self, data: bytes | memoryview) -> bytes:
        """What there is to send already; may be empty."""
        return self._zstd.compress(data) if self._gzip is None else self._gzip.compress(data)

    def end(self) -> bytes:
        """The rest."""
        return self._zstd.flush() if self._gzip is None else self._gzip.flush()


@dataclass(frozen=True, slots=True)
class Accepted:
    """The coding that a client prefers, None for none, and whether a body may go as it is."""

    coding: Coding | None
    identity: bool


_ANY = Accepted(None, identity=True)


def accepted(request: web.Request) -> Accepted:
    """What a request accepts. Raises RefusedError (406) where that is nothing at all."""
    header = request.headers.get("Accept-Encoding")
    if not header or len(header) > _LONGEST_HEADER:
        return _ANY
    found = _preferred(header)
    if found.coding is None and not found.identity:
        raise RefusedError(406, Minor.INVALID_DATA, "Accept-Encoding must allow zstd, gzip or identity.")
    return found


@web.middleware
async def compressing(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Compresses answers where the client wants that and it is worth it. Raises RefusedError (406)."""
    answer = await handler(request)
    headers = answer.headers
    if "Accept-Encoding" not in request.headers and "Vary" in headers:
        return answer
    wanted = accepted(request)
    if not isinstance(answer, web.Response) or not isinstance(answer.body, bytes) or not answer.body:
        return answer
    if "Content-Encoding" in headers or not headers.get("Content-Type", "").startswith(_COMPRESSIBLE):
        return answer
    large = len(answer.body) >= LEAST_BYTES
    if large:
        headers.setdefault("Vary", "Accept-Encoding")
    if wanted.coding is not None and (large or not wanted.identity):
        answer.body = await _compressed(wanted.coding, answer.body)
        headers["Content-Encoding"] = wanted.coding.value
    return answer


async def _compressed(coding: Coding, body: bytes) -> bytes:
    if len(body) > _INLINE_BYTES[coding]:
        return await asyncio.to_thread(_whole, coding, body)
    return _whole(coding, body)


def _whole(coding: Coding, body: bytes) -> bytes:
    if coding is Coding.ZSTD:
        return zstd.compress(body, _ZSTD_LEVEL)  # says how large it is, so that clients know what to expect
    compressor = Compressor(coding)
    return compressor.add(body) + compressor.end()


@lru_cache(1_000)
def _preferred(header: str) -> Accepted:
    """The coding that weighs most, of equal ones the better."""
    weights: dict[str, float] = {}
    for part in header.split(","):
        name, *parameters = (text.strip().lower() for text in part.split(";"))
        weights[name.removeprefix("x-")] = weight(parameters)
    rest = weights.get("*", 0.0)
    found = {Coding.ZSTD: weights.get("zstd", 0.0), Coding.GZIP: weights.get("gzip", rest)}
    best = max(found, key=lambda coding: found[coding])
    identity = weights.get("identity", 1.0 if "*" not in weights else rest)
    if found[best] == 0 or found[best] < weights.get("identity", 0.0):
        return Accepted(None, identity > 0)
    return Accepted(best, identity > 0)
