"""``/oauth/token`` and the metadata of RFC 8414."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import orjson
from aiohttp import web
from multidict import MultiMapping

from hub.api.buckets import Buckets
from hub.api.caches import ByteCache
from hub.api.client_secrets import LONGEST_SECRET, Verifier, nobodys_hash
from hub.api.context import CONTEXT, ApiContext
from hub.api.oauth.server import Credentials, Outcome, TokenServer, credentials, refused
from hub.api.oneroster.errors import busy
from hub.api.oneroster.scopes import SCOPES
from hub.api.permissions import Permission, declare
from hub.store import apps
from hub.store.apps import Client

TOKEN_PATH = "/oauth/token"
METADATA_PATH = "/.well-known/oauth-authorization-server"
_FORM = "application/x-www-form-urlencoded"
_LARGEST_BODY = 16_384
_MOST_FIELDS = 20
_LONGEST_ID = 200
#: Wrong secrets: so many at once, then so many a second. An address that once knew a client's secret is not held up by
#: others who guess at it.
_ADDRESS_BURST, _ADDRESS_RATE = 20, 0.5
_CLIENT_BURST, _CLIENT_RATE = 40, 1.0
_MOST_KNOWN = 10_000


@dataclass(frozen=True)
class Tokens:
    """What one process needs to issue tokens."""

    context: ApiContext
    server: TokenServer
    verifier: Verifier
    by_address: Buckets
    by_client: Buckets
    known: ByteCache[tuple[str, str], bool]

    async def answer(self, request: web.Request) -> Outcome:
        """The answer to a token request. Raises RefusedError(429), and HubError(UNAVAILABLE)."""
        form = await _form(request)
        if isinstance(form, Outcome):
            return form
        given = credentials(request.headers.get("Authorization", ""), form)
        if given is None:
            return self.server.decide(form, client_id="", scopes=(), authentic=False)
        self._hold_up(request.remote or "", given.client_id)
        client = await self._client(given)
        authentic = await self.verifier.matches(client.secret_hash if client else None, given.secret[:LONGEST_SECRET])
        if authentic:
            self._know(request.remote or "", given.client_id)
        outcome = self.server.decide(
            form, client_id=given.client_id, scopes=client.scopes if client else (), authentic=authentic
        )
        if client is None or outcome.token is None or await self._stored(client, outcome):
            return outcome
        return self.server.decide(form, client_id=given.client_id, scopes=(), authentic=False)

    async def _client(self, given: Credentials) -> Client | None:
        """The active client of an id. The database is asked whatever the id looks like."""
        storable = given.client_id[:_LONGEST_ID].replace("\0", "")
        async with self.context.db.shared() as tx:
            client = await apps.find_client(tx, storable)
        return client if client is not None and client.state == "active" else None

    async def _stored(self, client: Client, outcome: Outcome) -> bool:
        """Stores the token; False when the client was revoked or got another secret in the meantime."""
        now = self.context.clock.now()
        async with self.context.db.shared() as tx:
            return await apps.issue(
                tx, outcome.token or "", client_id=client.client_id, secret_hash=client.secret_hash,
                scopes=list(outcome.scopes), now=now, expires_at=now + timedelta(seconds=self.server.lifetime),
            )  # fmt: skip

    def _hold_up(self, address: str, client_id: str) -> None:
        """Counts an attempt, before it is known how it ends: many at once are held up as well."""
        if self.known.get((address, client_id)):
            return
        wait = max(self.by_address.take(address), self.by_client.take(client_id))
        if wait:
            raise busy(429, wait, "Too many wrong credentials. Wait as long as Retry-After says.")

    def _know(self, address: str, client_id: str) -> None:
        """Takes the attempt back: it was a right one."""
        if not self.known.get((address, client_id)):
            self.by_address.give(address)
            self.by_client.give(client_id)
        self.known.put((address, client_id), value=True, size=1)


_TOKENS = web.AppKey("tokens", Tokens)


def add_oauth(app: web.Application) -> None:
    """Adds the token endpoint and its metadata."""
    app.cleanup_ctx.append(_start)
    declare(app, "POST", TOKEN_PATH, _token, Permission.CLIENT)
    declare(app, "GET", METADATA_PATH, _metadata, Permission.PUBLIC)


async def _start(app: web.Application) -> AsyncIterator[None]:
    now = asyncio.get_running_loop().time
    await asyncio.to_thread(nobodys_hash)
    app[_TOKENS] = Tokens(
        app[CONTEXT],
        TokenServer(app[CONTEXT].settings.token_lifetime_seconds),
        Verifier(),
        Buckets(_ADDRESS_RATE, _ADDRESS_BURST, now),
        Buckets(_CLIENT_RATE, _CLIENT_BURST, now),
        ByteCache(_MOST_KNOWN),
    )
    yield


async def _token(request: web.Request) -> web.Response:
    outcome = await request.app[_TOKENS].answer(request)
    return _json(outcome.body, outcome.status, outcome.headers)


async def _metadata(request: web.Request) -> web.Response:
    issuer = request.app[CONTEXT].settings.public_url
    metadata = {
        "issuer": issuer,
        "token_endpoint": issuer + TOKEN_PATH,
        "grant_types_supported": ["client_credentials"],
        "token_endpoint_auth_methods_supported": ["client_secret_basic", "client_secret_post"],
        "scopes_supported": list(SCOPES),
        "response_types_supported": [],
    }
    return _json(metadata, 200, {"Cache-Control": "public, max-age=300"})


def _json(body: dict[str, Any], status: int, headers: dict[str, str]) -> web.Response:
    kept = {name: value for name, value in headers.items() if name.lower() != "content-type"}
    return web.Response(body=orjson.dumps(body), status=status, content_type="application/json", headers=kept)


async def _form(request: web.Request) -> dict[str, str] | Outcome:
    """The parameters of the body; what is in the query is ignored, since addresses end up in logs."""
    if request.content_type != _FORM:
        return refused(f"Send the parameters in the body as {_FORM}.")
    if (request.content_length or 0) > _LARGEST_BODY:
        raise web.HTTPRequestEntityTooLarge(_LARGEST_BODY, request.content_length or 0)
    posted: MultiMapping[Any] = await request.post()
    form = {name: str(value) for name, value in posted.items()}
    if len(posted) > _MOST_FIELDS or len(form) != len(posted):
        return refused("No parameter may be given twice.")
    if not form.get("grant_type"):
        return refused("grant_type is missing: send grant_type=client_credentials.")
    if request.headers.get("Authorization") and form.get("client_secret"):
        return refused("Send the credentials in one way: as Basic, or in the body.")
    return form
