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
from hub.api.admin.shapes import Rotation, Shown
from hub.api.admin.terms import TermsAsked
from hub.crypto import load_key
from hub.errors import Code
from hub.store import grants
from hub.store import subscriptions as store
from hub.store.database import Transaction
from hub.webhooks import subscriptions as service
from hub.webhooks.terms import Mode, Terms

Url = Annotated[str, Field(max_length=2_000, description="The receiver: https and a public address.")]


class NewSubscription(TermsAsked):
    """Where to send which grant's changes, and how."""

    grant_id: UUID
    url: Url


class SubscriptionEdit(TermsAsked):
    """What changes; the rest stays. A batch that is being tried keeps its id and its bytes."""

    url: Url | None = None


class Subscription(Shown):
    """One receiver and how far it is."""

    subscription_id: UUID
    grant_id: UUID
    url: str
    state: Literal["active", "paused", "disabled", "resync_required"]
    position: int = Field(description="The step of the feed up to which everything was acknowledged or not wanted.")
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
    replaying_to: int | None = Field(description="The step up to which everything is being sent again.")
    batch_changes: int | None = Field(description="Most changes that the receiver takes in time; null: max_changes.")
    mode: Mode
    types: list[str]
    max_bytes: int = Field(description="Longest body.")
    max_changes: int
    quiet_seconds: float
    longest_wait_seconds: float
    rate_per_minute: int | None


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


async def shown(call: Call, tx: Transaction, row: store.Subscription) -> Subscription:
    """A subscription with its lag."""
    lag = await service.lag(tx, row)
    since = lag.waiting_since
    seconds = max(0.0, (call.context.clock.now() - since).total_seconds()) if since else 0.0
    columns = {name: getattr(row, name) for name in store.Subscription.__dataclass_fields__}
    columns["max_bytes"] = service.terms_of(row).most_bytes
    behind = {"head": lag.head, "behind": lag.behind, "waiting_since": since, "lag_seconds": seconds}
    return Subscription.model_validate({**columns, **behind})


async def reached_one(call: Call, tx: Transaction) -> store.Subscription:
    """The subscription in the path, where the caller may reach its grant. Raises HubError(NOT_FOUND)."""
    row = await store.get(tx, call.id("subscription"))
    await reached(call, tx, row.grant_id)
    return row


def note(writing: Writing, row: store.Subscription, **details: object) -> None:
    """The audit row of an act on a subscription."""
    # The host alone: receivers' paths and queries often hold a key.
    writing.note(f"subscription/{row.subscription_id}", grant=str(row.grant_id), host=URL(row.url).host, **details)


async def create(call: Call, body: NewSubscription) -> MadeSubscription:
    """Subscribes a receiver from the head of the feed on. What the view holds already is read through OneRoster."""
    settings = call.context.settings
    async with call.reading() as tx:
        await reached(call, tx, body.grant_id)
    await service.check_url(body.url, settings.webhook_allow, https_only=settings.webhook_https_only)
    key = await asyncio.to_thread(load_key, settings)
    async with call.writing() as writing:
        row, secret = await service.create(
            writing.tx, grant_id=body.grant_id, url=body.url, key=key, allow=settings.webhook_allow,
            terms=body.on(Terms()),
        )  # fmt: skip
        answer = await shown(call, writing.tx, row)
        note(writing, row)
    return MadeSubscription.model_validate({**answer.model_dump(), "secret": secret})


async def edit(call: Call, body: SubscriptionEdit) -> Subscription:
    """Changes the receiver or the settings; they count from the next batch on."""
    settings = call.context.settings
    allow = settings.webhook_allow
    async with call.reading() as tx:
        await reached_one(call, tx)
    if body.url is not None:
        await service.check_url(body.url, allow, https_only=settings.webhook_https_only)
    async with call.writing() as writing:
        row = await reached_one(call, writing.tx)
        terms = body.on(service.terms_of(row))
        row = await service.edit(writing.tx, row, terms=terms, url=body.url, allow=allow)
        note(writing, row, fields=sorted(body.model_fields_set))
        answer = await shown(call, writing.tx, row)
    await call.context.wake("deliver", call.district_id)
    return answer


