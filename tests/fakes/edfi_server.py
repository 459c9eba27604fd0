"""An Ed-Fi ODS / API over HTTP for one district, with change queries and the ways in which hosts differ.

It knows nothing of our connector: a thread with the standard library's server, and rows as the data standard has them.
"""

from __future__ import annotations

import base64
import copy
import json
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qs, urlsplit

from tests.fakes.listening import Answering, listening

KEY, SECRET = "the key", "s3cret+with/signs"
Object = dict[str, Any]
START = datetime(2026, 3, 2, 6, tzinfo=UTC)
#: The natural keys by which deletions and changed keys are told, for resources of which they matter.
KEYS: Mapping[str, tuple[tuple[str, ...], ...]] = {
    "studentSectionAssociations": (
        ("sectionReference", "localCourseCode"), ("sectionReference", "schoolId"), ("sectionReference", "schoolYear"),
        ("sectionReference", "sectionIdentifier"), ("sectionReference", "sessionName"),
        ("studentReference", "studentUniqueId"), ("beginDate",),
    ),
    "staffSectionAssociations": (
        ("sectionReference", "localCourseCode"), ("sectionReference", "schoolId"), ("sectionReference", "schoolYear"),
        ("sectionReference", "sectionIdentifier"), ("sectionReference", "sessionName"),
        ("staffReference", "staffUniqueId"), ("beginDate",),
    ),
}  # fmt: skip


@dataclass
class Quirks:
    """What a host is like. ``route``: what its addresses have behind /data/v3; ``template``: a placeholder for it.

    ``key_values``: whether deletions tell their keys; ``absent``: parts (deletes, keyChanges) that it does not have.
    """

    version: str = "7.3"
    model: str = "5.2.0"
    mode: str = ""
    route: str = ""
    template: str = ""
    change_queries: bool = True
    key_values: bool = True
    absent: frozenset[str] = frozenset()
    snapshot: bool = False
    largest_limit: int = 500
    elsewhere: bool = False


@dataclass(frozen=True)
class Asked:
    """One request."""

    resource: str
    part: str
    query: dict[str, str]
    headers: dict[str, str]

    @property
    def counts(self) -> bool:
        """Whether it asks for a count alone."""
        return self.query.get("limit") == "0"


@dataclass
class State:
    """What the host has. ``rows`` by resource and id, in the order in which they came; ``versions`` of each."""

    rows: dict[str, dict[str, Object]]
    versions: dict[str, dict[str, int]] = field(default_factory=dict)
    gone: dict[str, list[Object]] = field(default_factory=dict)
    rekeyed: dict[str, list[Object]] = field(default_factory=dict)
    newest: int = 0


