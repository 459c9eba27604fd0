"""A PowerSchool over HTTP: a plugin is installed in it, whose SQL it runs on tables like PowerSchool's own.

It knows nothing of our connector but what stands in the plugin's archive: fields that may be read, PowerQueries by
name. Oddities of such servers are switches.
"""

from __future__ import annotations

import base64
import io
import json
import re
import sqlite3
import threading
import zipfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import parse_qs, urlsplit
from urllib.request import Request, urlopen
from xml.etree import ElementTree as ET

from tests.fakes.listening import Answering, listening

CLIENT, SECRET = "382966ec-7b62-4aa4", "019080b5-8b37-454e"
START = datetime(2026, 3, 2, 6, tzinfo=UTC)
_FIELD = re.compile(r"\b([a-z][a-z0-9_]*)\.([a-z][a-z0-9_]*)\b")
_SPACE = "{http://plugin.powerschool.pearson.com}"
#: Tables with their columns; the first one names a row in the records of what changed.
TABLES: Mapping[str, str] = {
    "prefs": "id name value", "schools": "dcid school_number name",
    "terms": "dcid id schoolid yearid name portion firstday lastday",
    "courses": "dcid course_number course_name schoolid sched_coursesubjectareacode",
    "sections": "dcid id section_number course_number schoolid termid expression room grade_level",
    "students": "dcid id student_number first_name middle_name last_name grade_level enroll_status schoolid "
    "student_web_id dob gender ethnicity fedethnicity",
    "users": "dcid homeschoolid first_name middle_name last_name email_addr teachernumber loginid teacherloginid",
    "schoolstaff": "dcid id users_dcid schoolid status staffstatus",
    "cc": "dcid id studentid sectionid schoolid termid dateenrolled dateleft",
    "sectionteacher": "id sectionid teacherid roleid start_date end_date", "roledef": "id name",
    "guardian": "guardianid firstname middlename lastname accountidentifier",
    "guardianpersonassoc": "guardianpersonassocid guardianid personid",
    "studentcontactassoc": "studentcontactassocid studentdcid personid",
    "pcas_account": "pcas_accountid pcas_accounttoken username isenabled",
    "pcas_emailcontact": "pcas_emailcontactid pcas_accountid emailaddress",
    "studentrace": "id studentid racecd", "u_studentsuserfields": "studentsdcid student_email",
    "psm_studentcontact": "id studentid email studentcontacttypeid", "psm_studentcontacttype": "id name",
    "sync_studentmap": "id studentid studentsdcid",
}  # fmt: skip
_TEXTS = frozenset({"student_number", "course_number", "section_number", "teachernumber", "value", "racecd", "name"})


@dataclass
class Quirks:
    """What is odd about a server. ``cap``: rows that a page has at most, whatever was asked for."""

    ceiling: int | None = 100
    cap: int = 1_000_000
    numbers: bool = False  # numbers as numbers, not as text
    nested: bool = False  # rows below "tables", as of queries that are not flattened
    versions: str = "known"  # "refused", "ignored"
    look: bool = True  # /ws/dataversion
    clock: str = "iso"  # "milliseconds", "none", "words"
    schema: bool = True  # /ws/schema/table/…/metadata
    events: bool = True  # the plugin may subscribe
    skew: timedelta = timedelta(0)


@dataclass(frozen=True)
class Asked:
    """One request, by what it is about: a query's last names, or the path. ``number``: of its name so far, from 0."""

    name: str
    number: int
    query: dict[str, str]
    body: dict[str, Any]


@dataclass(frozen=True)
class Installed:
    """One PowerQuery of the plugin."""

    columns: tuple[str, ...]
    arguments: tuple[str, ...]
    sql: str


