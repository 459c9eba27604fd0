"""Grants: what a district lets an app see. An edit can be tried first, and nothing of it is written."""

from __future__ import annotations

from datetime import datetime
from typing import Literal
from uuid import UUID

from pydantic import Field

from hub.api.admin.call import Call, missing
from hub.api.admin.route import EVERYONE, STAFF, Route
from hub.api.admin.shapes import Asked, Shown
from hub.errors import Code
from hub.scope.grants import GrantDefinition
from hub.store import apps
from hub.store import grants as store
from hub.store.database import Transaction
from hub.sync import grants as service
from hub.sync.views import Effect


class NewGrant(Asked):
    """Which app, and what it may see."""

    app_id: UUID
    definition: GrantDefinition


class GrantEdit(Asked):
    """What the app may see from now on."""

    definition: GrantDefinition


class Grant(Shown):
    """A district's permission for one app."""

    grant_id: UUID
    app_id: UUID
    definition: GrantDefinition
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


class Preview(Shown):
    """What a change would do to the app's view."""

    entities: dict[str, Counts]


class ChangedGrant(Grant):
    """A grant after a change, and what the change did."""

    effect: Preview


def _preview(effect: Effect) -> Preview:
    return Preview.model_validate({"entities": effect.entities})


def _changed(grant: store.Grant, effect: Effect) -> ChangedGrant:
    return ChangedGrant.model_validate({**Grant.model_validate(grant).model_dump(), "effect": _preview(effect)})


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
    return Grants(items=[Grant.model_validate(row) for row in rows if own in (None, row.app_id)])


async def get(call: Call) -> Grant:
    """One grant."""
    async with call.reading() as tx:
        return Grant.model_validate(await reached(call, tx, call.id("grant")))


async def create(call: Call, body: NewGrant) -> ChangedGrant:
    """Gives an app a view of the district."""
    async with call.writing() as writing:
        await apps.get(writing.tx, body.app_id)
        grant, effect = await service.create(writing.tx, body.app_id, body.definition, call.context.clock.now())
        writing.note(f"grant/{grant.grant_id}", app=str(grant.app_id), effect=effect.entities)
    await _announce(call)
    return _changed(grant, effect)


async def edit(call: Call, body: GrantEdit) -> ChangedGrant:
    """Changes what the app sees."""
    async with call.writing() as writing:
        grant, effect = await service.edit(writing.tx, call.id("grant"), body.definition, call.context.clock.now())
        writing.note(f"grant/{grant.grant_id}", app=str(grant.app_id), effect=effect.entities)
    await _announce(call)
    return _changed(grant, effect)


async def preview_new(call: Call, body: GrantEdit) -> Preview:
    """What a new grant would show."""
    async with call.reading() as tx:
        return _preview(await service.preview(tx, body.definition))


async def preview_edit(call: Call, body: GrantEdit) -> Preview:
    """What an edit would do."""
    async with call.reading() as tx:
        return _preview(await service.preview(tx, body.definition, call.id("grant")))


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
    Route("POST", _OVER + "/preview", preview_new, "Count what a new grant would show", roles=STAFF, body=GrantEdit,
          answer=Preview, writes=False),
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
