"""What RFC 6749 says about one token request, decided by Authlib.

Authlib is synchronous, so whatever needs the database or a slow hash is known before it is asked, and the token that it
issues is stored afterwards (hub/api/oauth/endpoint.py).
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple
from urllib.parse import unquote_plus

from authlib.oauth2.rfc6749 import AuthorizationServer, ClientCredentialsGrant, ClientMixin, OAuth2Request
from authlib.oauth2.rfc6749.errors import InvalidClientError, InvalidRequestError
from authlib.oauth2.rfc6749.requests import BasicOAuth2Payload
from authlib.oauth2.rfc6750 import BearerTokenGenerator

from hub.store.apps import new_token

_GRANT = "client_credentials"
#: Authlib refuses addresses that are not https. TLS ends before this process, so it is told what the client sees.
_ADDRESS = "https://localhost/oauth/token"
_METHODS = ("client_secret_basic", "client_secret_post")
_UNAUTHORIZED = 401
_CHALLENGE = {"WWW-Authenticate": 'Basic realm="oauth"'}  # RFC 7617 asks for a realm, which Authlib does not send


class Credentials(NamedTuple):
    """What a request says to be."""

    client_id: str
    secret: str


@dataclass(frozen=True, slots=True)
class Outcome:
    """The answer to a token request; ``token`` and ``scopes`` where one was issued."""

    status: int
    body: dict[str, Any]
    headers: dict[str, str]
    token: str | None = None
    scopes: tuple[str, ...] = ()


def credentials(authorization: str, form: Mapping[str, str]) -> Credentials | None:
    """The client's id and secret from Basic or from the body; None where there are none or two kinds.

    Inside Basic both are form-encoded (RFC 6749 §2.3.1).
    """
    scheme, _, encoded = authorization.partition(" ")
    in_body = Credentials(form.get("client_id", ""), form.get("client_secret", ""))
    if not authorization:
        return in_body if all(in_body) else None
    if scheme.lower() != "basic" or in_body.secret:
        return None
    try:
        client_id, colon, secret = base64.b64decode(encoded.strip(), validate=True).decode().partition(":")
    except (binascii.Error, ValueError):
        return None
    return Credentials(unquote_plus(client_id), unquote_plus(secret)) if colon and client_id and secret else None


class _Client(ClientMixin):  # type: ignore[misc] # Authlib has no types
    """A client as Authlib looks at it: already authenticated, or not."""

    def __init__(self, client_id: str, scopes: Iterable[str], *, authentic: bool) -> None:
        self.client_id = client_id
        self.scopes = tuple(scopes)
        self.authentic = authentic

    def check_client_secret(self, client_secret: str) -> bool:
        return self.authentic

    def check_endpoint_auth_method(self, method: str, endpoint: str) -> bool:
        return method in _METHODS and endpoint == "token"

    def check_grant_type(self, grant_type: str) -> bool:
        return grant_type == _GRANT

    def get_allowed_scope(self, scope: str | None) -> str | None:
        """The scopes to issue: all that the client may have, or those of them that were asked for."""
        wanted = scope.split() if scope else self.scopes
        allowed = [name for name in dict.fromkeys(wanted) if name in self.scopes]
        return " ".join(allowed) or None


class _Grant(ClientCredentialsGrant):  # type: ignore[misc] # Authlib has no types
    TOKEN_ENDPOINT_AUTH_METHODS = _METHODS

    def authenticate_token_endpoint_client(self) -> _Client:
        client = self.request.known_client
        if not client.authentic:
            # One answer for an unknown client, a wrong secret and a revoked one.
            raise InvalidClientError(status_code=401, description="Unknown client or wrong secret.")
        return client  # type: ignore[no-any-return]

    def create_token_response(self) -> tuple[int, dict[str, Any], list[tuple[str, str]]]:
        # The base class writes the token into the debug log.
        token = self.generate_token(scope=self.request.payload.scope, include_refresh_token=False)
        token["token_type"] = "bearer"
        self.save_token(token)
        return 200, token, self.TOKEN_RESPONSE_HEADER


class _Request(OAuth2Request):  # type: ignore[misc] # Authlib has no types
    def __init__(self, form: Mapping[str, str], headers: Mapping[str, str], client: _Client) -> None:
        super().__init__("POST", _ADDRESS, headers=dict(headers))
        self.payload = BasicOAuth2Payload(dict(form))
        self.known_client = client
        self.issued: list[dict[str, Any]] = []

    @property
    def form(self) -> dict[str, str]:
        return dict(self.payload.data)


@dataclass
class TokenServer:
    """Decides on token requests; ``lifetime`` in seconds."""

    lifetime: int
    _server: Any = field(init=False)

    def __post_init__(self) -> None:
        self._server = _Server()
        generator = BearerTokenGenerator(lambda **_: new_token(), expires_generator=lambda *_: self.lifetime)
        self._server.register_token_generator("default", generator)
        self._server.register_grant(_Grant)

    def decide(self, form: Mapping[str, str], *, client_id: str, scopes: Iterable[str], authentic: bool) -> Outcome:
        """The answer for a request whose client was looked up and whose secret was checked (``authentic``)."""
        request = _Request(form, {}, _Client(client_id, scopes, authentic=authentic))
        status, body, headers = self._server.create_token_response(request)
        token = request.issued[0] if request.issued else None
        return Outcome(
            status,
            dict(body) | _advice(body.get("error"), request.known_client),
            dict(headers) | (_CHALLENGE if status == _UNAUTHORIZED else {}),
            token["access_token"] if token else None,
            tuple(token["scope"].split()) if token else (),
        )


def _advice(error: str | None, client: _Client) -> dict[str, str]:
    """What to do about an error for which Authlib has no words of use. Only an authentic client gets that far."""
    if error == "unsupported_grant_type":
        return {"error_description": f"Send grant_type={_GRANT}."}
    if error == "invalid_scope":
        return {"error_description": f"Ask for none, or for some of these: {' '.join(client.scopes)}"}
    return {}


class _Server(AuthorizationServer):  # type: ignore[misc] # Authlib has no types
    def query_client(self, client_id: str) -> None:
        return None

    def save_token(self, token: dict[str, Any], request: _Request) -> None:
        request.issued.append(token)

    def send_signal(self, name: str, *args: Any, **kwargs: Any) -> None:
        """Nobody listens."""

    def create_oauth2_request(self, request: _Request) -> _Request:
        return request

    def handle_response(self, status: int, body: Any, headers: Any) -> tuple[int, Any, Any]:
        return status, body, headers


def refused(description: str) -> Outcome:
    """A request that cannot be understood."""
    status, body, headers = InvalidRequestError(description=description)()
    return Outcome(status, dict(body), dict(headers))
