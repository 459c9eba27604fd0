"""A bucket with S3's wire, in a thread: it checks each signature by itself, lists in pages, and has scripted faults.

Its check of signatures is written from AWS's description, for the server's side, and shares nothing with the connector.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl, quote, unquote
from xml.sax.saxutils import escape

ACCESS, SECRET, REGION = "AKIATESTS", "the secret of these tests", "eu-test-1"


@dataclass
class Bucket:
    """``objects``: key to (bytes, POSIX time). ``page``: keys of a listing. ``fault``: answered in place of that.

    ``after_listing`` and ``after_copying`` are called once, when a listing or a copy was made and before that is told;
    ``empty_pages``: so many pages without an object come before the first; ``slow_seconds``: what each page takes.
    """

    name: str = "rosters"
    port: int = 0
    page: int = 2
    objects: dict[str, tuple[bytes, float]] = field(default_factory=dict)
    asked: list[tuple[str, str]] = field(default_factory=list)
    while_reading: Callable[[], None] | None = None
    after_listing: Callable[[], None] | None = None
    after_copying: Callable[[], None] | None = None
    fault: tuple[int, bytes] | None = None
    cut: bool = False
    empty_pages: float = 0
    slow_seconds: float = 0.0

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def place(self, **values: Any) -> dict[str, Any]:
        given = {"kind": "s3", "endpoint": self.endpoint, "region": REGION, "bucket": self.name}
        return given | values


def tag(data: bytes) -> str:
    return f'"{hashlib.md5(data).hexdigest()}"'


def _refused(code: str) -> bytes:
    return f"<?xml version='1.0'?><Error><Code>{code}</Code></Error>".encode()


def _listed(following: str, parts: str) -> bytes:
    token = f"<NextContinuationToken>{escape(following)}</NextContinuationToken>" if following else ""
    return (
        '<?xml version="1.0" encoding="UTF-8"?><ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/">'
        f"<IsTruncated>{str(bool(following)).lower()}</IsTruncated>{token}{parts}</ListBucketResult>"
    ).encode()


class _Handler(BaseHTTPRequestHandler):
    bucket: Bucket
    protocol_version = "HTTP/1.1"

    def _signed(self) -> str | None:
        """The code of what is wrong with the signature; None for nothing."""
        found = re.fullmatch(
            r"AWS4-HMAC-SHA256 Credential=([^/]+)/(\d{8})/([^/]+)/s3/aws4_request, ?SignedHeaders=([^,]+), ?"
            r"Signature=([0-9a-f]{64})", self.headers.get("Authorization", ""),
        )  # fmt: skip
        if found is None:
            return "AccessDenied"
        access, day, region, names, signature = found.groups()
        stamp = self.headers["x-amz-date"]
        if access != ACCESS or region != REGION:
            return "InvalidAccessKeyId"
        if abs((datetime.strptime(stamp, "%Y%m%dT%H%M%S%z") - datetime.now(UTC)).total_seconds()) > 900:
            return "RequestTimeTooSkewed"
        must = {"host", "x-amz-date", *(n.lower() for n in self.headers if n.lower().startswith("x-amz-"))}
        if not must <= set(names.split(";")) or stamp[:8] != day:
            return "SignatureDoesNotMatch"
        path, _, query = self.path.partition("?")
        pairs = parse_qsl(query, keep_blank_values=True)
        query = "&".join(sorted(f"{quote(n, safe='-_.~')}={quote(v, safe='-_.~')}" for n, v in pairs))
        lines = [f"{n}:{self.headers[n].strip()}" for n in names.split(";")]
        request = "\n".join([self.command, path, query, *lines, "", names, self.headers["x-amz-content-sha256"]])
        scope = f"{day}/{region}/s3/aws4_request"
        to_sign = f"AWS4-HMAC-SHA256\n{stamp}\n{scope}\n{hashlib.sha256(request.encode()).hexdigest()}"
        key = ("AWS4" + SECRET).encode()
        for part in (day, region, "s3", "aws4_request"):
            key = hmac.new(key, part.encode(), hashlib.sha256).digest()
        right = hmac.new(key, to_sign.encode(), hashlib.sha256).hexdigest()
        return None if hmac.compare_digest(right, signature) else "SignatureDoesNotMatch"

    def _answer(self, status: int, body: bytes = b"", **headers: str) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.bucket.cut and len(body) > 1000:
            self.bucket.cut = False
            self.wfile.write(body[: len(body) // 2])
            self.wfile.flush()
            self.connection.shutdown(socket.SHUT_RDWR)
            self.close_connection = True
            return
        self.wfile.write(body)

    def _key(self) -> str | None:
        """The object's key; empty for the bucket."""
        path = unquote(self.path.partition("?")[0])
        if self.headers["Host"].startswith(f"{self.bucket.name}."):
            return path[1:]
        whole, key = f"/{self.bucket.name}", path.removeprefix(f"/{self.bucket.name}/")
        return "" if path == whole else key if path.startswith(f"{whole}/") else None

    def _admitted(self) -> str | None:
        self.bucket.asked.append((self.command, self.path))
        if self.bucket.fault is not None:
            self._answer(*self.bucket.fault)
            return None
        if (wrong := self._signed()) is not None:
            self._answer(403, _refused(wrong))
            return None
        if (key := self._key()) is None:
            self._answer(404, _refused("NoSuchBucket"))
        return key

    def do_GET(self) -> None:
        key = self._admitted()
        if key is None:
            return
        if not key:
            listing = self._listing()
            if self.bucket.after_listing is not None:
                act, self.bucket.after_listing = self.bucket.after_listing, None
                act()
            self._answer(200, listing)
            return
        found = self.bucket.objects.get(key)
        if found is None or self.headers.get("If-Match") not in (None, tag(found[0])):
            self._answer(404 if found is None else 412, _refused("NoSuchKey"))
            return
        first, last = re.fullmatch(r"bytes=(\d+)-(\d+)", self.headers["Range"]).groups()  # type: ignore[union-attr]
        self._answer(206, found[0][int(first) : int(last) + 1], ETag=tag(found[0]))
        if self.bucket.while_reading is not None:
            act, self.bucket.while_reading = self.bucket.while_reading, None
            act()

    def _listing(self) -> bytes:
        query = dict(parse_qsl(self.path.partition("?")[2]))
        time.sleep(self.bucket.slow_seconds)
        number = int(query["continuation-token"][1:]) if query.get("continuation-token", "").startswith("@") else 0
        if number < self.bucket.empty_pages:
            return _listed(f"@{number + 1}", "<CommonPrefixes><Prefix>deep/</Prefix></CommonPrefixes>")
        keys = sorted(k for k in self.bucket.objects if k.startswith(query.get("prefix", "")))
        after = "" if number else query.get("continuation-token", "")
        rest = [k for k in keys if k > after]
        shown = rest[: self.bucket.page]
        parts = "".join(
            f"<Contents><Key>{escape(k)}</Key><LastModified>"
            f"{datetime.fromtimestamp(self.bucket.objects[k][1], UTC):%Y-%m-%dT%H:%M:%S.000Z}</LastModified>"
            f"<ETag>{escape(tag(self.bucket.objects[k][0]))}</ETag><Size>{len(self.bucket.objects[k][0])}</Size></Contents>"
            for k in shown
        )
        return _listed(shown[-1] if len(rest) > len(shown) else "", parts)

    def do_PUT(self) -> None:
        key = self._admitted()
        if key is None:
            return
        source = unquote(self.headers["x-amz-copy-source"]).removeprefix(f"/{self.bucket.name}/")
        found = self.bucket.objects.get(source)
        if found is None or self.headers.get("x-amz-copy-source-if-match") != tag(found[0]):
            self._answer(412, _refused("PreconditionFailed"))
            return
        self.bucket.objects[key] = found
        if self.bucket.after_copying is not None:
            act, self.bucket.after_copying = self.bucket.after_copying, None
            act()
        self._answer(200, b"<CopyObjectResult/>")

    def do_HEAD(self) -> None:
        key = self._admitted()
        if key is not None:
            found = self.bucket.objects.get(key)
            self._answer(404) if found is None else self._answer(200, ETag=tag(found[0]))

    def do_DELETE(self) -> None:
        key = self._admitted()
        if key is not None:
            self.bucket.objects.pop(key, None)
            self._answer(204)

    def log_message(self, *_: Any) -> None:
        """Says nothing."""


@contextmanager
def running() -> Iterator[Bucket]:
    bucket = Bucket()
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"bucket": bucket}))
    server.daemon_threads = True
    bucket.port = server.server_address[1]
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield bucket
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
