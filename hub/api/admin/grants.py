"""Grants: what a district lets an app see. An edit can be tried first, and nothing of it is written."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import datetime
from typing import Literal, Self
from uuid import UUID

from pydantic import Field, model_validator

from hub import vault
from hub.api.admin.call import Call, missing
from hub.api.admin.route import EVERYONE, STAFF, Route
from hub.api.admin.shapes import Asked, Shown
from hub.crypto import load_key
from hub.errors import Code
from hub.identifiers import pseudonyms_of
from hub.scope.grants import GrantDefinition
from hub.scope.joining import joining
from hub.store import apps
from hub.store import grants as store
from hub.store.database import Transaction
from hub.sync import grants as service
from hub.sync.views import Effect

#: What is said of an id of another kind, wherever it can be chosen.
PSEUDONYMOUS = "Whether the app knows records by ids that only it has. The grant stays so for its life."
SOURCE_IDS = (
    "The source by whose own ids the app knows the records that it speaks of, or null. The grant stays so for its life."
)


class _KindOfIds(Asked):
    """By which ids an app knows records; the hub's own, if nothing is said."""

    pseudonymous_ids: bool = Field(default=False, description=PSEUDONYMOUS)
    source_ids: UUID | None = Field(default=None, description=SOURCE_IDS)

    @model_validator(mode="after")
    def _one_kind(self) -> Self:
        if self.pseudonymous_ids and self.source_ids is not None:
            raise ValueError("an app knows records by pseudonyms or by a source's ids: leave one of the two out")
        return self


class NewGrant(_KindOfIds):
    """Which app, and what it may see."""

    app_id: UUID
    definition: GrantDefinition


class NewGrantPreview(_KindOfIds):
    """What an app could see, and by which ids."""

    definition: GrantDefinition


class GrantEdit(Asked):
    """What the app may see from now on."""

    definition: GrantDefinition


class Grant(Shown):
    """A district's permission for one app."""

    grant_id: UUID
    app_id: UUID
    definition: GrantDefinition
    pseudonymous_ids: bool
    source_ids: UUID | None = Field(description="The source by whose ids the app knows what it speaks of, if any.")
    state: Literal["active", "suspended", "revoked"]
    position: int = Field(description="Head of the grant's feed.")
    created_at: datetime
    changed_at: datetime


class Grants(Shown):
    """Grants, oldest first; an app sees its own."""

    items: list[Grant]


class Counts(Shown):
    """How many records of one entity a change moves."""

    entered: int
    updated: int
    left: int


class Warned(Shown):
    """Something in a grant that works against what it is for."""

    code: Literal["joinable_field"] = Field(
        description="The app's ids are its own, and yet this field tells which record of another app is the same."
    )
    entity: str
    field: str


class Preview(Shown):
    """What a change would do to the app's view."""

    entities: dict[str, Counts]
    warnings: list[Warned] = Field(default_factory=list)


class ChangedGrant(Grant):
    """A grant after a change, and what the change did."""

    effect: Preview


def _preview(effect: Effect, definition: GrantDefinition, *, pseudonymous: bool) -> Preview:
    fields = joining(definition) if pseudonymous else []
    warnings = [Warned(code="joinable_field", entity=entity, field=field) for entity, field in fields]
    return Preview.model_validate({"entities": effect.entities, "warnings": warnings})


def _changed(grant: store.Grant, effect: Effect) -> ChangedGrant:
    shown = Grant.model_validate(grant)
    preview = _preview(effect, shown.definition, pseudonymous=grant.pseudonymous_ids)
    return ChangedGrant.model_validate({**shown.model_dump(), "effect": preview})


async def _own(call: Call, tx: Transaction, rows: Sequence[store.Grant]) -> list[Grant]:
    """Grants as their app may see them: in the rules of one with pseudonyms stand these."""
    key = await asyncio.to_thread(load_key, call.context.settings)
    await vault.to_open(tx, key, *(row.id_key for row in rows))
    shown = []
    for row in rows:
        pseudonyms, grant = pseudonyms_of(row, call.district_id, key), Grant.model_validate(row)
        if pseudonyms is not None:
            grant = grant.model_copy(update={"definition": grant.definition.with_ids(pseudonyms.some)})
        shown.append(grant)
    return shown


async def reached(call: Call, tx: Transaction, grant_id: UUID) -> store.Grant:
    """The grant, where the caller may reach it. Raises HubError(NOT_FOUND)."""
    grant = await store.get(tx, grant_id)
    if call.actor.scope_app not in (None, grant.app_id):
        raise missing()
    return grant


async def listing(call: Call) -> Grants:
    """The district's grants, or those of an app token's app."""
    own = call.actor.scope_app
    async with call.reading() as tx:
        rows = await store.listing(tx)
        if own is None:
            return Grants(items=[Grant.model_validate(row) for row in rows])
        return Grants(items=await _own(call, tx, [row for row in rows if row.app_id == own]))


