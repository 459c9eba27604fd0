"""One attempt of one batch: look and freeze in a transaction, send outside of any, note the outcome in another.

Between the two transactions the process may end at any point. Before the first, nothing has happened; after it, the
batch is frozen and is sent (again) with the same id and the same bytes by whoever gets the lease next.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from http import HTTPStatus

from hub import ids, vault
from hub.changes import reading
from hub.changes.message import Cut, Envelope, cut
from hub.changes.reading import Stretch, Teller
from hub.changes.window import Place
from hub.clock import Clock
from hub.crashpoints import crash_point
from hub.crypto import Keys
from hub.identifiers import Identifiers
from hub.metrics.known import DELIVERIES, DELIVERY_SECONDS
from hub.store import attempts, deliveries, feed, grants
from hub.store.attempts import Tried
from hub.store.database import Database, Transaction
from hub.store.deliveries import Batch, Claim, Held
from hub.webhooks import events, schedule, sign
from hub.webhooks.certificates import ClientCertificate
from hub.webhooks.egress import Answer, Egress
from hub.webhooks.failure import Failure
from hub.webhooks.keyring import Keyring

#: Limits of one batch. Standard Webhooks advises to stay under 20 kB.
MOST_CHANGES = 500
MOST_BYTES = 20_000
#: How soon a suspended grant is looked at again.
SUSPENDED_SECONDS = 15.0
_CHANCE = random.SystemRandom()


@dataclass(frozen=True, slots=True)
class Courier:
    """What a delivery needs. ``key``: hub.crypto.load_key; ``base_url``: the hub's public address."""

    db: Database
    egress: Egress
    clock: Clock
    key: Keys
    base_url: str
    lease_seconds: float

    @property
    def patience(self) -> float:
        """How long to wait for a database connection, in seconds."""
        return self.lease_seconds / 3


@dataclass(frozen=True, slots=True)
class _Ready:
    """A batch that may be sent now."""

    batch: Batch
    held: Held


async def deliver(courier: Courier, claim: Claim) -> bool:
    """Sends the next batch of a claimed subscription; whether the caller still holds the lease and should go on.

    Raises HubError(UNAVAILABLE) when the database is away: the lease then ends by itself.
    """
    async with courier.db.district(claim.district_id, wait_seconds=courier.patience) as tx:
        ready = await _prepare(courier, tx, claim)
    if ready is None:
        return False
    crash_point("deliver.before_send")
    ring = Keyring.unsealed(courier.key, ready.held.secret, claim.district_id, claim.subscription_id)
    now = courier.clock.now()
    body = ready.batch.body
    headers = sign.headers(ring.live(now), ready.batch.batch_id, int(now.timestamp()), body)
    certificate = _certificate(courier, claim, ready.held)
    answer = await courier.egress.post(ready.held.url, body, headers, certificate=certificate)
    crash_point("deliver.after_send")
    outcome = answer.failure.value if answer.failure is not None else "delivered"
    DELIVERIES.count(outcome)
    DELIVERY_SECONDS.took(answer.milliseconds / 1000, outcome)
    async with courier.db.district(claim.district_id, wait_seconds=courier.patience) as tx:
        going_on = await _settle(tx, claim, ready, answer)
    crash_point("deliver.after_acknowledge")
    return going_on


def _certificate(courier: Courier, claim: Claim, held: Held) -> ClientCertificate | None:
    if held.certificate is None:
        return None
    return ClientCertificate.unsealed(courier.key, held.certificate, claim.district_id, claim.subscription_id)


