"""No address of the inside is reachable, in whatever clothes it comes."""

from __future__ import annotations

import ipaddress
import socket
from typing import Any

import pytest
from aiohttp.abc import AbstractResolver, ResolveResult
from hypothesis import given
from hypothesis import strategies as st

from hub import addresses
from hub.errors import Code, HubError
from hub.webhooks import address
from hub.webhooks.egress import Egress
from hub.webhooks.failure import Failure

# Hosts as they may stand in a URL. Each has to be refused when it is saved and, if it is there anyway, at the dial.
INSIDE = [
    # loopback and this network
    "127.0.0.1", "127.0.0.2", "127.1.2.3", "127.255.255.254", "0.0.0.0", "0.0.0.1", "0.255.255.255",
    # private, carrier-grade NAT, link-local, metadata services
    "10.0.0.1", "10.255.255.255", "172.16.0.1", "172.31.255.254", "192.168.0.1", "192.168.255.254",
    "100.64.0.1", "100.127.255.254", "100.100.100.200", "169.254.0.1", "169.254.169.254", "169.254.170.2",
    "169.254.255.255", "168.63.129.16",
    # special purpose
    "192.0.0.1", "192.0.0.8", "192.0.0.170", "192.0.0.192", "192.0.2.1", "192.88.99.1", "192.88.99.3", "198.18.0.1",
    "198.19.255.254", "198.51.100.1", "203.0.113.9", "224.0.0.1", "224.1.2.3", "239.255.255.255", "240.0.0.1",
    "250.1.2.3", "255.255.255.254", "255.255.255.255",
    # IPv6: loopback, unspecified, IPv4-compatible
    "[::1]", "[::]", "[0:0:0:0:0:0:0:1]", "[0000:0000:0000:0000:0000:0000:0000:0001]", "[::2]", "[::127.0.0.1]",
    "[::10.0.0.1]", "[::169.254.169.254]", "[::ffff:0:127.0.0.1]", "[::8.8.8.8]",
    # IPv4-mapped
    "[::ffff:127.0.0.1]", "[::ffff:7f00:1]", "[::ffff:10.1.2.3]", "[::ffff:a9fe:a9fe]", "[::ffff:169.254.169.254]",
    "[::ffff:192.168.1.1]", "[::ffff:100.64.0.1]", "[::ffff:0.0.0.0]", "[::ffff:224.0.0.1]",
    "[0:0:0:0:0:ffff:127.0.0.1]",
    # NAT64
    "[64:ff9b::7f00:1]", "[64:ff9b::127.0.0.1]", "[64:ff9b::a9fe:a9fe]", "[64:ff9b::10.0.0.1]",
    "[64:ff9b::c0a8:1]", "[64:ff9b:1::1]", "[64:ff9b:1::808:808]", "[64:ff9b:1:ffff::1]",
    # 6to4, Teredo, other protocol assignments
    "[2002:7f00:1::]", "[2002:7f00:1::1]", "[2002:a9fe:a9fe::1]", "[2002:c0a8:101::1]", "[2002:808:808::1]",
    "[2001::1]", "[2001:0:4136:e378:8000:63bf:3fff:fdd2]", "[2001:2::1]", "[2001:10::1]", "[2001:20::1]",
    "[2001:1::1]", "[2001:1ff::1]",
    # documentation, reserved, unique local, link-local, site-local, multicast
    "[2001:db8::1]", "[2001:db8:ffff::1]", "[3fff::1]", "[3fff:fff::1]", "[3ffe::1]", "[100::1]", "[5f00::1]",
    "[fc00::1]", "[fd00::1]", "[fd00:ec2::254]", "[fd20:ce::254]", "[fdff:ffff::1]", "[fe80::1]",
    "[fe80::a9fe:a9fe]", "[febf::1]", "[fec0::1]", "[feff::1]", "[ff00::1]", "[ff02::1]", "[ff0e::1]",
    "[ff05::1:3]", "[4000::1]", "[8000::1]", "[e000::1]", "[1::1]", "[200::1]", "[400::1]",
]  # fmt: skip

