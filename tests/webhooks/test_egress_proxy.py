"""Through an egress proxy: nothing else is dialled, the receiver's TLS is checked, and faults are told apart."""

from __future__ import annotations

import asyncio
import socket
import ssl
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from aiohttp import ClientConnectorError, ClientSession, web

from hub.clock import SystemClock
from hub.store import claims
from hub.webhooks import subscriptions
from hub.webhooks.certificates import ClientCertificate, Described, parse
from hub.webhooks.deliver import deliver
from hub.webhooks.egress import Egress
from hub.webhooks.failure import Failure
from hub.webhooks.proxy import Proxy
from tests.fakes.certificates import certificate
from tests.fakes.connect_proxy import ConnectProxy, connect_proxy
from tests.fakes.receiver import endless, receiver, status
from tests.unit.webhooks.test_address import INSIDE, ODD, Answers
from tests.webhooks.conftest import ALLOW, KEY, World

HOST = "receiver.example"


class Dials:
    """Opens sockets, and notes how many."""

    def __init__(self) -> None:
        self.count = 0

    def __call__(self, family: int, kind: int, protocol: int) -> socket.socket:
        self.count += 1
        return socket.socket(family, kind, protocol)


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Certificates of a server, by name through the proxy and by address, and of a client."""
    folder = tmp_path_factory.mktemp("certificates")
    return certificate(folder, "127.0.0.1", days=1), certificate(folder, "192.0.2.7", days=1, name="client")


def server(file: Path, client: Path | None = None) -> ssl.SSLContext:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(file)
    if client:
        context.verify_mode = ssl.CERT_REQUIRED
        context.load_verify_locations(client)
    return context


async def read(file: Path) -> Described:
    return await asyncio.to_thread(lambda: parse(file.read_text(), SystemClock().now()))


def through(there: ConnectProxy, file: Path | None = None, login: str = "", **options: Any) -> Egress:
    """A way out that has the proxy only, and trusts one certificate."""
    trust = partial(ssl.create_default_context, cafile=file) if file else None
    url = there.url.replace("//", f"//{login}", 1)
    return Egress(proxy=Proxy.parse(url), trust=trust, **{"timeout": 1.5, "allow": ALLOW} | options)


@pytest.mark.threat("F14")
async def test_https_goes_through_a_tunnel_and_the_receivers_certificate_is_checked(files: tuple[Path, Path]) -> None:
    dials = Dials()
    async with connect_proxy() as between, receiver(tls=server(files[0])) as there:
        other = between.leads(HOST, there.url)
        between.leads("127.0.0.1", there.url)
        async with through(between, files[0], "user:pa%40ss@", open_socket=dials) as egress:
            fine = [await egress.post(there.url, b"{}", {}) for _ in range(2)]
            wrong = await egress.post(other, b"{}", {})
        async with through(between) as egress:
            unknown = await egress.post(there.url, b"{}", {})
    assert [answer.failure for answer in fine] == [None, None]
    assert (wrong.failure, unknown.failure) == (Failure.TLS, Failure.TLS)
    assert len(there.received) == 2
    assert [key for got in there.received for key in got.headers if key.startswith("proxy")] == []
    assert between.asked[0] == "CONNECT " + there.url.split("/")[2]
    assert len(between.asked) == 3  # the second went over the connection of the first
    assert dials.count == 2
    assert between.logins == ["Basic dXNlcjpwYUBzcw==", "Basic dXNlcjpwYUBzcw==", None]


@pytest.mark.threat("T31")
async def test_what_may_not_be_saved_never_gets_to_the_proxy() -> None:
    async with connect_proxy() as between, through(between, allow=()) as egress:
        for url in [f"https://{host}:8443/hook" for host in INSIDE] + [url for url in ODD if url.startswith("https")]:
            answer = await egress.post(url, b"{}", {})
            assert answer.failure in {Failure.BLOCKED_ADDRESS, Failure.PROTOCOL}, url
        for url in ("http://10.0.0.1/", "http://8.8.8.8/"):
            assert (await egress.post(url, b"{}", {})).failure is Failure.BLOCKED_ADDRESS
    assert between.asked == []


@pytest.mark.threat("T32")
async def test_only_the_proxy_is_looked_up_and_dialled(files: tuple[Path, Path]) -> None:
    """A name of the proxy that leads elsewhere later gets nowhere either: no other address is the proxy's."""
    names = Answers(["127.0.0.1"], ["127.0.0.2"])
    dials = Dials()
    async with connect_proxy() as between, receiver(tls=server(files[0])) as there:
        url = between.leads(HOST, there.url)
        by_name = Proxy("proxy.example", int(between.url.rpartition(":")[2]))
        trust = partial(ssl.create_default_context, cafile=files[0])
        async with Egress(proxy=by_name, resolver=names, trust=trust, open_socket=dials, timeout=2) as egress:
            assert (await egress.post(url, b"{}", {})).failure is Failure.TLS
            (pool,) = egress._pools._pools.values()
            async with ClientSession(connector=pool.connector, connector_owner=False) as session:
                for other, words in (("https://127.0.0.1:1/", "may not go"), (f"https://{HOST}/", "only the proxy")):
                    with pytest.raises(ClientConnectorError) as caught:
                        await session.post(other)
                    assert words in str(caught.value.os_error)
    assert names.asked == 1
    assert dials.count == 1


