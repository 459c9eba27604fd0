"""The OAuth 2 endpoints: ``/oauth/token``, revocation, introspection, and the metadata of RFC 8414."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from aiohttp import web

from hub.api.attempts import Attempts
from hub.api.client_secrets import Verifier, nobodys_hash
from hub.api.context import CONTEXT, ApiContext
from hub.api.oauth.clients import TOKEN_PATH, Clients
from hub.api.oauth.form import read_form
from hub.api.oauth.keys import ALGORITHMS, nobodys_keys
from hub.api.oauth.outcome import OAuthError, Outcome, invalid_request, not_yours, unknown_client
from hub.api.oauth.server import TokenServer
from hub.api.oauth.sweep import keep_sweeping
from hub.api.oneroster.scopes import SCOPES
from hub.api.permissions import Permission, declare
from hub.store import apps
from hub.store.apps import LONGEST_TOKEN, AccessToken, Client

REVOCATION_PATH = "/oauth/revoke"
INTROSPECTION_PATH = "/oauth/introspect"
METADATA_PATH = "/.well-known/oauth-authorization-server"
_METHODS = ["client_secret_basic", "client_secret_post", "private_key_jwt"]
_FRESH = {"Cache-Control": "no-store", "Pragma": "no-cache"}


@dataclass(frozen=True)
class Endpoints:
    """What one process needs to answer. Each method raises OAuthError, HeldUpError, HubError(UNAVAILABLE)."""

    context: ApiContext
    server: TokenServer
    clients: Clients
    attempts: Attempts

    async def token(self, request: web.Request) -> Outcome:
        """Issues a token (RFC 6749 §4.4)."""
        form = await read_form(request)
        if not form.get("grant_type"):
            raise invalid_request("grant_type is missing: send grant_type=client_credentials.")
        client = await self.clients.authenticate(request, form)
        outcome = self.server.decide(form, client)
        if outcome.token is not None and not await self._stored(client, outcome.token, outcome.scopes):
            raise unknown_client()  # revoked, or given another secret, in the meantime
        return outcome

    async def revoke(self, request: web.Request) -> Outcome:
        """Ends a token of the client that asks (RFC 7009). An unknown one is none to worry about."""
        client, token = await self._named_token(request)
        if token is not None:
            if token.client_id != client.client_id:
                raise not_yours()
            async with self.context.db.shared() as tx:
                await apps.revoke_token(tx, token.token_hash, self.context.clock.now())
        return Outcome(200, {}, dict(_FRESH))

    async def introspect(self, request: web.Request) -> Outcome:
        """What a token is worth (RFC 7662), if it is one of the app that asks; every other is not active."""
        client, token = await self._named_token(request)
        if token is None or token.app_id != client.app_id or not token.valid(self.context.clock.now()):
            return Outcome(200, {"active": False}, dict(_FRESH))
        body = {
            "active": True,
            "scope": " ".join(token.scopes),
            "client_id": token.client_id,
            "sub": token.client_id,
            "token_type": "bearer",
            "iat": int(token.issued_at.timestamp()),
            "exp": int(token.expires_at.timestamp()),
            "iss": self.context.settings.public_url,
        }
        return Outcome(200, body, dict(_FRESH))

    async def _named_token(self, request: web.Request) -> tuple[Client, AccessToken | None]:
        """The client that asks, and the token that it names. The hint of its type is of no use: there is one type."""
        form = await read_form(request)
        client = await self.clients.authenticate(request, form)
        named = form.get("token", "")
        if not named:
            raise invalid_request("token is missing.")
        async with self.context.db.shared() as tx:
            token = await apps.find_token(tx, apps.digest(named[:LONGEST_TOKEN]))
        if token is None:
            self.attempts.begin(request)  # who looks for tokens of others is held up as well
        return client, token

    async def _stored(self, client: Client, token: str, scopes: tuple[str, ...]) -> bool:
        now = self.context.clock.now()
        expires_at = now + timedelta(seconds=self.server.lifetime)
        async with self.context.db.shared() as tx:
            return await apps.issue(tx, token, client, scopes=list(scopes), now=now, expires_at=expires_at)


_ENDPOINTS = web.AppKey("endpoints", Endpoints)
Answer = Callable[[Endpoints, web.Request], Awaitable[Outcome]]


def add_oauth(app: web.Application) -> None:
    """Adds the endpoints and their metadata."""
    app.cleanup_ctx.append(_start)
    declare(app, "POST", TOKEN_PATH, _handler(Endpoints.token), Permission.CLIENT)
    declare(app, "POST", REVOCATION_PATH, _handler(Endpoints.revoke), Permission.CLIENT)
    declare(app, "POST", INTROSPECTION_PATH, _handler(Endpoints.introspect), Permission.CLIENT)
    declare(app, "GET", METADATA_PATH, _metadata, Permission.PUBLIC)


async def _start(app: web.Application) -> AsyncIterator[None]:
    context = app[CONTEXT]
    await asyncio.gather(asyncio.to_thread(nobodys_hash), asyncio.to_thread(nobodys_keys))
    attempts = Attempts(context.settings, asyncio.get_running_loop().time)
    server = TokenServer(context.settings.token_lifetime_seconds)
    app[_ENDPOINTS] = Endpoints(context, server, Clients(context, Verifier(), attempts), attempts)
    sweeping = asyncio.create_task(keep_sweeping(context))
    yield
    sweeping.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await sweeping


def _handler(answer: Answer) -> Callable[[web.Request], Awaitable[web.Response]]:
    async def handle(request: web.Request) -> web.Response:
        try:
            outcome = await answer(request.app[_ENDPOINTS], request)
        except OAuthError as error:
            outcome = error.outcome
        return outcome.response()

    return handle


async def _metadata(request: web.Request) -> web.Response:
    body = metadata(request.app[CONTEXT].settings.public_url)
    return Outcome(200, body, {"Cache-Control": "public, max-age=300"}).response()


def metadata(issuer: str) -> dict[str, Any]:
    """The authorization server's metadata (RFC 8414)."""
    endpoints: Mapping[str, str] = {
        "token": TOKEN_PATH, "revocation": REVOCATION_PATH, "introspection": INTROSPECTION_PATH
    }  # fmt: skip
    out: dict[str, Any] = {
        "issuer": issuer,
        "grant_types_supported": ["client_credentials"],
        "scopes_supported": list(SCOPES),
        # Required, and no list may be empty (§3.2): "none" is the type that issues nothing.
        "response_types_supported": ["none"],
    }
    for name, path in endpoints.items():
        out[f"{name}_endpoint"] = issuer + path
        out[f"{name}_endpoint_auth_methods_supported"] = _METHODS
        out[f"{name}_endpoint_auth_signing_alg_values_supported"] = list(ALGORITHMS)
    return out
