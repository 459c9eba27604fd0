"""Who hears of a district's syncs and subscriptions, or of an app's subscriptions. A webhook's secret is shown once."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Literal
from uuid import UUID

from pydantic import Field

from hub.api.admin.call import Call, Writing
from hub.api.admin.route import STAFF, Route
from hub.api.admin.shapes import Asked, Shown
from hub.crypto import load_key
from hub.errors import Code
from hub.notices import recipients as service
from hub.store import recipients as store

Kind = Literal[
    "held", "failed", "late", "recovered", "subscriptions.disabled", "subscriptions.paused", "subscriptions.failing",
    "subscriptions.parked", "subscriptions.recovered", "subscriptions.rotated", "subscriptions.resync_required",
]  # fmt: skip
Kinds = Annotated[list[Kind], Field(min_length=1, max_length=11, description="What to hear of, see docs/notices.md.")]


class Addressed(Asked):
    """Whom to tell."""

    channel: Literal["email", "webhook"]
    address: Annotated[str, Field(max_length=2_000, description="An e-mail address, or https and a public address.")]


class NewRecipient(Addressed):
    """Whom to tell of what."""

    kinds: Kinds = Field(default=["held", "failed", "late", "recovered"])


class StateEdit(Asked):
    """Whether to tell somebody for the time being."""

    state: Literal["active", "paused"] | None = Field(
        default=None, description="A paused recipient is told nothing, then or later, of what happens meanwhile."
    )


class RecipientEdit(StateEdit):
    """What to change; what is left out stays."""

    kinds: Kinds | None = None


class Recipient(Shown):
    """One recipient and how telling it goes."""

    recipient_id: UUID
    channel: Literal["email", "webhook"]
    address: str
    kinds: list[Kind]
    state: Literal["active", "paused", "disabled"]
    waiting: bool = Field(description="Notices wait to be sent.")
    attempt: int = Field(description="Failures in a row.")
    ready_at: datetime = Field(description="When the next message may go.")
    failing_since: datetime | None
    last_error: str | None
    last_sent: datetime | None
    created_at: datetime


class MadeRecipient(Recipient):
    """A recipient that was just made."""

    secret: str | None = Field(description="A webhook's signing secret (whsec_…). It cannot be shown again.")


class Recipients(Shown):
    """All recipients of a district, oldest first."""

    items: list[Recipient]


def _note(writing: Writing, row: store.Recipient) -> None:
    # Addresses are people's, and stay out of the audit log.
    writing.note(f"recipient/{row.recipient_id}", channel=row.channel, kinds=row.kinds, state=row.state)


def _recipient(call: Call) -> UUID:
    return call.id(call.route.parameters[-1])  # of a district or of an app


def _app(call: Call) -> UUID | None:
    """The app in the path; None where that names a district."""
    return call.id("app") if "app" in call.route.parameters else None


async def create(call: Call, body: NewRecipient) -> MadeRecipient:
    """Adds a recipient; it hears of what happens from now on."""
    return await added(call, body, body.kinds)


async def added(call: Call, body: Addressed, kinds: Sequence[str]) -> MadeRecipient:
    """The same for a district or an app."""
    settings = call.context.settings
    await service.check(
        body.channel, body.address, mails=settings.smtp_url is not None, allow=settings.webhook_allow,
        https_only=settings.webhook_https_only,
    )  # fmt: skip
    key = await asyncio.to_thread(load_key, settings)
    async with call.writing() as writing:
        row, secret = await service.create(
            writing.tx, channel=body.channel, address=body.address, kinds=sorted(set(kinds)), key=key,
            allow=settings.webhook_allow, app_id=_app(call),
        )  # fmt: skip
        _note(writing, row)
    return MadeRecipient.model_validate({**Recipient.model_validate(row).model_dump(), "secret": secret})


async def listing(call: Call) -> Recipients:
    """The district's recipients, or an app's."""
    async with call.reading() as tx:
        return Recipients(items=[Recipient.model_validate(row) for row in await store.listing(tx, app_id=_app(call))])


async def get(call: Call) -> Recipient:
    """One recipient."""
    async with call.reading() as tx:
        return Recipient.model_validate(await store.get(tx, _recipient(call), app_id=_app(call)))


async def edit(call: Call, body: RecipientEdit) -> Recipient:
    """Changes a recipient; setting it active sends what could not be sent before."""
    return await edited(call, body, body.kinds)


async def edited(call: Call, body: StateEdit, kinds: Sequence[str] | None) -> Recipient:
    """The same for a district or an app."""
    async with call.writing() as writing:
        wanted = sorted(set(kinds)) if kinds else None
        row = await store.change(writing.tx, _recipient(call), kinds=wanted, state=body.state, app_id=_app(call))
        _note(writing, row)
    return Recipient.model_validate(row)


async def delete(call: Call) -> None:
    """Removes a recipient with what waits for it."""
    async with call.writing() as writing:
        row = await store.get(writing.tx, _recipient(call), app_id=_app(call))
        await store.delete(writing.tx, row.recipient_id, app_id=_app(call))
        _note(writing, row)


_OVER = "/districts/{district}/recipients"
_ONE = _OVER + "/{recipient}"
ROUTES = (
    Route("GET", _OVER, listing, "Who hears of a district's syncs and subscriptions", roles=STAFF, answer=Recipients),
    Route("POST", _OVER, create, "Add a recipient of notices", roles=STAFF, body=NewRecipient, answer=MadeRecipient,
          status=201, action="recipient.create", errors=(Code.CONFLICT,)),
    Route("GET", _ONE, get, "One recipient of notices", roles=STAFF, answer=Recipient),
    Route("PATCH", _ONE, edit, "Change, pause or resume a recipient", roles=STAFF, body=RecipientEdit,
          answer=Recipient, action="recipient.edit"),
    Route("DELETE", _ONE, delete, "Remove a recipient", roles=STAFF, action="recipient.delete"),
)  # fmt: skip
