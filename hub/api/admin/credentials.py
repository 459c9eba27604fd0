"""How an app's client proves itself otherwise than by its secret: with keys of its own, or by signing with OAuth 1."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated, Any

from pydantic import AfterValidator, Field

from hub.api.admin.apps import OPERATOR_OR_APP, Client
from hub.api.admin.call import Call, Writing
from hub.api.admin.route import OPERATOR, Route
from hub.api.admin.shapes import Asked, Rotation
from hub.api.oauth.consumer import Consumers, new_secret
from hub.api.oauth.keys import public_keys
from hub.errors import Code
from hub.store import apps as store


class NewKeys(Asked):
    """Public keys instead of those that the client has. Leave the old ones in while both are in use."""

    jwks: Annotated[dict[str, Any], AfterValidator(public_keys)] = Field(
        description="A JWK set (RFC 7517) with the public keys: RSA of 2048 to 4096 bits, EC P-256, OKP Ed25519."
    )


class Consumer(Client):
    """A client that may sign with OAuth 1, with its new secret."""

    consumer_key: str
    consumer_secret: str = Field(description="The secret to sign with. It cannot be shown again.")


async def put_keys(call: Call, body: NewKeys) -> Client:
    """Replaces the keys of a client that has keys; access tokens live on."""
    async with call.writing() as writing:
        client = await _named(call, writing)
        row = await store.rotate_client(
            writing.tx, client.client_id, None, call.context.clock.now(), jwks=body.jwks
        )  # fmt: skip
        writing.note(f"client/{row.client_id}", app=str(row.app_id), keys=len(body.jwks["keys"]))
    return Client.model_validate(row)


async def allow_oauth1(call: Call) -> Consumer:
    """Lets a client sign its requests to OneRoster 1.1 with OAuth 1.0a."""
    return await _give_secret(call, was_on=False)


async def rotate_oauth1(call: Call, body: Rotation) -> Consumer:
    """Gives a client another secret to sign with; the old one counts beside it until the overlap ends."""
    return await _give_secret(call, was_on=True, overlap=body.overlap_seconds)


async def forbid_oauth1(call: Call) -> Client:
    """Ends the client's signatures at once and forgets the secret; its tokens are another matter."""
    async with call.writing() as writing:
        client = await _named(call, writing)
        row = await store.switch_oauth1(writing.tx, client.client_id, None, was_on=True)
        writing.note(f"client/{row.client_id}", app=str(row.app_id))
    return Client.model_validate(row)


async def _give_secret(call: Call, *, was_on: bool, overlap: int = 0) -> Consumer:
    until = call.context.clock.now() + timedelta(seconds=overlap) if overlap else None
    secret, consumers = new_secret(), await Consumers.load(call.context.settings)
    async with call.writing() as writing:
        client = await _named(call, writing)
        sealed = await consumers.sealed(writing.tx, secret, client.client_id)
        row = await store.switch_oauth1(writing.tx, client.client_id, sealed, was_on=was_on, old_until=until)
        writing.note(f"client/{row.client_id}", app=str(row.app_id), overlap_seconds=overlap)
    extra = {"consumer_key": row.client_id, "consumer_secret": secret}
    return Consumer.model_validate({**Client.model_validate(row).model_dump(), **extra})


async def _named(call: Call, writing: Writing) -> store.Client:
    return await store.get_client(writing.tx, call.id("app"), call.request.match_info["client"])


_CLIENT = "/apps/{app}/clients/{client}"
_CONFLICT = (Code.CONFLICT,)
ROUTES = (
    Route("PUT", _CLIENT + "/keys", put_keys, "Replace a client's public keys", roles=OPERATOR_OR_APP, body=NewKeys,
          answer=Client, action="client.keys", errors=_CONFLICT),
    Route("POST", _CLIENT + "/oauth1", allow_oauth1, "Switch OAuth 1 on for a client; its secret is shown once",
          roles=OPERATOR, answer=Consumer, action="client.oauth1.on", errors=_CONFLICT),
    Route("POST", _CLIENT + "/oauth1/rotate", rotate_oauth1, "Give a client another OAuth 1 secret",
          roles=OPERATOR_OR_APP, body=Rotation, answer=Consumer, action="client.oauth1.rotate", errors=_CONFLICT),
    Route("DELETE", _CLIENT + "/oauth1", forbid_oauth1, "Switch OAuth 1 off for a client", roles=OPERATOR_OR_APP,
          answer=Client, action="client.oauth1.off", errors=_CONFLICT),
)  # fmt: skip
