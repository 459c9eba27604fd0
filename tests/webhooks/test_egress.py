"""Receivers that hang, drip, lie, bounce or bomb cost one bounded attempt each."""

from __future__ import annotations

import asyncio
import gzip
import ipaddress
import resource
import socket
import ssl
import time
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from functools import partial
from pathlib import Path
from typing import Any

import psutil
import pytest
from aiohttp import web
from aiohttp.abc import AbstractResolver, ResolveResult

from hub.errors import HubError
from hub.webhooks.egress import Answer, Egress
from hub.webhooks.failure import Failure
from hub.webhooks.subscriptions import check_url
from tests.fakes.certificates import certificate
from tests.fakes.receiver import Behaviour, endless, hang, hang_up, raw, receiver, status

ALLOW = (ipaddress.ip_network("127.0.0.0/8"),)
SECONDS = 0.6


async def one(behave: Behaviour, seconds: float = SECONDS) -> Answer:
    """What one attempt at such a receiver comes to, which is over in time whatever happens."""
    async with receiver(behave) as there, Egress(allow=ALLOW, timeout=seconds) as egress:
        started = time.monotonic()
        answer = await egress.post(there.url, b"{}", {"webhook-id": "msg_1"})
        assert time.monotonic() - started < seconds + 0.5
        assert len(there.received) == 1
        return answer


async def test_a_post_arrives_as_it_was_given() -> None:
    async with receiver() as there, Egress(allow=ALLOW) as egress:
        answer = await egress.post(there.url, b'{"a": 1}', {"webhook-id": "msg_1"})
    assert (answer.status, answer.failure) == (204, None)
    (got,) = there.received
    assert (got.method, got.path, got.body) == ("POST", "/hook", b'{"a": 1}')
    assert got.headers["content-type"] == "application/json"
    assert got.headers["user-agent"].startswith("RosterHub/")
    assert "cookie" not in got.headers


@pytest.mark.parametrize(
    ("code", "failure"),
    [(200, None), (201, None), (202, None), (204, None), (299, None)]
    + [(code, Failure.STATUS) for code in (300, 304, 400, 401, 404, 410, 413, 429, 500, 502, 503, 504, 599)],
)
async def test_2xx_is_success_and_nothing_else(code: int, failure: Failure | None) -> None:
    answer = await one(status(code))
    assert (answer.status, answer.failure) == (code, failure)


@pytest.mark.threat("T33")
@pytest.mark.parametrize("code", [301, 302, 303, 307, 308])
async def test_redirects_are_failures_and_are_never_followed(code: int) -> None:
    async with receiver() as inside:
        answer = await one(status(code, location=inside.url))
        assert (answer.status, answer.failure) == (code, Failure.STATUS)
        assert inside.received == []


@pytest.mark.threat("T34", "F14")
async def test_a_receiver_that_never_answers_times_out() -> None:
    assert (await one(hang)).failure is Failure.TIMEOUT_READ


@pytest.mark.threat("T34", "F14")
async def test_dripping_header_bytes_do_not_extend_the_time() -> None:
    async def drip(request: web.Request) -> web.StreamResponse:
        assert request.transport is not None
        for byte in b"HTTP/1.1 200 OK\r\nx: " + b"y" * 1000:
            request.transport.write(bytes([byte]))
            await asyncio.sleep(0.05)
        return web.Response()

    assert (await one(drip)).failure is Failure.TIMEOUT_READ


@pytest.mark.threat("T34", "F14")
async def test_the_status_line_counts_however_the_body_drips() -> None:
    answer = await one(endless(10_000, pause=0.05, piece=b"x"))
    assert (answer.status, answer.failure) == (200, None)


@pytest.mark.threat("T34", "F14")
@pytest.mark.parametrize("code", [200, 500])
async def test_a_gigabyte_of_answer_is_not_read(code: int) -> None:
    process = psutil.Process()
    before, arrived = process.memory_info().rss, process.io_counters()
    answer = await one(endless(1_000_000_000, code=code), seconds=5)
    assert answer.status == code
    assert answer.milliseconds < 2000
    assert process.memory_info().rss - before < 64 * 1024 * 1024
    assert process.io_counters().write_chars - arrived.write_chars < 64 * 1024 * 1024


@pytest.mark.threat("T34")
async def test_a_bomb_is_not_unpacked() -> None:
    bomb = gzip.compress(b"\0" * 50_000_000)
    head = b"HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\ncontent-length: %d\r\n\r\n" % len(bomb)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    answer = await one(raw(head + bomb))
    assert (answer.status, answer.failure) == (200, None)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 32 * 1024


@pytest.mark.threat("T34", "F14")
@pytest.mark.parametrize(
    "text",
    [b"SSH-2.0-OpenSSH_9\r\n", b"\0" * 100, b"HTTP/9.9 200 OK\r\n\r\n", b"HTTP/1.1 abc OK\r\n\r\n",
     b"HTTP/1.1 200 OK\r\n" + b"x: " + b"y" * 100_000 + b"\r\n\r\n", b"HTTP/1.1 200 OK\r\nno colon\r\n\r\n", b""],
    ids=["ssh", "zeros", "version", "number", "huge header", "no colon", "nothing"],
)  # fmt: skip
async def test_what_is_no_http_is_a_protocol_failure(text: bytes) -> None:
    answer = await one(raw(text))
    assert (answer.status, answer.failure) == (None, Failure.PROTOCOL)


@pytest.mark.threat("F14")
async def test_a_receiver_that_hangs_up_is_a_protocol_failure() -> None:
    assert (await one(hang_up)).failure is Failure.PROTOCOL


