"""Why a subscription is not being served this very moment, in one stable word, and how much waits for it."""

from __future__ import annotations

import asyncio
from datetime import datetime
from enum import StrEnum

from pyroaring import BitMap

from hub.changes import reading
from hub.changes.types import Wanted
from hub.changes.window import ORDER, Place, Window
from hub.store.database import Transaction
from hub.store.standings import Standing
from hub.store.subscriptions import Subscription
from hub.webhooks.subscriptions import terms_of


class Waits(StrEnum):
    """Why a subscription waits. Stable: programs and pages rely on them."""

    IDLE = "idle"  # it has everything
    READY = "ready"  # the next free worker takes it
    IN_FLIGHT = "in_flight"
    BACKOFF = "backoff"
    RETRY_AFTER = "retry_after"
    DEFERRED = "deferred"  # the hub put it off for a moment
    RATE = "rate"  # no more a minute than it wants
    QUIET = "quiet"  # more may come, and goes with it
    UNPROVEN = "unproven"
    RESYNC_REQUIRED = "resync_required"
    PAUSED = "paused"
    DISABLED = "disabled"
    REVOKED_GRANT = "revoked_grant"
    SUSPENDED_GRANT = "suspended_grant"
    SUSPENDED_DISTRICT = "suspended_district"


def why(row: Subscription, standing: Standing, *, behind: bool) -> Waits:
    """The reason of ``Waits``; the one comes first that has to be mended first."""
    stopped = (
        (standing.grant_state == "revoked", Waits.REVOKED_GRANT),
        (row.state == "disabled", Waits.DISABLED),
        (row.state == "unproven", Waits.UNPROVEN),
        (row.state == "resync_required", Waits.RESYNC_REQUIRED),
        (row.state == "paused", Waits.PAUSED),
        (standing.grant_state != "active", Waits.SUSPENDED_GRANT),
        (standing.district_state != "active", Waits.SUSPENDED_DISTRICT),
        (standing.leased, Waits.IN_FLIGHT),
        (not behind, Waits.IDLE),
        (standing.due, Waits.READY),
        (standing.asked, Waits.RETRY_AFTER),
        (row.attempt > 0, Waits.BACKOFF),
        (row.rate_per_minute is not None, Waits.RATE),
        (row.quiet_seconds > 0, Waits.QUIET),
    )
    return next((reason for holds, reason in stopped if holds), Waits.DEFERRED)


#: Those after which a request goes out by itself.
_GOES = frozenset({Waits.READY, Waits.BACKOFF, Waits.RETRY_AFTER, Waits.RATE, Waits.QUIET, Waits.DEFERRED})


def next_attempt(row: Subscription, waits: Waits) -> datetime | None:
    """When the next request goes out; None where none will, or one is on its way."""
    return row.ready_at if waits in _GOES else None


async def changes_waiting(tx: Transaction, row: Subscription, head: int) -> int:
    """How many records have changed that the receiver has not acknowledged; one that changed twice counts once."""
    if head <= row.position:
        return 0
    open_to = row.window_to or row.position
    opened = await reading.stretch(tx, row.grant_id, after=row.position, to=open_to)
    later = await reading.stretch(tx, row.grant_id, after=open_to, to=head)
    wanted = terms_of(row).wanted
    place = Place.from_json(row.inside)
    return await asyncio.to_thread(_count, opened.window, place, later.window, wanted)


def _count(opened: Window, place: Place | None, later: Window, wanted: Wanted) -> int:
    """Of the open window what lies behind ``place``, and what came after it, each record once."""
    waiting = _remaining(opened, place, wanted)
    for entity, members in _remaining(later, None, wanted).items():
        waiting[entity] = waiting.get(entity, BitMap()) | members
    return sum(len(members) for members in waiting.values())


def _remaining(window: Window, place: Place | None, wanted: Wanted) -> dict[str, BitMap]:
    """The records of a window that come after a place in it, by entity."""
    found: dict[str, BitMap] = {}
    begins = ORDER.index((place.group, place.entity)) if place else 0
    for index, (group, entity) in enumerate(ORDER[begins:], begins):
        entry = window.merged.get(entity)
        if entry is None:
            continue
        sets = {"deleted": entry.left} if group == "left" else {"created": entry.entered, "updated": entry.updated}
        members = BitMap()
        for operation in wanted.operations(entity) & sets.keys():
            members |= sets[operation]
        if place is not None and index == begins:
            members = members[members.rank(place.rid) :]
        found[entity] = found.get(entity, BitMap()) | members
    return found
