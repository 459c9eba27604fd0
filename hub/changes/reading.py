"""A stretch of a grant's feed, read in the transaction of whoever asks."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

import numpy as np

from hub.changes.cutting import Told
from hub.changes.ids import Ids
from hub.changes.message import Item, href, item, pointer
from hub.changes.pointers import merged_into
from hub.changes.records import Records
from hub.changes.types import MARK_OF, Wanted
from hub.changes.window import Change, Entry, Place, Window
from hub.identifiers import Identifiers
from hub.scope.feed import FeedEntry
from hub.scope.sets import Ints, unpack
from hub.store import feed
from hub.store.database import Transaction
from hub.store.people import USERS
from transforms.catalogue import CATALOGUE, Entity


@dataclass(frozen=True, slots=True)
class Stretch:
    """The steps of a feed in ``(after, to]``. ``at``: when the last of them was; None where there is none.

    ``since``: when the first of them was.
    """

    after: int
    to: int
    at: datetime | None
    window: Window
    since: datetime | None = None


async def stretch(tx: Transaction, grant_id: UUID, *, after: int, to: int) -> Stretch:
    """Reads the entries of some steps and merges them."""
    found = await feed.steps(tx, grant_id, after=after, to=to)
    window = await asyncio.to_thread(_window, found)
    times = [e.at for e in found]
    return Stretch(after, to, max(times, default=None), window, min(times, default=None))


def _window(found: Sequence[feed.Entry]) -> Window:
    return Window.of(
        Entry(
            e.step,
            e.at,
            MARK_OF.get(e.cause),
            FeedEntry(e.entity, unpack(e.entered), unpack(e.updated), unpack(e.departed)),
        )
        for e in found
    )


#: A change is hardly told in fewer bytes, and its address beside the hub's own takes no fewer.
_LEAST = 80
_ADDRESS = 115
#: A record is mostly longer than this.
_RECORD = 300


async def ids(tx: Transaction, entity: Entity, rids: Ints) -> Ids:
    """The sourcedIds of some records, of those that are still there."""
    return Ids.of(*await feed.packed_ids(tx, entity, rids))


@dataclass(frozen=True, slots=True)
class Teller:
    """Tells changes of one grant as its app knows them. ``base_url``: the hub's public address, without a slash.

    ``ids``: where it has the sourcedIds of records from, in columns.
    """

    district_id: UUID
    grant_id: UUID
    identifiers: Identifiers
    base_url: str
    records: Records | None = None
    ids: Callable[[Transaction, Entity, Ints], Awaitable[Ids]] = ids

    def following(
        self, window: Window, place: Place | None, wanted: Wanted, *, limit: int, room: int
    ) -> tuple[Sequence[Change], bool]:
        """The next changes of a window, ``limit`` at most; whether they are its last.

        Of more than fit into ``room`` bytes there are only a few: nobody has to look them up.
        """
        most = min(limit, self.fitting(room))
        found = window.following(place, most + 1, wanted)
        changes = self._fitting(found[:most], room)
        if len(changes) == most < limit:  # of those that left more fit, since they have no address
            found = window.following(place, limit + 1, wanted)
            changes = self._fitting(found[:limit], room)
        return changes, len(changes) == len(found)

    def fitting(self, room: int) -> int:
        """No fewer than the records with usual sourcedIds that fit into so many bytes."""
        return room // self._usual("updated") + 2

    def _fitting(self, changes: Sequence[Change], room: int) -> Sequence[Change]:
        for number, change in enumerate(changes):
            room -= self._usual(change.operation)
            if room < 0:
                return changes[: number + 1]
        return changes

    def _usual(self, operation: str) -> int:
        """The fewest bytes in which a change of a record with a usual sourcedId is told."""
        if operation == "deleted":
            return _LEAST
        return _LEAST + _ADDRESS + len(self.base_url) + (_RECORD if self.records else 0)

    async def items(self, tx: Transaction, changes: Sequence[Change], *, after: int = 0) -> list[Item]:
        """The changes as they are told, in their order. ``after``: the step before the stretch that they are of.

        Raises ClosedError where records are told and the grant is not active, or changes too fast.
        """
        wanted: dict[str, list[int]] = {}
        for change in changes:
            if change.mark is None:
                wanted.setdefault(change.entity, []).append(change.rid)
        found = {name: await feed.sourced_ids(tx, CATALOGUE[name], rids) for name, rids in wanted.items()}
        found = await self._as_known(tx, found)
        told = await self.records.members(tx, changes, after=after) if self.records is not None else {}
        gone = [c.rid for c in changes if c.entity == USERS.name and c.operation == "deleted"]
        for rid, id_ in (await merged_into(tx, self.grant_id, self.identifiers, gone)).items():
            told[USERS.name, rid] = pointer(id_)
        return [self._item(change, found, told) for change in changes]

    async def told(
        self, tx: Transaction, window: Window, place: Place | None, wanted: Wanted, *, limit: int
    ) -> tuple[Told, bool]:
        """The next changes of a window by id alone, ``limit`` at most; whether they are its last."""
        parts = window.rows(place, limit + 1, wanted)
        through = sum(len(rows.rids) for rows in parts) <= limit
        if not through:
            last = parts.pop()
            if len(last.rids) > 1:
                parts.append(last._replace(rids=last.rids[:-1], kinds=last.kinds[:-1]))
        numbers: dict[str, list[Ints]] = {}
        for rows in parts:
            if rows.entity:
                numbers.setdefault(rows.entity, []).append(rows.rids)
        names: dict[str, Mapping[int, str] | Ids] = {}
        for name, some in numbers.items():
            rids = np.concatenate(some) if len(some) > 1 else some[0]
            if self._renames(name):
                names |= await self._as_known(tx, {name: await feed.sourced_ids(tx, CATALOGUE[name], rids.tolist())})
            else:
                names[name] = await self.ids(tx, CATALOGUE[name], rids)
        marks = {mark.step: mark for mark in window.marks}
        left = [rows.rids.tolist() for rows in parts if (rows.group, rows.entity) == ("left", USERS.name)]
        gone = left[0] if left else ()
        led = await merged_into(tx, self.grant_id, self.identifiers, gone)
        return Told.of(parts, names, marks, self.base_url, self.district_id, led), through

    def _item(
        self, change: Change, found: dict[str, dict[int, str]], told: dict[tuple[str, int], bytes]
    ) -> Item:  # fmt: skip
        sourced_id = found.get(change.entity, {}).get(change.rid)
        there = sourced_id is not None and change.operation != "deleted"
        address = href(self.base_url, self.district_id, change.entity, sourced_id) if there and sourced_id else None
        return item(change, sourced_id, address, told.get((change.entity, change.rid), b""))

    def _renames(self, name: str) -> bool:
        """Whether the app may know records by other ids; some of the gradebook it may whatever its grant says."""
        return self.identifiers.renames or CATALOGUE[name].service == "gradebook"

    async def _as_known(self, tx: Transaction, found: dict[str, dict[int, str]]) -> dict[str, dict[int, str]]:
        """The same ids as the app knows them."""
        other = [n for n in found if self._renames(n)]
        if not other:
            return found
        names = await self.identifiers.names(tx, [id_ for name in other for id_ in found[name].values()])
        known = {name: {rid: names.get(id_, id_) for rid, id_ in found[name].items()} for name in other}
        return found | known
