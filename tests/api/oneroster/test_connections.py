"""Clients that are slow, silent, greedy or gone, over raw sockets (T46, T47)."""

from __future__ import annotations

import asyncio
import json
import socket
from contextlib import ExitStack, suppress
from typing import Any

import pytest
import structlog
from aiohttp import web

from hub.api.connections import Patience, listening
from hub.api.middleware import observing, refusals
from hub.api.negotiation import check_json, parsed, read_bytes
from tests.api.oneroster.raw import LONGEST_SECONDS, ask, read_answer, request, service, until_closed
from tests.api.oneroster.rosters import Hub, Prepared, minor, running
from tests.services import Database

IMPATIENT = {"header_seconds": 0.5, "stall_seconds": 0.5, "keepalive_seconds": 3, "max_connections": 40}


@pytest.mark.threat("T46")
async def test_connections_that_say_nothing_are_closed_and_others_are_served_meanwhile(
    roster_database: Database, rostered: tuple[str, Prepared]
) -> None:
    async with running(roster_database, rostered[1], **IMPATIENT) as hub:
        open_ = [await asyncio.open_connection("127.0.0.1", hub.port) for _ in range(300)]
        for number, (_, writer) in enumerate(open_):
            if number % 3:
                writer.write(b"GET / HTTP/1.1\r\nX: a" if number % 3 == 1 else b"GET /")
        assert (await hub.get("/orgs"))[0] == 200
        ends = await asyncio.gather(*(until_closed(reader) for reader, _ in open_))
        told = [end for end in ends if end]
        assert all(end.startswith(b"HTTP/1.1 408 Request Timeout\r\n") for end in told)
        assert json.loads(told[-1].partition(b"\r\n\r\n")[2])["imsx_codeMajor"] == "failure"
        assert (await hub.get("/orgs"))[0] == 200
        for _, writer in open_:
            writer.close()


@pytest.mark.threat("T46")
async def test_headers_that_drip_are_cut_off_and_an_idle_connection_is_kept_for_a_while(
    roster_database: Database, rostered: tuple[str, Prepared]
) -> None:
    async with running(roster_database, rostered[1], **IMPATIENT) as hub:
        reader, writer = await asyncio.open_connection("127.0.0.1", hub.port)
        dripping = asyncio.create_task(_drip(writer))
        idle_reader, idle_writer = await asyncio.open_connection("127.0.0.1", hub.port)
        idle_writer.write(request("GET", "/healthz"))
        assert (await read_answer(idle_reader)).status == 200
        assert (await until_closed(reader)).startswith(b"HTTP/1.1 408 ")
        idle_writer.write(request("GET", "/healthz"))  # later than a head may take
        assert (await read_answer(idle_reader)).status == 200
        assert await until_closed(idle_reader) == b""
        dripping.cancel()
        idle_writer.close()
        writer.close()


async def _drip(writer: asyncio.StreamWriter) -> None:
    writer.write(b"GET / HTTP/1.1\r\nX: ")
    while True:
        await asyncio.sleep(0.1)
        writer.write(b"a")


@pytest.mark.threat("T46")
async def test_who_does_not_take_an_answer_holds_no_database_connection_and_is_cut_off(
    roster_database: Database, rostered: tuple[str, Prepared]
) -> None:
    async with running(roster_database, rostered[1], **IMPATIENT | {"stall_seconds": 1}) as hub:
        pages = 80  # more than the kernel keeps for a connection
        data = request("GET", service(hub, "/users?limit=10000"), token=hub.prepared.tokens["lms"]) * pages
        with structlog.testing.capture_logs() as lines, ExitStack() as stack:
            stuck = [stack.enter_context(await _narrow(hub.port)) for _ in range(6)]
            for connection in stuck:
                await asyncio.get_running_loop().sock_sendall(connection, data)
            assert await asyncio.gather(*(_status(hub) for _ in range(20))) == [200] * 20
            async with asyncio.timeout(LONGEST_SECONDS):
                while sum(line.get("answers", 0) for line in lines) < len(stuck):
                    assert (await hub.get("/orgs"))[0] == 200
                    await asyncio.sleep(0.1)
            for connection in stuck:
                assert (await _drained(connection)).count(b"X-Total-Count") < pages


