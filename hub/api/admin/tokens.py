"""Tokens of this API: made, listed and revoked by operators. A token itself is shown once."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Annotated, Self
from uuid import UUID

from pydantic import AliasChoices, Field, model_validator

from hub.api.admin.call import Call
from hub.api.admin.paging import Page, Paging, cut, place_id
from hub.api.admin.route import OPERATOR, Role, Route
from hub.api.admin.shapes import Asked, Name, Shown
from hub.ids import new_id
from hub.store import admin_tokens as store
from hub.store import apps, districts

DEFAULT_DAYS = 90
MOST_DAYS = 365


class NewToken(Asked):
    """Whom a token is for and how long it lasts."""

    name: Name
    role: Role
    district_id: UUID | None = Field(default=None, description="The one district of a token of the role district.")
    app_id: UUID | None = Field(default=None, description="The one app of a token of the role app.")
    expires_in_days: Annotated[int, Field(ge=1, le=MOST_DAYS)] = DEFAULT_DAYS

    @model_validator(mode="after")
    def _scope(self) -> Self:
        if (self.role is Role.DISTRICT) != (self.district_id is not None):
            raise ValueError("a token of the role district has a district_id, others have none")
        if (self.role is Role.APP) != (self.app_id is not None):
            raise ValueError("a token of the role app has an app_id, others have none")
        return self


class Token(Shown):
    """What is known of a token."""

    token_id: UUID
    name: str
    role: Role
    district_id: UUID | None = Field(validation_alias=AliasChoices("scope_district", "district_id"))
    app_id: UUID | None = Field(validation_alias=AliasChoices("scope_app", "app_id"))
    created_at: datetime
    expires_at: datetime
    revoked_at: datetime | None


class MadeToken(Token):
    """A token that was just made."""

    token: str = Field(description="The token itself. It cannot be shown again.")


class TokenPage(Page[Token]):
    """Some tokens."""


async def create(call: Call, body: NewToken) -> MadeToken:
    """Makes a token."""
    async with call.writing() as writing:
        tx = writing.tx
        if body.district_id is not None:
            await districts.get(tx, body.district_id)
        if body.app_id is not None:
            await apps.get(tx, body.app_id)
        row, token = await store.create(
            tx, new_id(), name=body.name, role=body.role, district_id=body.district_id, app_id=body.app_id,
            expires_at=call.context.clock.now() + timedelta(days=body.expires_in_days),
        )  # fmt: skip
        scope = (
            {"district": str(body.district_id)}
            if body.district_id
            else {"app": str(body.app_id)}
            if body.app_id
            else {}
        )
        writing.note(f"token/{row.token_id}", role=row.role, days=body.expires_in_days, **scope)
    return MadeToken.model_validate({**Token.model_validate(row).model_dump(), "token": token})


async def listing(call: Call, query: Paging) -> TokenPage:
    """All tokens, spent ones too."""
    async with call.context.db.shared() as tx:
        rows = await store.listing(tx, after=place_id(query.after), limit=query.limit + 1)
    items, after = cut([Token.model_validate(row) for row in rows], query.limit, [row.token_id for row in rows])
    return TokenPage(items=items, next=after)


async def revoke(call: Call) -> Token:
    """Ends a token at once."""
    async with call.writing() as writing:
        row = await store.revoke(writing.tx, call.id("token"), call.context.clock.now())
        writing.note(f"token/{row.token_id}")
    return Token.model_validate(row)


async def me(call: Call) -> Token:
    """The token that asks."""
    return Token.model_validate(call.actor)


ROUTES = (
    Route("GET", "/me", me, "What the token may reach", answer=Token),
    Route("GET", "/tokens", listing, "List tokens", roles=OPERATOR, query=Paging, answer=TokenPage),
    Route("POST", "/tokens", create, "Make a token; it is shown once", roles=OPERATOR, body=NewToken,
          answer=MadeToken, status=201, action="token.create"),
    Route("DELETE", "/tokens/{token}", revoke, "Revoke a token", roles=OPERATOR, answer=Token, action="token.revoke"),
)  # fmt: skip
