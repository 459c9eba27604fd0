"""Attempts, one batch after the other: look and freeze in a transaction, send outside of any, note the outcome.

The transaction that notes the outcome of a batch freezes the next one. Between two transactions the process may end at
any point. Before the first, nothing has happened; after it, the batch is frozen and is sent (again) with the same id
and the same bytes by whoever gets the lease next.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field

from hub.crashpoints import crash_point
from hub.metrics.known import DELIVERIES, DELIVERY_SECONDS
from hub.store import claims
from hub.store.claims import Claim, Held
from hub.store.relays import Step
from hub.webhooks import sign
from hub.webhooks.certificates import ClientCertificate
from hub.webhooks.courier import Courier
from hub.webhooks.egress import Answer
from hub.webhooks.keyring import Keyring
from hub.webhooks.prepare import Ready, another, more, prepare
from hub.webhooks.request import Patience
from hub.webhooks.settle import Again, Outcome, asks_for_proof, errs_now_and_then, may_be_given_up, settle, tried_of

__all__ = ["Courier", "deliver"]


async def deliver(courier: Courier, claim: Claim, *, most: int = 1) -> bool:
    """Sends the next batches of a claimed subscription, ``most`` of them; whether the caller still holds the lease.

    Raises HubError(UNAVAILABLE) when the database is away: the lease then ends by itself.
    """
    with courier.relay.delivering():
        return await _deliver(courier, claim, most)


async def _deliver(courier: Courier, claim: Claim, most: int) -> bool:
    async with courier.db.district(claim.district_id, wait_seconds=courier.patience) as tx:
        held = await claims.hold(tx, claim, lease_seconds=courier.lease_seconds)
        ready = await prepare(courier, tx, claim, held, most=most) if held is not None else None
    sender = _Sender(courier, claim)
    for left in range(most - 1, -1, -1):
        if ready is None:
            return False
        outcome = await _attempt(sender, ready, again=left > 0)
        following = await _following(courier, claim, ready, outcome, left) if left else None
        came: Held | Again | None = following.held if following is not None else None
        if following is None:
            async with courier.db.district(claim.district_id, wait_seconds=courier.patience) as tx:
                came = await settle(courier, tx, claim, ready, outcome, at_once=left > 0 and ready.attempts == 0)
                if isinstance(came, Held) and left:
                    following = await prepare(courier, tx, claim, came, most=left, before=ready)
        crash_point("deliver.after_acknowledge")
        if came is None:
            return False
        if isinstance(came, Again):
            following = await _once_more(courier, claim, ready, outcome, came, left)
        ready = following
    return True


async def _once_more(
    courier: Courier, claim: Claim, ready: Ready, outcome: Outcome, again: Again, most: int
) -> Ready | None:  # fmt: skip
    """The same batch a moment later, if it may still be sent; the place of its subscription is kept meanwhile."""
    await asyncio.sleep(again.seconds)
    before = ready if outcome.answer.status is not None else ready._replace(unanswered=True)
    async with courier.db.district(claim.district_id, wait_seconds=courier.patience) as tx:
        held = await claims.hold(tx, claim, lease_seconds=courier.lease_seconds)
        return await prepare(courier, tx, claim, held, most=most, before=before) if held is not None else None


async def _following(courier: Courier, claim: Claim, ready: Ready, outcome: Outcome, most: int) -> Ready | None:
    """Where a batch was taken and another one follows in its window: notes the one and freezes the other.

    None, and nothing is written, where there is more to it than that.
    """
    held, batch = ready.held, ready.batch
    taken = outcome.answer.failure is None and batch.kind == "feed" and held.failing_told is None
    known = ready.attempts is not None and not held.attempt
    if not taken or not known or held.rate_per_minute is not None or held.batch_changes is not None:
        return None
    if not ready.following or time.monotonic() > ready.fresh_until:
        ready = await more(courier, claim, ready, most=most)
    if not ready.following:
        return None
    following, *rest = ready.following
    step = Step.of(claim, held, batch, tried_of(outcome.answer), following, attempt=(ready.attempts or 0) + 1)
    version = await courier.relay.take(step)
    if version is None:
        return None
    held = held.relayed(following.window_to, batch.inside, following.batch_id, version)
    return Ready(following, held, tuple(rest), ready.fresh_until)


async def _attempt(sender: _Sender, ready: Ready, *, again: bool) -> Outcome:
    """Sends a batch; where it is refused again, another change shows whether the receiver takes any.

    ``again``: whether it may be sent once more under this lease.
    """
    courier, claim = sender.courier, sender.claim
    crash_point("deliver.before_send")
    hasty = again and may_be_given_up(ready)
    patience = courier.lively.patience(ready.held.url, courier.egress.timeout) if hasty else None
    answer = await sender.send(ready.held, ready.batch.batch_id, ready.batch.body, patience)
    crash_point("deliver.after_send")
    if answer.failure is None:
        return Outcome(answer)
    if again and ready.attempts and ready.held.isolating is None and errs_now_and_then(courier, ready, answer):
        return Outcome(answer, again=True)
    if not asks_for_proof(ready, answer):
        return Outcome(answer)
    async with courier.db.district(claim.district_id, wait_seconds=courier.patience) as tx:
        held = await claims.hold(tx, claim, lease_seconds=courier.lease_seconds)  # a second request takes time as well
        other = await another(courier, tx, claim, ready) if held is not None else None
    if other is None:
        return Outcome(answer)
    return Outcome(answer, (await sender.send(ready.held, *other)).failure is None)


@dataclass(slots=True)
class _Sender:
    """Signs and posts for one subscription. Its keys are opened once for as long as its lease is held."""

    courier: Courier
    claim: Claim
    _sealed: bytes = b""
    _ring: Keyring = field(default_factory=lambda: Keyring(()))

    async def send(self, held: Held, message_id: str, body: bytes, patience: Patience | None = None) -> Answer:
        courier = self.courier
        now = courier.clock.now()
        headers = sign.headers(self._keys(held.secret).live(now), message_id, int(now.timestamp()), body)
        certificate = self._certificate(held)
        answer = await courier.egress.post(held.url, body, headers, certificate=certificate, patience=patience)
        outcome = "delivered"
        if answer.failure is None:
            courier.lively.took(held.url, answer.milliseconds)
        else:
            outcome = answer.failure.value
        DELIVERIES.count(outcome)
        DELIVERY_SECONDS.took(answer.milliseconds / 1000, outcome)
        return answer

    def _keys(self, sealed: bytes) -> Keyring:
        if sealed != self._sealed:  # the first time, and once they were rotated
            claim = self.claim
            self._ring = Keyring.unsealed(self.courier.key, sealed, claim.district_id, claim.subscription_id)
            self._sealed = sealed
        return self._ring

    def _certificate(self, held: Held) -> ClientCertificate | None:
        if held.certificate is None:
            return None
        claim = self.claim
        return ClientCertificate.unsealed(self.courier.key, held.certificate, claim.district_id, claim.subscription_id)
