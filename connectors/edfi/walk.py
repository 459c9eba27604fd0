"""A walk through all rows of a resource, with the proof that nothing was lost on the way.

Rows that go, or that leave a window of changes because they change again, make those behind them move up: who walks
forwards by offsets misses rows. So pages are told by tokens where the host has them (7.3), else the walk goes from the
end to the beginning: what moves up comes twice then, and nothing is missed. A walk counts where there were no more
different rows than the host counted before it, and no fewer than afterwards, or where two walks in a row saw the same.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from yarl import URL

from connectors.client import NotUnderstoodError
from connectors.edfi.client import Client, Page
from connectors.members import Objects
from connectors.protocol import ConnectorError, Intent
from connectors.walking import Walked, endless, repeated, steadily, too_many

_LOWER = (500, 100, 25)


class Sink(Protocol):
    """Takes what a walk brings. Both are called in a thread."""

    def begin_again(self) -> None:
        """Forgets everything."""

    def take(self, objects: Objects) -> None:
        """Rows that did not come before."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is walked through: a resource, or its ``deletes`` or ``keyChanges``, all or in a window of changes."""

    name: str
    part: str = ""
    window: Mapping[str, str] = field(default_factory=dict)

    def url(self, client: Client) -> URL:
        """Where it is."""
        return client.resource(self.name, self.part).with_query(dict(self.window))


async def walk(client: Client, wanted: Wanted, sink: Sink) -> Walked:
    """All rows, into ``sink``, each once, in the order of the host's pages.

    Raises ConnectorError as ``Client.page`` and ``steadily`` do and besides (``endless``, ``repeated_page``,
    ``too_many_rows``, ``query_refused``).
    """
    return await steadily(lambda: _with_limit(client, wanted, sink), sink.begin_again, wanted.name)


async def _with_limit(client: Client, wanted: Wanted, sink: Sink) -> Walked:
    most = client.config.page_rows
    try:
        total = await client.count(wanted.url(client), wanted.name)
        for rows in (most, *(lower for lower in _LOWER if lower < most)):
            walking = _Walking(client, wanted, sink, rows, total)
            try:
                found = await walking.once()
            except NotUnderstoodError:
                await asyncio.to_thread(sink.begin_again)
                continue
            after = await client.count(wanted.url(client), wanted.name)
            judged = await asyncio.to_thread(_judged, found, total, after)
            # Rows may have come and gone between the attempts of a pull, in equal numbers: another walk has to agree.
            judged.steady = judged.steady and len(walking.kept) < 2
            return judged
    except NotUnderstoodError:
        pass
    text = f"The system does not understand a plain request for {wanted.name} (HTTP 400). Check address and version."
    raise ConnectorError("query_refused", text, intent=Intent.ASK_HUMAN)


def _judged(found: Walked, before: int, after: int) -> Walked:
    """The walk, with how many rows there had to be. Rows may have gone meanwhile; that made it miss no others."""
    different = found.different()
    if after <= different <= before:
        found.total = different
    else:
        found.total, found.steady = after, after == before
    return found


@dataclass
class _Walking:
    """One walk under way. ``before``: the ids of the page before.

    ``kept``: whether pages were read by an earlier attempt, by this one, or both.
    """

    client: Client
    wanted: Wanted
    sink: Sink
    limit: int
    total: int
    found: Walked = field(default_factory=Walked)
    before: frozenset[Any] = frozenset()
    kept: set[bool] = field(default_factory=set)
    _taking: asyncio.Task[None] | None = None

    async def once(self) -> Walked:
        try:
            if not self.total:
                return self.found
            if self.client.by_tokens and not self.wanted.part:
                await self._by_tokens()
            else:
                await self._from_the_end()
            if self._taking is not None:
                await self._taking
        finally:
            if self._taking is not None and not self._taking.done():
                await asyncio.gather(self._taking, return_exceptions=True)
        return self.found

    async def _by_tokens(self) -> None:
        token: str | None = None
        asked: set[str] = set()
        while True:
            query = {"pageSize": str(self.limit)} | ({"pageToken": token} if token else {})
            page = await self.client.page(self.wanted.url(self.client).update_query(query), self.wanted.name)
            await self._take(page, page.objects)
            token = page.token
            if token is None and not asked and 0 < len(page.objects) < self.total:
                # The host has no tokens after all, and knows nothing of the size of pages.
                self.client.by_tokens = False
                await self._again()
                return
            if token is None or not page.objects:
                return
            if token in asked:
                raise endless(self.wanted.name)
            asked.add(token)

    async def _again(self) -> None:
        if self._taking is not None:
            await self._taking
        self._taking, self.found = None, Walked()
        self.before = frozenset()
        await asyncio.to_thread(self.sink.begin_again)
        await self._from_the_end()

    async def _from_the_end(self) -> None:
        for offset in reversed(range(0, self.total, self.limit)):
            query = {"limit": str(self.limit), "offset": str(offset)}
            page = await self.client.page(self.wanted.url(self.client).update_query(query), self.wanted.name)
            ids = {one.get("id") for one in page.objects}
            if self.before and ids == self.before:
                raise repeated(self.wanted.name)
            await self._take(page, page.objects[::-1])

    async def _take(self, page: Page, objects: Objects) -> None:
        """Takes those rows of a page that the one before did not have. Raises ConnectorError."""
        self.kept.add(page.kept)
        names = [one.get("id") if not self.wanted.part else None for one in objects]
        fresh = [one for one, name in zip(objects, names, strict=True) if name is None or name not in self.before]
        self.before = frozenset(name for name in names if name is not None)
        self.found.note([one.get("id") if not self.wanted.part else None for one in fresh])
        if self.found.count > self.client.context.limits.rows:
            raise too_many(self.client.context.limits.rows, self.wanted.name)
        if self._taking is not None:
            await self._taking
        # The next page is on its way while this one is mapped.
        self._taking = asyncio.create_task(asyncio.to_thread(self.sink.take, fresh)) if fresh else None