@dataclass
class Server:
    """``denied``: fields (``TABLE.FIELD``) that an administrator took from the plugin, whatever it asks for.

    ``instead``: what stands, with status 200, where an answer should be.
    """

    quirks: Quirks = field(default_factory=Quirks)
    url: str = ""
    now: datetime = START
    asked: list[Asked] = field(default_factory=list)
    queries: dict[str, Installed] = field(default_factory=dict)
    access: set[str] = field(default_factory=set)
    denied: set[str] = field(default_factory=set)
    tokens: set[str] = field(default_factory=set)
    issued: int = 0
    version: int = 16_404_886
    subscription: str = "RosterHub"
    changed: dict[str, dict[int, int]] = field(default_factory=dict)
    events: dict[str, Any] | None = None  # the plugin's subscription, as it was put
    before: Callable[[Asked], None] = lambda _asked: None
    status: Callable[[Asked], int] = lambda _asked: 200
    instead: Callable[[Asked], Any] = lambda _asked: None
    lock: threading.RLock = field(default_factory=threading.RLock)
    database: sqlite3.Connection = field(init=False)

    def __post_init__(self) -> None:
        self.database = sqlite3.connect(":memory:", check_same_thread=False)
        self.database.create_function("to_char", 2, lambda value, _form: value, deterministic=True)
        for name, columns in TABLES.items():
            first, *others = columns.split()
            typed = "".join(f", {one} {'TEXT' if one in _TEXTS else ''}" for one in others)
            self.database.execute(f"CREATE TABLE {name} ({first} INTEGER PRIMARY KEY{typed})")

    def put(self, table: str, *rows: Mapping[str, Any]) -> None:
        """Makes or changes rows."""
        with self.lock:
            for row in rows:
                names = ", ".join(row)
                marks = ", ".join("?" * len(row))
                key = TABLES[table].split()[0]
                new = ", ".join(f"{name} = excluded.{name}" for name in row)
                self.database.execute(
                    f"INSERT INTO {table} ({names}) VALUES ({marks}) ON CONFLICT ({key}) DO UPDATE SET {new}",
                    list(row.values()),
                )
                self._note(table, row[key])

    def drop(self, table: str, key: int) -> None:
        """Deletes a row, of which no data version tells."""
        with self.lock:
            self.database.execute(f"DELETE FROM {table} WHERE {TABLES[table].split()[0]} = ?", [key])

    def of(self, table: str, where: str = "1 = 1") -> list[dict[str, Any]]:
        """Rows of a table."""
        with self.lock:
            found = self.database.execute(f"SELECT {', '.join(TABLES[table].split())} FROM {table} WHERE {where}")
            return [dict(zip(TABLES[table].split(), row, strict=True)) for row in found]

    def _note(self, table: str, key: int) -> None:
        self.version += 1
        self.changed.setdefault(table, {})[key] = self.version

    def send(self, resource: str, event_type: str, place: str, **more: Any) -> int:
        """Sends an event to who subscribed to it, at ``place`` (the hub's address); the status of the answer.

        How PowerSchool writes events is in no public material: that they are JSON, with the subscription's key, is all
        that this has of them.
        """
        assert self.events is not None
        names = {(one["resource"].removesuffix("/*"), one["event_type"]) for one in self.events["event_subscription"]}
        assert (resource.rpartition("/")[0], event_type) in names
        body = {"key": self.events["key"], "events": [{"ref": resource, "event_type": event_type, **more}]}
        url = place + urlsplit(self.events["callback_url"]).path
        headers = {"Content-Type": "application/json"}
        with urlopen(Request(url, json.dumps(body).encode(), headers, method="POST"), timeout=10) as answer:
            return int(answer.status)

    def count(self, name: str) -> int:
        """How often something was asked for."""
        return sum(one.name == name for one in self.asked)

    def install(self, archive: bytes) -> None:
        """Installs the plugin, or refuses it as PowerSchool's own checks would. Raises ValueError."""
        with zipfile.ZipFile(io.BytesIO(archive)) as files:
            plugin = ET.fromstring(files.read("plugin.xml"))
            named = [name for name in files.namelist() if name.startswith("queries_root/")]
            sheets = [ET.fromstring(files.read(name)) for name in named]
        if plugin.tag != f"{_SPACE}plugin" or plugin.find(f"{_SPACE}oauth") is None or not plugin.get("version"):
            raise ValueError("no plugin for OAuth")
        asked = plugin.findall(f"{_SPACE}access_request/{_SPACE}field")
        if {one.get("access") for one in asked} != {"ViewOnly"}:
            raise ValueError("more than reading is asked for")
        self.access = {f"{one.get('table')}.{one.get('field')}".upper() for one in asked}
        self.queries = {}
        for query in (one for sheet in sheets for one in sheet.findall("query")):
            self.queries[str(query.get("name"))] = self._checked(query)

    def _checked(self, query: ET.Element) -> Installed:
        name, sql = str(query.get("name")), (query.findtext("sql") or "").strip()
        columns = [(str(one.text), str(one.get("column")).lower()) for one in query.findall("columns/column")]
        aliases = tuple(alias for alias, _ in columns)
        known = {f"{table}.{one}" for table, names in TABLES.items() for one in names.split()}
        if len(name.split(".")) != 5 or query.get("coreTable") not in TABLES or len(set(aliases)) != len(aliases):
            raise ValueError(f"{name}: names")
        if unknown := {column for _, column in columns} - known:
            raise ValueError(f"{name}: no column {min(unknown)}")
        if "order by" not in sql:
            raise ValueError(f"{name}: pages would overlap")
        shown = len(query.findtext("summary") or "")
        if shown > 50:
            raise ValueError(f"{name}: a summary has 50 characters")
        arguments = tuple(str(one.get("name")) for one in query.findall("args/arg"))
        if set(re.findall(r":([a-z]+)", sql)) != set(arguments):
            raise ValueError(f"{name}: arguments")
        return Installed(aliases, arguments, sql)

    def rows(self, query: Installed, body: Mapping[str, Any]) -> list[dict[str, Any]]:
        """The rows of a query. Raises ValueError for arguments that are missing, sqlite3.Error for wrong SQL."""
        if missing := [name for name in query.arguments if name not in body]:
            raise ValueError(missing[0])
        sql, values = query.sql, {}
        for name in query.arguments:
            if isinstance(body[name], list):
                sql = sql.replace(f":{name}", ", ".join(str(int(one)) for one in body[name]))
            else:
                values[name] = int(body[name])
        if "$dataversion" in body and self.quirks.versions == "known":
            sql = self._restricted(sql, int(body["$dataversion"]))
        with self.lock:
            found = self.database.execute(sql, values).fetchall()
        return [dict(zip(query.columns, row, strict=True)) for row in found]

    def _restricted(self, sql: str, since: int) -> str:
        """The statement for rows of which at least one table's row changed since."""
        flat = re.sub(r"\([^()]*\)", "", sql)
        flat = re.sub(r"\([^()]*\)", "", flat)
        conditions = []
        for table in re.findall(r"(?:from|join) ([a-z_]+)", flat):
            keys = [key for key, version in self.changed.get(table, {}).items() if version > since]
            conditions.append(f"{table}.{TABLES[table].split()[0]} in ({', '.join(map(str, keys))})")
        head, _, order = sql.rpartition("order by")
        joined = " and " if "\nwhere " in head else "\nwhere "
        return f"{head.rstrip()}{joined}({' or '.join(conditions)})\norder by {order}"

    def permitted(self, query: Installed) -> bool:
        """Whether the plugin may read all that a query reads."""
        used = {f"{table}.{name}".upper() for table, name in _FIELD.findall(query.sql)}
        return used <= self.access - self.denied


