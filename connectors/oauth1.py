"""Requests that are signed with OAuth 1.0a, two-legged (RFC 5849 §3.4; HMAC-SHA256 as vendors of OneRoster 1.1 do)."""

from __future__ import annotations

import base64
import hmac
import secrets
from urllib.parse import parse_qsl, quote, urlsplit

_HASHES = {"HMAC-SHA1": "sha1", "HMAC-SHA256": "sha256"}


def authorization(
    client_id: str, secret: str, signature_method: str, method: str, url: str, *, at: int, nonce: str = ""
) -> str:
    """The header of a request at ``at`` (seconds of Unix). ``nonce`` is for tests; without it one is made."""
    signed = {
        "oauth_consumer_key": client_id, "oauth_nonce": nonce or secrets.token_hex(16),
        "oauth_signature_method": signature_method, "oauth_timestamp": str(at), "oauth_version": "1.0",
    }  # fmt: skip
    parts = urlsplit(url)
    asked = parse_qsl(parts.query, keep_blank_values=True)
    pairs = sorted((_quoted(n), _quoted(v)) for n, v in [*signed.items(), *asked])
    port = "" if parts.port in {None, 443 if parts.scheme == "https" else 80} else f":{parts.port}"
    address = f"{parts.scheme}://{(parts.hostname or '').lower()}{port}{parts.path}"
    base = "&".join((method, _quoted(address), _quoted("&".join(f"{n}={v}" for n, v in pairs))))
    mac = hmac.digest(f"{_quoted(secret)}&".encode(), base.encode(), _HASHES[signature_method])
    signed["oauth_signature"] = base64.b64encode(mac).decode()
    return "OAuth " + ", ".join(f'{name}="{_quoted(value)}"' for name, value in signed.items())


def _quoted(text: str) -> str:
    return quote(text, safe="-._~")