@dataclass
class Server:
    """``forbidden``: resources that the key may not read. ``fault``: a status in the place of an answer."""

    state: State
    quirks: Quirks = field(default_factory=Quirks)
    url: str = ""
    now: datetime = START
    asked: list[Asked] = field(default_factory=list)
    described: int = 0
    issued: int = 0
    tokens: set[str] = field(default_factory=set)
    forbidden: set[str] = field(default_factory=set)
    organizations: list[Object] = field(default_factory=list)
    fault: Callable[[Asked], int | None] = lambda _asked: None
    before_page: Callable[[Asked], None] = lambda _asked: None
    snapshot: State | None = None
    lock: threading.RLock = field(default_factory=threading.RLock)

    def row(self, resource: str, name: str) -> Object:
        """One row."""
        return self.state.rows[resource][name]

    def put(self, resource: str, name: str, **members: Any) -> None:
        """Makes or changes a row."""
        with self.lock:
            state = self.state
            state.newest += 1
            old = state.rows[resource].get(name, {"id": name})
            state.rows[resource][name] = {**old, **members}
            state.versions.setdefault(resource, {})[name] = state.newest

    def begin(self, resource: str, name: str, **members: Any) -> Callable[[], None]:
        """Gives a change of a row its version now; others see it once it is committed, by calling what this returns."""
        with self.lock:
            state = self.state
            state.newest += 1
            version = state.newest

        def commit() -> None:
            with self.lock:
                state.rows[resource][name] = {**state.rows[resource][name], **members}
                state.versions.setdefault(resource, {})[name] = version

        return commit

    def drop(self, resource: str, name: str) -> None:
        """Deletes a row."""
        with self.lock:
            state = self.state
            state.newest += 1
            old = state.rows[resource].pop(name)
            told: Object = {"id": name, "changeVersion": state.newest}
            if self.quirks.key_values:
                told["keyValues"] = key_values(resource, old)
            state.gone.setdefault(resource, []).append(told)

    def rekey(self, resource: str, name: str, **members: Any) -> None:
        """Gives a row another natural key."""
        with self.lock:
            old = key_values(resource, self.state.rows[resource][name])
            self.put(resource, name, **members)
            new = key_values(resource, self.state.rows[resource][name])
            told = {"id": name, "changeVersion": self.state.newest, "oldKeyValues": old, "newKeyValues": new}
            self.state.rekeyed.setdefault(resource, []).append(told)

    def take_snapshot(self) -> None:
        """Keeps what there is now for who reads the snapshot."""
        with self.lock:
            self.snapshot = copy.deepcopy(self.state)


def key_values(resource: str, row: Object) -> Object:
    """The natural key of a row, flat."""
    found: Object = {}
    for path in KEYS.get(resource, ()):
        value: Any = row
        for name in path:
            value = value[name]
        found[path[-1]] = value
    return found


@contextmanager
def running(server: Server) -> Iterator[Server]:
    """The server on a port of this machine."""
    with listening(_Handler, ods=server) as url:
        server.url = url
        yield server


