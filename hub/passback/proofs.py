"""The ``Authorization`` of requests to targets: access tokens that are kept in memory, or a signature for each."""

from __future__ import annotations

import asyncio
import base64
import hmac
import secrets
import time
from collections import defaultdict
from dataclasses import dataclass, field
from urllib.parse import parse_qsl, quote, quote_plus, urlencode, urlsplit
from uuid import UUID

import orjson

from hub.passback.codes import Down
from hub.passback.login import OAuth1, OAuth2
from hub.webhooks.egress import Answer, Egress, Failure

#: A token is not used in its last seconds; one whose life is not told is used for so long.
MARGIN_SECONDS, USUAL_SECONDS = 30.0, 600.0
_LONGEST_TOKEN = 8_000
_HASHES = {"HMAC-SHA1": "sha1", "HMAC-SHA256": "sha256"}


class LoginError(Exception):
    """The login did not work. ``down`` says how, ``retry_after`` what the server asked for."""

    def __init__(self, down: Down, status: int | None, retry_after: float | None = None) -> None:
        super().__init__(down.value)
        self.down = down
        self.status = status
        self.retry_after = retry_after


@dataclass(frozen=True, slots=True)
class Credential:
    """What a target knows the hub by."""

    target_id: UUID
    login: OAuth2 | OAuth1
    secret: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class _Token:
    text: str = field(repr=False)
    until: float  # time.monotonic()
    credential: Credential


@dataclass(frozen=True)
class Proofs:
    """Proofs for requests. Tokens live in this process alone, and only as long as the credential stays the same."""

    egress: Egress
    _tokens: dict[UUID, _Token] = field(default_factory=dict)
    _turns: defaultdict[UUID, asyncio.Lock] = field(default_factory=lambda: defaultdict(asyncio.Lock))

    async def header(self, credential: Credential, method: str, url: str) -> str:
        """The value of ``Authorization``. Raises LoginError."""
        if isinstance(credential.login, OAuth1):
            return signature(credential.login, credential.secret, method, url)
        async with self._turns[credential.target_id]:
            held = self._tokens.get(credential.target_id)
            if held is None or held.credential != credential or held.until <= time.monotonic():
                held = await self._fetch(credential, credential.login)
                self._tokens[credential.target_id] = held
        return f"Bearer {held.text}"

    def forget(self, credential: Credential, header: str) -> None:
        """Drops the token of a header that a target did not take; one that came meanwhile stays."""
        held = self._tokens.get(credential.target_id)
        if held is not None and header == f"Bearer {held.text}":
            del self._tokens[credential.target_id]

    async def _fetch(self, credential: Credential, login: OAuth2) -> _Token:
        basic = base64.b64encode(f"{quote_plus(login.client_id)}:{quote_plus(credential.secret)}".encode()).decode()
        form = {"grant_type": "client_credentials"} | ({"scope": login.scope} if login.scope else {})
        answer = await self.egress.send(
            "POST", login.token_url, urlencode(form).encode(),
            {"authorization": f"Basic {basic}", "accept": "application/json",
             "content-type": "application/x-www-form-urlencoded"},
        )  # fmt: skip
        token, seconds = _read(answer)
        return _Token(token, time.monotonic() + max(seconds - MARGIN_SECONDS, 1.0), credential)


def _read(answer: Answer) -> tuple[str, float]:
    """Token and life of a token endpoint's answer. Raises LoginError."""
    if answer.failure not in {None, Failure.STATUS}:
        raise LoginError(Down.LOGIN_FAILED, None)
    if answer.failure is not None:
        refused = answer.status in {400, 401, 403}
        raise LoginError(Down.LOGIN_REFUSED if refused else Down.LOGIN_FAILED, answer.status, answer.retry_after)
    try:
        body = orjson.loads(answer.body)
        token, seconds = body["access_token"], float(body.get("expires_in") or USUAL_SECONDS)
    except (ValueError, KeyError, TypeError, AttributeError):
        raise LoginError(Down.LOGIN_FAILED, answer.status) from None
    if (
        not isinstance(token, str)
        or not 0 < len(token) <= _LONGEST_TOKEN
        or not (token.isascii() and token.isprintable())
    ):
        raise LoginError(Down.LOGIN_FAILED, answer.status)
    return token, seconds


def signature(login: OAuth1, secret: str, method: str, url: str, *, nonce: str = "", at: int = 0) -> str:
    """The header of a request that is signed with OAuth 1.0a, two-legged; ``nonce`` and ``at`` are for tests."""
    signed = {
        "oauth_consumer_key": login.client_id,
        "oauth_nonce": nonce or secrets.token_hex(16),
        "oauth_signature_method": login.signature_method,
        "oauth_timestamp": str(at or int(time.time())),
        "oauth_version": "1.0",
    }
    parts = urlsplit(url)
    pairs = sorted(
        (_quoted(n), _quoted(v)) for n, v in [*signed.items(), *parse_qsl(parts.query, keep_blank_values=True)]
    )
    port = "" if parts.port in {None, 443 if parts.scheme == "https" else 80} else f":{parts.port}"
    address = f"{parts.scheme}://{(parts.hostname or '').lower()}{port}{parts.path}"
    base = "&".join((method, _quoted(address), _quoted("&".join(f"{n}={v}" for n, v in pairs))))
    mac = hmac.digest(f"{_quoted(secret)}&".encode(), base.encode(), _HASHES[login.signature_method])
    signed["oauth_signature"] = base64.b64encode(mac).decode()
    return "OAuth " + ", ".join(f'{name}="{_quoted(value)}"' for name, value in signed.items())


def _quoted(text: str) -> str:
    return quote(text, safe="-._~")
