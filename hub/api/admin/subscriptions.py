"""Webhook subscriptions: a receiver reads the feed of one grant. A secret is shown once, when it is made."""

from __future__ import annotations

import asyncio
from datetime import datetime, timedelta
from typing import Annotated, Literal
from uuid import UUID

from pydantic import Field
from yarl import URL

from hub.api.admin.call import Call, Writing
from hub.api.admin.grants import reached
from hub.api.admin.route import EVERYONE, Route
from hub.api.admin.shapes import Asked, Rotation, Shown
from hub.crypto import load_key
from hub.errors import Code
from hub.store import grants
from hub.store import subscriptions as store
from hub.store.database import Transaction
from hub.webhooks import subscriptions as service


class NewSubscription(Asked):
    """Where to send which grant's changes."""

    grant_id: UUID
    url: Annotated[str, Field(max_length=2_000, description="The receiver: https and a public address.")]


class Subscription(Shown):
    """One receiver and how far it is."""

    subscription_id: UUID
    grant_id: UUID
    url: str
    state: Literal["active", "paused", "disabled"]
    position: int = Field(description="The step of the feed up to which everything was acknowledged.")
    head: int = Field(description="The last step of the grant's feed.")
    behind: bool
    waiting_since: datetime | None = Field(description="Time of the first change that is not acknowledged.")
    lag_seconds: float = Field(description="How long that change has been waiting; 0 when nothing waits.")
    attempt: int = Field(description="Failures in a row.")
    ready_at: datetime = Field(description="When the next attempt is due.")
    failing_since: datetime | None
    last_error: str | None
    last_status: int | None
    created_at: datetime


class MadeSubscription(Subscription):
    """A subscription that was just made."""

    secret: str = Field(description="The signing secret (whsec_…). It cannot be shown again.")


class Secret(Shown):
    """A new signing secret."""

    subscription_id: UUID
    secret: str = Field(description="The signing secret (whsec_…). It cannot be shown again.")


class Subscriptions(Shown):
    """Subscriptions, oldest first; an app sees its own."""

    items: list[Subscription]


class Attempt(Shown):
    """One delivery that was tried."""

    batch_id: str
    attempt: int
    at: datetime
    milliseconds: int
    status: int | None
    error_class: str | None


class Attempts(Shown):
    """The latest attempts, newest first."""

    items: list[Attempt]


async def _shown(call: Call, tx: Transaction, row: store.Subscription) -> Subscription:
    lag = await service.lag(tx, row)
    since = lag.waiting_since
    seconds = max(0.0, (call.context.clock.now() - since).total_seconds()) if since else 0.0
    columns = {name: getattr(row, name) for name in store.Subscription.__dataclass_fields__}
    behind = {"head": lag.head, "behind": lag.behind, "waiting_since": since, "lag_seconds": seconds}
    return Subscription.model_validate({**columns, **behind})


async def _reached(call: Call, tx: Transaction) -> store.Subscription:
    """The subscription in the path, where the caller may reach its grant. Raises HubError(NOT_FOUND)."""
    row = await store.get(tx, call.id("subscription"))
    await reached(call, tx, row.grant_id)
    return row


def _note(writing: Writing, row: store.Subscription, **details: object) -> None:
    # The host alone: receivers' paths and queries often hold a key.
    writing.note(f"subscription/{row.subscription_id}", grant=str(row.grant_id), host=URL(row.url).host, **details)


async def create(call: Call, body: NewSubscription) -> MadeSubscription:
    """Subscribes a receiver from the head of the feed on. What the view holds already is read through OneRoster."""
    settings = call.context.settings
    async with call.reading() as tx:
        await reached(call, tx, body.grant_id)
    await service.check_url(body.url, settings.webhook_allow)
    key = await asyncio.to_thread(load_key, settings)
    async with call.writing() as writing:
        row, secret = await service.create(
            writing.tx, grant_id=body.grant_id, url=body.url, key=key, allow=settings.webhook_allow
        )
        shown = await _shown(call, writing.tx, row)
        _note(writing, row)
    return MadeSubscription.model_validate({**shown.model_dump(), "secret": secret})


