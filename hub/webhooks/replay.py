"""Moving a subscription along its feed: back, so that a receiver hears again what it lost, or forward over a stretch.

A replay is nothing but a position, so it survives whatever the position survives. Inside the caller's transaction.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from datetime import datetime

from hub.changes import reading
from hub.errors import Code, HubError
from hub.store import feed
from hub.store import subscriptions as store
from hub.store.database import Transaction
from hub.store.feed import Head
from hub.store.subscriptions import Subscription
from hub.webhooks.events import happened
from hub.webhooks.subscriptions import terms_of


async def replay(
    tx: Transaction, subscription: Subscription, *, after: int | None = None, since: datetime | None = None
) -> Subscription:
    """Goes back: what came after a step, or since a moment, is sent again. Ring the doorbell after commit.

    Raises HubError(RESYNC_REQUIRED) where the feed is not kept so far back, HubError(INVALID_REQUEST) for a step at
    which the subscription has not been, HubError(CONFLICT) for a revoked grant.
    """
    head = await _head(tx, subscription)
    step = after if after is not None else await _step_at(tx, subscription, head, since)
    if step < head.feed_from:
        raise gone(head)
    if step > min(subscription.position, head.steps):
        raise HubError(Code.INVALID_REQUEST, f"The subscription is at {subscription.position}: that is no way back.")
    to = max(subscription.position, subscription.window_to or 0, subscription.replaying_to or 0)
    moved = await store.move(
        tx, subscription.subscription_id, step, replaying_to=min(to, head.steps) if step < head.steps else None
    )
    await happened(tx, subscription.subscription_id, "replayed", after=step, to=to)
    return moved


async def seek(
    tx: Transaction, subscription: Subscription, *, to: int | None = None
) -> tuple[Subscription, Mapping[str, int]]:
    """Goes forward to a step, or (None) to the head, without telling what lies between; counts of that by type.

    Raises HubError(INVALID_REQUEST) for a step behind the subscription or beyond the head, HubError(CONFLICT) for a
    revoked grant.
    """
    head = await _head(tx, subscription)
    step = head.steps if to is None else to
    start = max(subscription.position, head.feed_from)
    if not start <= step <= head.steps and start <= head.steps:
        raise HubError(Code.INVALID_REQUEST, f"A step from {start} to {head.steps} can be gone forward to.")
    skipped: Mapping[str, int] = {}
    if step > start:
        stretch = await reading.stretch(tx, subscription.grant_id, after=start, to=step)
        changes = stretch.window.following(None, len(stretch.window), terms_of(subscription).wanted)
        skipped = Counter(change.type for change in changes)
    return await store.move(tx, subscription.subscription_id, step), skipped


def gone(head: Head) -> HubError:
    """The error for a place on the feed from which nothing leads on."""
    return HubError(
        Code.RESYNC_REQUIRED,
        f"The feed is kept from step {head.feed_from} on. Read everything again, then go on from {head.steps}.",
    )


async def _step_at(tx: Transaction, subscription: Subscription, head: Head, since: datetime | None) -> int:
    if since is None:
        raise HubError(Code.INVALID_REQUEST, "Say from which step or since when.")
    step = await feed.step_before(tx, subscription.grant_id, since)
    if step is None and head.feed_from:
        raise gone(head)
    return step or 0


async def _head(tx: Transaction, subscription: Subscription) -> Head:
    head = await feed.head(tx, subscription.grant_id)
    if head is None or head.grant_state == "revoked":
        raise HubError(Code.CONFLICT, "The grant of this subscription was revoked.")
    return head