@pytest.mark.threat("T33")
@pytest.mark.threat("T34")
async def test_redirects_and_endless_answers_are_bounded_through_the_proxy_too(files: tuple[Path, Path]) -> None:
    for behave, failure in ((status(302, location="https://127.0.0.1/"), Failure.STATUS), (endless(1 << 24), None)):
        async with connect_proxy() as between, receiver(behave, tls=server(files[0])) as there:
            between.leads("127.0.0.1", there.url)
            async with through(between, files[0]) as egress:
                answer = await egress.post(there.url, b"{}", {})
            assert answer.failure is failure
            assert len(answer.body) <= 16_384
            assert len(there.received) == len(between.asked) == 1


@pytest.mark.parametrize(
    ("answer", "failure"),
    [
        (b"", Failure.PROXY),
        (b"SSH-2.0-x\r\n\r\n", Failure.PROXY),
        (b"HTTP/1.1 407 Proxy Authentication Required\r\ncontent-length: 0\r\n\r\n", Failure.PROXY),
        (b"HTTP/1.1 500 Oops\r\ncontent-length: 0\r\n\r\n", Failure.PROXY),
        (b"HTTP/1.1 503 Busy\r\ncontent-length: 0\r\n\r\n", Failure.PROXY),
        (b"HTTP/1.1 799 What\r\ncontent-length: 0\r\n\r\n", Failure.PROXY),
        (b"HTTP/1.1 403 Forbidden\r\ncontent-length: 0\r\n\r\n", Failure.BLOCKED_ADDRESS),
        (b"HTTP/1.1 502 Bad Gateway\r\ncontent-length: 0\r\n\r\n", Failure.CONNECT),
        (b"HTTP/1.1 504 Gateway Timeout\r\ncontent-length: 0\r\n\r\n", Failure.TIMEOUT_CONNECT),
        (b"HTTP/1.1 502 X\r\nproxy-status: p; error=dns_error; rcode=NXDOMAIN\r\n\r\n", Failure.DNS),
        (b"HTTP/1.1 503 X\r\nproxy-status: p; error=connection_refused\r\n\r\n", Failure.CONNECT),
        (b"HTTP/1.1 502 X\r\nproxy-status: p; error=proxy_internal_error\r\n\r\n", Failure.PROXY),
    ],
)
async def test_what_a_proxy_says_of_itself_is_told_apart_from_what_it_says_of_the_receiver(
    answer: bytes, failure: Failure
) -> None:
    async with connect_proxy() as between, through(between) as egress:
        between.answer = answer
        got = await egress.post(f"https://{HOST}/", b"{}", {})
    assert (got.status, got.failure) == (None, failure)


async def test_a_proxy_that_is_away_or_deaf(free_port: int) -> None:
    async with Egress(proxy=Proxy("127.0.0.1", free_port), timeout=1) as egress:
        assert (await egress.post(f"https://{HOST}/", b"{}", {})).failure is Failure.PROXY
    async with Egress(proxy=Proxy("proxy.example", 1), resolver=Unknown([]), timeout=1) as egress:
        assert (await egress.post(f"https://{HOST}/", b"{}", {})).failure is Failure.PROXY
    async with connect_proxy() as between, through(between, timeout=0.9) as egress:
        between.deaf = True
        # It took the connection, so it may well be the receiver that it waits for.
        assert (await egress.post(f"https://{HOST}/", b"{}", {})).failure is Failure.TIMEOUT_CONNECT
    with socket.socket() as full:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        waiting = [socket.socket() for _ in range(4)]
        for each in waiting:
            each.settimeout(0)
            each.connect_ex(full.getsockname())
        await asyncio.sleep(0.05)
        async with Egress(proxy=Proxy("127.0.0.1", full.getsockname()[1]), timeout=1.2) as egress:
            assert (await egress.post(f"https://{HOST}/", b"{}", {})).failure is Failure.PROXY
        for each in waiting:
            each.close()


