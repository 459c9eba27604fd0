"""A made-up Example SIS over HTTP, for the tests. Let it answer as the real system was seen to answer."""

from __future__ import annotations

import base64
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, ClassVar
from urllib.parse import parse_qs, urlsplit

CLIENT, SECRET = "hub", "secret-of-the-tests"
PEOPLE = 9
ROWS: dict[str, list[dict[str, Any]]] = {
    "schools": [{"id": "s1", "name": "North School"}],
    "terms": [{"id": "t1", "name": "Year", "begins": "2026-08-01", "ends": "2027-06-30", "year": "2027"}],
    "sections": [
        {"id": f"c{n}", "name": f"Class {n}", "school": "s1", "term": "t1", "course_code": "ART", "course": "Art"}
        for n in range(3)
    ],
    "people": [
        {"id": f"p{n}", "kind": "pupil" if n else "teacher", "first": f"First{n}", "last": f"Last{n}",
         "login": f"login{n}", "email": f"p{n}@school.example", "school": "s1"}
        for n in range(PEOPLE)
    ],
    "memberships": [
        {"id": f"m{n}", "section": f"c{n % 3}", "person": f"p{n}", "kind": "pupil" if n else "teacher", "school": "s1"}
        for n in range(PEOPLE)
    ],
}  # fmt: skip


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = 1 << 16
    rows: ClassVar[dict[str, list[dict[str, Any]]]]

    def log_message(self, *_args: object) -> None:
        """Says nothing."""

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        known = base64.b64encode(f"{CLIENT}:{SECRET}".encode()).decode()
        fits = self.path == "/token" and self.headers["Authorization"] == f"Basic {known}"
        self._answer(200 if fits else 401, {"access_token": "token", "expires_in": 3600} if fits else {})

    def do_GET(self) -> None:
        asked = urlsplit(self.path)
        name = asked.path.removeprefix("/api/")
        query = {key: int(values[0]) for key, values in parse_qs(asked.query).items()}
        if self.headers["Authorization"] != "Bearer token":
            self._answer(401, {})
        elif name not in self.rows:
            self._answer(404, {})
        else:
            start = (query["page"] - 1) * query["size"]
            self._answer(200, {"total": len(self.rows[name]), "rows": self.rows[name][start : start + query["size"]]})

    def _answer(self, status: int, body: Any) -> None:
        data = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)


@contextmanager
def running() -> Iterator[str]:
    """The system on a port of this machine; its address."""

    class Handler(_Handler):
        rows = ROWS

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    server.handle_error = lambda *_: None  # whoever asked may have had enough
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
