"""A stretch of a grant's feed, read in the transaction of whoever asks."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from hub.changes.message import Item, href, item
from hub.changes.records import Records
from hub.changes.types import MARK_OF
from hub.changes.window import Change, Entry, Window
from hub.identifiers import Identifiers
from hub.scope.feed import FeedEntry
from hub.scope.sets import unpack
from hub.store import feed
from hub.store.database import Transaction
from transforms.catalogue import CATALOGUE


@dataclass(frozen=True, slots=True)
class Stretch:
    """The steps of a feed in ``(after, to]``. ``at``: when the last of them was; None where there is none."""

    after: int
    to: int
    at: datetime | None
    window: Window


async def stretch(tx: Transaction, grant_id: UUID, *, after: int, to: int) -> Stretch:
    """Reads the entries of some steps and merges them."""
    found = await feed.steps(tx, grant_id, after=after, to=to)
    window = await asyncio.to_thread(_window, found)
    return Stretch(after, to, max((e.at for e in found), default=None), window)


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


@dataclass(frozen=True, slots=True)
class Teller:
    """Tells changes of one grant as its app knows them. ``base_url``: the hub's public address, without a slash."""

    district_id: UUID
    grant_id: UUID
    identifiers: Identifiers
    base_url: str
    records: Records | None = None

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
        return [self._item(change, found, told) for change in changes]

    def _item(
        self, change: Change, found: dict[str, dict[int, str]], told: dict[tuple[str, int], bytes]
    ) -> Item:  # fmt: skip
        sourced_id = found.get(change.entity, {}).get(change.rid)
        there = sourced_id is not None and change.operation != "deleted"
        address = href(self.base_url, self.district_id, change.entity, sourced_id) if there and sourced_id else None
        return item(change, sourced_id, address, told.get((change.entity, change.rid), b""))

    async def _as_known(self, tx: Transaction, found: dict[str, dict[int, str]]) -> dict[str, dict[int, str]]:
        """The same ids as the app knows them. Without pseudonyms it may know some of the gradebook by others."""
        other = [n for n in found if self.identifiers.pseudonyms or CATALOGUE[n].service == "gradebook"]
        if not other:
            return found
        names = await self.identifiers.names(tx, [id_ for name in other for id_ in found[name].values()])
        known = {name: {rid: names.get(id_, id_) for rid, id_ in found[name].items()} for name in other}
        return found | known