class _Handler(Answering):
    ods: Server

    def now(self) -> datetime:
        return self.ods.now

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"])).decode()
        if self.path.endswith("/oauth/token_info"):
            known = json.loads(body)["token"] in self.ods.tokens
            self._answer(200, {"active": known, "education_organizations": self.ods.organizations if known else []})
            return
        form = {name: values[0] for name, values in parse_qs(body).items()}
        given = self.headers.get("Authorization", "").removeprefix("Basic ")
        basic = base64.b64decode(given).decode() == "the+key:s3cret%2Bwith%2Fsigns"
        in_form = (form.get("client_id"), form.get("client_secret")) == (KEY, SECRET)
        if not (basic or in_form) or form.get("grant_type") != "client_credentials":
            self._answer(401, {"error": "invalid_client"})
            return
        self.ods.issued += 1
        token = f"token-{self.ods.issued}"
        self.ods.tokens.add(token)
        self._answer(200, {"access_token": token, "token_type": "bearer", "expires_in": 1799})

    def do_GET(self) -> None:
        parts = urlsplit(self.path)
        query = {name: values[0] for name, values in parse_qs(parts.query, keep_blank_values=True).items()}
        quirks, path = self.ods.quirks, parts.path
        if path == "/":
            self.ods.described += 1
            self._answer(200, self._description())
            return
        route = f"/{quirks.route}" if quirks.route else ""
        root, changes = f"/data/v3{route}/ed-fi/", f"/changeQueries/v1{route}/"
        if not path.startswith((root, changes)):
            self._answer(404, {"detail": "not there"})
            return
        name = path.removeprefix(root) if path.startswith(root) else path.removeprefix(changes)
        resource, _, part = name.partition("/")
        asked = Asked(resource, part, query, dict(self.headers))
        self.ods.asked.append(asked)
        self.ods.before_page(asked)
        status = self.ods.fault(asked) or self._refusal(asked)
        if status is not None:
            self._answer(status, {"detail": "no"})
            return
        with self.ods.lock:
            state = self.ods.state
            if self.headers.get("Use-Snapshot") == "true" and self.ods.snapshot is not None:
                state = self.ods.snapshot
            if path == changes + "availableChangeVersions":
                self._answer(200, {"oldestChangeVersion": 0, "newestChangeVersion": state.newest})
                return
            if not path.startswith(root) or resource not in state.rows or part not in {"", "deletes", "keyChanges"}:
                self._answer(404, {"detail": "not there"})
                return
            self._answer(*self._page(state, asked))

    def _description(self) -> Object:
        quirks, host = self.ods.quirks, f"http://{self.headers['Host']}"
        shown = quirks.template or quirks.route
        route = f"/{shown}" if shown else ""
        data = "http://elsewhere.example/data/v3" if quirks.elsewhere else f"{host}/data/v3{route}"
        urls = {"dataManagementApi": data, "oauth": f"{host}/oauth/token"}
        if quirks.version >= "7":
            urls["changeQueries"] = f"{host}/changeQueries/v1{route}/"
        models = [{"name": "Ed-Fi", "version": quirks.model}, {"name": "TPDM", "version": "1.1.0"}]
        return {"version": quirks.version, "apiMode": quirks.mode, "dataModels": models, "urls": urls}

    def _refusal(self, asked: Asked) -> int | None:
        quirks = self.ods.quirks
        if self.headers.get("Authorization", "").removeprefix("Bearer ") not in self.ods.tokens:
            return 401
        if asked.resource in self.ods.forbidden:
            return 403
        if self.headers.get("Use-Snapshot") == "true" and not quirks.snapshot:
            return 404
        if (asked.resource == "availableChangeVersions" and not quirks.change_queries) or asked.part in quirks.absent:
            return 404
        size = asked.query.get("limit", asked.query.get("pageSize", "25"))
        return 400 if int(size) > quirks.largest_limit else None

    def _page(self, state: State, asked: Asked) -> tuple[int, list[Object], dict[str, str]]:
        query = asked.query
        if asked.part:
            lists = state.gone if asked.part == "deletes" else state.rekeyed
            found = [(one["changeVersion"], one) for one in lists.get(asked.resource, ())]
        else:
            versions = state.versions.get(asked.resource, {})
            found = [(versions.get(name, 0), one) for name, one in state.rows[asked.resource].items()]
        low, high = int(query.get("minChangeVersion", 0)), int(query.get("maxChangeVersion", 1 << 60))
        rows = [one for version, one in found if low <= version <= high]
        headers = {"Total-Count": str(len(rows))} if query.get("totalCount") == "true" else {}
        if "pageSize" in query and not asked.part and self.ods.quirks.version >= "7.3":
            return 200, *_by_token(asked, rows, headers)
        offset, limit = int(query.get("offset", 0)), int(query.get("limit", 25))
        return 200, rows[offset : offset + limit], headers

    def _answer(self, status: int, body: Any, headers: Mapping[str, str] | None = None) -> None:
        data = json.dumps(body).encode()
        self.send_response(status)
        usual = {"Content-Type": "application/json", "Content-Length": str(len(data))}
        for name, value in {**usual, **(headers or {})}.items():
            self.send_header(name, value)
        self.end_headers()
        with suppress(ConnectionError):  # who asked may have had enough
            self.wfile.write(data)


def _by_token(asked: Asked, rows: list[Object], headers: dict[str, str]) -> tuple[list[Object], dict[str, str]]:
    """A page behind the row that the token names, in the order of their numbers, whatever went meanwhile."""
    after = int(base64.b64decode(asked.query["pageToken"])) if "pageToken" in asked.query else -1
    behind = [one for one in rows if int(one["id"].rpartition("-")[2]) > after]
    page = behind[: int(asked.query["pageSize"])]
    if len(page) < len(behind):
        last = page[-1]["id"].rpartition("-")[2]
        headers = {**headers, "Next-Page-Token": base64.b64encode(last.encode()).decode()}
    return page, headers
