"""Apps and their OAuth clients. A secret is shown once, when it is made."""

from __future__ import annotations

import asyncio
from datetime import datetime
from typing import Annotated, Any, Literal
from uuid import UUID

from pydantic import AfterValidator, BeforeValidator, Field, field_validator

from hub.api.admin.call import Call
from hub.api.admin.paging import Page, Paging, cut, place_id
from hub.api.admin.route import EVERYONE, OPERATOR, Role, Route
from hub.api.admin.shapes import Asked, Name, Shown
from hub.api.client_secrets import hash_secret, new_secret
from hub.api.oauth.keys import public_keys
from hub.api.oneroster.scopes import READING, SCOPES
from hub.behaviour import DEFAULT, Behaviour
from hub.errors import Code
from hub.ids import new_id
from hub.store import apps as store

OPERATOR_OR_APP = frozenset({Role.OPERATOR, Role.APP})


def _settings(value: object) -> object:
    """The settings as the database holds them."""
    return Behaviour.of(value) if isinstance(value, dict) else value


class NewApp(Asked):
    """An app to add."""

    name: Name


class AppEdit(Asked):
    """What to change of an app. Settings that are not named stay as they are."""

    name: Name | None = None
    behaviour: Behaviour = Field(default=DEFAULT, description="Settings to set, see docs/behaviour.md.")


class App(Shown):
    """One vendor's product."""

    app_id: UUID
    name: str
    behaviour: Annotated[Behaviour, BeforeValidator(_settings)] = Field(
        description="How the hub behaves towards the app where the standard leaves room, see docs/behaviour.md."
    )
    created_at: datetime


class AppPage(Page[App]):
    """Some apps."""


class NewClient(Asked):
    """Credentials to make for an app."""

    scopes: Annotated[list[str], Field(min_length=1, max_length=len(SCOPES))] = Field(
        default=list(READING), description="The most that the client may ask for; without it all that only read."
    )
    jwks: Annotated[dict[str, Any], AfterValidator(public_keys)] | None = Field(
        default=None,
        description="Public keys as a JWK set (RFC 7517): RSA of 2048 to 4096 bits, EC P-256, OKP Ed25519. The client"
        " then signs assertions (private_key_jwt) and gets no secret.",
    )

    @field_validator("scopes")
    @classmethod
    def _known(cls, value: list[str]) -> list[str]:
        unknown = [scope for scope in value if scope not in SCOPES]
        if unknown:
            raise ValueError(f"there is no such scope; known are {', '.join(SCOPES)}")
        return sorted(set(value))


class Client(Shown):
    """One set of OAuth credentials."""

    client_id: str
    app_id: UUID
    scopes: list[str]
    jwks: dict[str, Any] | None = Field(description="Public keys; without them the client has a secret.")
    oauth1: bool = Field(description="Whether it may sign requests to OneRoster 1.1 with OAuth 1.")
    state: Literal["active", "revoked"]
    created_at: datetime
    rotated_at: datetime | None


class MadeClient(Client):
    """Credentials with their new secret, if they have one."""

    client_secret: str | None = Field(description="The secret, which cannot be shown again; null where there are keys.")
    token_url: str


class Clients(Shown):
    """The credentials of an app, oldest first."""

    items: list[Client]


async def create(call: Call, body: NewApp) -> App:
    """Adds an app."""
    async with call.writing() as writing:
        row = await store.create(writing.tx, new_id(), body.name)
        writing.note(f"app/{row.app_id}")
    return App.model_validate(row)


async def listing(call: Call, query: Paging) -> AppPage:
    """All apps, or that of an app token."""
    own = call.actor.scope_app
    async with call.reading() as tx:
        if own is not None:
            return AppPage(items=[App.model_validate(await store.get(tx, own))])
        rows = await store.listing(tx, after=place_id(query.after), limit=query.limit + 1)
    items, after = cut([App.model_validate(row) for row in rows], query.limit, [row.app_id for row in rows])
    return AppPage(items=items, next=after)


async def get(call: Call) -> App:
    """One app."""
    async with call.reading() as tx:
        return App.model_validate(await store.get(tx, call.id("app")))


