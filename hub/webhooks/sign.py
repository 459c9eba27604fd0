"""Signatures of Standard Webhooks 1.0.0 over ``<id>.<timestamp>.<body>``: v1 (HMAC-SHA256) and v1a (ed25519).

The text of a key says which of them it makes: ``whsec_`` and base64 of a secret that both sides know, or ``whsk_`` and
base64 of an ed25519 private key followed by its public key. Who verifies v1a needs the ``whpk_`` alone, from which
nothing can be signed.
"""

from __future__ import annotations

import base64
import binascii
import hmac
import os
from collections.abc import Mapping, Sequence
from typing import Literal

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

Scheme = Literal["v1", "v1a"]
SECRET, PRIVATE, PUBLIC = "whsec_", "whsk_", "whpk_"
SECRET_BYTES = 32
_ED25519_BYTES = 32


def new_secret() -> str:
    """A new key of v1: ``whsec_`` and 32 random bytes in base64."""
    return secret_text(os.urandom(SECRET_BYTES))


def secret_text(key: bytes) -> str:
    """The inverse of ``secret_bytes``."""
    return _written(SECRET, key)


def new_private_key() -> str:
    """A new key of v1a: ``whsk_`` and the private (32 bytes) and the public key (32 bytes) in base64."""
    private = Ed25519PrivateKey.generate()
    return _written(PRIVATE, private.private_bytes_raw() + private.public_key().public_bytes_raw())


def scheme(key: str) -> Scheme:
    """Which signatures a key makes."""
    return "v1a" if key.startswith(PRIVATE) else "v1"


def secret_bytes(secret: str) -> bytes:
    """The key inside a ``whsec_``. Raises ValueError for anything else."""
    return _read(SECRET, secret)


def public_key(private: str) -> str:
    """The ``whpk_`` that verifies what a ``whsk_`` signs. Raises ValueError for anything else."""
    return _written(PUBLIC, _private(private).public_key().public_bytes_raw())


def signature(key: str, message_id: str, timestamp: int, body: bytes) -> str:
    """One entry of ``webhook-signature``. ``timestamp``: the attempt's time in whole Unix seconds."""
    signed = _signed(message_id, timestamp, body)
    if scheme(key) == "v1a":
        return _written("v1a,", _private(key).sign(signed))
    return _written("v1,", hmac.digest(secret_bytes(key), signed, "sha256"))


def headers(keys: Sequence[str], message_id: str, timestamp: int, body: bytes) -> dict[str, str]:
    """The three headers of one attempt, signed with every live key, newest first."""
    return {
        "webhook-id": message_id,
        "webhook-timestamp": str(timestamp),
        "webhook-signature": " ".join(signature(key, message_id, timestamp, body) for key in keys),
    }


def verify(key: str, received: Mapping[str, str], body: bytes, *, now: float, tolerance: int = 300) -> bool:
    """Whether a received message is signed with ``key`` and not older or newer than ``tolerance`` seconds.

    ``key``: a ``whsec_``, or the ``whpk_`` of the sender. ``received``: the headers with lower-case names. For the
    demo's receivers and for trying a receiver out. Raises ValueError for a key that is none.
    """
    message_id, sent = received.get("webhook-id", ""), received.get("webhook-timestamp", "")
    if not message_id or not sent.isascii() or not sent.isdigit() or abs(now - int(sent)) > tolerance:
        return False
    entries = received.get("webhook-signature", "").encode().split(b" ")
    if not key.startswith(PUBLIC):
        expected = signature(key, message_id, int(sent), body).encode()
        return any(hmac.compare_digest(entry, expected) for entry in entries)
    public = Ed25519PublicKey.from_public_bytes(_read(PUBLIC, key))
    signed = _signed(message_id, int(sent), body)
    return any(_verified(public, entry.removeprefix(b"v1a,"), signed) for entry in entries if entry[:4] == b"v1a,")


def _verified(public: Ed25519PublicKey, entry: bytes, signed: bytes) -> bool:
    try:
        public.verify(base64.b64decode(entry, validate=True), signed)
    except (binascii.Error, InvalidSignature):
        return False
    return True


def _signed(message_id: str, timestamp: int, body: bytes) -> bytes:
    return f"{message_id}.{timestamp}.".encode() + body


def _private(text: str) -> Ed25519PrivateKey:
    raw = _read(PRIVATE, text)
    if len(raw) != 2 * _ED25519_BYTES:
        raise ValueError("a signing key is whsk_ and 64 bytes in base64")
    private = Ed25519PrivateKey.from_private_bytes(raw[:_ED25519_BYTES])
    if private.public_key().public_bytes_raw() != raw[_ED25519_BYTES:]:
        raise ValueError("the two halves of the signing key do not belong together")
    return private


def _written(prefix: str, raw: bytes) -> str:
    return prefix + base64.b64encode(raw).decode()


def _read(prefix: str, text: str) -> bytes:
    try:
        return base64.b64decode(text.removeprefix(prefix), validate=True)
    except binascii.Error:
        raise ValueError(f"a key of this kind is {prefix} and base64") from None