async def get(call: Call) -> Grant:
    """One grant."""
    async with call.reading() as tx:
        row = await reached(call, tx, call.id("grant"))
        return Grant.model_validate(row) if call.actor.scope_app is None else (await _own(call, tx, [row]))[0]


async def create(call: Call, body: NewGrant) -> ChangedGrant:
    """Gives an app a view of the district."""
    key = await asyncio.to_thread(load_key, call.context.settings) if body.pseudonymous_ids else None
    async with call.writing() as writing:
        await apps.get(writing.tx, body.app_id)
        now = call.context.clock.now()
        grant, effect = await service.create(
            writing.tx, body.app_id, body.definition, now, pseudonyms=key, source_ids=body.source_ids
        )
        writing.note(
            f"grant/{grant.grant_id}", app=str(grant.app_id), effect=effect.entities,
            pseudonymous_ids=grant.pseudonymous_ids,
            **({} if grant.source_ids is None else {"source_ids": str(grant.source_ids)}),
        )  # fmt: skip
    await _announce(call)
    return _changed(grant, effect)


async def edit(call: Call, body: GrantEdit) -> ChangedGrant:
    """Changes what the app sees."""
    async with call.writing() as writing:
        grant, effect = await service.edit(writing.tx, call.id("grant"), body.definition, call.context.clock.now())
        writing.note(f"grant/{grant.grant_id}", app=str(grant.app_id), effect=effect.entities)
    await _announce(call)
    return _changed(grant, effect)


async def preview_new(call: Call, body: NewGrantPreview) -> Preview:
    """What a new grant would show."""
    async with call.reading() as tx:
        effect = await service.preview(tx, body.definition, source_ids=body.source_ids)
    return _preview(effect, body.definition, pseudonymous=body.pseudonymous_ids)


async def preview_edit(call: Call, body: GrantEdit) -> Preview:
    """What an edit would do."""
    async with call.reading() as tx:
        grant = await store.get(tx, call.id("grant"))
        effect = await service.preview(tx, body.definition, grant.grant_id)
    return _preview(effect, body.definition, pseudonymous=grant.pseudonymous_ids)


async def suspend(call: Call) -> Grant:
    """Takes the view away for the time being."""
    return await _set(call, "suspended")


async def resume(call: Call) -> Grant:
    """Gives a suspended grant's view back."""
    return await _set(call, "active")


async def revoke(call: Call) -> Grant:
    """Takes the view away for good."""
    return await _set(call, "revoked")


async def _set(call: Call, state: str) -> Grant:
    async with call.writing() as writing:
        grant = await service.set_state(writing.tx, call.id("grant"), state)
        writing.note(f"grant/{grant.grant_id}", app=str(grant.app_id))
    await _announce(call)
    return Grant.model_validate(grant)


async def _announce(call: Call) -> None:
    """Wakes whoever delivers, after the commit; deliveries find the change without, only later."""
    async with call.context.db.district(call.district_id) as tx:
        await store.announce(tx)
    await call.context.wake("deliver", call.district_id)


_OVER = "/districts/{district}/grants"
_CONFLICT = (Code.CONFLICT,)
ROUTES = (
    Route("GET", _OVER, listing, "List grants", roles=EVERYONE, answer=Grants),
    Route("POST", _OVER, create, "Grant an app a view", roles=STAFF, body=NewGrant, answer=ChangedGrant, status=201,
          action="grant.create", errors=_CONFLICT),
    Route("POST", _OVER + "/preview", preview_new, "Count what a new grant would show", roles=STAFF,
          body=NewGrantPreview, answer=Preview, writes=False, errors=_CONFLICT),
    Route("GET", _OVER + "/{grant}", get, "One grant", roles=EVERYONE, answer=Grant),
    Route("PUT", _OVER + "/{grant}", edit, "Change what an app sees", roles=STAFF, body=GrantEdit,
          answer=ChangedGrant, action="grant.edit", errors=_CONFLICT),
    Route("POST", _OVER + "/{grant}/preview", preview_edit, "Count what an edit would move", roles=STAFF,
          body=GrantEdit, answer=Preview, writes=False, errors=_CONFLICT),
    Route("POST", _OVER + "/{grant}/suspend", suspend, "Suspend a grant", roles=STAFF, answer=Grant,
          action="grant.suspend", errors=_CONFLICT),
    Route("POST", _OVER + "/{grant}/resume", resume, "Resume a suspended grant", roles=STAFF, answer=Grant,
          action="grant.resume", errors=_CONFLICT),
    Route("POST", _OVER + "/{grant}/revoke", revoke, "Revoke a grant for good", roles=STAFF, answer=Grant,
          action="grant.revoke", errors=_CONFLICT),
)  # fmt: skip
