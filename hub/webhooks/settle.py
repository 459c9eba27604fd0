"""After an attempt: what came of it is written down, and what follows from that."""

from __future__ import annotations

import random
from dataclasses import dataclass
from http import HTTPStatus

from hub.changes.window import Change
from hub.store import attempts, claims, deliveries, parked
from hub.store.attempts import Tried
from hub.store.claims import Claim, Held
from hub.store.database import Transaction
from hub.store.deliveries import Failed
from hub.webhooks import events, isolation, portions, schedule
from hub.webhooks.courier import Courier
from hub.webhooks.egress import Answer
from hub.webhooks.events import happened
from hub.webhooks.failure import Failure
from hub.webhooks.isolation import Verdict
from hub.webhooks.prepare import Ready, terms_of

_CHANCE = random.SystemRandom()
#: Ends of a request that are over a moment later; a certificate or a name is not.
_PASSING = frozenset({Failure.CONNECT, Failure.TIMEOUT_CONNECT, Failure.TIMEOUT_READ, Failure.PROTOCOL})


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of an attempt. ``proof``: whether the receiver took another change right after it had refused.

    ``again``: whether the batch is sent again at once, whatever else may be behind it; that is paid for.
    """

    answer: Answer
    proof: bool = False
    again: bool = False


@dataclass(frozen=True, slots=True)
class Again:
    """The same batch is to be sent again under the same lease, in so many seconds."""

    seconds: float


def asks_for_proof(ready: Ready, answer: Answer) -> bool:
    """Whether the answer leaves it open if the receiver works and refuses what was sent, or works no more."""
    if ready.batch.kind != "feed" or ready.batch.changes == 0 or _too_large(ready, answer):
        return False
    return isolation.refuses(answer.status) and isolation.asks(ready.held.refused, ready.held.isolating)


async def settle(
    courier: Courier, tx: Transaction, claim: Claim, ready: Ready, outcome: Outcome, *, at_once: bool = False
) -> Held | Again | None:
    """Writes down what came of an attempt; the subscription as it is then, None without the lease.

    ``at_once``: whether the batch may be sent again at once as far as the lease goes, for the first time.
    """
    if outcome.answer.failure is None:
        return await _taken(courier, tx, claim, ready, outcome.answer)
    if outcome.answer.failure is Failure.PROXY:
        wait = schedule.proxy_wait(_CHANCE.random())
        await deliveries.excuse(tx, claim, ready.batch, tried_of(outcome.answer), wait_seconds=wait)
        return None
    if ready.batch.kind == "parked" and isolation.refuses(outcome.answer.status):
        await _parked_again(tx, claim, ready, outcome.answer)
        return None
    verdict = _verdict(ready, outcome)
    if verdict.park:
        return await _park(courier, tx, claim, ready, outcome.answer)
    if outcome.again or (at_once and not verdict.halve and errs_now_and_then(courier, ready, outcome.answer)):
        return await _again(courier, tx, claim, ready, outcome.answer, verdict)
    await _failed(courier, tx, claim, ready, outcome, verdict)
    return None


def errs_now_and_then(courier: Courier, ready: Ready, answer: Answer) -> bool:
    """Whether it is a receiver that takes most of what it is sent, and may take this as well a moment later.

    Where it is, that is paid for: hub.webhooks.lively.
    """
    held = ready.held
    if answer.failure is Failure.TIMEOUT_EARLY:
        return True  # given up for that, and paid for: see may_be_given_up
    passes = answer.failure in _PASSING or (answer.status or 0) >= HTTPStatus.INTERNAL_SERVER_ERROR
    if ready.attempts is None or ready.attempts >= (1 if answer.status is None else len(schedule.AT_ONCE)):
        return False
    if not _plain(ready) or not passes or answer.retry_after is not None or _size(ready, answer)[1]:
        return False
    return schedule.lively(courier.lively.since(held.url)) and courier.lively.may_at_once(held.url)


def may_be_given_up(ready: Ready) -> bool:
    """Whether a request may end before its time-out, to be made once more at once: the first one without an answer.

    Not where the receiver ran out of time before: its batches had to get smaller, and take what they take.
    """
    again = ready.attempts is not None and ready.attempts < len(schedule.AT_ONCE)
    held = ready.held
    return again and not ready.unanswered and _plain(ready) and held.batch_changes is None and held.isolating is None


def _plain(ready: Ready) -> bool:
    return ready.batch.kind == "feed" and ready.held.attempt == 0 and not terms_of(ready.held).spacing


async def _again(
    courier: Courier, tx: Transaction, claim: Claim, ready: Ready, answer: Answer, verdict: Verdict
) -> Again | None:
    assert answer.failure is not None
    # That one answer did not come says nothing of how long the batch is: it is halved where the second does not either.
    # Requests that follow each other at once are one refusal: a lock that the receiver waits for lasts as long.
    noted = await deliveries.ask_again(
        tx, claim, ready.batch, tried_of(answer), lease_seconds=courier.lease_seconds, error=answer.failure.value,
        refused=ready.held.refused if ready.attempts else verdict.refused, batch_changes=ready.held.batch_changes,
    )  # fmt: skip
    return Again(schedule.at_once(ready.attempts or 0, _CHANCE.random())) if noted else None


async def _taken(courier: Courier, tx: Transaction, claim: Claim, ready: Ready, answer: Answer) -> Held | None:
    batch, held = ready.batch, ready.held
    terms = terms_of(held)
    held_now = await deliveries.acknowledge(
        tx, claim, batch, tried_of(answer), lease_seconds=courier.lease_seconds, isolating=isolation.after_taken(
            held.isolating, batch.changes) if batch.kind == "feed" else held.isolating,
        batch_changes=portions.grown(
            held.batch_changes, terms.max_changes, milliseconds=answer.milliseconds, timeout=courier.egress.timeout,
            full=batch.inside is not None and batch.changes < (held.batch_changes or 0),
        ),
    )  # fmt: skip
    if held_now is None:
        return None
    if held.failing_told is not None:
        await events.recovered(tx, claim.subscription_id, since=held.failing_told)
    if batch.kind == "parked":
        assert batch.parked_id is not None
        await parked.forget(tx, claim.subscription_id, batch.parked_id)
    elif held_now.has_parked and (gone := await parked.superseded(tx, claim.subscription_id, batch.batch_id)):
        await happened(tx, claim.subscription_id, "superseded", changes=gone, batch=batch.batch_id)
    if terms.spacing:
        await claims.release(tx, claim, wait_seconds=max(0.0, terms.spacing - answer.milliseconds / 1000))
        return None
    return held_now


async def _failed(
    courier: Courier, tx: Transaction, claim: Claim, ready: Ready, outcome: Outcome, verdict: Verdict
) -> None:
    held, answer = ready.held, outcome.answer
    assert answer.failure is not None
    failing = await deliveries.failing(tx, claim, ready.batch)
    state = "active"
    if answer.status == HTTPStatus.GONE:
        state = "disabled"
    elif schedule.worn_out(failing.failing, failing.apart):
        state = "paused"
    # A receiver that works has its schedule from the beginning.
    failures, used = (1, 0) if outcome.proof else (held.attempt + 1, held.quick)
    taken = (0.0 if outcome.proof else failing.since_taken, courier.lively.since(held.url))
    known = min((seconds for seconds in taken if seconds is not None), default=None)
    soon = schedule.quick(used, known) if answer.retry_after is None else None
    if soon is not None:
        wait, used = soon, used + 1
    else:
        wait = schedule.wait(max(1, failures - used), chance=_CHANCE.random(), retry_after=answer.retry_after)
    size, smaller = _size(ready, answer)
    failed = Failed(
        wait_seconds=max(wait, terms_of(held).spacing), error=answer.failure.value, state=state, attempt=failures,
        refused=verdict.refused, isolating=verdict.isolating, batch_changes=size, dissolve=verdict.halve or smaller,
        quick=used, proof=outcome.proof,
    )  # fmt: skip
    if await deliveries.fail(tx, claim, ready.batch, failed, tried_of(answer)):
        await events.failed(tx, claim.subscription_id, failed.error, state=state)


def _verdict(ready: Ready, outcome: Outcome) -> Verdict:
    held, batch = ready.held, ready.batch
    if batch.kind != "feed" or not isolation.refuses(outcome.answer.status) or _too_large(ready, outcome.answer):
        return Verdict(0, isolating=held.isolating)
    return isolation.verdict(
        refused=held.refused, isolating=held.isolating, changes=batch.changes, sole=batch.sole is not None,
        proof=outcome.proof,
    )  # fmt: skip


def _too_large(ready: Ready, answer: Answer) -> bool:
    return answer.status == HTTPStatus.REQUEST_ENTITY_TOO_LARGE and ready.batch.changes > 1


def _size(ready: Ready, answer: Answer) -> tuple[int | None, bool]:
    """How many changes a batch may hold from now on, and whether this one is cut anew for it."""
    held, batch = ready.held, ready.batch
    if batch.changes > 1 and (answer.failure is Failure.TIMEOUT_READ or _too_large(ready, answer)):
        # Whose batches had to get smaller before is not asked thrice when one was too long again.
        known = held.batch_changes is not None and held.attempt == 0
        often = held.attempt + 1 >= portions.MOST_TIMEOUTS
        return portions.halved(batch.changes), known or often or _too_large(ready, answer)
    return held.batch_changes, False


async def _park(courier: Courier, tx: Transaction, claim: Claim, ready: Ready, answer: Answer) -> Held | None:
    """Sets the one change of a batch aside and goes on behind it, in the window where it stood."""
    sole = ready.batch.sole
    assert sole is not None
    assert answer.failure is not None
    place = Change(sole["operation"], sole["entity"], sole["rid"], sole["version"]).place
    held = await deliveries.skip(
        tx, claim, ready.batch, place.as_json(), tried_of(answer), lease_seconds=courier.lease_seconds,
        error=answer.failure.value,
    )  # fmt: skip
    if held is None:
        return None
    await parked.park(tx, claim, sole, attempts=isolation.ENOUGH, status=answer.status, error=answer.failure.value)
    await happened(
        tx, claim.subscription_id, "parked", entity=sole["entity"], operation=sole["operation"],
        version=sole["version"], status=answer.status, error=answer.failure.value,
    )  # fmt: skip
    return held


async def _parked_again(tx: Transaction, claim: Claim, ready: Ready, answer: Answer) -> None:
    """A parked change was refused once more: it stays parked, and everything else goes on."""
    batch = ready.batch
    assert batch.parked_id is not None
    assert answer.failure is not None
    failed = Failed(
        wait_seconds=schedule.STEPS[0], quick=ready.held.quick, error=answer.failure.value, attempt=ready.held.attempt,
        isolating=ready.held.isolating, batch_changes=ready.held.batch_changes, dissolve=True,
    )  # fmt: skip
    if await deliveries.fail(tx, claim, batch, failed, tried_of(answer)):
        await parked.refused_again(
            tx, claim.subscription_id, batch.parked_id, status=answer.status, error=answer.failure.value
        )


def tried_of(answer: Answer) -> Tried:
    """What the log keeps of an answer."""
    return Tried(
        answer.status, answer.milliseconds, answer.remote_ip, attempts.printable(answer.body), answer.retry_after
    )
