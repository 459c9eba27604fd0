"""Answers of the OAuth 2 endpoints, and the errors of RFC 6749 §5.2."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import orjson
from aiohttp import web
from authlib.oauth2.rfc6749.errors import InvalidClientError, InvalidGrantError, InvalidRequestError

UNAUTHORIZED = 401
#: RFC 7617 asks for a realm, which Authlib does not send.
CHALLENGE = {"WWW-Authenticate": 'Basic realm="oauth"'}


@dataclass(frozen=True, slots=True)
class Outcome:
    """An answer; ``token`` and ``scopes`` where one was issued."""

    status: int
    body: dict[str, Any]
    headers: dict[str, str]
    token: str | None = None
    scopes: tuple[str, ...] = ()

    def response(self) -> web.Response:
        """As it is sent."""
        kept = {name: value for name, value in self.headers.items() if name.lower() != "content-type"}
        return web.Response(
            body=orjson.dumps(self.body), status=self.status, content_type="application/json", headers=kept
        )


class OAuthError(Exception):
    """A request that gets an error of RFC 6749."""

    def __init__(self, error: Any, headers: dict[str, str] | None = None) -> None:
        super().__init__(error.error)
        status, body, found = error()
        self.outcome = Outcome(status, dict(body), dict(found) | (headers or {}))


def invalid_request(description: str) -> OAuthError:
    """A request that cannot be understood."""
    return OAuthError(InvalidRequestError(description=description))


def invalid_client(description: str) -> OAuthError:
    """A client that did not prove itself."""
    return OAuthError(InvalidClientError(status_code=UNAUTHORIZED, description=description), CHALLENGE)


def not_yours() -> OAuthError:
    """A token that was issued to another client (RFC 7009 §2.1)."""
    return OAuthError(InvalidGrantError(description="This token was not issued to the client that asks."))


def unknown_client() -> OAuthError:
    """The one answer for an unknown client, a revoked one, a wrong secret, a wrong signature and the wrong method."""
    return invalid_client("Unknown client, or wrong secret or signature.")
