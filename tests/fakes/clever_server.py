"""Clever's Data API 3 over HTTP for one district, with its events, its rate, and the ways in which it is odd.

It knows nothing of our connector: a thread with the standard library's server, and objects as Clever's reference has
them.
"""

from __future__ import annotations

import base64
import json
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

from tests.fakes.listening import Answering, listening

CLIENT, SECRET, TOKEN = "app client", "s3cret/with+signs", "district-token-1"
Object = dict[str, Any]
START = datetime(2026, 3, 2, 6, tzinfo=UTC)
COLLECTIONS = ("districts", "schools", "terms", "courses", "sections", "users")
LIFE = timedelta(days=30)
WINDOW_SECONDS = 60


@dataclass
class Quirks:
    """What is odd. ``counts``: what ``count=true`` gives. ``rate``: requests of a minute. ``events``: who gets them.

    ``previous``: whether events say what was before. ``unknown``: the answer to an event that is not there.
    """

    counts: str = "right"  # "none", "paging", "high"
    links: str = "relative"  # "absolute", "foreign"
    envelopes: bool = True
    largest_limit: int = 10_000
    events: bool = True
    previous: bool = True
    last: str = "known"  # "refused"
    unknown: int = 200
    rate: int | None = None


@dataclass(frozen=True)
class Asked:
    """One request for a page."""

    collection: str
    query: dict[str, str]
    at: datetime


@dataclass
class Server:
    """``objects``: what the district shares, by collection and id. ``fault``: a status in the place of a page."""

    objects: dict[str, dict[str, Object]]
    quirks: Quirks = field(default_factory=Quirks)
    url: str = ""
    now: datetime = START
    events: list[Object] = field(default_factory=list)
    asked: list[Asked] = field(default_factory=list)
    tokens: set[str] = field(default_factory=lambda: {TOKEN})
    issued: int = 0
    fault: Callable[[Asked], int | None] = lambda _asked: None
    before_page: Callable[[Asked], None] = lambda _asked: None
    lock: threading.RLock = field(default_factory=threading.RLock)
    happened: int = 0

    @property
    def district(self) -> Object:
        """The one district."""
        return next(iter(self.objects["districts"].values()))

    def count(self, collection: str) -> int:
        """How often a collection was asked for."""
        return sum(one.collection == collection for one in self.asked)

    def put(self, collection: str, key: str, **members: Any) -> None:
        """Makes or changes an object, with an event."""
        with self.lock:
            old = self.objects[collection].get(key)
            new = {**(old or {"id": key}), **members}
            self.objects[collection][key] = new
            self.objects[collection] = dict(sorted(self.objects[collection].items()))
            before = {name: (old or {}).get(name) for name in members if (old or {}).get(name) != members[name]}
            told = {"object": new} | ({"previous_attributes": before} if old and self.quirks.previous else {})
            self._happen(f"{collection}.{'updated' if old else 'created'}", told)

    def drop(self, collection: str, key: str) -> None:
        """Deletes an object, with an event."""
        with self.lock:
            self._happen(f"{collection}.deleted", {"object": self.objects[collection].pop(key)})

    def _happen(self, kind: str, data: Object) -> None:
        self.happened += 1
        told = json.loads(json.dumps(data))
        self.events.append({"id": f"{self.happened:024x}", "type": kind, "data": told, "created": self.now.isoformat()})

    def living(self) -> list[Object]:
        """The events that are there still."""
        return [one for one in self.events if self.now - datetime.fromisoformat(one["created"]) < LIFE]


@contextmanager
def running(server: Server) -> Iterator[Server]:
    """The server on a port of this machine."""
    with listening(_Handler, clever=server) as url:
        server.url = url
        yield server