async def listing(call: Call) -> Subscriptions:
    """The district's subscriptions with their lag, or those of an app token's app."""
    own = call.actor.scope_app
    async with call.reading() as tx:
        granted = {grant.grant_id for grant in await grants.listing(tx) if own in (None, grant.app_id)}
        rows = [row for row in await store.listing(tx) if row.grant_id in granted]
        return Subscriptions(items=[await shown(call, tx, row) for row in rows])


async def get(call: Call) -> Subscription:
    """One subscription with its lag."""
    async with call.reading() as tx:
        return await shown(call, tx, await reached_one(call, tx))


async def attempts(call: Call) -> Attempts:
    """The latest deliveries that were tried."""
    async with call.reading() as tx:
        row = await reached_one(call, tx)
        rows = await store.attempts(tx, row.subscription_id)
    return Attempts(items=[Attempt.model_validate(row) for row in rows])


async def pause(call: Call) -> Subscription:
    """Stops deliveries; nothing is lost."""
    async with call.writing() as writing:
        await reached_one(call, writing.tx)
        row = await service.pause(writing.tx, call.id("subscription"))
        note(writing, row)
        return await shown(call, writing.tx, row)


async def resume(call: Call) -> Subscription:
    """Goes on where a paused or disabled subscription stopped."""
    async with call.writing() as writing:
        await reached_one(call, writing.tx)
        row = await service.resume(writing.tx, call.id("subscription"))
        note(writing, row)
        answer = await shown(call, writing.tx, row)
    await call.context.wake("deliver", call.district_id)
    return answer


async def rotate(call: Call, body: Rotation) -> Secret:
    """Makes a new signing secret; both sign until the overlap ends."""
    key = await asyncio.to_thread(load_key, call.context.settings)
    async with call.writing() as writing:
        row = await reached_one(call, writing.tx)
        secret = await service.rotate(
            writing.tx, row.subscription_id, key=key, now=call.context.clock.now(),
            overlap=timedelta(seconds=body.overlap_seconds),
        )  # fmt: skip
        note(writing, row, overlap_seconds=body.overlap_seconds)
    return Secret(subscription_id=row.subscription_id, secret=secret)


async def delete(call: Call) -> None:
    """Ends a subscription and forgets its log."""
    async with call.writing() as writing:
        row = await reached_one(call, writing.tx)
        await service.delete(writing.tx, row.subscription_id)
        note(writing, row)


_OVER = "/districts/{district}/subscriptions"
ONE = _OVER + "/{subscription}"
_CONFLICT = (Code.CONFLICT,)
ROUTES = (
    Route("GET", _OVER, listing, "List subscriptions with their lag", roles=EVERYONE, answer=Subscriptions),
    Route("POST", _OVER, create, "Subscribe a receiver; its secret is shown once", roles=EVERYONE,
          body=NewSubscription, answer=MadeSubscription, status=201, action="subscription.create", errors=_CONFLICT),
    Route("GET", ONE, get, "One subscription with its lag", roles=EVERYONE, answer=Subscription),
    Route("PATCH", ONE, edit, "Change the receiver or the settings", roles=EVERYONE, body=SubscriptionEdit,
          answer=Subscription, action="subscription.edit"),
    Route("GET", ONE + "/attempts", attempts, "The latest attempts to deliver", roles=EVERYONE, answer=Attempts),
    Route("POST", ONE + "/pause", pause, "Pause deliveries", roles=EVERYONE, answer=Subscription,
          action="subscription.pause"),
    Route("POST", ONE + "/resume", resume, "Resume deliveries", roles=EVERYONE, answer=Subscription,
          action="subscription.resume", errors=_CONFLICT),
    Route("POST", ONE + "/rotate", rotate, "Make a new signing secret", roles=EVERYONE, body=Rotation,
          answer=Secret, action="subscription.rotate"),
    Route("DELETE", ONE, delete, "End a subscription", roles=EVERYONE, action="subscription.delete"),
)  # fmt: skip
