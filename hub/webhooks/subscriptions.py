"""What the admin API does with subscriptions. All of it inside the caller's transaction, so that it is audited there.

Before ``create``, call ``check_url`` outside of any transaction: it asks the name service.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from datetime import datetime, timedelta
from uuid import UUID

from hub import ids
from hub.addresses import Network
from hub.errors import Code, HubError
from hub.store import feed, parked
from hub.store import subscriptions as store
from hub.store.database import Transaction
from hub.store.subscriptions import Subscription
from hub.webhooks import address
from hub.webhooks.egress import check_host
from hub.webhooks.keyring import LONGEST_OVERLAP, Keyring
from hub.webhooks.terms import Terms

OVERLAP = timedelta(hours=24)
_USUAL = Terms()


@dataclass(frozen=True, slots=True)
class Lag:
    """How far a subscription is behind.

    ``head``: the last step of its feed; ``waiting_since``: the time of the first entry that is not
    acknowledged, None when there is none.
    """

    head: int
    position: int
    waiting_since: datetime | None

    @property
    def behind(self) -> bool:
        """Whether anything waits to be delivered."""
        return self.waiting_since is not None


async def check_url(url: str, allow: Sequence[Network], *, https_only: bool = False) -> None:
    """Refuses a receiver that could never be reached. ``allow``, ``https_only``: settings.webhook_….

    Raises HubError(INVALID_REQUEST) that says what is wrong. The guard at the dial stays the judge of each delivery.
    """
    parsed = address.parse(url, allow)
    if https_only and parsed.scheme != "https":
        raise HubError(Code.INVALID_REQUEST, "This hub sends webhooks by TLS alone: the URL must begin with https://.")
    await check_host(parsed, allow)


async def create(
    tx: Transaction, *, grant_id: UUID, url: str, key: bytes, allow: Sequence[Network] = (), terms: Terms = _USUAL
) -> tuple[Subscription, str]:
    """Subscribes a receiver to a grant's feed from its head on; the subscription and its secret, shown this once.

    What is in the view already is read through OneRoster. ``key``: hub.crypto.load_key. Raises
    HubError(INVALID_REQUEST | NOT_FOUND | CONFLICT).
    """
    address.parse(url, allow)
    subscription_id, ring = ids.new_id(), Keyring.new()
    sealed = ring.sealed(key, _district(tx), subscription_id)
    made = await store.create(tx, subscription_id, grant_id=grant_id, url=url, secret=sealed)
    if terms != _USUAL:
        made = await edit(tx, made, terms=terms)
    return made, ring.current


async def edit(
    tx: Transaction, subscription: Subscription, *, terms: Terms, url: str | None = None, allow: Sequence[Network] = ()
) -> Subscription:
    """Sets the settings, and the receiver where ``url`` is given; ring the doorbell ("deliver") after commit.

    They count for the next batch that is cut. One that is frozen keeps its id and its bytes, and goes to the new URL.
    Raises HubError(NOT_FOUND | INVALID_REQUEST).
    """
    if url is not None:
        address.parse(url, allow)
    terms.check()
    return await store.edit(tx, subscription.subscription_id, url=url, **asdict(terms))


def terms_of(subscription: Subscription) -> Terms:
    """The settings of a subscription."""
    return Terms(
        **{f.name: getattr(subscription, f.name) for f in fields(Terms)} | {"types": tuple(subscription.types)}
    )


async def rotate(
    tx: Transaction, subscription_id: UUID, *, key: bytes, now: datetime, overlap: timedelta = OVERLAP
) -> str:
    """A new secret, shown this once; the one before signs beside it for ``overlap`` (none to 7 days).

    Raises HubError(NOT_FOUND), HubError(INVALID_REQUEST) for an overlap out of bounds.
    """
    if not timedelta() <= overlap <= LONGEST_OVERLAP:
        raise HubError(Code.INVALID_REQUEST, "The old secret may stay valid for 0 seconds to 7 days.")
    sealed = await store.sealed_secret(tx, subscription_id)
    ring = Keyring.unsealed(key, sealed, _district(tx), subscription_id).rotated(now, overlap)
    await store.replace_secret(tx, subscription_id, ring.sealed(key, _district(tx), subscription_id))
    return ring.current


async def pause(tx: Transaction, subscription_id: UUID) -> Subscription:
    """Stops deliveries; the position stands still and nothing is lost. Raises HubError(NOT_FOUND)."""
    return await store.pause(tx, subscription_id)


async def resume(tx: Transaction, subscription_id: UUID) -> Subscription:
    """Goes on where a paused or disabled subscription stopped. Ring the doorbell ("deliver") after commit.

    Where a resync is required, the receiver reads everything again, and it goes on from the head.
    Raises HubError(NOT_FOUND), HubError(CONFLICT) when the grant was revoked.
    """
    subscription = await store.get(tx, subscription_id)
    head = await feed.head(tx, subscription.grant_id)
    if head is None or head.grant_state == "revoked":
        raise HubError(Code.CONFLICT, "The grant of this subscription was revoked.")
    if subscription.state == "resync_required":
        await parked.remove(tx, subscription_id)
        await store.move(tx, subscription_id, head.steps)
    return await store.resume(tx, subscription_id)


async def delete(tx: Transaction, subscription_id: UUID) -> None:
    """Ends a subscription and removes its log. Raises HubError(NOT_FOUND)."""
    await store.delete(tx, subscription_id)


async def lag(tx: Transaction, subscription: Subscription) -> Lag:
    """How far a subscription is behind its grant's feed."""
    head = await feed.head(tx, subscription.grant_id)
    since = await feed.waiting_since(tx, subscription.grant_id, after=subscription.position)
    return Lag(head.steps if head else subscription.position, subscription.position, since)


def _district(tx: Transaction) -> UUID:
    if tx.district_id is None:
        raise HubError(Code.DISTRICT_MISMATCH, "Subscriptions belong to a district: open its transaction.")
    return tx.district_id