class Unknown(Answers):
    async def resolve(self, *_: Any, **__: Any) -> Any:
        raise socket.gaierror(socket.EAI_NONAME, "unknown")


async def test_a_fault_of_the_proxy_is_not_charged_to_the_receiver(world: World, free_port: int) -> None:
    async with receiver() as there, world.courier() as courier:
        some = await world.subscribe(there)
        await world.feeds.connection.execute(
            "UPDATE subscriptions SET url = $2 WHERE subscription_id = $1", some.id, f"https://{HOST}/"
        )
        await world.feeds.move(some.district, some.grant, updated=[0])
        async with Egress(proxy=Proxy("127.0.0.1", free_port), timeout=1) as egress:
            object.__setattr__(courier, "egress", egress)
            for _ in range(3):
                claimed = await claims.claim(courier.db, limit=9, per_district=9, lease_seconds=20)
                assert [await deliver(courier, claim) for claim in claimed] == [False]
                row = await world.feeds.subscription(some.id)
                wait = (row["ready_at"] - courier.clock.now()).total_seconds()
                assert 2 < wait < 7
                await world.feeds.connection.execute("UPDATE subscriptions SET ready_at = now()")
    assert (row["attempt"], row["failing_since"], row["last_error"], row["state"]) == (0, None, "proxy", "active")
    assert row["batch_id"] is not None
    log = await world.feeds.connection.fetch("SELECT error_class FROM attempts")
    assert [line["error_class"] for line in log] == ["proxy"]  # the first of many


@pytest.mark.parametrize("proxied", [False, True])
async def test_a_client_certificate_is_shown_on_connections_of_its_own(
    files: tuple[Path, Path], tmp_path: Path, proxied: bool
) -> None:
    mine = await read(files[1])
    stranger = await read(certificate(tmp_path, "192.0.2.8", days=1))
    shown: list[Any] = []

    async def behave(request: web.Request) -> web.Response:
        assert request.transport is not None
        shown.append((request.transport.get_extra_info("peercert") or {}).get("subject"))
        return web.Response()

    async with connect_proxy() as between, receiver(behave, tls=server(*files)) as there:
        between.leads("127.0.0.1", there.url)
        plain = Egress(allow=ALLOW, timeout=1.5, trust=partial(ssl.create_default_context, cafile=files[0]))
        async with through(between, files[0]) if proxied else plain as egress:
            post = partial(egress.post, there.url, b"{}", {})
            first = await post(certificate=mine.certificate)
            without = await post()
            again = await post(certificate=ClientCertificate(mine.certificate.pem))
            strange = await post(certificate=stranger.certificate)
    assert (first.failure, again.failure) == (None, None)
    # The alert may be lost when a server hangs up right after it.
    assert {without.failure, strange.failure} <= {Failure.TLS, Failure.PROTOCOL}
    assert shown == [((("commonName", "192.0.2.7"),),)] * 2
    assert mine.subject == "CN=192.0.2.7"


async def test_a_subscriptions_certificate_is_sealed_and_shown_to_its_receiver(
    world: World, files: tuple[Path, Path]
) -> None:
    async with receiver(tls=server(*files)) as there, world.courier() as courier:
        some = await world.subscribe(there)
        other = await world.subscribe(there)
        trust = partial(ssl.create_default_context, cafile=files[0])
        mine = await read(files[1])
        async with world.db.district(some.district) as tx:
            shown = await subscriptions.show(tx, some.id, mine, key=KEY)
        await world.feeds.move(some.district, some.grant, updated=[0])
        await world.feeds.move(other.district, other.grant, updated=[0])
        async with Egress(allow=ALLOW, trust=trust, timeout=2) as egress:
            object.__setattr__(courier, "egress", egress)
            for claim in await claims.claim(courier.db, limit=9, per_district=9, lease_seconds=20):
                await deliver(courier, claim)
        rows = [await world.feeds.subscription(each.id) for each in (some, other)]
    assert (shown.certificate_subject, shown.certificate_expires_at) == (mine.subject, mine.expires_at)
    assert rows[0]["last_error"] is None
    assert rows[1]["last_error"] in {"tls", "protocol"}
    assert [got.data["subscription"] for got in there.received] == [str(some.id)]
    secret = mine.certificate.pem.split(b"PRIVATE KEY")[1]
    assert secret not in rows[0]["certificate"]
    assert "BEGIN" not in repr(mine)
