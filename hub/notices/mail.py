"""Handing a mail to the operator's mail server."""

from __future__ import annotations

import asyncio
import re
import ssl
from dataclasses import dataclass, field
from email.message import EmailMessage
from email.utils import format_datetime
from urllib.parse import unquote, urlsplit

import aiosmtplib

from hub.clock import Clock
from hub.settings import Settings

SUBMISSION, IMPLICIT_TLS = 587, 465
TIMEOUT_SECONDS = 20.0
#: What an address may look like: ASCII, one @, nothing that ends a header or names several addresses.
_ADDRESS = re.compile(r"[A-Za-z0-9.!#$%&'*+/=?^_`{|}~-]{1,64}@[A-Za-z0-9](?:[A-Za-z0-9.-]{0,251}[A-Za-z0-9])?\Z")


def is_address(text: str) -> bool:
    """Whether a text is one plain e-mail address."""
    return bool(_ADDRESS.match(text)) and ".." not in text


@dataclass(frozen=True, slots=True)
class Mailer:
    """The way to the mail server. ``trust``: whom TLS believes; None: nothing is encrypted."""

    host: str
    port: int
    sender: str
    clock: Clock
    implicit: bool = False
    username: str | None = None
    password: str | None = field(default=None, repr=False)
    trust: ssl.SSLContext | None = None

    async def send(self, to: str, subject: str, text: str, batch_id: str) -> str | None:
        """Hands one mail over; None when the server took it, else a stable word for why not. Never raises for that.

        The same ``batch_id`` makes the same Message-ID: a mail that comes twice can be told.
        """
        mail = EmailMessage()
        mail["From"], mail["To"], mail["Subject"] = self.sender, to, subject
        mail["Date"] = format_datetime(self.clock.now())
        domain = self.sender.rpartition("@")[2]
        mail["Message-ID"] = f"<{batch_id}@{domain}>"
        mail["Auto-Submitted"] = "auto-generated"
        mail.set_content(text)
        try:
            async with asyncio.timeout(TIMEOUT_SECONDS):
                await aiosmtplib.send(
                    mail, hostname=self.host, port=self.port, username=self.username, password=self.password,
                    use_tls=self.implicit, start_tls=self.trust is not None and not self.implicit,
                    tls_context=self.trust, timeout=TIMEOUT_SECONDS / 2, local_hostname=domain,
                )  # fmt: skip
        except (aiosmtplib.SMTPException, OSError, ValueError) as error:
            return _why(error)
        return None


def mailer(settings: Settings, clock: Clock) -> Mailer | None:
    """The mailer of the settings; None without a mail server. Reads the system's certificates: call it in a thread."""
    if settings.smtp_url is None or settings.smtp_from is None:
        return None
    parts = urlsplit(settings.smtp_url.get_secret_value())
    implicit = parts.scheme == "smtps"
    encrypted = implicit or settings.smtp_starttls == "required"
    return Mailer(
        host=parts.hostname or "", port=parts.port or (IMPLICIT_TLS if implicit else SUBMISSION),
        sender=settings.smtp_from, clock=clock, implicit=implicit,
        username=unquote(parts.username) if parts.username else None,
        password=unquote(parts.password) if parts.password else None,
        trust=ssl.create_default_context() if encrypted else None,
    )  # fmt: skip


def _why(error: BaseException) -> str:
    """A word for the attempt's row: what servers say is not kept, it may name people."""
    if isinstance(error, aiosmtplib.SMTPRecipientsRefused):
        return f"refused_{error.recipients[0].code}" if error.recipients else "refused"
    if isinstance(error, aiosmtplib.SMTPResponseException):
        return f"status_{error.code}"
    if isinstance(error, TimeoutError):  # SMTPTimeoutError is one
        return "timeout"
    if isinstance(error, ssl.SSLError) or isinstance(error.__cause__, ssl.SSLError):
        return "tls"
    if isinstance(error, aiosmtplib.SMTPConnectError | OSError):
        return "connect"
    return "protocol"
