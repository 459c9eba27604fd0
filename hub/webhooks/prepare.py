"""Before an attempt: the last look at whether anything may be sent, and the batch that is.

A batch is frozen in the transaction right before its first attempt, so a frozen batch counts as attempted: whatever is
edited from then on, it keeps its id and its bytes.
"""

from __future__ import annotations

import random
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, NamedTuple
from uuid import UUID

from hub import ids, vault
from hub.behaviour import Behaviour
from hub.changes import message
from hub.changes.message import Cut, Envelope, Item
from hub.changes.reading import Stretch, Teller
from hub.changes.records import Records
from hub.changes.window import Change, Place, Window
from hub.objects.bases import PATHS, district_root
from hub.store import apps, claims, deliveries, parked
from hub.store.claims import Claim, Held
from hub.store.database import Transaction
from hub.store.deliveries import Batch
from hub.store.gate import ClosedError
from hub.store.parked import Parked
from hub.webhooks import isolation
from hub.webhooks.courier import Courier
from hub.webhooks.events import happened
from hub.webhooks.terms import Terms
from hub.webhooks.windows import Recent

_CHANCE = random.SystemRandom()
#: Among so many of the first changes of a window one is chosen to see whether a receiver takes any.
_OTHERS = 8
#: How soon a suspended grant is looked at again.
SUSPENDED_SECONDS = 15.0
#: And a view that moves too fast to be told of.
MOVING_SECONDS = 1.0


#: So many bytes of a window are cut at a time, a batch at least; what was cut is good for so many seconds, since
#: a record may be purged.
AHEAD_BYTES, AHEAD_SECONDS = 320_000, 5.0


class Ready(NamedTuple):
    """A batch that may be sent now. ``following``: the next ones of its window, which are not frozen yet.

    ``fresh_until``: how long these are good for, by ``time.monotonic``. ``attempts``: how often the batch was sent
    before; None where it was frozen under another lease, and nobody here knows. ``unanswered``: whether one of these
    requests had no answer.
    """

    batch: Batch
    held: Held
    following: tuple[Batch, ...] = ()
    fresh_until: float = 0
    attempts: int | None = 0
    unanswered: bool = False

    def once_more(self, held: Held) -> Ready:
        """The same batch, to be sent again; ``held``: the subscription as it is now."""
        following = self.following if _alike(self.held, held) else ()
        attempts = None if self.attempts is None else self.attempts + 1
        return self._replace(held=held, following=following, attempts=attempts)

    def behind(self, held: Held) -> Sequence[Batch]:
        """What was cut behind this batch, where it is what comes next now that this one is taken.

        ``held``: the subscription as it is then.
        """
        batch = self.batch
        stands = (batch.kind, batch.window_to, batch.inside) == ("feed", held.window_to, held.inside)
        fine = stands and _alike(self.held, held) and time.monotonic() < self.fresh_until
        return self.following if fine else ()


async def prepare(
    courier: Courier, tx: Transaction, claim: Claim, held: Held, *, most: int = 1, before: Ready | None = None
) -> Ready | None:
    """The batch to send, after the last look at whether it may be sent at all; None, and the lease is given back.

    ``most``: so many batches are sent under this lease at most, this one included; no more are cut ahead.
    ``before``: what was sent last under the lease.

    Retries pass here too, so that a grant which was revoked in the meantime sends nothing more.
    """
    head = held.head
    if head.grant_state == "revoked":
        await deliveries.drop(tx, claim)
        await happened(tx, claim.subscription_id, "disabled", error="revoked")
        return None
    stopped = held.state not in {"active", "resync_required"}
    if stopped or head.grant_state != "active" or head.district_state != "active":
        await claims.release(tx, claim, wait_seconds=SUSPENDED_SECONDS)
        return None
    await vault.to_open(tx, courier.key, held.secret, held.certificate)
    if held.batch_id is not None:
        same = before if before is not None and before.batch.batch_id == held.batch_id else None
        frozen = same.batch if same is not None else await deliveries.frozen(tx, claim, held.batch_id)
        if frozen.granted_at in {None, held.granted_at}:
            return same.once_more(held) if same is not None else Ready(frozen, held, attempts=None)
        # It holds records as an app might see them that may see less now. What it tells of is told anew.
        fresh = await deliveries.withdraw(tx, claim, held.batch_id)
        assert fresh is not None
        held = fresh
    if held.state == "resync_required":
        await claims.release(tx, claim)
        return None
    try:
        return await _Desk(courier, tx, claim, most, before).next(held)
    except ClosedError:  # records are being changed while they are read: a moment later there is more to say of them
        await claims.release(tx, claim, wait_seconds=MOVING_SECONDS)
        return None


