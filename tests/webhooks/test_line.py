"""Requests on a connection: what counts as an answer, when a connection serves again, and when it must not."""

from __future__ import annotations

import asyncio
import ipaddress
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import pytest

from hub.webhooks import pools
from hub.webhooks.egress import Answer, Egress
from hub.webhooks.failure import Failure
from hub.webhooks.line import MOST_ANSWER_BYTES, MOST_HEAD_BYTES

ALLOW = (ipaddress.ip_network("127.0.0.0/8"),)
TAKEN = b"HTTP/1.1 204 No Content\r\n\r\n"
HINTS = b"HTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\n"
#: Pieces of an answer, with a moment between two; None hangs up.
Script = Sequence[bytes | None]


@dataclass
class Server:
    """Answers each request by the next script, whatever HTTP says. ``requests``: by connection, in order."""

    scripts: list[Script]
    early: bool = False
    greets: bytes = b""
    url: str = ""
    requests: list[list[bytes]] = field(default_factory=list)
    ended: int = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        mine: list[bytes] = []
        self.requests.append(mine)
        try:
            writer.write(self.greets)
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
                if not self.early:
                    head += await reader.readexactly(length)
                mine.append(head)
                for piece in self.scripts.pop(0) if self.scripts else [TAKEN]:
                    if piece is None:
                        return
                    writer.write(piece)
                    await writer.drain()
                    await asyncio.sleep(0.02)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            self.ended += 1
            writer.close()


@asynccontextmanager
async def server(
    *scripts: Script, early: bool = False, greets: bytes = b"", seconds: float = 2, concurrency: int = 64
) -> AsyncIterator[tuple[Server, Egress]]:
    """A server by scripts, and a way out to it."""
    value = Server(list(scripts), early, greets)
    listening = await asyncio.start_server(value.serve, "127.0.0.1", 0)
    value.url = f"http://127.0.0.1:{listening.sockets[0].getsockname()[1]}/hook?a=b%20c"
    async with listening, Egress(allow=ALLOW, timeout=seconds, concurrency=concurrency) as egress:
        yield value, egress


async def until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(5):
        while not holds():
            await asyncio.sleep(0.01)


async def test_a_request_is_written_as_it_should_be_and_a_connection_serves_again() -> None:
    async with server() as (there, egress):
        for _ in range(3):
            assert (await egress.post(there.url, b'{"a":1}', {"webhook-id": "msg_1"})).remote_ip == "127.0.0.1"
    ((first, *more),) = there.requests
    head, _, body = first.partition(b"\r\n\r\n")
    line, *fields = head.decode().split("\r\n")
    assert line == "POST /hook?a=b%20c HTTP/1.1"
    names = [field.partition(": ")[0].lower() for field in fields]
    assert sorted(names) == sorted(
        ["host", "user-agent", "accept", "accept-encoding", "content-type", "webhook-id", "content-length"]
    )
    assert f"Host: {there.url.split('/')[2]}" in fields
    assert "accept-encoding: identity" in fields
    assert "Content-Length: 7" in fields
    assert body == b'{"a":1}'
    assert more == [first, first]


