"""A OneRoster server over HTTP, 1.1 and 1.2, with the ways in which such servers are odd as switches, and with faults.

It knows nothing of our own provider or connector: a thread with the standard library's server, and JSON that is made of
the rows of a CSV package by the standard's tables.
"""

from __future__ import annotations

import base64
import gzip
import json
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, quote, urlencode, urlsplit

import oauthlib.oauth1.rfc5849.signature as oauth

from tests.fakes.listening import Answering, listening

CLIENT, SECRET = "hub client", "s3cret+with/signs"
Files = Mapping[str, list[dict[str, str | None]]]
Object = dict[str, Any]
START = datetime(2026, 3, 2, 6, tzinfo=UTC)
SINGULAR = {
    "orgs": "org", "academicSessions": "academicSession", "courses": "course", "classes": "class", "users": "user",
    "lineItems": "lineItem", "categories": "category", "scoreScales": "scoreScale", "resources": "resource",
}  # fmt: skip
#: Columns that refer to others: JSON name and collection. Those that end in "s" hold several.
REFERENCES = {
    "parentSourcedId": ("parent", ""), "orgSourcedId": ("org", "orgs"), "schoolSourcedId": ("school", "orgs"),
    "orgSourcedIds": ("orgs", "orgs"), "schoolYearSourcedId": ("schoolYear", "academicSessions"),
    "termSourcedIds": ("terms", "academicSessions"), "courseSourcedId": ("course", "courses"),
    "classSourcedId": ("class", "classes"), "userSourcedId": ("user", "users"), "agentSourcedIds": ("agents", "users"),
    "primaryOrgSourcedId": ("primaryOrg", "orgs"), "lineItemSourcedId": ("lineItem", "lineItems"),
    "studentSourcedId": ("student", "users"), "categorySourcedId": ("category", "categories"),
    "gradingPeriodSourcedId": ("gradingPeriod", "academicSessions"),
    "academicSessionSourcedId": ("academicSession", "academicSessions"),
}  # fmt: skip
LISTS = {"grades", "subjects", "subjectCodes", "periods"}
BOOLEANS = {"enabledUser", "primary", "asian", "white", "late", "missing", "incomplete", "inProgress"}
NUMBERS = {"score", "resultValueMin", "resultValueMax", "weight"}
NAMES = {"preferredGivenName": "preferredFirstName", "preferredFamilyName": "preferredLastName"}
MOMENTS = {"assignDate", "dueDate"}


@dataclass
class Quirks:
    """What is odd about a server. ``cap``: rows that a page has at most, whatever was asked for."""

    cap: int = 1_000_000
    totals: str = "right"  # "none", "high", "low", "once"
    links: str = "none"  # "absolute", "relative", "foreign"
    booleans: str = "text"  # "json", "letters"
    status: bool = True
    dated: bool = True
    date_header: bool = True
    skew: timedelta = timedelta(0)
    filters: str = "known"  # "refused", "ignored"
    fields: str = "known"  # "refused", "ignored"
    offset: str = "known"  # "ignored"
    envelope: str = "named"  # "bare", "Capitals"
    largest_limit: int | None = None
    tombstones: bool = True


@dataclass(frozen=True)
class Asked:
    """One request for a page."""

    entity: str
    number: int  # of the requests for this entity, from 0
    query: dict[str, str]
    headers: dict[str, str]


@dataclass
class Server:
    """``objects``: what it holds by entity, in order. ``fault`` names what goes wrong with a request, if something.

    ``root``: where its collections are, where that is not the standard's place. ``cookie``: what comes with a token,
    and without which a request goes to another machine, which does not know the token.
    """

    version: str
    objects: dict[str, dict[str, Object]] = field(default_factory=dict)
    quirks: Quirks = field(default_factory=Quirks)
    url: str = ""
    root: str = ""
    cookie: str = ""
    now: datetime = START
    asked: list[Asked] = field(default_factory=list)
    tokens: set[str] = field(default_factory=set)
    issued: int = 0
    forms: list[dict[str, str]] = field(default_factory=list)
    token_requests: list[tuple[str, dict[str, str]]] = field(default_factory=list)  # path with query, headers
    fault: Callable[[Asked], str | None] = lambda _asked: None
    token_fault: str | None = None
    before_page: Callable[[Asked], None] = lambda _asked: None
    lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def token_url(self) -> str:
        return self.url + "/token"

    def count(self, entity: str) -> int:
        """How often a collection was asked for."""
        return sum(one.entity == entity for one in self.asked)

    def put(self, entity: str, key: str, **members: Any) -> None:
        """Changes an object, or makes it, at the server's time."""
        with self.lock:
            old = self.objects[entity].get(key, {"sourcedId": key, "status": "active"})
            self.objects[entity][key] = old | members | {"dateLastModified": stamp(self.now)}

    def end(self, entity: str, key: str) -> None:
        """Deletes an object: with a tombstone where the server keeps some, else without a word."""
        with self.lock:
            if self.quirks.tombstones:
                old = self.objects[entity][key]
                self.objects[entity][key] = old | {"status": "tobedeleted", "dateLastModified": stamp(self.now)}
            else:
                del self.objects[entity][key]