async def more(courier: Courier, claim: Claim, ready: Ready, *, most: int) -> Ready:
    """Of a window of which all that was cut is sent: the next batches, ``most`` of them at the most, none frozen.

    They are those of the window as it was opened. Whoever freezes one of them looks whether it may be sent.
    """
    held, batch = ready.held, ready.batch
    if batch.inside is None or batch.kind != "feed" or not _plain(held):
        return ready
    async with courier.db.reading(claim.district_id, wait_seconds=courier.patience) as tx:
        stretch = await courier.windows.stretch(tx, held.grant_id, after=held.position, to=batch.window_to)
        desk = _Desk(courier, tx, claim, most)
        following = await desk.following(held, stretch, Place.from_json(batch.inside))
        return ready._replace(following=tuple(following), fresh_until=desk.fresh_until)


#: What the cut of a batch goes by, beside the terms and where the window stands.
_CUT_BY = ("grant_id", "granted_at", "position", "told_to", "replaying_to", "has_parked", "isolating", "batch_changes")


def _alike(before: Held, held: Held) -> bool:
    """Whether batches are cut from there now as they were before, more than one at a time."""
    same = all(getattr(before, name) == getattr(held, name) for name in _CUT_BY)
    return same and held.batch_changes is None and terms_of(before) == terms_of(held)


def _plain(held: Held) -> bool:
    """Whether all of a window is told by id, with nothing that has to be looked for in it."""
    return held.mode == "refs" and not held.has_parked and held.isolating is None


def terms_of(held: Held) -> Terms:
    """The settings of a claimed subscription."""
    return Terms(
        held.mode, tuple(held.types), held.max_bytes, held.max_changes, held.quiet_seconds, held.longest_wait_seconds,
        held.rate_per_minute,
    )  # fmt: skip


def told_to(held: Held) -> int:
    """The ``to`` of the last batch of the feed that was acknowledged: the ``from`` of the next one."""
    return held.position if held.told_to is None else held.told_to