# Texts that are no plain URL of a receiver: odd forms of addresses, other schemes, credentials, control characters.
ODD = [
    "https://127.1/", "https://127.0.1/", "https://2130706433/", "https://0x7f000001/", "https://0x7f.0.0.1/",
    "https://0177.0.0.1/", "https://017700000001/", "https://0/", "https://1/", "https://127.0.0.1./",
    "https://127.0.0.0x1/", "https://1.2.3/", "https://256.256.256.256/", "https://1.2.3.4.5/", "https://a.1/",
    "https://example.0x1/", "https://3232235777/", "https://0xA9FEA9FE/", "https://169.254.43518/",
    "https://①②⑦.⓪.⓪.①/", "https://127。0。0。1/", "https://[::1/", "https://[::1%25lo]/", "https://[fe80::1%25eth0]/",
    "https://[v1.fe]/", "https://[127.0.0.1]/", "https://[]/", "https://[::ffff:127.0.0.1%25x]/",
    "http://example.org/", "HTTP://example.org/", "http://8.8.8.8/", "ftp://example.org/", "file:///etc/passwd",
    "gopher://example.org:70/", "unix:///run/x.sock", "javascript:alert(1)", "data:text/plain,x", "//example.org/",
    "/hook", "hook", "", "https://", "https:///hook", "https://:443/", "https:example.org",
    "https://user@example.org/", "https://user:pass@example.org/", "https://:pass@example.org/", "https://@example.org/",
    "https://example.org@127.0.0.1/", "https://127.0.0.1@example.org/", "https://example.org#@127.0.0.1/",
    "https://example.org\\@127.0.0.1/", "https://127.0.0.1\\@example.org/", "https://example.org/#part",
    "https://example.org:0/", "https://example.org:65536/", "https://example.org:-1/", "https://example.org:x/",
    "https://exa mple.org/", "https://example.org/a b", "https://example.org/\r\nhost: x", "https://example.org/\n",
    "\thttps://example.org/", " https://example.org/", "https://example.org/\x00", "https://exam\x00ple.org/",
    "https://exämple.org/", "https://example.org/ü", "https://%31%32%37.0.0.1/", "https://127%2e0.0.1/",
    "https://exa%6dple.org/", "https://exa<mple.org/", "https://*.example.org/", "https://example.org,127.0.0.1/",
    "https://example.org;127.0.0.1/", "https://(example.org)/", "https://example.org/" + "x" * 2048,
]  # fmt: skip

OUTSIDE = [
    "8.8.8.8", "1.1.1.1", "9.255.255.255", "11.0.0.0", "100.63.255.255", "100.128.0.0", "126.255.255.255", "128.0.0.1",
    "169.253.255.255", "169.255.0.0", "172.15.255.255", "172.32.0.0", "192.167.255.255", "192.169.0.0",
    "223.255.255.255",
    "[2606:4700:4700::1111]", "[2a00:1450:4001:800::200e]", "[2001:4860:4860::8888]", "[2400:cb00::1]", "[2003::1]",
    "[::ffff:8.8.8.8]", "[64:ff9b::8.8.8.8]",
]  # fmt: skip


class Answers(AbstractResolver):
    """A name service that gives prepared answers in turn, the last one for ever."""

    def __init__(self, *answers: list[str]) -> None:
        self.answers = list(answers)
        self.asked = 0

    async def resolve(self, host: str, port: int = 0, family: Any = socket.AF_INET) -> list[ResolveResult]:
        self.asked += 1
        found = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        return [
            ResolveResult(hostname=host, host=ip, port=port, family=socket.AF_INET6 if ":" in ip else socket.AF_INET,
                          proto=0, flags=socket.AI_NUMERICHOST)
            for ip in found
        ]  # fmt: skip

    async def close(self) -> None:
        pass


class Sockets:
    """Notes the families of the sockets that would be opened; none is, so that no test talks to the world."""

    def __init__(self) -> None:
        self.opened: list[int] = []

    def __call__(self, family: int, _kind: int, _protocol: int) -> socket.socket:
        self.opened.append(family)
        raise OSError("no socket in this test")


@pytest.fixture
def sockets() -> Sockets:
    return Sockets()


def test_the_tables_are_as_long_as_promised() -> None:
    assert len(set(INSIDE) | set(ODD)) >= 120
    assert len(set(INSIDE)) == len(INSIDE)
    assert len(set(ODD)) == len(ODD)


@pytest.mark.threat("T31")
@pytest.mark.parametrize("scheme", ["https", "http"])
@pytest.mark.parametrize("host", INSIDE)
async def test_the_inside_is_refused_when_saved_and_when_dialled(host: str, scheme: str, sockets: Sockets) -> None:
    url = f"{scheme}://{host}:8443/hook"
    with pytest.raises(HubError) as caught:
        address.parse(url, ())
    assert caught.value.code is Code.INVALID_REQUEST
    async with Egress(open_socket=sockets) as egress:
        answer = await egress.post(url, b"{}", {})
    assert answer.failure is Failure.BLOCKED_ADDRESS
    assert sockets.opened == []


