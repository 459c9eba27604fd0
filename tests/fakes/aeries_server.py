"""Aeries' API 5 over HTTP for one district: certificates, windows of students, lists of changes, and oddities.

It knows nothing of our connector: a thread with the standard library's server, and objects as Aeries' articles have
them.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta, timezone
from typing import Any
from urllib.parse import parse_qs, urlsplit

from tests.fakes.listening import Answering, listening

CERTIFICATE = "477abe9e7d27439681d62f4e0de1f5e1"
START = datetime(2026, 3, 2, 6, tzinfo=UTC)
PACIFIC = timezone(timedelta(hours=-8))
Object = dict[str, Any]
_OF_SCHOOLS = ("students", "contacts", "teachers", "sections", "classes")
#: Which list of changes tells of a list; those of students name students.
_TOLD = {"students": "StudentDataChanges/student", "contacts": "StudentDataChanges/contact",
         "classes": "StudentDataChanges/class", "sections": "SectionDataChanges", "courses": "CourseDataChanges",
         "staff": "StaffDataChanges"}  # fmt: skip
_CHANGES = {*_TOLD.values(), "StudentDataChanges/enrollment", "SectionRosterDataChanges"}


@dataclass
class Quirks:
    """What is odd. ``windows``: what becomes of StartingRecord and EndingRecord ("known", "ignored", "end alone").

    ``cap``: most records of a window. ``off``, ``missing``, ``forbidden``: lists that answer 501, 404, 403.
    ``system``: whether there is a systeminfo. ``old_names``: PermanentID instead of StudentID. ``bare``: lists of
    changes name ids alone. ``silent``: 404 without Aeries' own message.
    """

    windows: str = "known"
    cap: int = 1_000_000
    off: set[str] = field(default_factory=set)
    missing: set[str] = field(default_factory=set)
    forbidden: set[str] = field(default_factory=set)
    system: bool = True
    old_names: bool = False
    bare: bool = False
    silent: bool = False


@dataclass(frozen=True)
class Asked:
    """One request: its path behind the version, and its query."""

    path: str
    query: dict[str, str]


@dataclass
class Server:
    """``objects``: by list. ``happened``: what changed, as (list of changes, time of the server's clock, object).

    ``instead``: what stands, with status 200, where an answer should be.
    """

    objects: dict[str, list[Object]]
    quirks: Quirks = field(default_factory=Quirks)
    url: str = ""
    now: datetime = START
    zone: timezone = PACIFIC
    certificates: set[str] = field(default_factory=lambda: {CERTIFICATE})
    happened: list[tuple[str, datetime, Object]] = field(default_factory=list)
    asked: list[Asked] = field(default_factory=list)
    before: Callable[[Asked], None] = lambda _asked: None
    instead: Callable[[Asked], Any] = lambda _asked: None
    lock: threading.RLock = field(default_factory=threading.RLock)

    def local(self) -> datetime:
        """The time on the server's wall."""
        return self.now.astimezone(self.zone).replace(tzinfo=None)

    def put(self, name: str, match: Object, **members: Any) -> None:
        """Changes the objects of a list that have some members, or adds one."""
        with self.lock:
            found = [one for one in self.objects[name] if all(one.get(n) == v for n, v in match.items())]
            if not found:
                found = [dict(match)]
                self.objects[name] += found
            for one in found:
                one.update(members)
                if name in _TOLD:
                    self.happened.append((_TOLD[name], self.local(), dict(one)))

    def drop(self, name: str, match: Object) -> None:
        """Deletes the objects of a list that have some members. Aeries tells nobody."""
        with self.lock:
            self.objects[name] = [one for one in self.objects[name] if any(one.get(n) != v for n, v in match.items())]


@contextmanager
def running(server: Server) -> Iterator[Server]:
    """The server on a port of this machine."""
    with listening(_Handler, aeries=server) as url:
        server.url = url + "/aeries"
        yield server


class _Handler(Answering):
    aeries: Server

    def now(self) -> datetime:
        return self.aeries.now

    def do_GET(self) -> None:
        parts = urlsplit(self.path)
        query = {name: values[0] for name, values in parse_qs(parts.query, keep_blank_values=True).items()}
        root, version, path = parts.path.partition("/api/v5/")
        asked = Asked(path, query)
        self.aeries.asked.append(asked)
        self.aeries.before(asked)
        if root != "/aeries" or not version:
            self._answer(404, b"<html>The resource cannot be found.</html>", "text/html")
            return
        with self.aeries.lock:
            wrong = self.aeries.instead(asked)
            status, body = self._found(path, query) if wrong is None else (200, wrong)
        data = json.dumps(self._named(body)).encode()
        if status == 404 and self.aeries.quirks.silent:
            self._answer(404, b"<html>not found</html>", "text/html")
        else:
            self._answer(status, data, "application/json; charset=utf-8")

    def _found(self, path: str, query: dict[str, str]) -> tuple[int, Any]:
        quirks = self.aeries.quirks
        if path == "systeminfo" and quirks.system:
            clock = self.aeries.now.astimezone(self.aeries.zone)
            shown = clock.strftime("%Y-%m-%dT%H:%M:%S.9539491") + clock.strftime("%z")[:3] + ":00"
            return 200, {"AeriesVersion": "9.25.1", "DatabaseYear": "2025-2026", "CurrentDateTime": shown,
                         "AvailableDatabaseYears": ["2025-2026", "2024-2025"]}  # fmt: skip
        if self.headers.get("AERIES-CERT") not in self.aeries.certificates:
            return 401, {"Message": "Invalid certificate."}
        parts = path.split("/")
        name = parts[2] if parts[0] == "schools" and len(parts) > 2 else parts[0]
        name = "/".join(parts[:2]) if name == "StudentDataChanges" else name
        for status, names in ((501, quirks.off), (404, quirks.missing), (403, quirks.forbidden)):
            if name in names:
                return status, {"Message": "No."}
        if name in _CHANGES:
            return self._changes(name, parts[-5:])
        if name in _OF_SCHOOLS and parts[1].isdecimal():
            return self._of_school(name, int(parts[1]), parts[3:], query)
        if path in {"schools", "staff", "courses"}:
            return 200, self.aeries.objects[path]
        return 404, {"Message": "There is nothing here."}

    def _of_school(self, name: str, school: int, rest: list[str], query: dict[str, str]) -> tuple[int, Any]:
        found = self.aeries.objects[name]
        if name in {"students", "contacts"} and rest:  # a student's own, whatever the school
            mine = [one for one in found if str(one["StudentID"]) == rest[0]]
            return (200, mine) if mine or name == "contacts" else (404, {"Message": "Invalid Student ID"})
        found = [one for one in found if one["SchoolCode"] == school]
        quirks = self.aeries.quirks
        if name == "students" and "StartingRecord" in query and quirks.windows != "ignored":
            first, last = int(query["StartingRecord"]), int(query["EndingRecord"])
            begin = 0 if quirks.windows == "end alone" else first - 1
            found = found[begin : min(last, begin + quirks.cap)]
        return 200, found

    def _changes(self, name: str, minute: list[str]) -> tuple[int, Any]:
        year, month, day, hour, low = (int(part) for part in minute)
        since = datetime.fromisoformat(f"{year:04}-{month:02}-{day:02}T{hour:02}:{low:02}")
        told = [one for kind, at, one in self.aeries.happened if kind == name and at >= since]
        if name.startswith("StudentDataChanges"):
            ids = list(dict.fromkeys(one["StudentID"] for one in told))
            return 200, ids if self.aeries.quirks.bare else [{"StudentID": one, "SchoolCode": 0} for one in ids]
        names = {"SectionDataChanges": ("SchoolCode", "SectionNumber")}.get(name, ("ID",))
        return 200, [{n: one.get(n) for n in names} for one in told]

    def _named(self, body: Any) -> Any:
        if not self.aeries.quirks.old_names or not isinstance(body, list):
            return body
        objects = [one for one in body if isinstance(one, dict)]
        return [{("PermanentID" if n == "StudentID" else n): v for n, v in one.items()} for one in objects]

    def _answer(self, status: int, data: bytes, kind: str) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        with suppress(ConnectionError):  # who asked may have had enough
            self.wfile.write(data)