@pytest.mark.parametrize(
    ("pieces", "status", "told", "again"),
    [([b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n2;x=y\r\nde\r\n0\r\ntrailer: x\r\n\r\n"], 200,
      b"abcde", True),
     ([b"HTTP/1.1 200 OK\r\ncontent-le", b"ngth: 3\r\n\r", b"\nab", b"c"], 200, b"abc", True),
     ([b"HTTP/1.1 100 Continue\r\n\r\n", HINTS + b"HTTP/1.1 201 Made\r\ncontent-length: 1\r\n\r\nx"], 201, b"x", True),
     ([b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 2\r\n\r\nok"], 200, b"ok", False),
     ([b"HTTP/1.0 200 OK\r\ncontent-length: 2\r\n\r\nok"], 200, b"ok", False),
     ([b"HTTP/1.0 200 OK\r\nconnection: keep-alive\r\ncontent-length: 2\r\n\r\nok"], 200, b"ok", True),
     ([b"HTTP/1.1 200 OK\r\n\r\nto the end", None], 200, b"to the end", False),
     ([b"HTTP/1.1 200 OK\r\ncontent-length: 50\r\n\r\nhalf", None], 200, b"half", False),
     ([b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\nxyz\r\n"], 200, b"abc", False),
     ([b"HTTP/1.1 304 Not Modified\r\ncontent-length: 50\r\n\r\n"], 304, b"", True),
     ([TAKEN + b"HTTP/1.1 500 No\r\ncontent-length: 0\r\n\r\n"], 204, b"", False),
     ([TAKEN + b"rubbish"], 204, b"", False),
     ([b"HTTP/1.1 101 Switching\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\nbytes"], 101, b"", False),
     ([b"HTTP/1.1 200 OK\r\ncontent-length: 90000\r\n\r\n" + b"x" * 90_000], 200, b"x" * MOST_ANSWER_BYTES, False)],
    ids=["chunked", "in pieces", "interim", "close", "1.0", "1.0 kept", "to the end", "cut off", "bad chunk",
         "no body", "two answers", "surplus", "switching", "long"],
)  # fmt: skip
async def test_what_counts_as_an_answer(pieces: Script, status: int, told: bytes, again: bool) -> None:
    async with server(pieces) as (there, egress):
        answer = await egress.post(there.url, b"{}", {})
        assert (answer.status, answer.body) == (status, told)
        assert answer.failure is (None if 200 <= status < 300 else Failure.STATUS)
        assert (await egress.post(there.url, b"{}", {})).status == 204
        assert len(there.requests) == (1 if again else 2)


@pytest.mark.parametrize(
    "pieces",
    [[b"HTTP/1.1 200 OK\r\ncontent-len", None], [None], [b"HTTP/1.1 100 Continue\r\n\r\n", None],
     [b"HTTP/1.1 200 OK\r\n" + b"x: y\r\n" * (MOST_HEAD_BYTES // 5)],
     [b"HTTP/1.1 200 OK\r\ncontent-length: 3\r\ncontent-length: 5\r\n\r\nabc"],
     [b"HTTP/1.1 200 OK\r\ncontent-length: 3\r\ntransfer-encoding: chunked\r\n\r\nabc"]],
    ids=["half a head", "nothing", "interim alone", "long head", "two lengths", "length and chunks"],
)  # fmt: skip
async def test_what_does_not_count_as_one(pieces: Script) -> None:
    async with server(pieces) as (there, egress):
        answer = await egress.post(there.url, b"{}", {})
        assert (answer.status, answer.failure, answer.remote_ip) == (None, Failure.PROTOCOL, "127.0.0.1")
        assert (await egress.post(there.url, b"{}", {})).status == 204
        assert len(there.requests) == 2


async def test_an_answer_before_all_was_sent_counts_and_the_rest_is_not_sent_before_another_request() -> None:
    refused = b"HTTP/1.1 413 Too Large\r\ncontent-length: 0\r\n\r\n"
    async with server([refused], early=True) as (there, egress):
        started = time.monotonic()
        assert (await egress.post(there.url, b"x" * 20_000_000, {})).status == 413
        assert time.monotonic() - started < 1.5
        there.early = False
        assert (await egress.post(there.url, b"{}", {})).status == 204
    assert len(there.requests) == 2


async def test_who_speaks_unasked_on_a_kept_connection_loses_it() -> None:
    async with server([TAKEN, b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n"]) as (there, egress):
        assert (await egress.post(there.url, b"{}", {})).status == 204
        await until(lambda: there.ended == 1)
        assert (await egress.post(there.url, b"{}", {})).status == 204
    assert len(there.requests) == 2


async def test_an_answer_that_came_too_late_answers_nobody() -> None:
    late = [b"HTTP/1.1 200 OK\r\n", *[b""] * 30, b"content-length: 4\r\n\r\nlate"]
    async with server(late, seconds=0.3) as (there, egress):
        assert (await egress.post(there.url, b"{}", {})).failure is Failure.TIMEOUT_READ
        assert (await egress.post(there.url, b"{}", {})).status == 204
    assert len(there.requests) == 2


async def test_who_gives_up_waiting_leaves_no_answer_to_the_next_one() -> None:
    async with server([*[b""] * 20, b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nlate"]) as (there, egress):
        waiting = asyncio.create_task(egress.post(there.url, b"{}", {}))
        await until(lambda: bool(there.requests and there.requests[0]))
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
        assert waiting.cancelled()
        assert (await egress.post(there.url, b"{}", {})).status == 204
    assert len(there.requests) == 2


@pytest.mark.parametrize(("method", "status", "dialled"), [("PUT", 204, 2), ("DELETE", 204, 2), ("POST", None, 1)])
async def test_only_what_may_come_twice_is_sent_again_where_a_kept_connection_was_gone(
    method: str, status: int | None, dialled: int
) -> None:
    async with server([TAKEN], [None]) as (there, egress):
        await egress.post(there.url, b"{}", {})
        answer = await egress.send(method, there.url, b"{}", {})
    assert (answer.status, answer.failure) == (status, None if status else Failure.PROTOCOL)
    assert len(there.requests) == dialled
    assert len(there.requests[0]) == 2


async def test_a_new_connection_that_is_gone_is_not_dialled_twice() -> None:
    async with server([None], [None]) as (there, egress):
        assert (await egress.send("PUT", there.url, b"{}", {})).failure is Failure.PROTOCOL
    assert len(there.requests) == 1


async def test_a_connection_that_nobody_uses_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pools, "KEPT_SECONDS", 0.1)
    async with server() as (there, egress):
        await egress.post(there.url, b"{}", {})
        await until(lambda: there.ended == 1)
        assert (await egress.post(there.url, b"{}", {})).status == 204
    assert len(there.requests) == 2


async def test_no_more_connections_than_may_be_are_in_use_and_who_has_no_turn_in_time_says_so() -> None:
    slow = [*[b""] * 15, TAKEN]
    async with server(*[slow] * 4, concurrency=2) as (there, egress):
        answers = await asyncio.gather(*(egress.post(there.url, b"{}", {}) for _ in range(4)))
        assert [answer.status for answer in answers] == [204] * 4
        assert len(there.requests) == 2
    async with server(*[[b""] * 200] * 2, concurrency=2, seconds=0.6) as (there, egress):
        found = await asyncio.gather(*(egress.post(there.url, b"{}", {}) for _ in range(4)))
        assert sorted(str(answer.failure) for answer in found) == ["timeout_connect"] * 2 + ["timeout_read"] * 2


@pytest.mark.parametrize(
    "headers", [{"a": "b\r\nc: d"}, {"a": "b\nc"}, {"a\r\nb": "c"}, {"a": "b\0"}, {"a": "b\r"}]
)  # fmt: skip
async def test_a_header_is_one_header(headers: dict[str, str]) -> None:
    async with server() as (there, egress):
        assert (await egress.post(there.url, b"{}", headers)).failure is Failure.PROTOCOL
        assert there.requests == []


async def test_connections_are_ended_with_the_way_out() -> None:
    async with server() as (there, egress):
        answers: list[Answer] = await asyncio.gather(*(egress.post(there.url, b"{}", {}) for _ in range(5)))
        assert all(answer.status == 204 for answer in answers)
    await until(lambda: there.ended == len(there.requests))
