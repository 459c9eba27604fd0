"""Trying a subscription's receiver, and finding out why it refuses what it gets."""

from __future__ import annotations

import asyncio
import base64
import binascii
from datetime import datetime
from ipaddress import IPv4Address, IPv6Address
from typing import Annotated, Self

from pydantic import Field, model_validator

from hub.api.admin.call import Call
from hub.api.admin.route import EVERYONE, Route
from hub.api.admin.shapes import Asked, Shown
from hub.api.admin.subscriptions import ONE, note, reached_one
from hub.api.attempts import HeldUpError
from hub.crypto import load_key
from hub.errors import Code
from hub.store import attempts
from hub.webhooks import subscriptions as service
from hub.webhooks import trying
from hub.webhooks.debugging import Check, Ended, Known, Received, diagnose, named
from hub.webhooks.egress import Egress
from hub.webhooks.failure import Failure

#: Of a body that is looked at; the hub sends shorter ones.
LONGEST_BODY = 900_000


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


class SignatureAsked(Asked):
    """A message as the receiver got it. The body goes as text, or in base64, byte by byte as it came."""

    headers: Annotated[dict[str, str], Field(max_length=200, description="All that came, or those three at least.")]
    body: Annotated[str, Field(max_length=LONGEST_BODY)] | None = None
    body_base64: Annotated[str, Field(max_length=LONGEST_BODY)] | None = None
    received_at: datetime | None = Field(default=None, description="When it came, by the receiver's own clock.")
    computed: Annotated[str, Field(max_length=1_000)] | None = Field(
        default=None, description="The signature that the receiver's code computed: it tells which mistake it makes."
    )

    @model_validator(mode="after")
    def _whole(self) -> Self:
        if (self.body is None) == (self.body_base64 is None):
            raise ValueError("give either body or body_base64")
        if self.received_at is not None and self.received_at.tzinfo is None:
            raise ValueError("received_at needs a time zone")
        self.raw()
        return self

    def raw(self) -> bytes:
        """The body's bytes."""
        if self.body is not None:
            return self.body.encode()
        try:
            return base64.b64decode(self.body_base64 or "", validate=True)
        except binascii.Error:
            raise ValueError("body_base64 is not base64") from None

    def message_id(self) -> str:
        """The id of the message; empty where it is missing."""
        return named(self.headers).get("webhook-id", ("", ""))[1]


class SignatureFinding(Shown):
    """One thing that was found."""

    check: Check
    fails: bool = Field(description="Whether a receiver that checks this refuses the message.")
    text: str = Field(description="What is wrong and how to mend it.")


class SignatureFound(Shown):
    """What is wrong with a message, or with the receiver that refuses it."""

    verified: bool = Field(description="Whether the signature holds for the body, with a secret of the subscription.")
    findings: list[SignatureFinding]
    content: str | None = Field(description="What the signed content begins with.")


async def test(call: Call) -> SubscriptionTest:
    """Sends one signed message of the type `subscriptions.test`; no position moves."""
    settings = call.context.settings
    key = await asyncio.to_thread(load_key, settings)
    async with call.writing() as writing:
        row = await reached_one(call, writing.tx)
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


async def signature(call: Call, body: SignatureAsked) -> SignatureFound:
    """Makes the checks of a receiver one by one; what is sent here is neither kept nor logged."""
    raw = body.raw()
    key = await asyncio.to_thread(load_key, call.context.settings)
    async with call.reading() as tx:
        row = await reached_one(call, tx)
        ring, _ = await service.known(tx, row.subscription_id, key=key)
        was_sent, sent = await attempts.sent(tx, row.subscription_id, body.message_id())
    now = call.context.clock.now()
    ended = [Ended(key.text, key.until) for key in ring.keys if key.until is not None and key.until <= now]
    known = Known(ring.live(now), now, ended, sent, was_sent, str(row.subscription_id))
    received = Received(body.headers, raw, body.received_at, body.computed)
    found = await asyncio.to_thread(diagnose, received, known)
    return SignatureFound.model_validate(found)


ROUTES = (
    Route("POST", ONE + "/test", test, "Send a test to the receiver", roles=EVERYONE, answer=SubscriptionTest,
          action="subscription.test", errors=(Code.CONFLICT,)),
    Route("POST", ONE + "/signature", signature, "Find out why a signature does not hold", roles=EVERYONE,
          body=SignatureAsked, answer=SignatureFound, writes=False),
)  # fmt: skip
