"""HTTP/1.1 on a connection that stands: a request and its answer, one after the other.

What answers say is read by llhttp (httptools). Nothing that comes may cost more than it is worth: the head of an answer
is bounded, of its body no more than the first 16 kB is read, for two seconds at most, and after anything that is not
a whole answer and nothing else the connection is ended. Once a status line came, whatever goes wrong behind it is of no
interest: the receiver has answered.
"""

from __future__ import annotations

import asyncio
from typing import Any

from aiohttp.connector import Connection
from httptools import HttpParserError, HttpParserUpgrade, HttpResponseParser

from hub.webhooks.failure import EarlyTimeoutError
from hub.webhooks.request import Patience

MOST_ANSWER_BYTES = 16_384
#: Of the head of an answer; for each interim one (100 to 199) anew.
MOST_HEAD_BYTES = 65_536
DRAIN_SECONDS = 2.0
_FINAL, _SWITCHING = 200, 101


class ProtocolError(Exception):
    """What came is no answer of HTTP/1.1, or none that anybody should have to read."""


class Line(asyncio.BufferedProtocol):
    """One connection. ``connection`` is aiohttp's, which dialled it and hears of its end.

    ``peer``: who is at the other end. Of the last answer: ``status``, None where none came; ``retry_after`` as it was
    written; ``told``, the first bytes of its body; ``kept``, whether the connection can serve again.
    """

    def __init__(self, connection: Connection) -> None:
        dialled, transport = connection.protocol, connection.transport
        if dialled is None or transport is None or transport.is_closing():
            raise ConnectionResetError("it was closed as soon as it stood")
        if dialled.should_close:
            raise ProtocolError("it spoke before it was asked")
        self._connection, self._dialled, self._transport = connection, dialled, transport
        self._loop = asyncio.get_running_loop()
        self._view = memoryview(bytearray(MOST_ANSWER_BYTES))
        self._parser: Any = HttpResponseParser(self)
        self._answered: asyncio.Future[None] | None = None
        self._ends: asyncio.TimerHandle | None = None
        self._draining: asyncio.TimerHandle | None = None
        self.idle_since = 0.0
        peer = transport.get_extra_info("peername")
        self.peer = str(peer[0]).partition("%")[0] if peer else None
        self._begin()
        transport.set_protocol(self)

    def _begin(self) -> None:
        self.status: int | None = None
        self.retry_after: bytes | None = None
        self.told = b""
        self.kept = False
        self._head_bytes = 0
        self._interim = self._ended = self._surplus = self._lasts = False

    @property
    def open(self) -> bool:
        """Whether a request may go out on it."""
        return not self._transport.is_closing()

    def ask(self, request: bytes, until: float, patience: Patience | None = None) -> asyncio.Future[None]:
        """Sends a request; done once it was answered. ``until``: by the loop's clock.

        Its error is TimeoutError (EarlyTimeoutError where ``patience`` was over before), OSError (ssl.SSLError too),
        or one that says that no HTTP came. Who does not wait to the end has to ``close``.
        """
        self._begin()
        self._answered = answered = self._loop.create_future()
        soon = until if patience is None else self._loop.time() + patience.seconds
        if patience is None or soon >= until:
            self._ends = self._loop.call_at(until, self._late)
        else:
            self._ends = self._loop.call_at(soon, self._later_than_usual, until, patience)
        self._transport.write(request)
        return answered

    def close(self) -> None:
        """Ends the connection. What was not sent yet is not waited for: nobody says that it is ever read."""
        if self._transport.get_write_buffer_size():
            self._transport.abort()
        self._connection.close()
        self._forget()

    # What the transport tells.

    def get_buffer(self, sizehint: int) -> memoryview:
        """Where what arrives is put."""
        del sizehint
        return self._view

    def buffer_updated(self, nbytes: int) -> None:
        """Something arrived."""
        if self._answered is None:
            self.close()  # nobody has asked for anything
            return
        self._head_bytes += nbytes
        try:
            self._parser.feed_data(self._view[:nbytes])
        except HttpParserUpgrade:
            self._stop(ProtocolError("it speaks something else from here on"))  # 101, for which nobody has asked
        except HttpParserError as error:
            self._stop(error)
        else:
            self._arrived()

    def _arrived(self) -> None:
        if self._ended:
            self._finish(keep=self._lasts and not self._surplus)
        elif self.status is None:
            if self._head_bytes > MOST_HEAD_BYTES:
                self._stop(ProtocolError("the head of the answer does not end"))
        elif len(self.told) >= MOST_ANSWER_BYTES:
            self._finish()
        elif self._draining is None:
            self._draining = self._loop.call_later(DRAIN_SECONDS, self._finish)

    def eof_received(self) -> None:
        """The receiver says no more."""
        self._stop(ConnectionResetError("it was closed before the answer"))

    def connection_lost(self, exc: Exception | None) -> None:
        """It has ended."""
        self._dialled.connection_lost(exc)
        self._connection.close()
        self._stop(exc or ConnectionResetError("it was closed before the answer"))

    # What the parser tells.

    def on_message_begin(self) -> None:
        """An answer begins."""
        self._surplus = self._ended

    def on_header(self, name: bytes, value: bytes) -> None:
        """A field of the head, or one behind the body."""
        if self.status is None and self.retry_after is None and name.lower() == b"retry-after":
            self.retry_after = value

    def on_headers_complete(self) -> None:
        """The head is whole."""
        code: int = self._parser.get_status_code()
        if self._ended:
            return
        if code < _FINAL and code != _SWITCHING:
            self._interim, self.retry_after, self._head_bytes = True, None, 0
        else:
            self.status = code

    def on_body(self, body: bytes) -> None:
        """A piece of the body."""
        if not self._ended and len(self.told) < MOST_ANSWER_BYTES:
            self.told += body[: MOST_ANSWER_BYTES - len(self.told)]

    def on_message_complete(self) -> None:
        """The answer is whole."""
        if self._interim:
            self._interim = False
        elif not self._ended:
            self._ended, self._lasts = True, self._parser.should_keep_alive()

    # How it ends.

    def _later_than_usual(self, until: float, patience: Patience) -> None:
        if self.status is None and patience.is_over():
            self._stop(EarlyTimeoutError("no answer within its usual time"))
        else:
            self._ends = self._loop.call_at(until, self._late)

    def _late(self) -> None:
        self._stop(TimeoutError("no answer in time"))

    def _stop(self, error: Exception) -> None:
        """Nothing more will come, or nothing that may: without a status line that is a failure."""
        if self.status is not None:
            self._finish()
        elif self._answered is not None:
            answered = self._answered
            self.close()
            if not answered.done():
                answered.set_exception(error)

    def _finish(self, *, keep: bool = False) -> None:
        answered = self._answered
        if answered is None:
            return
        # An answer that came before all was sent: what is left of the request must not stand before the next one.
        self.kept = keep and self.open and not self._transport.get_write_buffer_size()
        if self.kept:
            self._forget()
        else:
            self.close()
        if not answered.done():
            answered.set_result(None)

    def _forget(self) -> None:
        self._answered = None
        if self._ends is not None:
            self._ends.cancel()
            self._ends = None
        if self._draining is not None:
            self._draining.cancel()
            self._draining = None
