"""Who hears how an app's subscriptions are doing, in all districts. A webhook's secret is shown once."""

from __future__ import annotations

from typing import Annotated, Literal, get_args

from pydantic import Field

from hub.api.admin import recipients
from hub.api.admin.apps import OPERATOR_OR_APP
from hub.api.admin.call import Call
from hub.api.admin.recipients import Addressed, MadeRecipient, Recipient, Recipients, StateEdit
from hub.api.admin.route import Route
from hub.errors import Code
from hub.store import apps

Kind = Literal[
    "subscriptions.disabled", "subscriptions.paused", "subscriptions.failing", "subscriptions.parked",
    "subscriptions.recovered", "subscriptions.rotated", "subscriptions.resync_required",
]  # fmt: skip
_ALL: list[Kind] = list(get_args(Kind))
Kinds = Annotated[list[Kind], Field(min_length=1, max_length=7, description="What to hear of, see docs/notices.md.")]


class NewAppRecipient(Addressed):
    """Whom to tell of what."""

    kinds: Kinds = Field(default=_ALL)


class AppRecipientEdit(StateEdit):
    """What to change; what is left out stays."""

    kinds: Kinds | None = None


async def _check(call: Call) -> None:
    """Raises HubError(NOT_FOUND) where there is no such app."""
    async with call.reading() as tx:
        await apps.get(tx, call.id("app"))


async def create(call: Call, body: NewAppRecipient) -> MadeRecipient:
    """Adds a recipient; it hears of what happens from now on."""
    await _check(call)
    return await recipients.added(call, body, body.kinds)


async def listing(call: Call) -> Recipients:
    """The app's recipients."""
    await _check(call)
    return await recipients.listing(call)


async def get(call: Call) -> Recipient:
    """One recipient."""
    return await recipients.get(call)


async def edit(call: Call, body: AppRecipientEdit) -> Recipient:
    """Changes a recipient; setting it active sends what could not be sent before."""
    return await recipients.edited(call, body, body.kinds)


async def delete(call: Call) -> None:
    """Removes a recipient with what waits for it."""
    await recipients.delete(call)


_OVER = "/apps/{app}/recipients"
_ONE = _OVER + "/{app_recipient}"
ROUTES = (
    Route("GET", _OVER, listing, "Who hears of an app's subscriptions", roles=OPERATOR_OR_APP, answer=Recipients),
    Route("POST", _OVER, create, "Add a recipient of an app's notices", roles=OPERATOR_OR_APP, body=NewAppRecipient,
          answer=MadeRecipient, status=201, action="recipient.create", errors=(Code.CONFLICT,)),
    Route("GET", _ONE, get, "One recipient of an app's notices", roles=OPERATOR_OR_APP, answer=Recipient),
    Route("PATCH", _ONE, edit, "Change, pause or resume it", roles=OPERATOR_OR_APP, body=AppRecipientEdit,
          answer=Recipient, action="recipient.edit"),
    Route("DELETE", _ONE, delete, "Remove it", roles=OPERATOR_OR_APP, action="recipient.delete"),
)  # fmt: skip
