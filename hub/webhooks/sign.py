"""Signatures of Standard Webhooks 1.0.0, scheme v1: HMAC-SHA256 over ``<id>.<timestamp>.<body>``."""

from __future__ import annotations

import base64
import binascii
import hmac
import os
from collections.abc import Mapping, Sequence

PREFIX = "whsec_"
SECRET_BYTES = 32


def new_secret() -> str:
    """A new signing secret: ``whsec_`` and 32 random bytes in base64."""
    return PREFIX + base64.b64encode(os.urandom(SECRET_BYTES)).decode()


def secret_bytes(secret: str) -> bytes:
    """The key inside a secret's text. Raises ValueError for anything else."""
    try:
        return base64.b64decode(secret.removeprefix(PREFIX), validate=True)
    except binascii.Error:
        raise ValueError("a signing secret is whsec_ and base64") from None


def signature(secret: str, message_id: str, timestamp: int, body: bytes) -> str:
    """One entry of ``webhook-signature``. ``timestamp``: the attempt's time in whole Unix seconds."""
    signed = f"{message_id}.{timestamp}.".encode() + body
    return "v1," + base64.b64encode(hmac.digest(secret_bytes(secret), signed, "sha256")).decode()


def headers(secrets: Sequence[str], message_id: str, timestamp: int, body: bytes) -> dict[str, str]:
    """The three headers of one attempt, signed with every live secret, newest first."""
    return {
        "webhook-id": message_id,
        "webhook-timestamp": str(timestamp),
        "webhook-signature": " ".join(signature(s, message_id, timestamp, body) for s in secrets),
    }


def verify(secret: str, received: Mapping[str, str], body: bytes, *, now: float, tolerance: int = 300) -> bool:
    """Whether a received message is signed with ``secret`` and not older or newer than ``tolerance`` seconds.

    ``received``: the headers with lower-case names. For the demo's receivers and for trying a receiver out.
    """
    message_id, sent = received.get("webhook-id", ""), received.get("webhook-timestamp", "")
    if not message_id or not sent.isascii() or not sent.isdigit() or abs(now - int(sent)) > tolerance:
        return False
    expected = signature(secret, message_id, int(sent), body).encode()
    entries = received.get("webhook-signature", "").encode().split(b" ")
    return any(hmac.compare_digest(entry, expected) for entry in entries)
