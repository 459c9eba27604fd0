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


async def read_json(request: web.Request, *, largest: int) -> Any:
    """The body of a request that writes.

    Raises RefusedError: 415 for another media type or coding, 413 for more than ``largest`` bytes, as they are after
    decoding, 400 for what is no JSON, 408 for what does not come in time. A missing Content-Type is taken for JSON.
    """
    _check_type(request)
    if (request.content_length or 0) > largest:
        raise _too_large(largest)
    body = bytearray()
    try:
        async for chunk in request.content.iter_any():
            body += chunk
            if len(body) > largest:
                raise _too_large(largest)
    except web.RequestPayloadError:
        raise invalid("The body ended early, or is not coded as its headers say.") from None
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise invalid(f"The body is no JSON: look at line {error.lineno}, column {error.colno}.") from None


def _check_type(request: web.Request) -> None:
    if "Content-Type" in request.headers and request.content_type != JSON:
        raise RefusedError(415, Minor.INVALID_DATA, f"Send the body as {JSON}.", {"Accept": JSON})
    if request.charset is not None and request.charset.lower() not in {"utf-8", "utf8", "us-ascii"}:
        raise RefusedError(415, Minor.INVALID_DATA, "Send the body in UTF-8.", {"Accept": f"{JSON};charset=utf-8"})
    if request.headers.get("Content-Encoding", "").strip().lower() not in _CODINGS:
        raise RefusedError(
            415,
            Minor.INVALID_DATA,
            "Send the body as it is, or compressed with gzip or zstd.",
            {"Accept-Encoding": "gzip, zstd"},
        )


def _too_large(largest: int) -> RefusedError:
    return RefusedError(413, Minor.INVALID_DATA, f"The body has more than {largest} bytes. Send less at once.")
