"""Where a subscription stands on its feed: going back and sending again, going forward and leaving out."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from pydantic import Field

from hub.api.admin.call import Call
from hub.api.admin.route import EVERYONE, Route
from hub.api.admin.shapes import Asked, Shown
from hub.api.admin.subscriptions import ONE, Subscription, note, reached_one, shown
from hub.errors import Code, HubError
from hub.webhooks import replay as service

Step = Annotated[int, Field(ge=0, le=2**62)]


class Replay(Asked):
    """From where on everything is sent again: one of the two."""

    from_: Annotated[Step | None, Field(alias="from", description="A step: what came after it.")] = None
    since: Annotated[datetime | None, Field(description="A moment, with its offset: what came from then on.")] = None


class Seek(Asked):
    """How far to go forward."""

    to: Annotated[Step | None, Field(description="A step; the head where it is left out.")] = None


class Sought(Shown):
    """A subscription that went forward."""

    subscription: Subscription
    skipped: dict[str, int] = Field(description="By type, the changes of which the receiver is not told.")


async def replay(call: Call, body: Replay) -> Subscription:
    """Sends again what came after a step or since a moment; the progress shows in ``replaying_to``."""
    if (body.from_ is None) == (body.since is None):
        raise HubError(Code.INVALID_REQUEST, "Say either from which step or since when.")
    if body.since is not None and body.since.tzinfo is None:
        raise HubError(Code.INVALID_REQUEST, "since needs an offset, such as 2026-09-01T06:00:00Z.")
    async with call.writing() as writing:
        row = await reached_one(call, writing.tx)
        moved = await service.replay(writing.tx, row, after=body.from_, since=body.since)
        note(writing, row, before=row.position, position=moved.position)
        answer = await shown(call, writing.tx, moved)
    await call.context.wake("deliver", call.district_id)
    return answer


async def seek(call: Call, body: Seek) -> Sought:
    """Goes forward without telling what lies between, and says what that is. The receiver reads everything again."""
    async with call.writing() as writing:
        row = await reached_one(call, writing.tx)
        moved, skipped = await service.seek(writing.tx, row, to=body.to)
        note(writing, row, before=row.position, position=moved.position, skipped=sum(skipped.values()))
        answer = Sought(subscription=await shown(call, writing.tx, moved), skipped=dict(skipped))
    await call.context.wake("deliver", call.district_id)
    return answer


ROUTES = (
    Route("POST", ONE + "/replay", replay, "Send again from a step or a moment on", roles=EVERYONE, body=Replay,
          answer=Subscription, action="subscription.replay", errors=(Code.CONFLICT, Code.RESYNC_REQUIRED)),
    Route("POST", ONE + "/seek", seek, "Go forward and leave out what lies between", roles=EVERYONE, body=Seek,
          answer=Sought, action="subscription.seek", errors=(Code.CONFLICT,)),
)  # fmt: skip
