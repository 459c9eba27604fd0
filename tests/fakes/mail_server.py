"""A mail server (aiosmtpd) that takes mail until a test says otherwise."""

from __future__ import annotations

import asyncio
import ssl
import warnings
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from email import message_from_bytes, policy
from email.message import EmailMessage
from typing import Any

from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session

USER, PASSWORD = "hub@district.example", "p@ss/word"


@dataclass(frozen=True)
class Mail:
    """One mail as it arrived."""

    sender: str
    recipients: list[str]
    message: EmailMessage
    encrypted: bool
    user: str | None


@dataclass
class MailServer:
    """What arrived is in ``received``. ``at_rcpt``, ``at_data``: answers in turn, the last one for ever; "" is a yes.

    ``drop``: hangs up at DATA; ``silent``: never answers it.
    """

    port: int = 0
    received: list[Mail] = field(default_factory=list)
    at_rcpt: list[str] = field(default_factory=lambda: [""])
    at_data: list[str] = field(default_factory=lambda: [""])
    drop: bool = False
    silent: bool = False
    tries: int = 0

    async def handle_RCPT(self, server: SMTP, session: Session, envelope: Envelope, address: str, options: Any) -> str:
        del server, session, options
        answer = _next(self.at_rcpt)
        if not answer:
            envelope.rcpt_tos.append(address)
        return answer or "250 OK"

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:
        self.tries += 1
        if self.silent:
            await asyncio.sleep(3600)
        if self.drop:
            assert server.transport is not None
            server.transport.abort()
            return "421 gone"
        answer = _next(self.at_data)
        if not answer:
            message = message_from_bytes(envelope.content or b"", policy=policy.default)
            assert isinstance(message, EmailMessage)
            user = session.auth_data.login.decode() if session.auth_data else None
            assert server.transport is not None
            encrypted = server.transport.get_extra_info("sslcontext") is not None
            self.received.append(Mail(envelope.mail_from or "", list(envelope.rcpt_tos), message, encrypted, user))
        return answer or "250 OK"


def _next(answers: list[str]) -> str:
    return answers.pop(0) if len(answers) > 1 else answers[0]


def _login(server: object, session: object, envelope: object, mechanism: str, data: Any) -> AuthResult:
    del server, session, envelope, mechanism
    right = isinstance(data, LoginPassword) and (data.login, data.password) == (USER.encode(), PASSWORD.encode())
    return AuthResult(success=right, handled=False, auth_data=data)


@asynccontextmanager
async def mail_server(
    *, tls: ssl.SSLContext | None = None, implicit: bool = False, login: bool = False
) -> AsyncIterator[MailServer]:
    """A mail server on a free port of 127.0.0.1. ``tls``: for STARTTLS, which is then required, or from the start."""
    value = MailServer()
    loop = asyncio.get_running_loop()

    def protocol() -> SMTP:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # it takes logins without STARTTLS for unsafe, under TLS too
            return SMTP(
                value, hostname="mail.example", tls_context=None if implicit else tls, enable_SMTPUTF8=True,
                require_starttls=tls is not None and not implicit, authenticator=_login if login else None, loop=loop,
                auth_required=login, auth_require_tls=not implicit, auth_exclude_mechanism=("CRAM-MD5",),
            )  # fmt: skip

    server = await loop.create_server(protocol, "127.0.0.1", 0, ssl=tls if implicit else None)
    value.port = server.sockets[0].getsockname()[1]
    try:
        yield value
    finally:
        server.close()
