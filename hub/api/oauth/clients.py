"""Who asks an OAuth 2 endpoint: a client with a secret (RFC 6749 §2.3.1) or with an assertion (RFC 7523 §2.2)."""

from __future__ import annotations

import asyncio
import base64
import binascii
from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple
from urllib.parse import unquote_plus

from aiohttp import web

from hub.api.attempts import Attempts
from hub.api.client_secrets import LONGEST_SECRET, Verifier
from hub.api.context import ApiContext
from hub.api.oauth import assertions
from hub.api.oauth.outcome import invalid_client, invalid_request, unknown_client
from hub.store import apps, replays
from hub.store.apps import Client

TOKEN_PATH = "/oauth/token"
_LONGEST_ID = 200


class Credentials(NamedTuple):
    """What a request says to be."""

    client_id: str
    secret: str


@dataclass(frozen=True)
class Clients:
    """Authenticates clients, in one way whichever endpoint they ask."""

    context: ApiContext
    verifier: Verifier
    attempts: Attempts

    async def authenticate(self, request: web.Request, form: Mapping[str, str]) -> Client:
        """The active client that asks.

        Raises OAuthError: invalid_request for two methods at once, invalid_client; HeldUpError.
        """
        authorization = request.headers.get("Authorization", "")
        assertion = form.get("client_assertion")
        if sum(map(bool, (authorization, form.get("client_secret"), assertion))) > 1:
            raise invalid_request("Send the credentials in one way: as Basic, or in the body.")
        if assertion:
            return await self._by_assertion(request, form, assertion)
        given = credentials(authorization, form)
        if given is None:
            raise unknown_client()
        return await self._by_secret(request, given)

    async def _by_secret(self, request: web.Request, given: Credentials) -> Client:
        attempt = self.attempts.begin(request, given.client_id)
        client = await self._find(given.client_id)
        stored = client.secret_hash if client is not None else None
        if not await self.verifier.matches(stored, given.secret[:LONGEST_SECRET]) or client is None:
            raise unknown_client()
        attempt.right()
        return client

    async def _by_assertion(self, request: web.Request, form: Mapping[str, str], text: str) -> Client:
        if form.get("client_assertion_type") != assertions.TYPE:
            raise invalid_client(f"client_assertion_type is {assertions.TYPE}.")
        issuer = self.context.settings.public_url
        audiences = {issuer, issuer + TOKEN_PATH, issuer + request.path}
        assertion = assertions.read(text, audiences, self.context.clock.now())
        if form.get("client_id", assertion.client_id) != assertion.client_id:
            raise invalid_client("client_id is not the one that the assertion is about.")
        attempt = self.attempts.begin(request, assertion.client_id)
        client = await self._find(assertion.client_id)
        keys = client.jwks if client is not None else None
        if not await asyncio.to_thread(assertions.signed, assertion, keys) or client is None:
            raise unknown_client()
        async with self.context.db.statement() as tx:
            first = await replays.first_assertion(tx, client.client_id, assertion.jti, assertion.expires_at)
        if not first:
            raise invalid_client("This assertion was used before. Make a new one, with another jti, for each request.")
        attempt.right()
        return client

    async def _find(self, client_id: str) -> Client | None:
        """The active client of an id. The database is asked whatever the id looks like."""
        storable = client_id[:_LONGEST_ID].replace("\0", "")  # nobody's, at the same expense
        async with self.context.db.statement() as tx:
            client = await apps.find_client(tx, storable)
        return client if client is not None and client.active else None


def credentials(authorization: str, form: Mapping[str, str]) -> Credentials | None:
    """The client's id and secret from Basic or from the body; None where there are none.

    Inside Basic both are form-encoded (RFC 6749 §2.3.1).
    """
    scheme, _, encoded = authorization.partition(" ")
    in_body = Credentials(form.get("client_id", ""), form.get("client_secret", ""))
    if not authorization:
        return in_body if all(in_body) else None
    if scheme.lower() != "basic":
        return None
    try:
        client_id, colon, secret = base64.b64decode(encoded.strip(), validate=True).decode().partition(":")
    except (binascii.Error, ValueError):
        return None
    return Credentials(unquote_plus(client_id), unquote_plus(secret)) if colon and client_id and secret else None
