"""One round for one target: queue and choose in a transaction, send outside of any, note the outcomes in another.

Between the two transactions the process may end at any point: what was sent but not noted is sent again by whoever
gets the lease next, and PUT and DELETE by ``sourcedId`` change nothing the second time.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

import structlog

from hub import vault
from hub.crashpoints import crash_point
from hub.crypto import Keys
from hub.passback import answers, objects, schedule
from hub.passback.answers import Means, Outcome
from hub.passback.login import login, unsealed
from hub.passback.objects import Held, Parcel
from hub.passback.proofs import Credential, LoginError, Proofs
from hub.store import districts, grade_deliveries, grade_targets
from hub.store.database import Database, Transaction
from hub.store.grade_deliveries import Due, Note
from hub.store.grade_targets import Claim, GradeTarget
from hub.webhooks.egress import Answer, Egress
from transforms.catalogue import CATALOGUE

log = structlog.get_logger()

#: The most objects of one round.
MOST_OBJECTS = 64
#: How soon a paused target or a suspended district is looked at again.
SUSPENDED_SECONDS = 15.0
#: A lease in time-outs: one for starting requests, three for the last one (login, request, and again), two to spare.
LEASE_TIMEOUTS = 6
_UNAUTHORIZED, _SERVER_ERROR = 401, 500
#: A new target that refuses everything is believed after so many rounds: before, its address is what is wrong.
ROUNDS_OF_DOUBT = 3
#: Objects over which a target failed let others go first when it is asked again.
BEHIND_SECONDS = 30.0
_CHANCE = random.SystemRandom()


@dataclass(frozen=True, slots=True)
class Porter:
    """What pass-back needs. ``key``: hub.crypto.load_key; ``timeout``: seconds for an exchange, as ``egress`` has it.

    ``concurrency``: requests to one target at a time.
    """

    db: Database
    egress: Egress
    proofs: Proofs
    key: Keys
    timeout: float
    concurrency: int = 4

    @property
    def lease_seconds(self) -> float:
        """How long one worker holds a target."""
        return self.timeout * LEASE_TIMEOUTS

    @property
    def patience(self) -> float:
        """How long to wait for a database connection, in seconds."""
        return self.lease_seconds / 6


@dataclass(frozen=True, slots=True)
class _Ready:
    """What a round sends; ``looked_to``: nothing was left to queue up to this position of the district."""

    target: GradeTarget
    parcels: list[Parcel]
    looked_to: int

    def together(self, outcomes: Sequence[tuple[Due, Outcome]]) -> Outcome | None:
        """The trouble of the target itself, if the outcomes show one."""
        tried = self.target.last_success is not None or self.target.attempt >= ROUNDS_OF_DOUBT
        return answers.together([one for _, one in outcomes], tried=tried)


async def turn(porter: Porter, claim: Claim) -> bool:
    """Makes one round for a claimed target; whether the caller still holds the lease and should go on.

    Raises HubError(UNAVAILABLE) when the database is away: the lease then ends by itself.
    """
    async with porter.db.district(claim.district_id, wait_seconds=porter.patience) as tx:
        ready = await _prepare(porter, tx, claim)
    if not isinstance(ready, _Ready):
        return ready
    crash_point("passback.before_send")
    outcomes = await _send(porter, claim.district_id, ready)
    crash_point("passback.after_send")
    async with porter.db.district(claim.district_id, wait_seconds=porter.patience) as tx:
        going_on = await _settle(porter, tx, claim, ready, outcomes)
    crash_point("passback.after_settle")
    return going_on


async def _prepare(porter: Porter, tx: Transaction, claim: Claim) -> _Ready | bool:
    """What is to be sent, after the last look at whether it may be; else whether to come back at once."""
    target = await grade_targets.hold(tx, claim, lease_seconds=porter.lease_seconds)
    if target is None:
        return False
    district = await districts.get(tx, claim.district_id)
    if target.state != "active" or district.state != "active":
        await grade_targets.release(tx, claim, wait_seconds=SUSPENDED_SECONDS)
        return False
    if await grade_deliveries.queue(tx, claim, target):
        return True  # only what has all been queued is in order
    due = await grade_deliveries.due(tx, claim, MOST_OBJECTS)
    if not due:
        await grade_targets.release(tx, claim, looked_to=district.position)
        return False
    await vault.to_open(tx, porter.key, target.secret)
    parcels = await _parcels(tx, claim, target, due)
    return _Ready(target, parcels, district.position) if parcels else True


async def _parcels(tx: Transaction, claim: Claim, target: GradeTarget, due: Sequence[Due]) -> list[Parcel]:
    """The requests for objects of one stage. What cannot be sent is noted.

    What is neither deleted nor active as its row says has a newer write that was committed a moment ago: it is left
    to the next round, which queues that one.
    """
    entity = CATALOGUE[due[0].entity]
    found = await grade_deliveries.documents(tx, entity, [one.rid for one in due])
    active = {rid for rid, document in found.items() if document.active}
    parcels = [
        Parcel(one, objects.url(target, one), None)
        for one in due
        if one.operation == "delete" and one.rid not in active
    ]
    puts = [one for one in due if one.operation == "put" and one.rid in active]
    records = [(one, objects.record(target, one, found[one.rid])) for one in puts]
    wanted: dict[str, set[str]] = {}
    for _, made in records:
        for field, sourced_id in objects.references(target, entity, made or {}):
            wanted.setdefault(field.target or "", set()).add(sourced_id)
    known = await grade_deliveries.known(tx, claim, target.source_id, wanted)
    results = [objects.addressed(target, one, made, known) for one, made in records]
    await _hold_back(tx, claim, [one for one in results if isinstance(one, Held)])
    return parcels + [one for one in results if isinstance(one, Parcel)]


async def _hold_back(tx: Transaction, claim: Claim, held: Sequence[Held]) -> None:
    """Notes objects that cannot be sent, and queues those that have to go first."""
    if first := {one.wanted for one in held if one.wanted is not None}:
        await grade_deliveries.pull_in(tx, claim, first)
    for state, blocked in (("blocked", True), ("refused", False)):
        notes = [(one.due, one.note) for one in held if (one.note.blocked_by is not None) is blocked]
        if notes:
            await grade_deliveries.trouble(tx, claim, state, notes)


async def _send(porter: Porter, district_id: UUID, ready: _Ready) -> list[tuple[Due, Outcome]]:
    """Sends requests, some at a time, until all are answered, the target is down or the time is over."""
    target = ready.target
    secret = unsealed(porter.key, target.secret, district_id, target.target_id)
    credential = Credential(target.target_id, login(target.login), secret)
    queue = iter(ready.parcels)
    outcomes: list[tuple[Due, Outcome]] = []
    ends = time.monotonic() + porter.timeout

    async def lane() -> None:
        for parcel in queue:
            one = await _one(porter, credential, parcel)
            outcomes.append((parcel.due, one))
            if time.monotonic() > ends or ready.together(outcomes) is not None:
                return

    async with asyncio.TaskGroup() as lanes:
        for _ in range(min(porter.concurrency, len(ready.parcels))):
            lanes.create_task(lane())
    return outcomes


async def _one(porter: Porter, credential: Credential, parcel: Parcel) -> Outcome:
    """One object; with a new token where the old one is not taken any more."""
    method = "DELETE" if parcel.body is None else "PUT"
    headers = {"accept": "application/json"} | ({} if parcel.body is None else {"content-type": "application/json"})
    answer: Answer | None = None
    try:
        for _ in range(2):
            proof = await porter.proofs.header(credential, method, parcel.url)
            answer = await porter.egress.send(method, parcel.url, parcel.body, headers | {"authorization": proof})
            if answer.status != _UNAUTHORIZED:
                break
            porter.proofs.forget(credential, proof)
    except LoginError as error:
        return Outcome(Means.DOWN, error.down, error.status, retry_after=error.retry_after)
    assert answer is not None
    return answers.outcome(method, answer)


async def _settle(
    porter: Porter, tx: Transaction, claim: Claim, ready: _Ready, outcomes: Sequence[tuple[Due, Outcome]]
) -> bool:
    """Writes down what came of a round; whether to go on. Without the lease nothing is written."""
    if await grade_targets.hold(tx, claim, lease_seconds=porter.lease_seconds) is None:
        return False
    down = ready.together(outcomes)
    done = [due for due, one in outcomes if one.means is Means.DONE]
    if done:
        await grade_deliveries.deliver(tx, claim, done)
        await grade_targets.succeed(tx, claim)
    if down is None or done:
        await _note(tx, claim, outcomes)
    if down is None:
        return True
    failures = 1 if done else ready.target.attempt + 1
    log.warning("grade target waits", target=str(claim.target_id), code=str(down.code), status=down.status)
    wait = schedule.target_wait(failures, chance=_CHANCE.random(), retry_after=down.retry_after)
    await grade_targets.fail(tx, claim, wait_seconds=wait, error=down.code, status=down.status)
    if not done:
        behind = [pair for pair in outcomes if (pair[1].status or 0) >= _SERVER_ERROR]
        await grade_deliveries.again(tx, claim, [(due, _as_note(one), wait + BEHIND_SECONDS) for due, one in behind])
    await grade_targets.release(tx, claim, looked_to=ready.looked_to)
    return False


async def _note(tx: Transaction, claim: Claim, outcomes: Sequence[tuple[Due, Outcome]]) -> None:
    """Notes what was refused, and what failed by itself."""
    refused = [(due, one) for due, one in outcomes if one.means is Means.REFUSED]
    again = [(due, one) for due, one in outcomes if one.means is Means.AGAIN]
    if deletes := [(due, one) for due, one in refused if due.operation == "delete"]:
        # What still has to go before, or went beside it just now, may be what uses it.
        earlier = await grade_deliveries.earlier_waits(tx, claim, deletes[0][0])
        early = [pair for pair in deletes if earlier or pair[0].attempt == 0]
        again += early
        refused = [pair for pair in refused if pair not in early]
    if refused:
        await grade_deliveries.trouble(tx, claim, "refused", [(due, _as_note(one)) for due, one in refused])
    if again:
        waits = [
            (due, _as_note(one), schedule.object_wait(due.attempt + 1, chance=_CHANCE.random())) for due, one in again
        ]
        await grade_deliveries.again(tx, claim, waits)


def _as_note(one: Outcome) -> Note:
    return Note(one.code, status=one.status, minor=one.minor, description=one.description)