@pytest.mark.threat("T31")
@pytest.mark.parametrize("url", ODD, ids=ascii)
async def test_odd_urls_are_refused_when_saved_and_open_no_socket(url: str, sockets: Sockets) -> None:
    with pytest.raises(HubError) as caught:
        address.parse(url, ())
    assert caught.value.code is Code.INVALID_REQUEST
    async with Egress(resolver=Answers(["127.0.0.1", "::1", "169.254.169.254"]), open_socket=sockets) as egress:
        answer = await egress.post(url, b"{}", {})
    assert answer.failure is not None
    assert sockets.opened == [] or "8.8.8.8" not in url


@pytest.mark.threat("T31")
@pytest.mark.parametrize("host", [h.strip("[]") for h in INSIDE])
async def test_names_that_lead_inside_open_no_socket(host: str, sockets: Sockets) -> None:
    async with Egress(resolver=Answers([host]), open_socket=sockets) as egress:
        answer = await egress.post("https://receiver.example/hook", b"{}", {})
    assert answer.failure is Failure.BLOCKED_ADDRESS
    assert sockets.opened == []


@pytest.mark.parametrize("host", OUTSIDE)
async def test_the_open_internet_is_dialled_with_tls_only(host: str, sockets: Sockets) -> None:
    assert address.parse(f"https://{host}/hook", ()).scheme == "https"
    with pytest.raises(HubError, match="https://"):
        address.parse(f"http://{host}/hook", ())
    async with Egress(open_socket=sockets) as egress:
        assert (await egress.post(f"http://{host}/hook", b"{}", {})).failure is Failure.BLOCKED_ADDRESS
        assert sockets.opened == []
        assert (await egress.post(f"https://{host}/hook", b"{}", {})).failure is Failure.CONNECT
        assert len(sockets.opened) == 1


@pytest.mark.threat("T32")
async def test_a_name_that_turns_inward_after_it_was_checked_opens_no_socket(sockets: Sockets) -> None:
    answers = Answers(["8.8.8.8"], ["127.0.0.1"])
    async with Egress(resolver=answers, open_socket=sockets) as egress:
        assert (await egress.post("https://a.example/", b"{}", {})).failure is Failure.CONNECT
        assert len(sockets.opened) == 1
        assert (await egress.post("https://b.example/", b"{}", {})).failure is Failure.BLOCKED_ADDRESS
    assert (answers.asked, len(sockets.opened)) == (2, 1)


@pytest.mark.threat("T32")
async def test_of_several_answers_only_public_ones_are_dialled(sockets: Sockets) -> None:
    async with Egress(resolver=Answers(["10.0.0.1", "8.8.8.8", "::1"]), open_socket=sockets) as egress:
        answer = await egress.post("https://receiver.example/", b"{}", {})
    assert answer.failure is Failure.CONNECT
    assert set(sockets.opened) == {socket.AF_INET}


@pytest.mark.parametrize("host", ["127.0.0.1", "[::ffff:127.0.0.1]", "[fd00::5]"])
async def test_allowed_networks_are_dialled_also_without_tls(host: str, sockets: Sockets) -> None:
    allow = (ipaddress.ip_network("127.0.0.0/8"), ipaddress.ip_network("fd00::/64"))
    async with Egress(allow=allow, open_socket=sockets) as egress:
        for count, scheme in enumerate(("http", "https"), 1):
            assert address.parse(f"{scheme}://{host}/hook", allow).scheme == scheme
            assert (await egress.post(f"{scheme}://{host}/hook", b"{}", {})).failure is Failure.CONNECT
            assert len(sockets.opened) == count
        assert (await egress.post("http://10.0.0.1/", b"{}", {})).failure is Failure.BLOCKED_ADDRESS
        assert (await egress.post("http://8.8.8.8/", b"{}", {})).failure is Failure.BLOCKED_ADDRESS


@given(st.ip_addresses())
def test_what_python_calls_private_is_never_public(some: Any) -> None:
    if addresses.public(some):
        plain = addresses.plain(some)
        assert plain.is_global
        assert not plain.is_multicast


def test_texts_that_are_no_address_are_not_reachable() -> None:
    for text in ("", "localhost", "receiver.example", "1.2.3", "::g", "/run/x.sock"):
        assert not addresses.reachable(text, (ipaddress.ip_network("0.0.0.0/1"),), encrypted=True)