@contextmanager
def running(server: Server) -> Iterator[Server]:
    """The server on a port of this machine."""
    with listening(Handler, sis=server) as url:
        server.url = url
        yield server
    server.database.close()


def encoded(body: Any) -> bytes:
    """The bytes of an answer; those that are made already as they are."""
    return body if isinstance(body, bytes) else json.dumps(body).encode()


class Handler(Answering):
    """Answers for the server ``sis``."""

    sis: Server

    def now(self) -> datetime:
        return self.sis.now + self.sis.quirks.skew

    def do_GET(self) -> None:
        self._handle(b"")

    def do_POST(self) -> None:
        self._handle(self.rfile.read(int(self.headers.get("Content-Length", 0))))

    def do_PUT(self) -> None:
        self._handle(self.rfile.read(int(self.headers.get("Content-Length", 0))))

    def do_DELETE(self) -> None:
        self._handle(b"")

    def _handle(self, sent: bytes) -> None:
        parts = urlsplit(self.path)
        if parts.path.rstrip("/") == "/oauth/access_token":
            self._answer(*self._token(sent))
            return
        query = {name: values[0] for name, values in parse_qs(parts.query).items()}
        name = parts.path.removeprefix("/ws/schema/query/")
        if name != parts.path:
            query_name, _, rest = name.partition("/")
            name = query_name.rpartition(".")[2] + (f"/{rest}" if rest else "")
        body = json.loads(sent) if sent else {}
        asked = Asked(name, self.sis.count(name), query, body)
        self.sis.asked.append(asked)
        self.sis.before(asked)
        status = self.sis.status(asked)
        if status == 200 and parts.path != "/ws/v1/time" and not self._known():
            status = 401
        wrong = self.sis.instead(asked) if status == 200 else {"message": "refused"}
        self._answer(*(self._found(parts.path, asked) if wrong is None else (status, wrong)))

    def _token(self, sent: bytes) -> tuple[int, Any]:
        form = {name: values[0] for name, values in parse_qs(sent.decode()).items()}
        basic = "Basic " + base64.b64encode(f"{CLIENT}:{SECRET}".encode()).decode()
        if self.headers.get("Authorization") != basic or form != {"grant_type": "client_credentials"}:
            return 401, {"error": "invalid_client"}
        self.sis.issued += 1
        token = f"00000000-0000-0000-0000-{self.sis.issued:012}"
        self.sis.tokens.add(token)
        return 200, {"access_token": token, "token_type": "Bearer", "expires_in": "2504956"}

    def _known(self) -> bool:
        return self.headers.get("Authorization", "").removeprefix("Bearer ") in self.sis.tokens

    def _found(self, path: str, asked: Asked) -> tuple[int, Any]:
        quirks = self.sis.quirks
        if path == "/ws/v1/time":
            now = self.sis.now + quirks.skew
            forms = {"iso": now.isoformat(), "milliseconds": int(now.timestamp() * 1000), "words": "about noon"}
            return (200, {"time": forms[quirks.clock]}) if quirks.clock in forms else (404, {})
        if path == "/ws/v1/metadata":
            known = {"powerschool_version": "24.9.0", "schema_table_query_max_page_size": quirks.ceiling}
            return 200, {"metadata": known}
        if path == "/ws/v1/event_subscription":
            return self._subscription(asked.body)
        if path.startswith("/ws/dataversion/"):
            return self._look(path)
        if path.startswith("/ws/schema/table/"):
            return self._schema(path.split("/")[4])
        return self._query(path.removeprefix("/ws/schema/query/"), asked)

    def _subscription(self, body: dict[str, Any]) -> tuple[int, Any]:
        if not self.sis.quirks.events:
            return 403, {"message": "Forbidden"}
        before = self.sis.events
        if self.command == "GET":
            return (200, {"event_subscriptions": before}) if before else (404, {})
        self.sis.events = body["event_subscriptions"] if self.command == "PUT" else None
        return (201 if before is None and self.command == "PUT" else 204), None

    def _look(self, path: str) -> tuple[int, Any]:
        _, _, _, name, since = path.split("/")
        if not self.sis.quirks.look or name != self.sis.subscription or self.sis.quirks.versions != "known":
            return 404, {}
        tables = {
            table: [key for key, version in keys.items() if version > int(since)]
            for table, keys in self.sis.changed.items()
        }
        return 200, {"$dataversion": str(self.sis.version), "tables": {n: keys for n, keys in tables.items() if keys}}

    def _schema(self, table: str) -> tuple[int, Any]:
        if not self.sis.quirks.schema:
            return 403, {}
        if table not in TABLES:
            return 404, {}
        kept = self.sis.access - self.sis.denied
        columns = [
            {"name": one.upper(), "access": "ViewOnly" if f"{table}.{one}".upper() in kept else "NoAccess"}
            for one in TABLES[table].split()
        ]
        return 200, {"name": table.upper(), "columns": columns}

    def _query(self, path: str, asked: Asked) -> tuple[int, Any]:
        name, _, rest = path.partition("/")
        sis, body = self.sis, asked.body
        query = sis.queries.get(name)
        if query is None:
            return 404, {"message": "Not found"}
        if not sis.permitted(query):
            return 403, {"message": "Access denied"}
        told = "$dataversion" in body and sis.quirks.versions != "ignored"
        if told and (sis.quirks.versions == "refused" or body["$dataversion_applicationname"] != sis.subscription):
            return 400, {"message": "Bad request"}
        with sis.lock:
            try:
                rows = sis.rows(query, body)
            except (ValueError, sqlite3.Error) as error:
                return 400, {"message": str(error)}
            version = sis.version
        if rest == "count":
            return 200, {"count": len(rows)}
        size = min(int(asked.query.get("pagesize", 100)) or len(rows), sis.quirks.cap)
        first = (int(asked.query.get("page", 1)) - 1) * size
        shown: dict[str, Any] = {"name": name, "record": [self._shown(row) for row in rows[first : first + size]]}
        if told:
            shown["$dataversion"] = str(version)
        if not shown["record"]:
            del shown["record"]
        return 200, shown | {"@extensions": ""}

    def _shown(self, row: Mapping[str, Any]) -> dict[str, Any]:
        """Empty columns are left out, as PowerSchool does."""
        quirks = self.sis.quirks
        out = {n: v if quirks.numbers else str(v) for n, v in row.items() if v is not None}
        return {"id": 1, "name": "x", "tables": {"x": out}} if quirks.nested else {"_name": "x", **out}

    def _answer(self, status: int, body: Any) -> None:
        sent = b"" if status == 204 else encoded(body)
        self.send_response(status)
        self.send_header("Content-Type", "application/json;charset=UTF-8")
        self.send_header("Content-Length", str(len(sent)))
        self.end_headers()
        with suppress(ConnectionError):  # who asked may have had enough
            self.wfile.write(sent)
