"""What the admin API does with subscriptions. All of it inside the caller's transaction, so that it is audited there.

Before ``create`` and ``point``, call ``check_url`` and ``challenge.ask`` outside of any transaction: they ask the name
service and the receiver.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import asdict, dataclass, fields
from datetime import datetime, timedelta
from uuid import UUID

from hub import ids, vault
from hub.addresses import Network
from hub.crypto import Keys
from hub.errors import Code, HubError
from hub.store import feed, parked
from hub.store import subscriptions as store
from hub.store.database import Transaction
from hub.store.subscriptions import Subscription
from hub.webhooks import address
from hub.webhooks.certificates import ClientCertificate, Described
from hub.webhooks.challenge import Proof
from hub.webhooks.egress import check_host
from hub.webhooks.events import happened
from hub.webhooks.keyring import LONGEST_OVERLAP, USUAL, Keyring
from hub.webhooks.sign import Scheme
from hub.webhooks.terms import Terms

OVERLAP = timedelta(hours=24)
#: For receivers that are known otherwise, and where the hub asks for no proof.
PROVEN = Proof()
AS_USUAL = Terms()


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


@dataclass(frozen=True, slots=True)
class Draft:
    """A subscription as it is to be: what its receiver is challenged with, before it is written."""

    subscription_id: UUID
    ring: Keyring
    certificate: Described | None = None


def draft(signatures: Collection[Scheme] = USUAL, certificate: Described | None = None) -> Draft:
    """A new subscription with fresh keys."""
    return Draft(ids.new_id(), Keyring.new(signatures), certificate)


async def create(
    tx: Transaction, *, grant_id: UUID, url: str, key: Keys, allow: Sequence[Network] = (), made: Draft | None = None,
    proof: Proof = PROVEN, terms: Terms = AS_USUAL,
) -> tuple[Subscription, str | None]:  # fmt: skip
    """Subscribes a receiver to a grant's feed from its head on; the subscription and its secret, shown this once.

    What is in the view already is read through OneRoster. ``key``: hub.crypto.load_key. ``made``: what the receiver
    was challenged with, and ``proof``: what came of it. Without v1 among the signatures there is no secret. Raises
    HubError(INVALID_REQUEST | NOT_FOUND | CONFLICT).
    """
    address.parse(url, allow)
    made = made or draft()
    keys = await _stored(tx, made.ring, key, made.subscription_id)
    row = await store.create(
        tx, made.subscription_id, grant_id=grant_id, url=url, keys=keys,
        state="unproven" if proof.failure else "active", last_error=proof.failure, last_status=proof.status,
    )  # fmt: skip
    if made.certificate is not None:
        row = await show(tx, made.subscription_id, made.certificate, key=key)
    if terms != AS_USUAL:
        row = await edit(tx, made.subscription_id, terms)
    return row, made.ring.secret


async def edit(tx: Transaction, subscription_id: UUID, terms: Terms) -> Subscription:
    """Sets how a subscription wants to be told; ring the doorbell ("deliver") after commit.

    It counts for the next batch that is cut: one that is frozen keeps its id and its bytes. Raises
    HubError(NOT_FOUND | INVALID_REQUEST).
    """
    terms.check()
    return await store.edit(tx, subscription_id, **asdict(terms))


def terms_of(subscription: Subscription) -> Terms:
    """How a subscription wants to be told."""
    values = {f.name: getattr(subscription, f.name) for f in fields(Terms)}
    return Terms(**values | {"types": tuple(subscription.types)})


async def known(tx: Transaction, subscription_id: UUID, *, key: Keys) -> tuple[Keyring, ClientCertificate | None]:
    """What a subscription signs with and shows at present. Raises HubError(NOT_FOUND)."""
    found = await store.sealed(tx, subscription_id)
    await vault.to_open(tx, key, found.secret, found.certificate)
    ring = Keyring.unsealed(key, found.secret, _district(tx), subscription_id)
    if found.certificate is None:
        return ring, None
    return ring, ClientCertificate.unsealed(key, found.certificate, _district(tx), subscription_id)


async def prove(tx: Transaction, subscription_id: UUID, url: str, proof: Proof | None) -> Subscription:
    """Writes down what came of another challenge of an unproven subscription; one that is proven stays as it is.

    ``proof``: None where it was proven when it was looked at, so that nobody was challenged. Ring the doorbell
    ("deliver") after commit. Raises HubError(NOT_FOUND), HubError(CONFLICT) when the URL was changed meanwhile, or the
    grant revoked.
    """
    before = await _living(tx, subscription_id)
    if before.url != url:
        raise HubError(Code.CONFLICT, "The URL was changed while its receiver was asked. Ask again.")
    if proof is None or before.state != "unproven":
        return before
    return await point(tx, subscription_id, url, proof)


async def point(tx: Transaction, subscription_id: UUID, url: str, proof: Proof) -> Subscription:
    """Sends to another URL, whose receiver was challenged. Raises HubError(NOT_FOUND).

    Unproven, it is sent nothing; proven, it goes on if it went on before or was unproven.
    """
    before = await store.get(tx, subscription_id, lock=True)
    state = "unproven" if proof.failure else "active" if before.state == "unproven" else None
    return await store.point(tx, subscription_id, url, state=state, last_error=proof.failure, last_status=proof.status)


async def show(tx: Transaction, subscription_id: UUID, certificate: Described | None, *, key: Keys) -> Subscription:
    """Shows the receiver another client certificate, or none. Raises HubError(NOT_FOUND)."""
    if certificate is None:
        return await store.replace_certificate(tx, subscription_id, None, None, None)
    sealed = certificate.certificate.sealed(await vault.to_seal(tx, key), _district(tx), subscription_id)
    return await store.replace_certificate(tx, subscription_id, sealed, certificate.subject, certificate.expires_at)


async def sign_with(
    tx: Transaction, subscription_id: UUID, ring: Keyring, *, before: Keyring, key: Keys
) -> tuple[Subscription, str | None]:
    """Changes which signatures are made; a secret that was made for it, shown this once.

    ``ring``: ``before.of`` the wanted signatures. Raises HubError(NOT_FOUND), HubError(CONFLICT) when the keys are not
    those of ``before`` any more.
    """
    if await _ring(tx, subscription_id, key) != before:
        raise HubError(Code.CONFLICT, "The keys were changed meanwhile. Ask again.")
    changed = await store.replace_keys(tx, subscription_id, await _stored(tx, ring, key, subscription_id))
    return changed, ring.secret if before.secret is None else None


async def rotate(
    tx: Transaction, subscription_id: UUID, *, key: Keys, now: datetime, overlap: timedelta = OVERLAP
) -> tuple[Subscription, str | None]:
    """New keys, the secret among them shown this once; those before sign beside them for ``overlap`` (none to 7 days).

    Raises HubError(NOT_FOUND), HubError(INVALID_REQUEST) for an overlap out of bounds.
    """
    if not timedelta() <= overlap <= LONGEST_OVERLAP:
        raise HubError(Code.INVALID_REQUEST, "The old secret may stay valid for 0 seconds to 7 days.")
    ring = (await _ring(tx, subscription_id, key)).rotated(now, overlap)
    row = await store.replace_keys(tx, subscription_id, await _stored(tx, ring, key, subscription_id))
    await happened(tx, subscription_id, "rotated", error="rotated" if overlap else "rotated_at_once")
    return row, ring.secret


async def pause(tx: Transaction, subscription_id: UUID) -> Subscription:
    """Stops deliveries; the position stands still and nothing is lost.

    Raises HubError(NOT_FOUND), HubError(CONFLICT) when its receiver is unproven.
    """
    before = await store.get(tx, subscription_id, lock=True)
    _proven(before)
    row = await store.pause(tx, subscription_id)
    if before.state == "active":
        await happened(tx, subscription_id, "paused", error="asked")
    return row


async def resume(tx: Transaction, subscription_id: UUID) -> Subscription:
    """Goes on where a paused or disabled subscription stopped. Ring the doorbell ("deliver") after commit.

    Where a resync is required, the receiver reads everything again, and it goes on from the head.
    Raises HubError(NOT_FOUND), HubError(CONFLICT) when its receiver is unproven or the grant was revoked.
    """
    subscription = await _living(tx, subscription_id)
    _proven(subscription)
    if subscription.state == "resync_required":
        head = await feed.head(tx, subscription.grant_id)
        assert head is not None
        await parked.remove(tx, subscription_id)
        await store.move(tx, subscription_id, head.steps)
    return await store.resume(tx, subscription_id)


async def _living(tx: Transaction, subscription_id: UUID) -> Subscription:
    subscription = await store.get(tx, subscription_id, lock=True)
    head = await feed.head(tx, subscription.grant_id)
    if head is None or head.grant_state == "revoked":
        raise HubError(Code.CONFLICT, "The grant of this subscription was revoked.")
    return subscription


def _proven(subscription: Subscription) -> None:
    if subscription.state == "unproven":
        raise HubError(
            Code.CONFLICT, "The receiver has not shown yet that it is yours: POST …/prove challenges it again."
        )


async def delete(tx: Transaction, subscription_id: UUID) -> None:
    """Ends a subscription and removes its log. Raises HubError(NOT_FOUND)."""
    await store.delete(tx, subscription_id)


async def lag(tx: Transaction, subscription: Subscription) -> Lag:
    """How far a subscription is behind its grant's feed."""
    head = await feed.head(tx, subscription.grant_id)
    since = await feed.waiting_since(tx, subscription.grant_id, after=subscription.position)
    return Lag(head.steps if head else subscription.position, subscription.position, since)


async def _ring(tx: Transaction, subscription_id: UUID, key: Keys) -> Keyring:
    """The signing keys; their row is locked until the transaction ends."""
    sealed = await store.sealed_secret(tx, subscription_id)
    await vault.to_open(tx, key, sealed)
    return Keyring.unsealed(key, sealed, _district(tx), subscription_id)


async def _stored(tx: Transaction, ring: Keyring, key: Keys, subscription_id: UUID) -> store.Keys:
    sealer = await vault.to_seal(tx, key)
    shown = [public.as_json() for public in ring.public_keys]
    return store.Keys(ring.sealed(sealer, _district(tx), subscription_id), list(ring.schemes), shown)


def _district(tx: Transaction) -> UUID:
    if tx.district_id is None:
        raise HubError(Code.DISTRICT_MISMATCH, "Subscriptions belong to a district: open its transaction.")
    return tx.district_id
