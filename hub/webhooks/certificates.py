"""Client certificates (mTLS): what a subscription shows its receiver, sealed at rest and shown to nobody else."""

from __future__ import annotations

import os
import ssl
import tempfile
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Self
from uuid import UUID

from cryptography import x509
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from hub.crypto import Keys, Sealer, seal, unseal
from hub.errors import Code, HubError

LONGEST = 32_000
_COLUMN = {"table": "subscriptions", "column": "certificate"}


@dataclass(frozen=True, slots=True)
class ClientCertificate:
    """A chain, the client's own certificate first, and its private key, as one PEM text."""

    pem: bytes = field(repr=False)

    def load_into(self, context: ssl.SSLContext) -> None:
        """Makes connections of ``context`` show it. Blocks; raises ssl.SSLError.

        OpenSSL takes the key from a file only. Where the system has files in memory the key never gets to a disk.
        """
        if hasattr(os, "memfd_create"):
            number = os.memfd_create("certificate", os.MFD_CLOEXEC)
            try:
                os.write(number, self.pem)
                context.load_cert_chain(f"/proc/self/fd/{number}")
            finally:
                os.close(number)
            return
        with tempfile.TemporaryDirectory() as folder:  # for us only
            file = Path(folder) / "certificate.pem"
            file.write_bytes(self.pem)
            context.load_cert_chain(file)

    def sealed(self, key: Sealer | Keys, district_id: UUID, subscription_id: UUID) -> bytes:
        """Encrypted for this one subscription."""
        return seal(key, self.pem, district_id=district_id, row=str(subscription_id), **_COLUMN)

    @classmethod
    def unsealed(cls, key: Keys, sealed: bytes, district_id: UUID, subscription_id: UUID) -> Self:
        """The inverse of ``sealed``. Raises HubError(INTERNAL) for a ciphertext of another row."""
        return cls(unseal(key, sealed, district_id=district_id, row=str(subscription_id), **_COLUMN))


@dataclass(frozen=True, slots=True)
class Described:
    """What may be shown of a certificate: whom it names (RFC 4514) and when it ends."""

    certificate: ClientCertificate
    subject: str
    expires_at: datetime


def parse(text: str, now: datetime) -> Described:
    """Reads a certificate with its key. May take a moment: call it in a thread.

    Raises HubError(INVALID_REQUEST) that says what is wrong, and never what was in the text.
    """
    if len(text) > LONGEST or not text.isascii():
        raise _refusal(f"must be PEM of at most {LONGEST} characters")
    pem = text.encode()
    try:
        own = x509.load_pem_x509_certificates(pem)[0]
    except (ValueError, IndexError):
        raise _refusal("must hold a certificate (-----BEGIN CERTIFICATE-----), the client's own one first") from None
    try:
        key = load_pem_private_key(pem[_key_at(pem) :], None)
    except (ValueError, TypeError):
        raise _refusal("must hold the private key too, without a passphrase: the hub seals it") from None
    if key.public_key() != own.public_key():
        raise _refusal("holds a key that does not belong to its first certificate")
    if own.not_valid_after_utc <= now:
        raise _refusal("holds a certificate that has expired")
    made = ClientCertificate(pem)
    try:
        made.load_into(ssl.create_default_context())
    except ssl.SSLError:
        raise _refusal("cannot be used for TLS") from None
    return Described(made, own.subject.rfc4514_string(), own.not_valid_after_utc)


def _key_at(pem: bytes) -> int:
    """Where the line is that begins the key."""
    at = pem.find(b"PRIVATE KEY-----")
    return max(0, pem.rfind(b"-----BEGIN ", 0, max(at, 0)))


def _refusal(message: str) -> HubError:
    return HubError(Code.INVALID_REQUEST, f"client_certificate: {message}.")
