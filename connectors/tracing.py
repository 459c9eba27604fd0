"""Traces of pulls for support: what was asked and what came, as shapes alone, in a bounded text of JSON lines.

No value of a body, no id, no secret, no name of anybody comes into a trace (``connectors.shapes``); ids in paths stand
as digests under a key that is forgotten with the trace, so that the same one can be recognised within it.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import re
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import orjson

from connectors.shapes import plain, shape

#: Bytes of a trace. Past ``DETAILED`` bodies are left out, past ``BRIEF`` all but what failed.
MOST_BYTES, BRIEF_BYTES, DETAILED_BYTES = 1_000_000, 900_000, 600_000
#: Larger bodies are not looked at.
_LARGEST_BODY = 16 << 20
_VERSION = re.compile(r"v\d{1,2}([p.]\d{1,2})?")
_PAGING = frozenset({"limit", "offset", "page", "pagesize", "page_size", "size", "per_page", "totalcount"})
_NUMBERS = frozenset({
    "content-length", "x-total-count", "total-count", "age", "x-ratelimit-limit", "x-ratelimit-remaining",
    "x-ratelimit-reset", "ratelimit-limit", "ratelimit-remaining", "ratelimit-reset",
})  # fmt: skip
_WORDS = {
    "content-encoding": {"gzip", "deflate", "br", "identity"}, "transfer-encoding": {"chunked"},
    "connection": {"close", "keep-alive"},
    "content-type": {"application/json", "application/problem+json", "text/html", "text/plain", "text/xml",
                     "application/xml", "text/csv", "application/octet-stream"},
}  # fmt: skip
_RELATIONS = re.compile(r'rel="?(next|prev|previous|first|last|self)\b')


@dataclass(frozen=True, slots=True)
class Exchange:
    """One request and its answer as they were. ``status`` 0 and an ``error`` (a code): there was no whole answer."""

    method: str
    url: str = field(repr=False)
    sent: Mapping[str, str] = field(repr=False)
    status: int
    headers: Mapping[str, str] = field(repr=False)
    body: bytes = field(repr=False)
    seconds: float
    error: str = ""


@dataclass
class Trace:
    """The trace of one pull or try. ``about``: what its first line says; ``now``: a clock."""

    about: Mapping[str, str]
    now: Callable[[], datetime]
    exchanges: int = 0
    left_out: int = 0
    _lines: list[bytes] = field(default_factory=list, repr=False)
    _size: int = 0
    _servers: dict[tuple[str, str], str] = field(default_factory=dict, repr=False)
    _key: bytes = field(default_factory=lambda: secrets.token_bytes(32), repr=False)

    def __post_init__(self) -> None:
        self._begun = self.now()
        self._keep({"trace": 1, **self.about, "at": self._begun.isoformat(timespec="seconds")})

    async def note(self, exchange: Exchange) -> None:
        """Takes one exchange down, as far as there is room. Never fails: a pull must not, for its trace."""
        self.exchanges += 1
        failed = bool(exchange.error) or exchange.status >= 400
        if self._size >= (MOST_BYTES if failed else BRIEF_BYTES):
            self.left_out += 1
            return
        detailed = self._size < DETAILED_BYTES or (failed and self._size < BRIEF_BYTES)
        try:
            self._keep(await asyncio.to_thread(self._told, exchange, self.exchanges, detailed))
        except Exception as error:  # an answer that nobody thought of
            self._keep({"n": self.exchanges, "status": exchange.status, "not_told": type(error).__name__})

    def ended(self, outcome: str) -> bytes:
        """All of it. ``outcome``: how the pull or the try ended, a code."""
        last = {"ended": outcome, "exchanges": self.exchanges, "left_out": self.left_out}
        return b"".join([*self._lines, orjson.dumps(last), b"\n"])

    def _keep(self, line: Mapping[str, Any]) -> None:
        text = orjson.dumps(line) + b"\n"
        if len(text) > MOST_BYTES - self._size:
            self.left_out += 1
            return
        self._size += len(text)
        self._lines.append(text)

    def _told(self, one: Exchange, number: int, detailed: bool) -> dict[str, Any]:
        parts = urlsplit(one.url)
        origin = (parts.scheme, parts.netloc)
        server = self._servers.setdefault(origin, f"{parts.scheme} {len(self._servers) + 1}")
        after = (self.now() - self._begun).total_seconds()
        query = parse_qsl(parts.query, keep_blank_values=True)
        told: dict[str, Any] = {
            "n": number, "after": round(after, 3), "seconds": round(one.seconds, 3),
            "method": one.method, "server": server, "path": "/".join(map(self._segment, parts.path.split("/"))),
            "query": {self._name(name): _page(name, value) for name, value in query},
            "status": one.status, "size": len(one.body),
        }  # fmt: skip
        told |= {"error": one.error} if one.error else {}
        if detailed:
            told |= {"sent": sorted(map(self._name, one.sent)), "headers": self._headers(one.headers)}
            told["body"] = self._body(one.body)
        return told

    def _name(self, name: str) -> str:
        return f"{name}" if plain(name) else self._hidden(name)  # headers have strings of a kind of their own

    def _segment(self, text: str) -> str:
        return text if not text or _VERSION.fullmatch(text) else self._name(text)

    def _hidden(self, text: str) -> str:
        return "~" + hmac.new(self._key, text.encode(), hashlib.sha256).hexdigest()[:8]

    def _headers(self, headers: Mapping[str, str]) -> dict[str, Any]:
        """Values that are made anew from what they mean; of others the names."""
        told: dict[str, Any] = {}
        for name, value in headers.items():
            told[self._name(name)] = _header(name.lower(), value.strip())
        return told

    def _body(self, body: bytes) -> Any:
        text = body[:200].lstrip()
        if not text:
            return "blank"
        if len(body) > _LARGEST_BODY:
            return "too large to look at"
        try:
            return shape([orjson.loads(body)], self._hidden)
        except orjson.JSONDecodeError:
            return "a web page or XML" if text[:1] == b"<" else "no JSON"


def _page(name: str, value: str) -> str | None:
    """Where in a collection; None for a value that says anything else."""
    return value if name.lower() in _PAGING and value.isascii() and value.isdigit() and len(value) < 10 else None


def _header(name: str, value: str) -> Any:
    if (name in _NUMBERS or name == "retry-after") and value.isascii() and value.isdigit() and len(value) < 16:
        return int(value)
    if name in _WORDS:
        word = value.partition(";")[0].strip().lower()
        return word if word in _WORDS[name] else "another"
    if name in {"date", "retry-after", "expires", "last-modified"}:
        try:
            return parsedate_to_datetime(value).isoformat()
        except (ValueError, TypeError, OverflowError):
            return "no date"
    if name == "link":
        return sorted(set(_RELATIONS.findall(value)))
    return None
