"""What all fake systems have in common: a server on a port of this machine, and the clock in its answers."""

from __future__ import annotations

import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from email.utils import format_datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path


class Answering(BaseHTTPRequestHandler):
    """Answers requests of one system, by its clock and without a word to the terminal."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = 1 << 16

    def now(self) -> datetime:
        """The system's time."""
        return datetime.now(UTC)

    def log_message(self, *_args: object) -> None:
        """Says nothing."""

    def date_time_string(self, timestamp: float | None = None) -> str:
        return format_datetime(self.now().astimezone(UTC), usegmt=True)


@contextmanager
def listening(handler: type[Answering], certificate: Path | None = None, **bound: object) -> Iterator[str]:
    """The address of a server until the end of the block. ``bound``: what its handlers have as members.

    With a certificate it speaks TLS.
    """
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (handler,), bound))
    server.daemon_threads = True
    if certificate is not None:
        tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        tls.load_cert_chain(certificate)
        server.socket = tls.wrap_socket(server.socket, server_side=True)
        server.handle_error = lambda *_: None  # type: ignore[method-assign]
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield f"{'http' if certificate is None else 'https'}://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
