"""Reading on in one grant's feed: the next changes after a place, and the place after them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final
from uuid import UUID

from hub.api.caches import ByteCache
from hub.api.changes import place as places
from hub.api.changes.place import Place
from hub.changes import reading
from hub.changes.message import Item, fitting, in_order
from hub.changes.reading import Teller
from hub.changes.types import Wanted
from hub.changes.window import Place as Inside
from hub.changes.window import Window
from hub.store import feed
from hub.store.database import Transaction
from hub.store.feed import Head

#: Bytes of changes after which an answer ends, though more may have been asked for.
MOST_BYTES: Final = 4 * 2**20
#: Changes that are looked up at a time.
PIECE: Final = 500
_WINDOWS_BYTES = 32 * 2**20
Windows = ByteCache[tuple[UUID, int, int], Window]


class LostError(Exception):
    """Nothing can be told from a place. ``head``: where to go on once everything was read anew."""

    def __init__(self, reason: str, head: Place) -> None:
        super().__init__(reason)
        self.reason = reason
        self.head = head


@dataclass(frozen=True, slots=True)
class Wish:
    """How much of what is wanted. ``entities``: those that may be told at all; ``room``: in bytes."""

    wanted: Wanted
    entities: frozenset[str]
    limit: int
    room: int


@dataclass(frozen=True, slots=True)
class Part:
    """Some changes of a stretch ``(after, to]``. ``place``: where to go on; ``more``: the stretch goes on there."""

    after: int
    to: int
    place: Place
    told: Sequence[bytes] = ()
    more: bool = False


@dataclass(frozen=True)
class Reader:
    """Reads feeds. ``windows``: stretches of which a part was told, so that the next need not be merged again."""

    windows: Windows = field(default_factory=lambda: Windows(_WINDOWS_BYTES))

    async def begin(self, tx: Transaction, grant_id: UUID, head: Head, since: datetime | None) -> Place:
        """Where to begin: at the head, or where all that comes was made after a time. Raises LostError."""
        step = None if since is None else await feed.before(tx, grant_id, since)
        place = head.steps if step is None else step
        moments = await feed.moments(tx, grant_id, (place, head.steps))
        if place < head.feed_from:
            raise LostError("expired", _at(grant_id, head.steps, moments))
        return _at(grant_id, place, moments)

    async def part(self, tx: Transaction, teller: Teller, place: Place, head: Head, wish: Wish) -> Part:
        """What comes next. Raises LostError."""
        to = head.steps if place.to is None else place.to
        moments = await feed.moments(tx, teller.grant_id, (place.step, to, head.steps))
        self._check(teller.grant_id, place, to, head, moments)
        if to == place.step:
            return Part(to, to, _at(teller.grant_id, to, moments))
        window = await self._window(tx, teller.grant_id, place.step, to, wish)
        form = places.check(wish.entities, len(window))
        if place.to is not None and (place.check != form or place.offset > len(window)):
            # It is not what it was. Its end stays: what came in the part that was told may have left behind that end.
            place = Place(place.step, place.tag, to)
        told, inside = await self._told(tx, teller, window, place.step, place.offset, wish)
        if inside is None:
            self.windows.drop((teller.grant_id, place.step, to))
            return Part(place.step, to, _at(teller.grant_id, to, moments), told)
        tag = places.tag(teller.grant_id, moments.get(place.step))
        following = Place(place.step, tag, to, window.offset_of(inside), form)
        return Part(place.step, to, following, told, more=True)

    @staticmethod
    def _check(grant_id: UUID, place: Place, to: int, head: Head, moments: dict[int, datetime]) -> None:
        """Raises LostError for a place from which this feed does not lead on without a gap."""
        reason = ""
        if max(place.step, to) > head.steps:
            reason = "ahead"
        elif place.step < head.feed_from:
            reason = "expired"
        elif place.tag is not None and (place.step in moments or place.step == 0):
            reason = "" if place.tag == places.tag(grant_id, moments.get(place.step)) else "other_feed"
        if reason:
            raise LostError(reason, _at(grant_id, head.steps, moments))

    async def _window(self, tx: Transaction, grant_id: UUID, after: int, to: int, wish: Wish) -> Window:
        key = (grant_id, after, to)
        window = self.windows.get(key)
        if window is None:
            window = (await reading.stretch(tx, grant_id, after=after, to=to)).window
            if len(window) > wish.limit:
                self.windows.put(key, window, _size(window))
        return window.within(wish.entities)

    async def _told(
        self, tx: Transaction, teller: Teller, window: Window, after: int, offset: int, wish: Wish
    ) -> tuple[list[bytes], Inside | None]:
        """The next changes of a window, and where it was left; None at its end."""
        chosen: list[Item] = []
        inside, left, room = window.place_at(offset), wish.limit, wish.room
        while window:
            changes = window.following(inside, min(PIECE, left) + 1, wish.wanted)
            through = len(changes) <= min(PIECE, left)
            items = await teller.items(tx, changes[: min(PIECE, left)], after=after)
            fit, until = fitting(items, room)
            chosen += fit
            inside = until or inside
            left -= len(fit)
            room -= sum(len(one.told) + 1 for one in fit if one.told is not None)
            if through and len(fit) == len(items):
                break
            if left == 0 or len(fit) < len(items) or room <= 0:
                return in_order(chosen), inside
        return in_order(chosen), None


def _at(grant_id: UUID, step: int, moments: dict[int, datetime]) -> Place:
    return Place(step, places.tag(grant_id, moments.get(step)))


def _size(window: Window) -> int:
    """About how many bytes a window takes."""
    steps = sum(len(records) for found in window.touched.values() for _, records in found)
    return 10_000 + 4 * (len(window) + steps)
