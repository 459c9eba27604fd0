"""What was sent to a subscription's receiver, and what came of it."""

from __future__ import annotations

from datetime import datetime
from ipaddress import IPv4Address, IPv6Address
from typing import Literal

from pydantic import Field

from hub.addresses import reachable
from hub.api.admin.call import Call
from hub.api.admin.paging import Page, Paging, cut, place, unknown
from hub.api.admin.route import EVERYONE, Role, Route
from hub.api.admin.shapes import Shown
from hub.api.admin.subscriptions import ONE, reached_one
from hub.store import attempts as log
from hub.webhooks.failure import Failure


class Attempt(Shown):
    """One request to the receiver."""

    batch_id: str
    attempt: int
    at: datetime
    milliseconds: int
    status: int | None
    error_class: str | None
    remote_ip: IPv4Address | IPv6Address | None = Field(description="The address that was dialled.")
    excerpt: str | None = Field(description="What the answer began with, as far as it can be printed.")
    retry_after: float | None = Field(description="Seconds that the receiver asked to wait.")
    test: bool = Field(description="Whether somebody asked for this one to try the receiver.")


class AttemptPage(Page[Attempt]):
    """Some attempts, newest first."""


class AttemptsAsked(Paging):
    """Which attempts."""

    outcome: Literal["delivered", "failed"] | None = None
    error_class: Failure | None = Field(default=None, description="Only those that failed in this way.")
    test: bool | None = Field(default=None, description="Only tests, or only deliveries.")


async def listing(call: Call, query: AttemptsAsked) -> AttemptPage:
    """The requests that were sent to the receiver, newest first."""
    failed = None if query.outcome is None else query.outcome == "failed"
    wanted = log.Wanted(failed, query.error_class, query.test)
    after = _place(query.after)
    async with call.reading() as tx:
        row = await reached_one(call, tx)
        rows = await log.page(tx, row.subscription_id, wanted, limit=query.limit + 1, after=after)
    shown = [_attempt(call, row) for row in rows]
    items, more = cut(shown, query.limit, [row.place for row in rows])
    return AttemptPage(items=items, next=more)


def _place(after: str | None) -> tuple[datetime, str, int] | None:
    text = place(after)
    try:
        return None if text is None else log.as_place(text)
    except ValueError:
        raise unknown() from None


def _attempt(call: Call, row: log.Attempt) -> Attempt:
    """An attempt as the caller may see it.

    Networks that an operator opened to webhooks may hold pages that are not meant for apps, and an app chooses the
    address: it sees whether such a receiver answered, and not what.
    """
    shown = Attempt.model_validate(row)
    outside = row.remote_ip is not None and reachable(str(row.remote_ip), (), encrypted=True)
    return shown if call.role is not Role.APP or outside else shown.model_copy(update={"excerpt": None})


ROUTES = (
    Route("GET", ONE + "/attempts", listing,
          "The requests that were sent to a subscription's receiver", roles=EVERYONE, query=AttemptsAsked,
          answer=AttemptPage),
)  # fmt: skip