class _Handler(Answering):
    clever: Server

    def now(self) -> datetime:
        return self.clever.now

    def do_GET(self) -> None:
        parts = urlsplit(self.path)
        query = {name: values[0] for name, values in parse_qs(parts.query, keep_blank_values=True).items()}
        if parts.path == "/oauth/tokens":
            self._answer(*self._tokens(query))
            return
        _, version, collection = parts.path.split("/", 2)
        asked = Asked(collection, query, self.clever.now)
        self.clever.asked.append(asked)
        self.clever.before_page(asked)
        status = self.clever.fault(asked) or self._refusal(version, collection, query)
        rate = self._rate()
        if status or rate.get("X-RateLimit-Remaining") == "-1":
            self._answer(status or 429, {"error": "no"}, rate)
            return
        with self.clever.lock:
            body = self._page(collection, query, parts.path)
        self._answer(200, body, rate)

    def _tokens(self, query: Mapping[str, str]) -> tuple[int, Any]:
        pair = base64.b64decode(self.headers.get("Authorization", "").removeprefix("Basic ")).decode()
        if pair != "app+client:s3cret%2Fwith%2Bsigns" or query.get("owner_type") != "district":
            return 401, {"error": "unauthorized"}
        found = []
        if query.get("district") == self.clever.district["id"]:
            self.clever.issued += 1
            token = f"district-token-{self.clever.issued + 1}"
            self.clever.tokens.add(token)
            owner = {"type": "district", "id": query["district"]}
            found.append({"id": "t1", "owner": owner, "access_token": token, "scopes": ["read:students"]})
        return 200, {"data": found, "links": [{"rel": "self", "uri": self.path}]}

    def _refusal(self, version: str, collection: str, query: Mapping[str, str]) -> int | None:
        quirks, given = self.clever.quirks, self.headers.get("Authorization", "").removeprefix("Bearer ")
        if given not in self.clever.tokens:
            return 401
        if version not in {"v3.0", "v3.1"} or collection not in {*COLLECTIONS, "events"}:
            return 404
        if collection == "events" and not quirks.events:
            return 403
        if int(query.get("limit", 100)) > quirks.largest_limit:
            return 413
        if query.get("ending_before") == "last" and quirks.last == "refused":
            return 400
        known = {one["id"] for one in self.clever.living()}
        lost = collection == "events" and query.get("starting_after", "") not in {"", *known}
        return quirks.unknown if lost and quirks.unknown != 200 else None

    def _rate(self) -> dict[str, str]:
        rate = self.clever.quirks.rate
        if rate is None:
            return {}
        window = int(self.clever.now.timestamp()) // WINDOW_SECONDS
        used = sum(int(one.at.timestamp()) // WINDOW_SECONDS == window for one in self.clever.asked)
        reset = (window + 1) * WINDOW_SECONDS
        return {"X-RateLimit-Limit": str(rate), "X-RateLimit-Remaining": str(max(rate - used, -1)),
                "X-RateLimit-Reset": str(reset), "X-RateLimit-Bucket": "district"}  # fmt: skip

    def _page(self, collection: str, query: Mapping[str, str], path: str) -> Object:
        quirks, limit = self.clever.quirks, int(query.get("limit", 100))
        found = self.clever.living() if collection == "events" else list(self.clever.objects[collection].values())
        total = len(found)
        if query.get("ending_before") == "last":
            page, more = found[-limit:], False
        else:
            behind = [one for one in found if one["id"] > query.get("starting_after", "")]
            page, more = behind[:limit], len(behind) > limit
        links = [{"rel": "self", "uri": self.path}]
        if more:
            following = urlencode({**query, "starting_after": page[-1]["id"]})
            base = {"relative": "", "absolute": f"http://{self.headers['Host']}", "foreign": "http://elsewhere.example"}
            links.append({"rel": "next", "uri": f"{base[quirks.links]}{path}?{following}"})
        shown = [{"data": one, "uri": f"{path}/{one['id']}"} if quirks.envelopes else one for one in page]
        body: Object = {"data": shown, "links": links}
        if query.get("count") == "true" and quirks.counts != "none":
            count = total + (quirks.counts == "high")
            body |= {"paging": {"count": count}} if quirks.counts == "paging" else {"count": count}
        return body

    def _answer(self, status: int, body: Any, headers: Mapping[str, str] | None = None) -> None:
        data = json.dumps(body).encode()
        self.send_response(status)
        usual = {"Content-Type": "application/json", "Content-Length": str(len(data))}
        for name, value in {**usual, **(headers or {})}.items():
            self.send_header(name, value)
        self.end_headers()
        with suppress(ConnectionError):  # who asked may have had enough
            self.wfile.write(data)
