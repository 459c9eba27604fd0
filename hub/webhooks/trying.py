"""A test: one signed message that says nothing, sent to a subscription's receiver at once. It moves no position.

It stands in the log of attempts from before it is sent, so that the limit holds over all processes.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

import orjson

from hub import ids
from hub.changes.message import moment
from hub.clock import Clock
from hub.crypto import Keys
from hub.errors import Code, HubError
from hub.store import attempts, feed
from hub.store import subscriptions as store
from hub.store.database import Transaction
from hub.webhooks import sign, subscriptions
from hub.webhooks.certificates import ClientCertificate
from hub.webhooks.egress import Answer, Egress
from hub.webhooks.keyring import Keyring
from hub.webhooks.settle import tried_of

TEST_TYPE = "subscriptions.test"
#: Tests that one subscription gets in a minute.
MOST_A_MINUTE = 6


@dataclass(frozen=True, slots=True)
class Trial:
    """A test that was begun, and what the subscription has for it."""

    district_id: UUID
    subscription_id: UUID
    grant_id: UUID
    batch_id: str
    url: str
    ring: Keyring
    certificate: ClientCertificate | None


async def begin(tx: Transaction, subscription_id: UUID, *, key: Keys) -> Trial | int:
    """Notes a test before it is sent; the seconds until one may be sent again where there were too many.

    ``key``: hub.crypto.load_key. Raises HubError(NOT_FOUND), HubError(CONFLICT) when the grant was revoked, or nobody
    has proven that the receiver is the subscriber's.
    """
    await store.sealed_secret(tx, subscription_id)  # locks the subscription: tests are counted one by one
    row = await store.get(tx, subscription_id)
    if row.state == "unproven":
        raise HubError(Code.CONFLICT, "The receiver has not answered the challenge yet, and gets nothing else before.")
    head = await feed.head(tx, row.grant_id)
    if head is None or head.grant_state == "revoked":
        raise HubError(Code.CONFLICT, "The grant of this subscription was revoked.")
    seconds = await attempts.until_test(tx, subscription_id, most=MOST_A_MINUTE)
    if seconds:
        return seconds
    batch_id = f"msg_{ids.new_id().hex}"
    await attempts.begin_test(tx, subscription_id, batch_id)
    ring, certificate = await subscriptions.known(tx, subscription_id, key=key)
    assert tx.district_id is not None, "the subscription was found in one"
    return Trial(tx.district_id, subscription_id, row.grant_id, batch_id, row.url, ring, certificate)


async def send(egress: Egress, clock: Clock, trial: Trial) -> Answer:
    """Sends it, signed as every batch is. Never raises for what a receiver or the network does."""
    now = clock.now()
    body = message(trial, now)
    headers = sign.headers(trial.ring.live(now), trial.batch_id, int(now.timestamp()), body)
    return await egress.post(trial.url, body, headers, certificate=trial.certificate)


def message(trial: Trial, at: datetime) -> bytes:
    """The body of a test."""
    data = {
        "subscription": str(trial.subscription_id),
        "district": str(trial.district_id),
        "grant": str(trial.grant_id),
    }
    return orjson.dumps({"type": TEST_TYPE, "timestamp": moment(at), "data": data})


async def end(tx: Transaction, trial: Trial, answer: Answer) -> None:
    """Notes what came of it."""
    error = answer.failure.value if answer.failure is not None else None
    await attempts.end_test(tx, trial.subscription_id, trial.batch_id, tried_of(answer), error)