async def listing(call: Call) -> Subscriptions:
    """The district's subscriptions with their lag, or those of an app token's app."""
    own = call.actor.scope_app
    async with call.reading() as tx:
        granted = {grant.grant_id for grant in await grants.listing(tx) if own in (None, grant.app_id)}
        rows = [row for row in await store.listing(tx) if row.grant_id in granted]
        return Subscriptions(items=[await _shown(call, tx, row) for row in rows])


async def get(call: Call) -> Subscription:
    """One subscription with its lag."""
    async with call.reading() as tx:
        return await _shown(call, tx, await _reached(call, tx))


async def attempts(call: Call) -> Attempts:
    """The latest deliveries that were tried."""
    async with call.reading() as tx:
        row = await _reached(call, tx)
        rows = await store.attempts(tx, row.subscription_id)
    return Attempts(items=[Attempt.model_validate(row) for row in rows])


async def pause(call: Call) -> Subscription:
    """Stops deliveries; nothing is lost."""
    async with call.writing() as writing:
        await _reached(call, writing.tx)
        row = await service.pause(writing.tx, call.id("subscription"))
        _note(writing, row)
        return await _shown(call, writing.tx, row)


async def resume(call: Call) -> Subscription:
    """Goes on where a paused or disabled subscription stopped."""
    async with call.writing() as writing:
        await _reached(call, writing.tx)
        row = await service.resume(writing.tx, call.id("subscription"))
        _note(writing, row)
        shown = await _shown(call, writing.tx, row)
    await call.context.wake("deliver", call.district_id)
    return shown


async def rotate(call: Call, body: Rotation) -> Secret:
    """Makes a new signing secret; both sign until the overlap ends."""
    key = await asyncio.to_thread(load_key, call.context.settings)
    async with call.writing() as writing:
        row = await _reached(call, writing.tx)
        secret = await service.rotate(
            writing.tx, row.subscription_id, key=key, now=call.context.clock.now(),
            overlap=timedelta(seconds=body.overlap_seconds),
        )  # fmt: skip
        _note(writing, row, overlap_seconds=body.overlap_seconds)
    return Secret(subscription_id=row.subscription_id, secret=secret)


async def delete(call: Call) -> None:
    """Ends a subscription and forgets its log."""
    async with call.writing() as writing:
        row = await _reached(call, writing.tx)
        await service.delete(writing.tx, row.subscription_id)
        _note(writing, row)


_OVER = "/districts/{district}/subscriptions"
_ONE = _OVER + "/{subscription}"
_CONFLICT = (Code.CONFLICT,)
ROUTES = (
    Route("GET", _OVER, listing, "List subscriptions with their lag", roles=EVERYONE, answer=Subscriptions),
    Route("POST", _OVER, create, "Subscribe a receiver; its secret is shown once", roles=EVERYONE,
          body=NewSubscription, answer=MadeSubscription, status=201, action="subscription.create", errors=_CONFLICT),
    Route("GET", _ONE, get, "One subscription with its lag", roles=EVERYONE, answer=Subscription),
    Route("GET", _ONE + "/attempts", attempts, "The latest attempts to deliver", roles=EVERYONE, answer=Attempts),
    Route("POST", _ONE + "/pause", pause, "Pause deliveries", roles=EVERYONE, answer=Subscription,
          action="subscription.pause"),
    Route("POST", _ONE + "/resume", resume, "Resume deliveries", roles=EVERYONE, answer=Subscription,
          action="subscription.resume", errors=_CONFLICT),
    Route("POST", _ONE + "/rotate", rotate, "Make a new signing secret", roles=EVERYONE, body=Rotation,
          answer=Secret, action="subscription.rotate"),
    Route("DELETE", _ONE, delete, "End a subscription", roles=EVERYONE, action="subscription.delete"),
)  # fmt: skip
