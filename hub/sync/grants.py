"""Making, editing and ending grants: the view and its feed move in the transaction that changes the grant."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from hub import identifiers, ids, vault
from hub.crypto import Keys
from hub.errors import Code, HubError
from hub.scope.grants import GrantDefinition
from hub.store import districts, shown_ids
from hub.store import grants as store
from hub.store.database import Transaction
from hub.sync import source_ids as named
from hub.sync import views
from hub.sync.views import Effect


async def create(
    tx: Transaction, app_id: UUID, definition: GrantDefinition, at: datetime, *, pseudonyms: Keys | None = None,
    source_ids: UUID | None = None,
) -> tuple[store.Grant, Effect]:  # fmt: skip
    """Gives an app a view of the district; everything in it enters at once.

    With ``pseudonyms``, which is hub.crypto.load_key, the app knows all records by ids of this grant's own, with
    ``source_ids`` by those of a source, as long as the grant lives; not with both. Raises HubError(CONFLICT) when the
    app holds a grant here already, and as hub.sync.source_ids.check.
    """
    await districts.lock(tx)
    if source_ids is not None:
        await named.check(tx, source_ids, app_id, definition.entities)
    grant_id = ids.new_id()
    id_key = None
    if pseudonyms is not None:
        assert tx.district_id is not None
        id_key = identifiers.new_key(await vault.to_seal(tx, pseudonyms), tx.district_id, grant_id)
    grant = await store.create(
        tx, grant_id, app_id=app_id, definition=definition.model_dump(mode="json"), id_key=id_key,
        source_ids=source_ids,
    )  # fmt: skip
    effect = await views.regrant(tx, grant, definition, await districts.draw_position(tx), at)
    return await store.get(tx, grant.grant_id), effect


async def edit(
    tx: Transaction, grant_id: UUID, definition: GrantDefinition, at: datetime
) -> tuple[store.Grant, Effect]:
    """Changes what an app sees. Raises HubError(NOT_FOUND), HubError(CONFLICT) for a revoked grant."""
    await districts.lock(tx)
    before = await _living(tx, grant_id)
    position = await districts.draw_position(tx)
    await store.redefine(tx, grant_id, definition.model_dump(mode="json"), position)
    effect = await views.regrant(tx, before, definition, position, at)
    return await store.get(tx, grant_id), effect


async def preview(
    tx: Transaction, definition: GrantDefinition, grant_id: UUID | None = None, *, source_ids: UUID | None = None
) -> Effect:
    """What ``create`` or (with ``grant_id``) ``edit`` would do; nothing is written.

    Raises HubError(NOT_FOUND), and as hub.sync.source_ids.check.
    """
    if source_ids is not None:
        await named.check(tx, source_ids, None, definition.entities)
    return await views.preview(tx, await _living(tx, grant_id) if grant_id else None, definition)


async def set_state(tx: Transaction, grant_id: UUID, state: str) -> store.Grant:
    """Suspends, resumes ("active") or revokes a grant; reads and deliveries see it with their next statement.

    Raises HubError(NOT_FOUND), HubError(CONFLICT) for a revoked grant: that is for good.
    """
    await districts.lock(tx)
    await _living(tx, grant_id)
    if state == "revoked":
        await shown_ids.forget(tx, grant_id)
    return await store.set_state(tx, grant_id, state)


async def _living(tx: Transaction, grant_id: UUID) -> store.Grant:
    grant = await store.get(tx, grant_id)
    if grant.state == "revoked":
        raise HubError(Code.CONFLICT, "This grant was revoked. Create a new one.")
    return grant