async def _narrow(port: int) -> socket.socket:
    """A connection whose client takes in little by itself."""
    connection = socket.socket()
    connection.settimeout(0)
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
    await asyncio.get_running_loop().sock_connect(connection, ("127.0.0.1", port))
    return connection


async def _drained(connection: socket.socket) -> bytes:
    """What a connection still has, until it ends."""
    found = bytearray()
    with suppress(ConnectionResetError):
        while data := await asyncio.get_running_loop().sock_recv(connection, 1 << 20):
            found += data
    return bytes(found)


async def _status(hub: Hub) -> int:
    return (await hub.get("/orgs"))[0]


async def _written(request_: web.Request) -> web.Response:
    check_json(request_)
    return web.json_response(parsed(await read_bytes(request_, largest=1_000)))


@pytest.fixture
async def writes() -> Any:
    """A server with one route that reads a body; its port."""
    app = web.Application(middlewares=[observing(asyncio.Event()), refusals])
    app.router.add_post("/written", _written)
    async with listening(app, "127.0.0.1", 0, Patience(stall_seconds=0.5)) as (_, port):
        yield _Writes(port)


class _Writes:
    def __init__(self, port: int) -> None:
        self.port = port

    async def post(self, *headers: str, body: bytes) -> Any:
        hub: Any = self
        lines = [f"Content-Length: {len(body)}"] if not any(h.startswith("Transfer") for h in headers) else []
        (answer,) = await ask(hub, request("POST", "/written", *lines, *headers, body=body))
        return answer


@pytest.mark.threat("T47")
async def test_bodies_are_judged_before_they_are_read(writes: _Writes) -> None:
    json_type = "Content-Type: application/json"
    for headers, body, status in (
        ((json_type,), b'{"a":1}', 200),
        (("Content-Type: application/json; charset=UTF-8",), b"[]", 200),
        ((), b"[]", 200),
        (("Content-Type: text/xml",), b"<a/>", 415),
        (("Content-Type: application/json; charset=utf-16",), b"[]", 415),
        ((json_type, "Content-Encoding: compress"), b"[]", 415),
        ((json_type,), b"{,}", 400),
        ((json_type,), b"\xff", 400),
        ((json_type,), b"", 400),
        ((json_type, "Content-Encoding: gzip"), b"no gzip", 400),
        ((json_type,), b"[" * 1_000, 400),
        ((json_type,), b" " * 1_001, 413),
        ((json_type, "Transfer-Encoding: chunked"), b"800\r\n" + b" " * 2_048 + b"\r\n0\r\n\r\n", 413),
    ):
        answer = await writes.post(*headers, body=body)
        assert answer.status == status, (headers, body[:20], answer)
        if status != 200:
            assert minor(answer.json) == "invaliddata"


@pytest.mark.threat("T46")
async def test_a_body_that_does_not_come_is_told_and_the_connection_closed(writes: _Writes) -> None:
    with structlog.testing.capture_logs() as lines:
        reader, writer = await asyncio.open_connection("127.0.0.1", writes.port)
        writer.write(request("POST", "/written", "Content-Length: 100", body=b"{"))
        answer = await read_answer(reader)
        await asyncio.sleep(0)  # the watch goes on to its line in the log
        assert (answer.status, answer.headers["connection"]) == (408, "close")
        assert await until_closed(reader) == b""
        writer.close()
    assert [line["status"] for line in lines if line["event"] == "request"] == [408]
    assert [line["bodies"] for line in lines if line["event"] == "slow clients cut off"] == [1]


async def test_at_a_stop_connections_are_told_to_close() -> None:
    begun, go_on = asyncio.Event(), asyncio.Event()

    async def slow(_: web.Request) -> web.Response:
        begun.set()
        await go_on.wait()
        return web.Response(text="done")

    stopping = asyncio.Event()
    app = web.Application(middlewares=[observing(stopping), refusals])
    app.router.add_get("/slow", slow)

    async def stop(_: web.Application) -> None:
        stopping.set()
        go_on.set()

    app.on_shutdown.append(stop)
    async with listening(app, "127.0.0.1", 0, Patience()) as (_, port):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(request("GET", "/slow"))
        await begun.wait()
    answer = await read_answer(reader)
    assert (answer.status, answer.body, answer.headers["connection"]) == (200, b"done", "close")
    writer.close()
