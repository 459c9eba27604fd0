"""One message to one recipient: begun in a transaction, sent outside of any, its outcome noted in another."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from hub import ids, vault
from hub.clock import Clock
from hub.crashpoints import crash_point
from hub.crypto import Keys
from hub.metrics.known import NOTICES
from hub.notices.mail import Mailer
from hub.notices.message import Message, Told, compose
from hub.store import apps, districts, notices
from hub.store.database import Database, Transaction
from hub.store.notices import Claim, Held
from hub.webhooks import schedule, sign
from hub.webhooks.egress import Egress
from hub.webhooks.failure import Failure
from hub.webhooks.keyring import Keyring

_GONE = 410
_CHANCE = random.SystemRandom()


@dataclass(frozen=True, slots=True)
class Teller:
    """What telling needs. ``mailer``: None where the hub sends no mail; ``pause_seconds``: between two messages."""

    db: Database
    egress: Egress
    mailer: Mailer | None
    clock: Clock
    key: Keys
    base_url: str
    pause_seconds: float
    lease_seconds: float = 60


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of an attempt: ``error`` is None when the message arrived; ``ends``: no further one is wanted."""

    error: str | None
    retry_after: float | None = None
    ends: bool = False


class Notices:
    """Claims are recipients, a turn is one message; see hub.dispatcher.Work."""

    def __init__(self, teller: Teller) -> None:
        self._teller = teller

    async def claim(self, limit: int, token: UUID) -> Sequence[Claim]:
        """Recipients for whom something waits."""
        return await notices.claim(self._teller.db, token, limit=limit, lease_seconds=self._teller.lease_seconds)

    async def next_due(self) -> float | None:
        """Seconds until the next message."""
        return await notices.next_due(self._teller.db)

    async def turn(self, claim: Claim) -> bool:
        """Sends one message; the next one waits for its time."""
        await tell(self._teller, claim)
        return False

    async def give_back(self, claim: Claim, wait_seconds: float) -> None:
        """Returns the lease."""
        async with self._teller.db.district(claim.district_id, wait_seconds=self._teller.lease_seconds / 3) as tx:
            await notices.release(tx, claim, wait_seconds=wait_seconds)

    def name(self, claim: Claim) -> dict[str, str]:
        """The recipient."""
        return {"recipient": str(claim.recipient_id)}


async def tell(teller: Teller, claim: Claim) -> None:
    """Sends what waits for a claimed recipient. Raises HubError(UNAVAILABLE) when the database is away."""
    async with teller.db.district(claim.district_id, wait_seconds=teller.lease_seconds / 3) as tx:
        found = await _begun(teller, tx, claim)
    if found is None:
        return
    held, batch_id, message = found
    crash_point("notice.before_send")
    outcome = await _sent(teller, claim, held, batch_id, message)
    crash_point("notice.after_send")
    NOTICES.count(held.channel, "failed" if outcome.error else "delivered")
    async with teller.db.district(claim.district_id, wait_seconds=teller.lease_seconds / 3) as tx:
        if outcome.error is None:
            await notices.sent(tx, claim, batch_id, pause_seconds=teller.pause_seconds)
        elif outcome.error == Failure.PROXY:
            await notices.release(tx, claim, wait_seconds=schedule.proxy_wait(_CHANCE.random()))
        else:
            await _failed(tx, claim, held, outcome)


async def _begun(teller: Teller, tx: Transaction, claim: Claim) -> tuple[Held, str, Message] | None:
    """The message to send: the one that was begun, or a new one of all that waits; None where nothing is to be sent."""
    held = await notices.hold(tx, claim, lease_seconds=teller.lease_seconds)
    if held is None:
        return None
    if held.state != "active":
        await notices.release(tx, claim)
        return None
    await vault.to_open(tx, teller.key, held.secret)
    batch_id = held.batch_id
    if batch_id is None:
        batch_id = f"ntc_{ids.new_id().hex}"
        await notices.begin(tx, claim, batch_id)
    waiting = await notices.of_message(tx, claim, batch_id)
    if not waiting:  # their sources are gone
        await notices.sent(tx, claim, batch_id, pause_seconds=0)
        return None
    told = await _told(tx, claim, held)
    return held, batch_id, compose(waiting, batch_id=batch_id, told=told, base_url=teller.base_url)


async def _told(tx: Transaction, claim: Claim, held: Held) -> Told:
    """Whose recipient it is."""
    if held.app_id is not None:
        return Told((await apps.get(tx, held.app_id)).name, app_id=held.app_id)
    return Told((await districts.get(tx, claim.district_id)).name, district_id=claim.district_id)


async def _sent(teller: Teller, claim: Claim, held: Held, batch_id: str, message: Message) -> Outcome:
    if held.channel == "email":
        if teller.mailer is None:
            return Outcome("no_mail_server")
        return Outcome(await teller.mailer.send(held.address, message.subject, message.text, batch_id))
    assert held.secret is not None, "a webhook is made with one"
    ring = Keyring.unsealed(teller.key, held.secret, claim.district_id, claim.recipient_id, table="recipients")
    now = teller.clock.now()
    headers = sign.headers(ring.live(now), batch_id, int(now.timestamp()), message.body)
    answer = await teller.egress.post(held.address, message.body, headers)
    if answer.failure is None:
        return Outcome(None)
    error = answer.failure.value if answer.status is None else f"status_{answer.status}"
    return Outcome(error, answer.retry_after, ends=answer.status == _GONE)


async def _failed(tx: Transaction, claim: Claim, held: Held, outcome: Outcome) -> None:
    """Notes a failure: tried again on the schedule of webhooks, given up where that gives up."""
    state = "active"
    if outcome.ends or schedule.worn_out(held.failing, held.apart):
        state = "disabled"
    wait = schedule.wait(held.attempt + 1, chance=_CHANCE.random(), retry_after=outcome.retry_after)
    await notices.failed(tx, claim, error=outcome.error or "", state=state, wait_seconds=wait)
