"""Trying a subscription's receiver, and finding out why it refuses what it gets."""

from __future__ import annotations

import asyncio
from datetime import datetime
from ipaddress import IPv4Address, IPv6Address

from pydantic import Field

from hub.api.admin.call import Call
from hub.api.admin.route import EVERYONE, Route
from hub.api.admin.shapes import Shown
from hub.api.admin.subscriptions import note, subscription
from hub.api.attempts import HeldUpError
from hub.crypto import load_key
from hub.errors import Code
from hub.webhooks import trying
from hub.webhooks.egress import Egress
from hub.webhooks.failure import Failure


class TooManyTestsError(HeldUpError):
    """More tests than a receiver gets in a minute."""

    text = f"A subscription gets {trying.MOST_A_MINUTE} tests a minute. Wait as long as Retry-After says."


class SubscriptionTest(Shown):
    """What came of a test."""

    batch_id: str = Field(description="The `webhook-id` of the test; it stands in the log of attempts.")
    at: datetime
    delivered: bool = Field(description="Whether the answer was 200 to 299.")
    status: int | None
    error_class: Failure | None
    milliseconds: int
    remote_ip: IPv4Address | IPv6Address | None = Field(description="The address that was dialled.")


async def test(call: Call) -> SubscriptionTest:
    """Sends one signed message of the type `subscriptions.test`; no position moves."""
    settings = call.context.settings
    key = await asyncio.to_thread(load_key, settings)
    async with call.writing() as writing:
        row = await subscription(call, writing.tx)
        trial = await trying.begin(writing.tx, row.subscription_id, key=key)
        if isinstance(trial, int):
            raise TooManyTestsError(trial)
        note(writing, row)
    at = call.context.clock.now()
    async with Egress.of(settings) as egress:
        answer = await trying.send(egress, call.context.clock, trial)
    async with call.context.db.district(call.district_id) as tx:
        await trying.end(tx, trial, answer)
    return SubscriptionTest.model_validate(
        {
            "batch_id": trial.batch_id, "at": at, "delivered": answer.failure is None, "status": answer.status,
            "error_class": answer.failure, "milliseconds": answer.milliseconds, "remote_ip": answer.remote_ip,
        }
    )  # fmt: skip


_ONE = "/districts/{district}/subscriptions/{subscription}"
ROUTES = (
    Route("POST", _ONE + "/test", test, "Send a test to the receiver", roles=EVERYONE, answer=SubscriptionTest,
          action="subscription.test", errors=(Code.CONFLICT,)),
)  # fmt: skip
