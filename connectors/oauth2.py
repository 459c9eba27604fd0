"""Tokens by client credentials (RFC 6749 §4.4): kept as long as they live, fetched anew when they are refused."""

from __future__ import annotations

import asyncio
import base64
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal
from urllib.parse import quote_plus, urlencode

import orjson
from yarl import URL

from connectors.answer import Answer
from connectors.http import Web
from connectors.protocol import ConnectorError, Intent

#: A token is not used in its last seconds; one whose life is not told is used until it is refused.
_MARGIN_SECONDS, _LONGEST_TOKEN, _MOST_BYTES = 30.0, 16_000, 1 << 20


@dataclass(kw_only=True)
class Fetched(ABC):
    """A token that is fetched when it is needed, and kept until it ends or is refused. One for each pull.

    Of requests side by side one fetches it.
    """

    renewable: bool = True
    _token: str | None = field(default=None, repr=False)
    _until: float = float("inf")
    _fetching: asyncio.Lock = field(default_factory=asyncio.Lock, repr=False)

    @abstractmethod
    async def fetch(self) -> tuple[str, float]:
        """A new token and its life in seconds. Raises ConnectorError."""

    async def headers(self, _method: str, _url: URL) -> Mapping[str, str]:
        """``Authorization``. Raises ConnectorError as ``fetch`` does."""
        async with self._fetching:
            if self._token is None or time.monotonic() >= self._until:
                self._token, seconds = await self.fetch()
                self._until = time.monotonic() + max(seconds - _MARGIN_SECONDS, 1.0)
            return {"Authorization": f"Bearer {self._token}"}

    def forget(self, refused: Mapping[str, str]) -> None:
        """Drops a token that was refused, unless another took its place meanwhile."""
        if refused.get("Authorization") == f"Bearer {self._token}":
            self._token = None


@dataclass
class ClientCredentials(Fetched):
    """A token for client id and secret.

    ``headers_besides``: what the server wants at the token's address beside the usual.
    """

    web: Web
    now: Callable[[], datetime]
    token_url: str
    client_id: str
    secret: str = field(repr=False)
    scope: str = ""
    client_auth: Literal["basic", "body"] = "basic"
    headers_besides: Mapping[str, str] = field(default_factory=dict)

    async def fetch(self) -> tuple[str, float]:
        """Asks the token's address. Raises ConnectorError (``login_refused``, ``login_failed`` and those of Web)."""
        form = {"grant_type": "client_credentials"}
        if self.scope:
            form["scope"] = self.scope
        headers = {
            **self.headers_besides, "Accept": "application/json", "Content-Type": "application/x-www-form-urlencoded",
        }  # fmt: skip
        if self.client_auth == "basic":
            pair = f"{quote_plus(self.client_id)}:{quote_plus(self.secret)}"
            headers["Authorization"] = "Basic " + base64.b64encode(pair.encode()).decode()
        else:
            form |= {"client_id": self.client_id, "client_secret": self.secret}
        url = URL(self.token_url, encoded=True)
        answer = await self.web.send(
            "POST", url, headers=headers, body=urlencode(form).encode(), most_bytes=_MOST_BYTES
        )
        return _token(answer, self.now())


@dataclass(frozen=True)
class Bearer:
    """A token that was given out for good."""

    token: str = field(repr=False)
    renewable: bool = False

    async def headers(self, _method: str, _url: URL) -> Mapping[str, str]:
        """``Authorization``."""
        return {"Authorization": f"Bearer {self.token}"}

    def forget(self, refused: Mapping[str, str]) -> None:
        """There is no other one."""


def _token(answer: Answer, now: datetime) -> tuple[str, float]:
    """Token and life in an answer. Raises ConnectorError."""
    if answer.status in {400, 401, 403}:
        text = (
            f"The token address refused the login (HTTP {answer.status}{_said(answer)}). Check client id, secret and "
            "scopes, and that the credentials are active in the system."
        )
        raise ConnectorError("login_refused", text, intent=Intent.ASK_HUMAN)
    if answer.status != 200:
        intent = Intent.RETRY if answer.status == 429 or answer.status >= 500 else Intent.ASK_HUMAN
        text = f"The token address answered with HTTP {answer.status}. Check it if this stays so."
        raise ConnectorError("login_failed", text, intent=intent, wait_seconds=answer.retry_after(now))
    try:
        body = orjson.loads(answer.body)
        token, seconds = body["access_token"], float(body.get("expires_in") or "inf")
    except (ValueError, KeyError, TypeError, AttributeError):
        token, seconds = None, 0.0
    fits = isinstance(token, str) and 0 < len(token) <= _LONGEST_TOKEN and token.isascii() and token.isprintable()
    if not fits:
        text = "The token address answered with something else than a token. Is it the right address?"
        raise ConnectorError("login_failed", text, intent=Intent.ASK_HUMAN)
    return str(token), seconds


def _said(answer: Answer) -> str:
    """The standard's word for the refusal, where the answer has one of those that RFC 6749 §5.2 lists."""
    known = {"invalid_request", "invalid_client", "invalid_grant", "unauthorized_client", "unsupported_grant_type",
             "invalid_scope"}  # fmt: skip
    try:
        word = orjson.loads(answer.body).get("error")
    except (ValueError, AttributeError):
        return ""
    return f", {word}" if word in known else ""
