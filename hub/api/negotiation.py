"""What a request accepts and what it brings: 406, 408, 413 and 415, decided before anything is read or changed."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import orjson
from aiohttp import web

from hub.api.oneroster.errors import Minor, RefusedError, invalid

JSON = "application/json"
#: Codings of request bodies that aiohttp takes off by itself.
_CODINGS = frozenset({"", "identity", "gzip", "deflate", "zstd"})
#: Bytes of a body that brings objects.
LARGEST_BODY = 4 * 2**20
_CHARSETS = frozenset({"utf-8", "utf8", "us-ascii"})
#: A body that was read.
_BODY = web.RequestKey("body", bytes)
_EVERY_DAY = frozenset({"*/*", JSON, f"{JSON}, text/plain, */*"})
_LONGEST_ACCEPT = 1_000


def check_accept(request: web.Request, media: str = JSON) -> None:
    """Raises RefusedError (406) where ``Accept`` rules this media type out. None, and a very long one, accept all."""
    accept = request.headers.get("Accept")
    if accept is None or accept in _EVERY_DAY or len(accept) > _LONGEST_ACCEPT or _accepts(accept, media):
        return
    raise RefusedError(406, Minor.INVALID_DATA, f"The answer would be {media}. Accept it, or send no Accept.")


@lru_cache(1_000)
def _accepts(accept: str, media: str) -> bool:
    """Whether a media type is acceptable: the most exact range that holds it decides (RFC 9110 §12.5.1)."""
    ranges = (media, media.partition("/")[0] + "/*", "*/*")
    found: dict[str, bool] = {}
    for part in accept.split(","):
        name, *parameters = (text.strip().lower() for text in part.split(";"))
        if name in ranges:
            found[name] = found.get(name, False) or weight(parameters) > 0
    if not found:
        return not accept.strip(", \t")
    return next(found[name] for name in ranges if name in found)


def weight(parameters: list[str]) -> float:
    """The quality value among the parameters of one entry; 1 where there is none, 0 where it is none."""
    for parameter in parameters:
        name, _, value = parameter.partition("=")
        if name.strip() == "q":
            try:
                quality = float(value.strip()) if len(value) <= 8 else 0.0
            except ValueError:
                return 0.0
            return quality if 0 <= quality <= 1 else 0.0
    return 1.0


def check_json(request: web.Request) -> None:
    """Raises RefusedError (415) for a body of another media type, charset or coding; one that names none is JSON."""
    if "Content-Type" in request.headers and request.content_type != JSON:
        raise RefusedError(415, Minor.INVALID_DATA, f"Send the body as {JSON}.", {"Accept": JSON})
    if request.charset is not None and request.charset.lower().replace("_", "-") not in _CHARSETS:
        raise RefusedError(415, Minor.INVALID_DATA, "Send the body in UTF-8.", {"Accept": f"{JSON};charset=utf-8"})
    if request.headers.get("Content-Encoding", "").strip().lower() not in _CODINGS:
        raise RefusedError(
            415,
            Minor.INVALID_DATA,
            "Send the body as it is, or compressed with gzip or zstd.",
            {"Accept-Encoding": "gzip, zstd"},
        )


async def read_bytes(request: web.Request, *, largest: int) -> bytes:
    """The body of a request, however often it is asked for: a signature may be of it before it is parsed.

    Raises RefusedError (413) for more than ``largest`` bytes, as they are after decoding. What is not coded as its
    headers say, or comes too slowly, raises errors of aiohttp that the middleware knows.
    """
    if _BODY in request:
        return request[_BODY]
    if (request.content_length or 0) > largest:
        raise _too_large(largest)
    body = bytearray()
    async for chunk in request.content.iter_any():
        body += chunk
        if len(body) > largest:
            raise _too_large(largest)
    read = request[_BODY] = bytes(body)
    return read


def parsed(body: bytes) -> Any:
    """JSON. Raises RefusedError (400) for what is none."""
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise invalid(f"The body is not JSON: look at line {error.lineno}, column {error.colno}.") from None


def _too_large(largest: int) -> RefusedError:
    return RefusedError(413, Minor.INVALID_DATA, f"The body has more than {largest} bytes. Send less at once.")
