"""Changes that a subscription's receiver refuses while it takes others: shown, tried again, given up."""

from __future__ import annotations

import asyncio
from datetime import datetime
from uuid import UUID

from pydantic import Field

from hub import vault
from hub.api.admin.call import Call
from hub.api.admin.route import EVERYONE, Route
from hub.api.admin.shapes import Shown
from hub.api.admin.subscriptions import ONE, note, reached_one
from hub.changes.reading import Teller
from hub.changes.window import Change
from hub.crypto import load_key
from hub.identifiers import Identifiers
from hub.store import grants
from hub.store import parked as store


class Parked(Shown):
    """One of them."""

    parked_id: UUID
    type: str = Field(description="A collection and what happened, as in webhooks.")
    sourced_id: str | None = Field(description="As the app knows the record; nothing once it was purged.")
    version: int
    since: datetime
    attempts: int = Field(description="How often the receiver refused it alone.")
    last_status: int | None
    last_error: str | None
    retry: bool = Field(description="Whether another attempt is under way.")


class AllParked(Shown):
    """What is parked, the longest first."""

    items: list[Parked]


class Retried(Shown):
    """How many changes are tried again."""

    changes: int


async def listing(call: Call) -> AllParked:
    """What the receiver refuses while it takes other changes."""
    key = await asyncio.to_thread(load_key, call.context.settings)
    async with call.reading() as tx:
        row = await reached_one(call, tx)
        rows = await store.listing(tx, row.subscription_id)
        grant = await grants.get(tx, row.grant_id)
        await vault.to_open(tx, key, grant.id_key)
        identifiers = Identifiers.of(grant, call.district_id, key)
        teller = Teller(call.district_id, row.grant_id, identifiers, call.context.settings.public_url)
        changes = [Change(one.operation, one.entity, one.rid, one.version) for one in rows]
        items = await teller.items(tx, changes)
    known = zip(rows, changes, items, strict=True)
    return AllParked(
        items=[
            Parked(type=change.type, sourced_id=item.sort_key or None, **{n: getattr(one, n) for n in _COPIED})
            for one, change, item in known
        ]
    )


_COPIED = ("parked_id", "version", "since", "attempts", "last_status", "last_error", "retry")


async def retry_all(call: Call) -> Retried:
    """Tries everything that is parked again, each change in a batch of its own."""
    return await _retry(call, None)


async def retry(call: Call) -> Retried:
    """Tries one parked change again, in a batch of its own."""
    return await _retry(call, [call.id("parked")])


async def _retry(call: Call, parked_ids: list[UUID] | None) -> Retried:
    async with call.writing() as writing:
        row = await reached_one(call, writing.tx)
        asked = await store.ask(writing.tx, row.subscription_id, parked_ids)
        note(writing, row, changes=asked)
    await call.context.wake("deliver", call.district_id)
    return Retried(changes=asked)


async def discard(call: Call) -> None:
    """Gives a parked change up: the receiver is not told of it, unless the record changes again."""
    async with call.writing() as writing:
        row = await reached_one(call, writing.tx)
        parked_id = call.id("parked")
        await store.remove(writing.tx, row.subscription_id, [parked_id])
        note(writing, row, parked=str(parked_id))


_ALL = ONE + "/parked"
ROUTES = (
    Route("GET", _ALL, listing, "Changes that the receiver refuses", roles=EVERYONE, answer=AllParked),
    Route("POST", _ALL + "/retry", retry_all, "Try all of them again", roles=EVERYONE, answer=Retried,
          action="subscription.retry_all_parked"),
    Route("POST", _ALL + "/{parked}/retry", retry, "Try one of them again", roles=EVERYONE, answer=Retried,
          action="subscription.retry_parked"),
    Route("DELETE", _ALL + "/{parked}", discard, "Give one of them up", roles=EVERYONE,
          action="subscription.discard_parked"),
)  # fmt: skip