async def edit(call: Call, body: AppEdit) -> App:
    """Renames an app, and changes how the hub behaves towards it; that acts within a second."""
    settings = body.behaviour.model_dump(exclude_unset=True)
    async with call.writing() as writing:
        row = await store.change(writing.tx, call.id("app"), name=body.name, behaviour=settings)
        writing.note(f"app/{row.app_id}", renamed=body.name is not None, behaviour=settings)
    return App.model_validate(row)


async def clients(call: Call) -> Clients:
    """The app's credentials."""
    async with call.reading() as tx:
        app = await store.get(tx, call.id("app"))
        return Clients(items=[Client.model_validate(row) for row in await store.clients(tx, app.app_id)])


def _made(call: Call, row: store.Client, secret: str | None) -> MadeClient:
    extra = {"client_secret": secret, "token_url": f"{call.context.settings.public_url}/oauth/token"}
    return MadeClient.model_validate({**Client.model_validate(row).model_dump(), **extra})


async def create_client(call: Call, body: NewClient) -> MadeClient:
    """Makes credentials."""
    secret = None if body.jwks else new_secret()
    hashed = await asyncio.to_thread(hash_secret, secret) if secret else None
    async with call.writing() as writing:
        app = await store.get(writing.tx, call.id("app"))
        row = await store.create_client(
            writing.tx, store.new_client_id(), app_id=app.app_id, secret_hash=hashed, jwks=body.jwks, scopes=body.scopes
        )
        writing.note(f"client/{row.client_id}", app=str(app.app_id), scopes=row.scopes, keys=body.jwks is not None)
    return _made(call, row, secret)


async def rotate_client(call: Call) -> MadeClient:
    """Gives a client another secret; the old one ends at once, access tokens live on."""
    secret = new_secret()
    hashed = await asyncio.to_thread(hash_secret, secret)
    async with call.writing() as writing:
        client = await store.get_client(writing.tx, call.id("app"), call.request.match_info["client"])
        row = await store.rotate_client(writing.tx, client.client_id, hashed, call.context.clock.now())
        writing.note(f"client/{row.client_id}", app=str(row.app_id))
    return _made(call, row, secret)


async def revoke_client(call: Call) -> Client:
    """Ends a client and its access tokens at once."""
    async with call.writing() as writing:
        client = await store.get_client(writing.tx, call.id("app"), call.request.match_info["client"])
        row = await store.revoke_client(writing.tx, client.client_id, call.context.clock.now())
        writing.note(f"client/{row.client_id}", app=str(row.app_id))
    return Client.model_validate(row)


_CLIENTS = "/apps/{app}/clients"
ROUTES = (
    Route("GET", "/apps", listing, "List apps", roles=EVERYONE, query=Paging, answer=AppPage),
    Route("POST", "/apps", create, "Add an app", roles=OPERATOR, body=NewApp, answer=App, status=201,
          action="app.create", errors=(Code.CONFLICT,)),
    Route("GET", "/apps/{app}", get, "One app", roles=EVERYONE, answer=App),
    Route("PATCH", "/apps/{app}", edit, "Rename an app, or change how the hub behaves towards it", roles=OPERATOR,
          body=AppEdit, answer=App, action="app.edit", errors=(Code.CONFLICT,)),
    Route("GET", _CLIENTS, clients, "List an app's clients", roles=OPERATOR_OR_APP, answer=Clients),
    Route("POST", _CLIENTS, create_client, "Make a client; its secret is shown once", roles=OPERATOR_OR_APP,
          body=NewClient, answer=MadeClient, status=201, action="client.create"),
    Route("POST", _CLIENTS + "/{client}/rotate", rotate_client, "Give a client another secret",
          roles=OPERATOR_OR_APP, answer=MadeClient, action="client.rotate", errors=(Code.CONFLICT,)),
    Route("DELETE", _CLIENTS + "/{client}", revoke_client, "Revoke a client and its tokens", roles=OPERATOR_OR_APP,
          answer=Client, action="client.revoke"),
)  # fmt: skip
