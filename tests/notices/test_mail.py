"""Handing mails to a real mail server: encryption, logins, refusals and servers that misbehave."""

from __future__ import annotations

import asyncio
import ssl
from pathlib import Path
from urllib.parse import quote

import pytest

from hub.clock import SystemClock
from hub.errors import HubError
from hub.notices import mail
from hub.notices.mail import Mailer, is_address, mailer
from hub.settings import Settings, load
from tests.fakes.certificates import certificate
from tests.fakes.mail_server import PASSWORD, USER, MailServer, mail_server

TO = "office@district.example"


@pytest.fixture
def tls(tmp_path: Path) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """The server's side, and the client's that believes it."""
    file = certificate(tmp_path, "127.0.0.1", days=1)
    server = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    server.load_cert_chain(file)
    return server, ssl.create_default_context(cafile=file)


def at(server: MailServer, **more: object) -> Mailer:
    values = {"host": "127.0.0.1", "port": server.port, "sender": "hub@hub.example", "clock": SystemClock()}
    return Mailer(**(values | more))  # type: ignore[arg-type]


async def test_a_mail_arrives_as_it_was_meant() -> None:
    async with mail_server() as server:
        assert await at(server).send(TO, "Grüße", "Hallo Welt\n.\nnoch eine Zeile\n", "ntc_1") is None
    (got,) = server.received
    assert (got.sender, got.recipients) == ("hub@hub.example", [TO])
    assert got.message["Subject"] == "Grüße"
    assert got.message["Message-ID"] == "<ntc_1@hub.example>"
    assert got.message["Auto-Submitted"] == "auto-generated"
    assert got.message.get_content().replace("\r\n", "\n") == "Hallo Welt\n.\nnoch eine Zeile\n"
    assert not got.encrypted


@pytest.mark.parametrize("implicit", [False, True])
async def test_it_goes_encrypted_and_with_a_login(tls: tuple[ssl.SSLContext, ssl.SSLContext], implicit: bool) -> None:
    server_tls, trust = tls
    async with mail_server(tls=server_tls, implicit=implicit, login=True) as server:
        right = at(server, trust=trust, implicit=implicit, username=USER, password=PASSWORD)
        assert await right.send(TO, "s", "t", "ntc_1") is None
        wrong = at(server, trust=trust, implicit=implicit, username=USER, password="wrong")
        assert await wrong.send(TO, "s", "t", "ntc_2") == "status_535"
    assert [(m.encrypted, m.user) for m in server.received] == [(True, USER)]
    assert PASSWORD not in repr(right)


@pytest.mark.threat("T29")
async def test_nothing_goes_to_a_server_that_does_not_encrypt_or_is_not_believed(
    tls: tuple[ssl.SSLContext, ssl.SSLContext],
) -> None:
    server_tls, trust = tls
    stranger = ssl.create_default_context()
    async with mail_server() as plain, mail_server(tls=server_tls) as other:
        assert await at(plain, trust=trust, username=USER, password=PASSWORD).send(TO, "s", "t", "n") is not None
        assert await at(other, trust=stranger, username=USER, password=PASSWORD).send(TO, "s", "t", "n") is not None
        assert plain.tries == other.tries == 0
        assert plain.received == other.received == []


async def test_faults_of_servers_have_words(free_port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    async with mail_server() as server:
        server.at_rcpt = ["550 no such user Jane Doe", ""]
        assert await at(server).send(TO, "s", "t", "n") == "refused_550"
        server.at_data = ["451 try later, Jane Doe", "552 too much", ""]
        assert await at(server).send(TO, "s", "t", "n") == "status_451"
        assert await at(server).send(TO, "s", "t", "n") == "status_552"
        server.drop = True
        assert await at(server).send(TO, "s", "t", "n") in {"connect", "protocol"}
        server.drop, server.silent = False, True
        monkeypatch.setattr(mail, "TIMEOUT_SECONDS", 0.5)
        assert await at(server).send(TO, "s", "t", "n") == "timeout"
    assert await at(MailServer(port=free_port)).send(TO, "s", "t", "n") == "connect"


async def test_a_server_that_speaks_no_smtp(monkeypatch: pytest.MonkeyPatch) -> None:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        del reader
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n" * 50)
        writer.close()

    monkeypatch.setattr(mail, "TIMEOUT_SECONDS", 5)
    server = await asyncio.start_server(talk, "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        assert await at(MailServer(port=port)).send(TO, "s", "t", "n") in {"connect", "protocol", "status_-1"}


@pytest.mark.threat("T29")
@pytest.mark.parametrize("url", ["http://x", "smtp://", "smtp://h:0", "smtp://h:99999", "mail.example", "smtp://[::"])
def test_a_mail_server_that_cannot_be_is_refused_without_its_password(url: str) -> None:
    secret = url.replace("://", "://user:s3cret@", 1)
    with pytest.raises(HubError, match="HUB_SMTP_URL") as refused:
        load(smtp_url=secret, smtp_from="hub@hub.example")
    assert "s3cret" not in str(refused.value)


def test_a_mail_server_needs_a_sender() -> None:
    with pytest.raises(HubError, match="HUB_SMTP_FROM"):
        load(smtp_url="smtp://localhost")


@pytest.mark.parametrize(
    ("url", "starttls", "port", "implicit", "encrypted"),
    [
        ("smtp://h", "required", 587, False, True),
        ("smtp://h:25", "never", 25, False, False),
        ("smtps://h", "required", 465, True, True),
        ("smtps://h", "never", 465, True, True),
    ],
)
def test_settings_say_how_the_server_is_reached(
    url: str, starttls: str, port: int, implicit: bool, encrypted: bool
) -> None:
    whole = url.replace("://", f"://{quote(USER, safe='')}:{quote(PASSWORD, safe='')}@")
    settings = Settings.model_validate({"smtp_url": whole, "smtp_from": "a@b.example", "smtp_starttls": starttls})
    found = mailer(settings, SystemClock())
    assert found is not None
    assert (found.port, found.implicit, found.trust is not None) == (port, implicit, encrypted)
    assert (found.host, found.username, found.password) == ("h", USER, PASSWORD)
    assert mailer(Settings(), SystemClock()) is None


@pytest.mark.parametrize(
    ("text", "right"),
    [
        ("a@b.example", True), ("first.last+tag@sub.district.example", True), ("a@b", True),
        ("", False), ("a", False), ("a@", False), ("@b", False), ("a b@c.example", False), ("a@b.example\n", False),
        ("a@b.example\r\nBcc: x@y.example", False), ("a@b.example,c@d.example", False), ("<a@b.example>", False),
        ("a@b..example", False), ("ä@b.example", False), ("a@b.example.", False), ("a@b@c.example", False),
        ("a" * 65 + "@b.example", False),
    ],
)  # fmt: skip
def test_only_one_plain_address_is_one(text: str, right: bool) -> None:
    assert is_address(text) is right