def stamp(at: datetime) -> str:
    return f"{at:%Y-%m-%dT%H:%M:%S}.000Z"


def filled(version: str, files: Files, quirks: Quirks | None = None) -> Server:
    """A server with the objects of a package."""
    server = Server(version, quirks=quirks or Quirks())
    nested = {"roles", "userProfiles", "courseResources", "classResources", "userResources"}
    for file, rows in files.items():
        if file not in nested and "ScoreScales" not in file and "Objective" not in file:
            server.objects[file] = {str(row["sourcedId"]): _object(file, row) for row in rows}
    for user in server.objects.get("users", {}).values() if version == "1.2" else ():
        _nest(user, files)
    for file, owner in (("courseResources", "course"), ("classResources", "class"), ("userResources", "user")):
        for row in files.get(file, ()):
            plural = {"course": "courses", "class": "classes", "user": "users"}[owner]
            one = server.objects[plural][str(row[f"{owner}SourcedId"])]
            one.setdefault("resources", []).append(_reference("resources", str(row["resourceSourcedId"])))
    return server


def _object(file: str, row: Mapping[str, str | None]) -> Object:
    made: Object = {
        "sourcedId": row["sourcedId"],
        "status": "active",
        "dateLastModified": stamp(START - timedelta(days=30)),
    }
    for column, value in row.items():
        if value in (None, "") or column in {"sourcedId", "status", "dateLastModified", "password", "line"}:
            continue
        if column.startswith("metadata."):
            made.setdefault("metadata", {})[column.removeprefix("metadata.")] = value
        elif column in REFERENCES:
            name, target = REFERENCES[column]
            found = [_reference(target or file, key) for key in str(value).split(",")]
            made[name] = found if column.endswith("s") else found[0]
        elif column == "userIds":
            pairs = [item.strip("{}").split(":", 1) for item in str(value).split(",")]
            made[column] = [{"type": left, "identifier": right} for left, right in pairs]
        elif column in LISTS or (file == "resources" and column == "roles"):
            made[column] = str(value).split(",")
        elif column in NUMBERS:
            made[column] = float(str(value))
        elif column in MOMENTS:
            made[column] = f"{value}T00:00:00.000Z"
        else:
            made[NAMES.get(column, column)] = value
    return made


def _reference(collection: str, key: str) -> Object:
    href = f"https://sis.example/ims/oneroster/{collection}/{quote(key, safe='')}"
    return {"href": href, "sourcedId": key, "type": SINGULAR.get(collection, collection)}


def _nest(user: Object, files: Files) -> None:
    key = user["sourcedId"]
    rows = [row for row in files.get("userProfiles", ()) if row["userSourcedId"] == key]
    profiles: dict[tuple[Any, ...], Object] = {}
    names: dict[Any, str] = {}
    for row in rows:
        same = tuple(row.get(n) for n in ("profileType", "vendorId", "applicationId"))
        one = profiles.setdefault(same, {
            "profileId": f"urn:rosterhub:profile:{row['sourcedId']}", "profileType": row["profileType"],
            "vendorId": row["vendorId"], "applicationId": row.get("applicationId"), "credentials": [],
        })  # fmt: skip
        one["credentials"].append({"type": row["credentialType"], "username": row["username"], "password": "secret"})
        names[row["sourcedId"]] = one["profileId"]
    if profiles:
        user["userProfiles"] = list(profiles.values())
    user["roles"] = [
        {n: row[n] for n in ("roleType", "role", "beginDate", "endDate") if row.get(n)}
        | {"org": _reference("orgs", str(row["orgSourcedId"]))}
        | ({"userProfile": names[row["userProfileSourcedId"]]} if row.get("userProfileSourcedId") else {})
        for row in files.get("roles", ()) if row["userSourcedId"] == key
    ]  # fmt: skip


