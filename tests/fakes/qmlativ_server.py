"""Skyward Qmlativ's API over HTTP: its two logins, lists of fields, pages with a next one, conditions, and oddities.

It knows nothing of our connector: a thread with the standard library's server, and objects as public clients of the API
show them. The instance is shared: it has another district's entities too.
"""

from __future__ import annotations

import base64
import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qs, urlsplit

from tests.fakes.listening import Answering, listening

KEY, SECRET = "hub key", "s3cret+with/signs"
START = datetime(2026, 3, 2, 6, tzinfo=UTC)
ROOT = "/DemoStuAPI"
ENTITY, HIGH, MIDDLE = 2, 10, 11
Object = dict[str, Any]


@dataclass
class Quirks:
    """What is odd. ``ended``: the status with which Qmlativ says that a token has expired; ``life``: requests of one.

    ``next``: the form of links ("path", "rooted", "absolute", "foreign"). ``hidden``: fields that an object does not
    show, as (object, field). ``forbidden``, ``missing``: objects that answer 403 and 404. ``logins``: which are taken.
    """

    ended: int = 403
    life: int = 1_000_000
    next: str = "path"
    hidden: set[tuple[str, str]] = field(default_factory=set)
    forbidden: set[str] = field(default_factory=set)
    missing: set[str] = field(default_factory=set)
    logins: str = "bearer basic"


@dataclass(frozen=True)
class Asked:
    """One request: method, path behind ``/Generic/``, query and body."""

    method: str
    path: str
    query: dict[str, str]
    body: Any


@dataclass
class Server:
    """``objects``: by module and name, in the order of the database."""

    objects: dict[str, list[Object]]
    quirks: Quirks = field(default_factory=Quirks)
    url: str = ""
    now: datetime = START
    asked: list[Asked] = field(default_factory=list)
    tokens: dict[str, int] = field(default_factory=dict)
    before: Callable[[Asked], None] = lambda _asked: None
    lock: threading.RLock = field(default_factory=threading.RLock)

    def put(self, kind: str, match: Object, **members: Any) -> None:
        """Changes the objects that have some members."""
        with self.lock:
            for one in self.objects[kind]:
                if all(one.get(name) == value for name, value in match.items()):
                    one.update(members)


@contextmanager
def running(server: Server) -> Iterator[Server]:
    """The server on a port of this machine."""
    with listening(_Handler, qmlativ=server) as url:
        server.url = url + ROOT
        yield server


class _Handler(Answering):
    qmlativ: Server

    def now(self) -> datetime:
        return self.qmlativ.now

    def do_GET(self) -> None:
        self._served("GET")

    def do_POST(self) -> None:
        self._served("POST")

    def _served(self, method: str) -> None:
        data = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        parts = urlsplit(self.path)
        if parts.path == f"{ROOT}/oauth/token":
            self._answer(*self._token(data))
            return
        query = {name: values[0] for name, values in parse_qs(parts.query).items()}
        asked = Asked(method, parts.path.removeprefix(f"{ROOT}/Generic/"), query, json.loads(data) if data else None)
        self.qmlativ.asked.append(asked)
        self.qmlativ.before(asked)
        refused = self._refused()
        with self.qmlativ.lock:
            self._answer(*(refused or self._found(asked, parts.path)))

    def _token(self, data: bytes) -> tuple[int, Any]:
        pair = base64.b64decode(self.headers.get("Authorization", "").removeprefix("Basic ")).decode()
        form = {name: values[0] for name, values in parse_qs(data.decode()).items()}
        known = pair == "hub+key:s3cret%2Bwith%2Fsigns" or (form.get("client_id"), form.get("client_secret")) == (
            KEY,
            SECRET,
        )
        if not known or form.get("grant_type") != "client_credentials" or "bearer" not in self.qmlativ.quirks.logins:
            return 401, {"error": "invalid_client"}
        token = f"token-{len(self.qmlativ.tokens) + 1}"
        self.qmlativ.tokens[token] = self.qmlativ.quirks.life
        return 200, {"access_token": token, "token_type": "bearer", "expires_in": 3_600}

    def _refused(self) -> tuple[int, Any] | None:
        kind, _, given = self.headers.get("Authorization", "").partition(" ")
        quirks = self.qmlativ.quirks
        if kind == "Basic":
            good = "basic" in quirks.logins and base64.b64decode(given).decode() == f"{KEY}:{SECRET}"
            return None if good else (401, {"error": "Unauthorized"})
        if given not in self.qmlativ.tokens:
            return 401, {"error": "Unauthorized"}
        self.qmlativ.tokens[given] -= 1
        if self.qmlativ.tokens[given] < 0:
            return quirks.ended, {"error": {"message": "Token has expired."}}
        return None

    def _found(self, asked: Asked, path: str) -> tuple[int, Any]:
        entity, *rest = asked.path.split("/")
        kind, quirks = "/".join(rest[:2]), self.qmlativ.quirks
        if kind in quirks.forbidden:
            return 403, {"error": "Access to the object is denied."}
        if entity != str(ENTITY) or kind not in self.qmlativ.objects or kind in quirks.missing:
            return 404, {"error": "Not found."}
        objects = self.qmlativ.objects[kind]
        names = [name for name in objects[0] if (kind, name) not in quirks.hidden] if objects else []
        if len(rest) == 2:
            return 200, {name: {"Type": "String"} for name in names} | {"ValidationRules": [], "Relationships": {}}
        page, rows = int(rest[2]), int(rest[3])
        fields = [value for name, value in asked.query.items() if name.startswith("searchFields")]
        if not fields or set(fields) - {*names}:
            return 400, {"error": "Unknown field."}
        found = [one for one in objects if self._meant(one, asked)]
        shown = found[(page - 1) * rows : page * rows]
        more = len(found) > page * rows
        following = f"{entity}/{kind}/{page + 1}/{rows}"
        forms = {"path": "/Generic/", "rooted": f"{ROOT}/Generic/", "foreign": "http://192.0.2.1/Generic/",
                 "absolute": f"http://{self.headers['Host']}{ROOT}/Generic/"}  # fmt: skip
        paging = {"Next": forms[quirks.next] + following if more else None, "Previous": None}
        return 200, {"Objects": [{name: one.get(name) for name in fields} for one in shown], "Paging": paging}

    def _meant(self, one: Object, asked: Asked) -> bool:
        year = asked.query.get("SchoolYearID")
        if year is not None and "SchoolYearID" in one and str(one["SchoolYearID"]) != year:
            return False
        condition = asked.body["SearchCondition"]["LongSearchCondition"] if asked.body else None
        return condition is None or int(one[condition["FieldName"]]) == condition["Value"]

    def _answer(self, status: int, body: Any) -> None:
        data = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json; charset=utf-8")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        with suppress(ConnectionError):  # who asked may have had enough
            self.wfile.write(data)
