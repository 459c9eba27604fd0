"""A walk through all pages of one collection, with the proof that nothing was lost on the way.

What is known of servers: they cap pages without a word, leave ``X-Total-Count`` out or count wrongly, ignore
``offset``, give ``Link`` next with relative or foreign addresses, and go on changing while they are read. So a walk
counts only where

- the server's total stayed the same and is the number of different ids, or
- there is no total, each page began with the last row of the one before, and no id came twice, or
- two walks one after the other saw the same ids, as many as the total says where there is one.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator, Mapping
from contextlib import aclosing
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Protocol

from yarl import URL

from connectors.client import NotUnderstoodError
from connectors.oneroster_rest.client import Client, Page
from connectors.oneroster_rest.mapping import Members, Objects
from connectors.protocol import ConnectorError, Intent
from connectors.walking import Walked, endless, repeated, side_by_side, steadily, too_many
from transforms.catalogue import Entity

#: Limits that are tried where a server refuses the configured one.
_LOWER = (1_000, 100)


class Sink(Protocol):
    """Takes what a walk brings. ``take`` is called in a thread."""

    def begin_again(self) -> None:
        """Forgets everything."""

    def take(self, objects: Objects) -> None:
        """The objects of one more page."""


async def walk(client: Client, entity: Entity, query: Mapping[str, str], sink: Sink) -> Walked:
    """All objects of a collection that ``query`` asks for, into ``sink``.

    Raises NotUnderstoodError for a query with more than paging in it, and ConnectorError as ``Client.page`` does and
    besides (``not_whole``, ``total_wrong``, ``repeated_page``, ``endless``, ``too_many_rows``, ``query_refused``).
    """
    at_once = iter((client.config.requests_at_once,))  # what moved meanwhile is better seen page by page

    def once() -> Awaitable[Walked]:
        return _with_limit(client, entity, query, sink, next(at_once, 1))

    return await steadily(once, sink.begin_again, entity.name)


async def _with_limit(client: Client, entity: Entity, query: Mapping[str, str], sink: Sink, at_once: int) -> Walked:
    """One walk, with smaller pages where the server refuses large ones."""
    for rows in (client.config.rows, *(lower for lower in _LOWER if lower < client.config.rows)):
        try:
            return await _Walking(client, entity, query, sink, rows, at_once).once()
        except NotUnderstoodError:
            if query:
                raise
    text = f"The system does not understand a plain request for {entity.name} (HTTP 400). Check address and version."
    raise ConnectorError("query_refused", text, intent=Intent.ASK_HUMAN)


@dataclass
class _Walking:
    """One walk under way."""

    client: Client
    entity: Entity
    query: Mapping[str, str]
    sink: Sink
    limit: int
    at_once: int
    found: Walked = field(default_factory=Walked)
    asked: set[URL] = field(default_factory=set)
    linked: bool = False
    before: Page | None = None
    last: Any = None
    keys: list[Any] = field(default_factory=list)

    async def once(self) -> Walked:
        taking: asyncio.Task[None] | None = None
        try:
            async with aclosing(self._pages()) as pages:
                async for objects in pages:
                    if taking is not None:
                        await taking
                    # The next page is on its way while this one is mapped.
                    taking = asyncio.create_task(asyncio.to_thread(self.sink.take, objects))
            if taking is not None:
                await taking
        finally:
            if taking is not None and not taking.done():
                await asyncio.gather(taking, return_exceptions=True)
        return self.found

    async def _pages(self) -> AsyncGenerator[Objects]:
        """The new objects of each page, in order; none of them is empty."""
        page = await self._ask(self._offset(0))
        objects = await self._taken(page, overlapping=False)
        if objects:
            yield objects
        if self._counted(page):
            async with aclosing(side_by_side(self._others(len(objects)), self.at_once)) as pages:
                async for page in pages:
                    objects = await self._taken(page, overlapping=False)
                    if not objects:
                        return  # fewer than were counted: the walk begins again
                    yield objects
            return
        url, overlapping = self._next(page, objects)
        while url is not None:
            if url in self.asked:
                raise endless(self.entity.name)
            page = await self._ask(url)
            objects = await self._taken(page, overlapping=overlapping)
            if objects:
                yield objects
            url, overlapping = self._next(page, objects)

    async def _ask(self, url: URL) -> Page:
        self.asked.add(url)
        page = await self.client.page(url, self.entity.name, self.limit)
        counted = page.total is not None or self.found.total is not None
        if page.objects or counted or "filter" in self.query:  # of what changed there is mostly nothing
            return page
        # No count vouches for an empty page, and it ends the walk: it has to be empty twice.
        return await self.client.page(url, self.entity.name, self.limit)

    async def _taken(self, page: Page, *, overlapping: bool) -> Objects:
        """The new objects of the next page.

        Pages that an earlier attempt read go together with those of this one where the last of them is still the same:
        what went or came before it moved it. Of pages side by side it may have read some behind one that it had not:
        these are asked for again.
        """
        before = self.before
        if before is not None and page.kept and not before.kept:
            page = await self.client.page(page.url, self.entity.name, self.limit, kept=False)
        elif before is not None and before.kept and not page.kept:
            now = await self.client.page(before.url, self.entity.name, self.limit, kept=False)
            same = Members(now.objects).of("sourcedId") == Members(before.objects).of("sourcedId")
            self.found.steady = self.found.steady and same
        self.before = page
        return self._new(page, overlapping=overlapping)

    def _counted(self, first: Page) -> bool:
        """Whether the other pages may be asked for side by side: by offset, as many as the total says."""
        total, there = self.found.total, len(first.objects)
        return self.at_once > 1 and first.following is None and total is not None and 0 < there <= self.limit

    def _others(self, step: int) -> Iterator[Callable[[], Awaitable[Page]]]:
        """Asks for the pages after the first one, which had ``step`` rows."""
        return (partial(self._ask, self._offset(at)) for at in range(step, self.found.total or 0, step))

    def _new(self, page: Page, *, overlapping: bool) -> Objects:
        """The objects of a page that the one before did not have."""
        found, objects = self.found, page.objects
        if self.client.config.totals == "trusted":
            told = page.total if page.total is not None or not found.count else found.total  # some say it once
            found.steady = found.steady and (not found.count or told == found.total)
            found.total = told
        keys = Members(objects).of("sourcedId")
        if keys and keys == self.keys:
            raise repeated(self.entity.name)
        self.keys = keys
        if overlapping:
            if not keys or keys[0] != self.last:
                found.steady = False
            else:
                objects, keys = objects[1:], keys[1:]
        found.note(keys)
        if found.count > self.client.context.limits.rows:
            raise too_many(self.client.context.limits.rows, self.entity.name)
        self.last = keys[-1] if keys else self.last
        return objects

    def _next(self, page: Page, objects: Objects) -> tuple[URL | None, bool]:
        """Where the next page is, and whether it should begin with the last row of this one."""
        if not objects:
            return None, False
        if page.following is not None:
            self.linked = True
            return self._followed(page.following), False
        whole = len(page.objects) > self.limit  # the server does not know pages
        if self.linked or whole:
            return None, False
        if self.found.total is not None:
            done = self.found.count >= self.found.total
            return (None, False) if done else (self._offset(self.found.count), False)
        seam = int(len(page.objects) > 1)  # a page of one row has no room for the last one's
        return self._offset(self.found.count - seam), bool(seam)

    def _offset(self, offset: int) -> URL:
        paging = {"limit": str(self.limit), "offset": str(offset)}
        return self.client.collection(self.entity).with_query({**self.query, **paging})

    def _followed(self, link: URL) -> URL:
        """The address of a link at the server that was asked: a proxy may have another name for itself.

        Raises ConnectorError where the link leads somewhere else.
        """
        own = self.client.collection(self.entity)
        if link.name == own.name and link.raw_query_string:
            return URL(f"{own}?{link.raw_query_string}", encoded=True)
        if link.origin() == own.origin():
            return link
        text = "The system's link to the next page leads to another server, which the login is not for."
        raise ConnectorError("moved", text, intent=Intent.ASK_HUMAN)
