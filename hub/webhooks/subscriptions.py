"""What the admin API does with subscriptions. All of it inside the caller's transaction, so that it is audited there.

Before ``create``, call ``check_url`` outside of any transaction: it asks the name service.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from hub import ids
from hub.addresses import Network
from hub.errors import Code, HubError
from hub.store import feed
from hub.store import subscriptions as store
from hub.store.database import Transaction
from hub.store.subscriptions import Keys, Subscription
from hub.webhooks import address
from hub.webhooks.certificates import Described
from hub.webhooks.egress import check_host
from hub.webhooks.keyring import LONGEST_OVERLAP, USUAL, Keyring
from hub.webhooks.sign import Scheme

OVERLAP = timedelta(hours=24)


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


async def check_url(url: str, allow: Sequence[Network]) -> None:
    """Refuses a receiver that could never be reached. ``allow``: settings.webhook_allow.

    Raises HubError(INVALID_REQUEST) that says what is wrong. The guard at the dial stays the judge of each delivery.
    """
    await check_host(address.parse(url, allow), allow)


async def create(
    tx: Transaction, *, grant_id: UUID, url: str, key: bytes, allow: Sequence[Network] = (),
    signatures: Collection[Scheme] = USUAL, certificate: Described | None = None,
) -> tuple[Subscription, str | None]:  # fmt: skip
    """Subscribes a receiver to a grant's feed from its head on; the subscription and its secret, shown this once.

    What is in the view already is read through OneRoster. ``key``: hub.crypto.load_key. Without v1 among the
    ``signatures`` there is no secret. Raises HubError(INVALID_REQUEST | NOT_FOUND | CONFLICT).
    """
    address.parse(url, allow)
    subscription_id, ring = ids.new_id(), Keyring.new(signatures)
    keys = _stored(tx, ring, key, subscription_id)
    made = await store.create(tx, subscription_id, grant_id=grant_id, url=url, keys=keys)
    if certificate is not None:
        made = await show(tx, subscription_id, certificate, key=key)
    return made, ring.secret


async def show(tx: Transaction, subscription_id: UUID, certificate: Described | None, *, key: bytes) -> Subscription:
    """Shows the receiver another client certificate, or none. Raises HubError(NOT_FOUND)."""
    if certificate is None:
        return await store.replace_certificate(tx, subscription_id, None, None, None)
    sealed = certificate.certificate.sealed(key, _district(tx), subscription_id)
    return await store.replace_certificate(tx, subscription_id, sealed, certificate.subject, certificate.expires_at)


async def sign_with(
    tx: Transaction, subscription_id: UUID, signatures: Collection[Scheme], *, key: bytes
) -> tuple[Subscription, str | None]:
    """Changes which signatures are made; a secret that was made for it, shown this once.

    Keys of a scheme that is left out are forgotten. Raises HubError(NOT_FOUND).
    """
    before = await _ring(tx, subscription_id, key)
    ring = before.of(signatures)
    changed = await store.replace_keys(tx, subscription_id, _stored(tx, ring, key, subscription_id))
    return changed, ring.secret if before.secret is None else None


async def rotate(
    tx: Transaction, subscription_id: UUID, *, key: bytes, now: datetime, overlap: timedelta = OVERLAP
) -> tuple[Subscription, str | None]:
    """New keys, the secret among them shown this once; those before sign beside them for ``overlap`` (none to 7 days).

    Raises HubError(NOT_FOUND), HubError(INVALID_REQUEST) for an overlap out of bounds.
    """
    if not timedelta() <= overlap <= LONGEST_OVERLAP:
        raise HubError(Code.INVALID_REQUEST, "The old secret may stay valid for 0 seconds to 7 days.")
    ring = (await _ring(tx, subscription_id, key)).rotated(now, overlap)
    return await store.replace_keys(tx, subscription_id, _stored(tx, ring, key, subscription_id)), ring.secret


async def pause(tx: Transaction, subscription_id: UUID) -> Subscription:
    """Stops deliveries; the position stands still and nothing is lost. Raises HubError(NOT_FOUND)."""
    return await store.pause(tx, subscription_id)


async def resume(tx: Transaction, subscription_id: UUID) -> Subscription:
    """Goes on where a paused or disabled subscription stopped. Ring the doorbell ("deliver") after commit.

    Raises HubError(NOT_FOUND), HubError(CONFLICT) when the grant was revoked.
    """
    subscription = await store.get(tx, subscription_id)
    head = await feed.head(tx, subscription.grant_id)
    if head is None or head.grant_state == "revoked":
        raise HubError(Code.CONFLICT, "The grant of this subscription was revoked.")
    return await store.resume(tx, subscription_id)


async def delete(tx: Transaction, subscription_id: UUID) -> None:
    """Ends a subscription and removes its log. Raises HubError(NOT_FOUND)."""
    await store.delete(tx, subscription_id)


async def lag(tx: Transaction, subscription: Subscription) -> Lag:
    """How far a subscription is behind its grant's feed."""
    head = await feed.head(tx, subscription.grant_id)
    since = await feed.waiting_since(tx, subscription.grant_id, after=subscription.position)
    return Lag(head.steps if head else subscription.position, subscription.position, since)


async def _ring(tx: Transaction, subscription_id: UUID, key: bytes) -> Keyring:
    """The signing keys; their row is locked until the transaction ends."""
    sealed = await store.sealed_secret(tx, subscription_id)
    return Keyring.unsealed(key, sealed, _district(tx), subscription_id)


def _stored(tx: Transaction, ring: Keyring, key: bytes, subscription_id: UUID) -> Keys:
    shown = [public.as_json() for public in ring.public_keys]
    return Keys(ring.sealed(key, _district(tx), subscription_id), list(ring.schemes), shown)


def _district(tx: Transaction) -> UUID:
    if tx.district_id is None:
        raise HubError(Code.DISTRICT_MISMATCH, "Subscriptions belong to a district: open its transaction.")
    return tx.district_id
