"""The ``Authorization`` of requests to targets: access tokens that are kept in memory, or a signature for each."""

from __future__ import annotations

import asyncio
import base64
import time
from collections import defaultdict
from dataclasses import dataclass, field
from urllib.parse import quote_plus, urlencode
from uuid import UUID

import orjson

from connectors.oauth1 import authorization
from hub.passback.codes import Down
from hub.passback.login import OAuth1, OAuth2
from hub.webhooks.egress import Answer, Egress
from hub.webhooks.failure import Failure

#: A token is not used in its last seconds; one whose life is not told is used for so long.
MARGIN_SECONDS, USUAL_SECONDS = 30.0, 600.0
_LONGEST_TOKEN = 8_000


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
            known, secret, at = credential.login, credential.secret, int(time.time())
            return authorization(known.client_id, secret, known.signature_method, method, url, at=at)
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