@pytest.mark.threat("F14")
async def test_a_lie_about_the_length_does_not_matter() -> None:
    answer = await one(raw(b"HTTP/1.1 200 OK\r\ncontent-length: 5000\r\n\r\nshort"))
    assert (answer.status, answer.failure) == (200, None)


@pytest.mark.threat("F14")
async def test_endless_interim_answers_do_not_extend_the_time() -> None:
    async def interim(request: web.Request) -> web.StreamResponse:
        assert request.transport is not None
        for _ in range(1000):
            request.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
            await asyncio.sleep(0.01)
        return web.Response()

    assert (await one(interim)).failure is Failure.TIMEOUT_READ


async def test_a_refused_connection(free_port: int) -> None:
    async with Egress(allow=ALLOW) as egress:
        answer = await egress.post(f"http://127.0.0.1:{free_port}/", b"{}", {})
    assert (answer.status, answer.failure) == (None, Failure.CONNECT)


class Nowhere(AbstractResolver):
    """A name service that knows no name."""

    async def resolve(self, host: str, port: int = 0, family: Any = socket.AF_INET) -> list[ResolveResult]:
        raise socket.gaierror(socket.EAI_NONAME, "unknown")

    async def close(self) -> None:
        pass


async def test_an_unknown_name() -> None:
    async with Egress(allow=ALLOW, resolver=Nowhere()) as egress:
        answer = await egress.post("https://receiver.example/", b"{}", {})
    assert (answer.status, answer.failure) == (None, Failure.DNS)


async def test_a_port_that_takes_no_connections_times_out_while_connecting() -> None:
    with socket.socket() as deaf:
        deaf.bind(("127.0.0.1", 0))
        deaf.listen(0)
        url = "http://{}:{}/".format(*deaf.getsockname())
        async with Egress(allow=ALLOW, timeout=0.6) as egress:
            answers = await asyncio.gather(*(egress.post(url, b"{}", {}) for _ in range(6)))
    assert Failure.TIMEOUT_CONNECT in {answer.failure for answer in answers}


@pytest.mark.parametrize(
    ("code", "value", "seconds"),
    [(429, "120", 120), (503, "0", 0), (503, " 7 ", 7), (429, "999999999999999999", 999999999), (429, "soon", None),
     (429, "-5", None), (429, "1.5", None), (429, "²", None), (500, "120", None), (200, "120", None)],
)  # fmt: skip
async def test_retry_after_in_seconds(code: int, value: str, seconds: float | None) -> None:
    head = f"HTTP/1.1 {code} X\r\nretry-after: {value}\r\ncontent-length: 0\r\n\r\n".encode()
    assert (await one(raw(head))).retry_after == seconds


@pytest.mark.parametrize(
    "value",
    [
        "Sun, 06 Nov 1994 08:49:37 GMT",
        "Sunday, 06-Nov-94 08:49:37 GMT",
    ],
)
async def test_retry_after_as_a_date_that_is_past(value: str) -> None:
    assert (await one(status(503, retry_after=value))).retry_after == 0


async def test_retry_after_as_a_date_to_come() -> None:
    asked = datetime.now(UTC) + timedelta(hours=2)
    answer = await one(status(503, retry_after=format_datetime(asked, usegmt=True)))
    assert answer.retry_after is not None
    assert answer.retry_after <= 7200
    assert (datetime.now(UTC) + timedelta(seconds=answer.retry_after + 1)) >= asked.replace(microsecond=0)


@pytest.mark.threat("F14")
@pytest.mark.parametrize(
    ("host", "days", "trusted", "failure"),
    [("127.0.0.1", 1, True, None), ("127.0.0.1", 1, False, Failure.TLS), ("192.0.2.1", 1, True, Failure.TLS),
     ("127.0.0.1", -1, True, Failure.TLS)],
    ids=["right", "unknown issuer", "other host", "expired"],
)  # fmt: skip
async def test_certificates_are_checked(
    tmp_path: Path, host: str, days: int, trusted: bool, failure: Failure | None
) -> None:  # fmt: skip
    file = certificate(tmp_path, host, days=days)
    server = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    server.load_cert_chain(file)
    trust = partial(ssl.create_default_context, cafile=file) if trusted else None
    async with receiver(tls=server) as there, Egress(allow=ALLOW, trust=trust) as egress:
        answer = await egress.post(there.url, b"{}", {})
    assert answer.failure is failure
    assert len(there.received) == int(failure is None)


async def test_no_proxy_comes_from_the_environment(monkeypatch: pytest.MonkeyPatch, free_port: int) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "https_proxy", "all_proxy"):
        monkeypatch.setenv(name, f"http://127.0.0.1:{free_port}")
    assert (await one(status(204))).failure is None


async def test_no_cookie_is_kept() -> None:
    async with receiver(status(204, set_cookie="a=b")) as there, Egress(allow=ALLOW) as egress:
        for _ in range(2):
            await egress.post(there.url, b"{}", {})
    assert not any("cookie" in got.headers for got in there.received)


@pytest.mark.parametrize("url", ["https://localhost:8443/", "http://localhost/", "https://127.0.0.1/"])
async def test_a_url_that_leads_inside_is_refused_when_it_is_saved(url: str) -> None:
    with pytest.raises(HubError, match=r"HUB_WEBHOOK_ALLOW|https://"):
        await check_url(url, ())
    await check_url(url, (*ALLOW, ipaddress.ip_network("::1/128")))
