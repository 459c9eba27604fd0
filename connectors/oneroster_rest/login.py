"""How the connector says who it is: a token of OAuth 2, kept as long as it lives, or a signature of OAuth 1.0a."""

from __future__ import annotations

import base64
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from urllib.parse import quote_plus, urlencode

import orjson
from yarl import URL

from connectors.http import Answer, Web
from connectors.oauth1 import authorization
from connectors.oneroster_rest.config import OAuth1, OAuth2, OneRosterRestConfig
from connectors.protocol import ConnectorError, Intent

SECRET = "client_secret"
#: A token is not used in its last seconds; one whose life is not told is used until it is refused.
_MARGIN_SECONDS, _LONGEST_TOKEN, _MOST_BYTES = 30.0, 16_000, 1 << 20


@dataclass
class Login:
    """The ``Authorization`` of requests. One for each pull: nothing of it outlives the pull."""

    config: OneRosterRestConfig
    secret: str = field(repr=False)
    web: Web
    now: Callable[[], datetime]
    _token: str | None = field(default=None, repr=False)
    _until: float = float("inf")

    async def header(self, method: str, url: URL) -> str:
        """The value for one request. Raises ConnectorError (``login_refused``, ``login_failed`` and those of Web)."""
        login = self.config.login
        if isinstance(login, OAuth1):
            at = int(self.now().timestamp())
            return authorization(login.client_id, self.secret, login.signature_method, method, str(url), at=at)
        if isinstance(login, OAuth2):
            if self._token is None or time.monotonic() >= self._until:
                await self._fetch(login)
            return f"Bearer {self._token}"
        return f"Bearer {self.secret}"

    @property
    def renewable(self) -> bool:
        """Whether a refused request may be tried again with a new token."""
        return isinstance(self.config.login, OAuth2)

    def forget(self) -> None:
        """Drops a token that was refused."""
        self._token = None

    async def _fetch(self, login: OAuth2) -> None:
        form = {"grant_type": "client_credentials"}
        if scope := self.config.scope():
            form["scope"] = scope
        headers = {
            **self.config.vendor.headers, **self.config.headers, "Accept": "application/json",
            "Content-Type": "application/x-www-form-urlencoded",
        }  # fmt: skip
        if login.client_auth == "basic":
            pair = f"{quote_plus(login.client_id)}:{quote_plus(self.secret)}"
            headers["Authorization"] = "Basic " + base64.b64encode(pair.encode()).decode()
        else:
            form |= {"client_id": login.client_id, "client_secret": self.secret}
        url = URL(login.token_url, encoded=True)
        answer = await self.web.send(
            "POST", url, headers=headers, body=urlencode(form).encode(), most_bytes=_MOST_BYTES
        )
        self._token, seconds = _token(answer, self.now())
        self._until = time.monotonic() + max(seconds - _MARGIN_SECONDS, 1.0)


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