async def _prepare(courier: Courier, tx: Transaction, claim: Claim) -> _Ready | None:
    """The batch to send, after the last look at whether it may be sent at all.

    Retries pass here too, so that a grant which was revoked in the meantime sends nothing more.
    """
    held = await deliveries.hold(tx, claim, lease_seconds=courier.lease_seconds)
    if held is None:
        return None
    head = await feed.head(tx, held.grant_id)
    if head is None or head.grant_state == "revoked":
        await deliveries.drop(tx, claim)
        await events.revoked(tx, claim.subscription_id)
        return None
    if held.state != "active" or head.grant_state != "active" or head.district_state != "active":
        await deliveries.release(tx, claim, wait_seconds=SUSPENDED_SECONDS)
        return None
    await vault.to_open(tx, courier.key, held.secret, held.certificate)
    if held.batch_id is not None:
        batch: Batch | None = await deliveries.frozen(tx, claim, held.batch_id)
    else:
        batch = await _freeze(courier, tx, claim, held, head)
    if batch is None:
        await deliveries.release(tx, claim, looked_to=head.district_position)
        return None
    return _Ready(batch, held)


async def _freeze(courier: Courier, tx: Transaction, claim: Claim, held: Held, head: feed.Head) -> Batch | None:
    """Cuts the next batch and writes it down; None when nothing waits."""
    to = held.window_to or head.steps
    if to <= held.position:
        return None
    stretch = await reading.stretch(tx, held.grant_id, after=held.position, to=to)
    place = Place.from_json(held.inside)
    if place is None and not stretch.window:
        return None  # what came and went between two looks was never seen
    assert stretch.at is not None
    envelope = Envelope(claim.subscription_id, claim.district_id, held.grant_id, held.position, to, stretch.at)
    grant = await grants.get(tx, held.grant_id)
    await vault.to_open(tx, courier.key, grant.id_key)
    identifiers = Identifiers.of(grant, claim.district_id, courier.key)
    teller = Teller(claim.district_id, held.grant_id, identifiers, courier.base_url)
    made = await _cut(tx, teller, envelope, stretch, place)
    inside = made.place.as_json() if made.place else None
    batch = Batch(f"msg_{ids.new_id().hex}", to, inside, made.changes, made.body)
    # An open window was frozen when the feed was shorter: what has come since lies behind it and is looked at later.
    looked_to = head.district_position if held.window_to is None else 0
    await deliveries.freeze(tx, claim, batch, looked_to=looked_to)
    return batch


async def _cut(tx: Transaction, teller: Teller, envelope: Envelope, stretch: Stretch, place: Place | None) -> Cut:
    """The next body of a window; goes on over stretches whose records were all purged."""
    while True:
        changes = stretch.window.following(place, MOST_CHANGES + 1)
        through = len(changes) <= MOST_CHANGES
        items = await teller.items(tx, changes[:MOST_CHANGES])
        made = cut(envelope, items, most_bytes=MOST_BYTES, through=through)
        if made.changes or made.place is None:
            return made
        place = made.place


async def _settle(tx: Transaction, claim: Claim, ready: _Ready, answer: Answer) -> bool:
    """Writes down what came of an attempt; whether to go on with the next batch."""
    tried = tried_of(answer)
    if answer.failure is None:
        held = await deliveries.acknowledge(tx, claim, ready.batch, tried)
        if held and ready.held.failing_told is not None:
            await events.recovered(tx, claim.subscription_id)
        return held
    if answer.failure is Failure.PROXY:
        wait = schedule.proxy_wait(_CHANCE.random())
        await deliveries.excuse(tx, claim, ready.batch, tried, wait_seconds=wait)
        return False
    failing = await deliveries.failing(tx, claim, ready.batch)
    state = "active"
    if answer.status == HTTPStatus.GONE:
        state = "disabled"
    elif schedule.worn_out(failing.failing, failing.apart):
        state = "paused"
    wait = schedule.wait(
        ready.held.attempt + 1,
        chance=_CHANCE.random(),
        retry_after=answer.retry_after,
    )
    error = answer.failure.value
    if await deliveries.fail(tx, claim, ready.batch, tried, state=state, wait_seconds=wait, error=error):
        await events.failed(tx, claim.subscription_id, error, state=state)
    return False


def tried_of(answer: Answer) -> Tried:
    """What the log keeps of an answer."""
    return Tried(
        answer.status, answer.milliseconds, answer.remote_ip, attempts.printable(answer.body), answer.retry_after
    )
