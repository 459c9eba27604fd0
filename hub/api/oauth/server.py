"""What RFC 6749 says about one token request, decided by Authlib.

Authlib is synchronous, so whatever needs the database or a slow hash is known before it is asked, and the token that it
issues is stored afterwards (hub/api/oauth/endpoint.py).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from authlib.oauth2.rfc6749 import AuthorizationServer, ClientCredentialsGrant, ClientMixin, OAuth2Request
from authlib.oauth2.rfc6749.requests import BasicOAuth2Payload
from authlib.oauth2.rfc6750 import BearerTokenGenerator

from hub.api.oauth.outcome import Outcome
from hub.store.apps import Client, new_token

_GRANT = "client_credentials"
#: Authlib refuses addresses that are not https. TLS ends before this process, so it is told what the client sees.
_ADDRESS = "https://localhost/oauth/token"


class _Client(ClientMixin):  # type: ignore[misc] # Authlib has no types
    """A client as Authlib looks at it, authenticated already."""

    def __init__(self, client_id: str, scopes: Iterable[str]) -> None:
        self.client_id = client_id
        self.scopes = tuple(scopes)

    def check_grant_type(self, grant_type: str) -> bool:
        return grant_type == _GRANT

    def get_allowed_scope(self, scope: str | None) -> str | None:
        """The scopes to issue: all that the client may have, or those of them that were asked for."""
        wanted = scope.split() if scope else self.scopes
        allowed = [name for name in dict.fromkeys(wanted) if name in self.scopes]
        return " ".join(allowed) or None


class _Grant(ClientCredentialsGrant):  # type: ignore[misc] # Authlib has no types
    def authenticate_token_endpoint_client(self) -> _Client:
        client: _Client = self.request.known_client  # who did not prove itself does not get here
        return client

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

    def decide(self, form: Mapping[str, str], client: Client) -> Outcome:
        """The answer for a request whose client has proved itself."""
        request = _Request(form, {}, _Client(client.client_id, client.scopes))
        status, body, headers = self._server.create_token_response(request)
        token = request.issued[0] if request.issued else None
        return Outcome(
            status,
            dict(body) | _advice(body.get("error"), request.known_client),
            dict(headers),
            token["access_token"] if token else None,
            tuple(token["scope"].split()) if token else (),
        )


def _advice(error: str | None, client: _Client) -> dict[str, str]:
    """What to do about an error for which Authlib has no words of use."""
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