@contextmanager
def running(
    server: Server, certificate: Path | None = None, handler: type[Answering] | None = None
) -> Iterator[Server]:
    """The server on a port of this machine, with TLS where there is a certificate."""
    with listening(handler or Handler, certificate, sis=server) as server.url:
        yield server


class Handler(Answering):
    sis: Server

    def now(self) -> datetime:
        return self.sis.now + self.sis.quirks.skew

    def send_response(self, code: int, message: str | None = None) -> None:
        self.send_response_only(code, message)
        if self.sis.quirks.date_header:
            self.send_header("Date", self.date_time_string())

    def do_POST(self) -> None:
        self._answer(*self._token(), {"Set-Cookie": f"{self.sis.cookie}; Path=/; HttpOnly"} if self.sis.cookie else {})

    def _token(self) -> tuple[int, dict[str, Any]]:
        body = self.rfile.read(int(self.headers["Content-Length"])).decode()
        form = {name: values[0] for name, values in parse_qs(body).items()}
        self.sis.forms.append(form)
        self.sis.token_requests.append((self.path, dict(self.headers)))
        if self.sis.token_fault is not None:
            status = int(self.sis.token_fault)
            return status, {"error": "invalid_client"} if status < 500 else {}
        pair = f"{quote(CLIENT, safe='').replace('%20', '+')}:{quote(SECRET, safe='')}"
        basic = "Basic " + base64.b64encode(pair.encode()).decode()
        in_form = (form.get("client_id"), form.get("client_secret")) == (CLIENT, SECRET)
        if self.headers.get("Authorization") != basic and not in_form:
            return 401, {"error": "invalid_client"}
        self.sis.issued += 1
        token = f"token-{self.sis.issued}"
        self.sis.tokens.add(token)
        return 200, {"access_token": token, "token_type": "bearer", "expires_in": 3600}

    def do_GET(self) -> None:
        parts = urlsplit(self.path)
        entity = parts.path.rsplit("/", 1)[-1]
        query = {name: values[0] for name, values in parse_qs(parts.query, keep_blank_values=True).items()}
        asked = Asked(entity, self.sis.count(entity), query, dict(self.headers))
        self.sis.asked.append(asked)
        self.sis.before_page(asked)
        fault = self.sis.fault(asked)
        if fault is not None and self._go_wrong(fault, asked):
            return
        refusal = self._refusal(entity, query, parts.path)
        if refusal is not None:
            self._answer(refusal, {"imsx_codeMajor": "failure"})
            return
        with self.sis.lock:
            page, total, following = self._page(entity, query)
        self._objects(entity, page, total, following, query, parts.path)

    def _refusal(self, entity: str, query: Mapping[str, str], path: str) -> int | None:
        """The status for a request that is not answered with a page."""
        quirks, usual = self.sis.quirks, "/ims/oneroster/v1p1/" if self.sis.version == "1.1" else "/v1p2/"
        root = self.sis.root or usual
        if not self._known() or self.sis.cookie not in self.headers.get("Cookie", ""):
            return 401
        if entity not in self.sis.objects or root not in path:
            return 404
        refused = ("filter" in query and quirks.filters == "refused") or (
            "fields" in query and quirks.fields == "refused"
        )
        too_many = quirks.largest_limit is not None and int(query.get("limit", 100)) > quirks.largest_limit
        return 400 if refused or too_many else None

    def _known(self) -> bool:
        given = self.headers.get("Authorization", "")
        if given.startswith("Bearer "):
            return given.removeprefix("Bearer ") in {*self.sis.tokens, SECRET}
        if not given.startswith("OAuth "):
            return False
        pairs = [item.strip().split("=", 1) for item in given.removeprefix("OAuth ").split(",")]
        claims = oauth.collect_parameters(
            uri_query=urlsplit(self.path).query, headers={"Authorization": given}, exclude_oauth_signature=True
        )
        base = oauth.signature_base_string(
            "GET", oauth.base_string_uri(self.sis.url + urlsplit(self.path).path), oauth.normalize_parameters(claims)
        )
        method = dict(claims)["oauth_signature_method"].removeprefix("HMAC-").replace("SHA1", "SHA-1")
        signer = oauth.sign_hmac_sha1_with_client if method == "SHA-1" else oauth.sign_hmac_sha256_with_client
        wanted = signer(base, type("Client", (), {"client_secret": SECRET, "resource_owner_secret": ""})())
        return {n: v.strip('"') for n, v in pairs}["oauth_signature"] == quote(wanted, safe="~")

    def _page(self, entity: str, query: Mapping[str, str]) -> tuple[list[Object], int, int | None]:
        quirks = self.sis.quirks
        found = list(self.sis.objects[entity].values())
        if "filter" in query and quirks.filters == "known":
            since = query["filter"].removeprefix("dateLastModified>'").removesuffix("'")
            found = [one for one in found if one["dateLastModified"] > since]
        offset = 0 if quirks.offset == "ignored" else int(query.get("offset", 0))
        limit = min(int(query.get("limit", 100)), quirks.cap)
        end = offset + limit
        return found[offset:end], len(found), end if end < len(found) else None

    def _objects(
        self, entity: str, page: list[Object], total: int, following: int | None, query: dict[str, str], path: str
    ) -> None:
        quirks = self.sis.quirks
        headers = {}
        if quirks.totals != "none" and (quirks.totals != "once" or query.get("offset") == "0"):
            headers["X-Total-Count"] = str(total + {"high": 7, "low": -1}.get(quirks.totals, 0))
        if quirks.links != "none" and following is not None:
            link = f"{path}?{urlencode(query | {'offset': str(following)})}"
            base = {"absolute": self.sis.url, "relative": "", "foreign": "http://inside.example:8080"}[quirks.links]
            headers["Link"] = f'<{base}{link}>; rel="next"'
        shown = [self._shown(one, query) for one in page]
        name = entity if quirks.envelope != "Capitals" else entity.capitalize()
        self._answer(200, shown if quirks.envelope == "bare" else {name: shown}, headers)

    def _shown(self, one: Object, query: Mapping[str, str]) -> Object:
        quirks, out = self.sis.quirks, dict(one)
        if not quirks.status and out["status"] == "active":
            del out["status"]
        if not quirks.dated:
            del out["dateLastModified"]
        if quirks.booleans != "text":
            for name in BOOLEANS & out.keys():
                out[name] = out[name] == "true" if quirks.booleans == "json" else out[name].upper()
        if "fields" in query and quirks.fields == "known":
            out = {name: value for name, value in out.items() if name in query["fields"].split(",")}
        return out

    def _go_wrong(self, fault: str, asked: Asked) -> bool:
        """Answers with the fault; whether nothing else is to be answered."""
        name, _, detail = fault.partition(":")
        if name == "revoked":
            self.sis.tokens.clear()
            return False
        if name in {"reset", "hang", "drip"}:
            if name == "drip":
                self._raw(200, b"", {"Content-Length": "1000"})
                for _ in range(int(detail)):
                    self.wfile.write(b" ")
                    self.wfile.flush()
                    time.sleep(0.05)
            else:
                time.sleep(float(detail or 0))
            self.close_connection = True
            return True
        status, _, wait = detail.partition(":")
        whole = json.dumps({asked.entity: []}).encode()
        cut = b'{"' + asked.entity.encode() + b'": [{"sourcedId": "a'
        answers: dict[str, tuple[int, bytes, dict[str, str]]] = {
            "status": (int(status) if status.isdigit() else 0, b"{}", {"Retry-After": wait} if wait else {}),
            "redirect": (302, b"", {"Location": detail}),
            "html": (200, b"<!doctype html><form>Please log in</form>", {"Content-Type": "text/html"}),
            "error": (200, b'{"imsx_codeMajor": "failure", "imsx_severity": "error"}', {}),
            "truncated": (200, cut, {}),
            "short": (200, cut, {"Content-Length": "1000"}),
            "bomb": (200, gzip.compress(b"[" * (64 << 20), 1) if name == "bomb" else b"", {"Content-Encoding": "gzip"}),
            "empty": (200, whole, {"X-Total-Count": str(len(self.sis.objects[asked.entity]))}),
        }  # fmt: skip
        self.close_connection = name == "short"
        self._raw(*answers[name])
        return True

    def _answer(self, status: int, body: Any, headers: Mapping[str, str] | None = None) -> None:
        self._raw(status, json.dumps(body).encode(), headers)

    def _raw(self, status: int, body: bytes, headers: Mapping[str, str] | None = None) -> None:
        self.send_response(status)
        usual = {"Content-Type": "application/json", "Content-Length": str(len(body))}
        for name, value in {**usual, **(headers or {})}.items():
            self.send_header(name, value)
        self.end_headers()
        with suppress(ConnectionError):  # who asked may have had enough
            self.wfile.write(body)