@dataclass(frozen=True, slots=True)
class _Desk:
    """Where the next batch of one subscription is cut, in one transaction."""

    courier: Courier
    tx: Transaction
    claim: Claim
    most: int = 1
    before: Ready | None = None
    recent: Recent = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "recent", Recent(self.courier.windows))

    @property
    def fresh_until(self) -> float:
        """How long what it has cut ahead is good for, by ``time.monotonic``."""
        return min(self.recent.read_at, time.monotonic()) + AHEAD_SECONDS

    async def next(self, held: Held) -> Ready | None:
        """Cuts the next batch and writes it down; None when nothing waits."""
        if held.set_back or not held.head.feed_from <= held.position <= held.head.steps:
            return await self._resync(held)
        if held.retry_parked and (ready := await self._parked(held)) is not None:
            return ready
        while (to := held.window_to or held.head.steps) > held.position:
            stretch = await self.courier.windows.stretch(self.tx, held.grant_id, after=held.position, to=to)
            if held.window_to is None and (wait := self._hush(terms_of(held), stretch)) > 0:
                await claims.release(self.tx, self.claim, wait_seconds=wait)
                return None
            ahead = self.before.behind(held) if self.before is not None else ()
            made = await self._feed(held, stretch, ahead)
            if made:
                until = self.before.fresh_until if self.before is not None and ahead else self.fresh_until
                return Ready(made[0], held, tuple(made[1:]), until)
            passed = await deliveries.pass_over(self.tx, self.claim, to=to)
            assert passed is not None
            held = passed
        await claims.release(self.tx, self.claim, looked_to=held.head.district_position)
        return None

    def _hush(self, terms: Terms, stretch: Stretch) -> float:
        """For how long yet a window is left closed, since more may come."""
        if not terms.quiet_seconds or stretch.at is None or stretch.since is None:
            return 0
        now = self.courier.clock.now()
        return terms.hush((now - stretch.since).total_seconds(), (now - stretch.at).total_seconds())

    async def _feed(self, held: Held, stretch: Stretch, ahead: Sequence[Batch]) -> Sequence[Batch]:
        """The next batch of a window, frozen, and some that follow it; none where nothing of it is to be told.

        ``ahead``: those that are cut already.
        """
        place = Place.from_json(held.inside)
        terms = terms_of(held)
        if place is None and not (stretch.window and stretch.window.rows(None, 1, terms.wanted)):
            return ()  # of what nobody wants nobody hears
        envelope = self._of_window(held, stretch)
        told: list[Change] = []
        if terms.mode == "signal":
            batches = [Batch(_batch_id(), stretch.to, None, 0, message.moved(envelope))]
        elif _plain(held):
            batches = list(ahead) or await self._ahead(held, envelope, stretch.window, place)
        else:
            made, told = await self._cut(held, envelope, stretch.window, place)
            inside = made.place.as_json() if made.place else None
            batches = [
                Batch(
                    _batch_id(), stretch.to, inside, made.changes, made.body, sole=_sole(told), granted_at=_shown(held)
                )
            ]
        # An open window was frozen when the feed was shorter: what has come since is looked at later.
        looked_to = held.head.district_position if held.window_to is None else 0
        await deliveries.freeze(self.tx, self.claim, batches[0], looked_to=looked_to)
        records = [(one.entity, one.rid) for one in told if one.mark is None]
        if records and held.has_parked:
            await parked.supersede(self.tx, self.claim.subscription_id, batches[0].batch_id, records)
        return batches

    async def following(self, held: Held, stretch: Stretch, place: Place | None) -> Sequence[Batch]:
        """The next batches of a window behind a place in it, which ``_plain`` is true of."""
        return await self._ahead(held, self._of_window(held, stretch), stretch.window, place)

    def _of_window(self, held: Held, stretch: Stretch) -> Envelope:
        assert stretch.at is not None
        flags = ("replay",) if held.replaying_to is not None else ()
        return self.envelope(held, told_to(held), stretch.to, stretch.at, flags)

    async def _ahead(self, held: Held, envelope: Envelope, window: Window, place: Place | None) -> list[Batch]:
        """The next batches of a window that tell records by id. The names of all are looked up at once."""
        terms, teller = terms_of(held), await self.teller(held)
        limit = min(terms.max_changes, held.batch_changes or terms.max_changes)
        steady = terms.spacing == 0 and held.batch_changes is None
        many = max(1, min(self.most, AHEAD_BYTES // terms.most_bytes)) if steady else 1
        while True:
            rows = many * min(limit, teller.fitting(terms.most_bytes))
            told, through = await teller.told(self.tx, window, place, terms.wanted, limit=rows)
            pieces, place = told.cut(envelope, limit=limit, most_bytes=terms.most_bytes, through=through, most=many)
            if pieces:
                return [
                    Batch(_batch_id(id_), envelope.to, one.place.as_json() if one.place else None, one.changes,
                          one.body, sole=one.sole, packed=one.packed)
                    for id_, one in zip(ids.few(len(pieces)), pieces, strict=True)
                ]  # fmt: skip

    async def _cut(
        self, held: Held, envelope: Envelope, window: Window, place: Place | None
    ) -> tuple[Cut, list[Change]]:
        """The next body of a window and what it tells of; goes on over stretches whose records were all purged."""
        terms, teller = terms_of(held), await self.teller(held)
        sizes = (terms.max_changes, held.batch_changes, isolation.most(held.isolating))
        limit = min(size for size in sizes if size is not None)
        while True:
            changes, through = teller.following(window, place, terms.wanted, limit=limit, room=terms.most_bytes)
            items = await teller.items(self.tx, changes, after=held.position)
            made = message.cut(envelope, items, most_bytes=terms.most_bytes, through=through)
            if made.changes or made.place is None:
                return made, _told(changes, items, made.place)
            place = made.place

    async def _parked(self, held: Held) -> Ready | None:
        """One parked change that somebody asked to be tried again; None when there is none any more."""
        teller = await self.teller(held)
        for one in await parked.listing(self.tx, self.claim.subscription_id, retry=True):
            change = Change(one.operation, one.entity, one.rid, one.version)
            (item,) = await teller.items(self.tx, [change], after=max(0, one.version - 1))
            if item.told is None:  # the record was purged since: there is nothing to tell of it
                await parked.remove(self.tx, self.claim.subscription_id, [one.parked_id])
                continue
            batch = self._again(held, one, item)
            await deliveries.freeze(self.tx, self.claim, batch, looked_to=0)
            return Ready(batch, held)
        await parked.done(self.tx, self.claim.subscription_id)
        return None

    def _again(self, held: Held, one: Parked, item: Item) -> Batch:
        assert item.told is not None
        at = told_to(held)
        envelope = self.envelope(held, at, at, self.courier.clock.now(), ("parked",))
        body = message.batch(envelope, [item.told])
        return Batch(_batch_id(), at, held.inside, 1, body, "parked", None, one.parked_id, _shown(held))

    async def _resync(self, held: Held) -> Ready:
        """The message that the receiver has to start over. The subscription then waits to be resumed."""
        reason = "retention" if held.position < held.head.feed_from and not held.set_back else "restored"
        snapshot = district_root(self.courier.base_url, self.claim.district_id) + PATHS["1.2"]["rostering"]
        envelope = self.envelope(held, told_to(held), held.head.steps, datetime.now(UTC))
        body = message.resync(envelope, reason=reason, snapshot=snapshot)
        batch = Batch(_batch_id(), held.head.steps, None, 0, body, kind="resync")
        await deliveries.require_resync(self.tx, self.claim)
        await happened(self.tx, self.claim.subscription_id, "resync_required", error=reason)
        await deliveries.freeze(self.tx, self.claim, batch, looked_to=0)
        return Ready(batch, held)

    async def teller(self, held: Held) -> Teller:
        windows, key = self.courier.windows, self.courier.key
        identifiers = await windows.identifiers(self.tx, held.grant_id, held.granted_at, key)
        district_id, url = self.claim.district_id, self.courier.base_url
        records = None
        if held.mode == "records":
            behaviour = Behaviour.of((await apps.get(self.tx, identifiers.app_id)).behaviour)
            records = Records(held.grant_id, identifiers, behaviour, district_root(url, district_id))
        return Teller(district_id, held.grant_id, identifiers, url, records, self.recent)

    def envelope(self, held: Held, after: int, to: int, at: datetime, flags: tuple[str, ...] = ()) -> Envelope:
        return Envelope(self.claim.subscription_id, self.claim.district_id, held.grant_id, after, to, at, flags)


async def another(courier: Courier, tx: Transaction, claim: Claim, ready: Ready) -> tuple[str, bytes] | None:
    """The id and the body of a batch with one other change than the refused ones; None where there is no other.

    One of the first of the window, so that whatever it refers to was told before. It is told again in its turn.
    """
    held, head = ready.held, ready.held.head
    refused = ready.batch.sole
    for to in dict.fromkeys((ready.batch.window_to, head.steps)):
        stretch = await courier.windows.stretch(tx, held.grant_id, after=held.position, to=to)
        first = stretch.window.following(None, _OTHERS, terms_of(held).wanted)
        others = [
            one for one in first
            if one.mark is None and (refused is None or (one.entity, one.rid) != (refused["entity"], refused["rid"]))
        ]  # fmt: skip
        if others and stretch.at is not None:
            desk = _Desk(courier, tx, claim)
            items = await (await desk.teller(held)).items(tx, [_CHANCE.choice(others)], after=held.position)
            told = [one.told for one in items if one.told is not None]
            envelope = desk.envelope(held, told_to(held), to, stretch.at, ("probe",))
            return (_batch_id(), message.batch(envelope, told, more=True)) if told else None
    return None


def _batch_id(id_: UUID | None = None) -> str:
    return f"msg_{(id_ or ids.new_id()).hex}"


def _shown(held: Held) -> datetime | None:
    """By which grant a batch shows records, where it does. One that is read a moment later has the later grant's."""
    return held.granted_at if held.mode == "records" else None


def _told(changes: Sequence[Change], items: Sequence[Item], place: Place | None) -> list[Change]:
    """What a body tells of: the changes up to ``place``, or all, but for what was purged."""
    found: list[Change] = []
    for change, item in zip(changes, items, strict=False):
        if item.told is not None:
            found.append(change)
        if item.place == place:
            break
    return found


def _sole(told: Sequence[Change]) -> dict[str, Any] | None:
    """The one record that is told of, where it is one."""
    if len(told) != 1 or told[0].mark is not None:
        return None
    (one,) = told
    return {"entity": one.entity, "rid": one.rid, "operation": one.operation, "version": one.version}
