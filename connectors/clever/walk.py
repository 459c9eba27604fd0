"""A walk through all pages of one of Clever's collections, with the proof that nothing was lost on the way.

Pages begin after an id, and ids ascend, so what changes meanwhile moves nothing from page to page. A walk counts where
the ids ascend and are as many as Clever counts (``count=true``), or where two walks in a row saw the same.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import Protocol

from yarl import URL

from connectors.clever.client import Client, Page, PageTooLargeError
from connectors.client import NotUnderstoodError
from connectors.members import Objects
from connectors.protocol import ConnectorError, Intent
from connectors.walking import Walked, endless, repeated, steadily, too_many

#: Limits that are tried where Clever takes no larger ones.
_LOWER = (1_000, 100)


class Sink(Protocol):
    """Takes what a walk brings. Both are called in a thread."""

    def begin_again(self) -> None:
        """Forgets everything."""

    def take(self, objects: Objects) -> None:
        """The objects of one more page."""


async def walk(client: Client, name: str, sink: Sink) -> Walked:
    """All objects of a collection, into ``sink``.

    Raises ConnectorError as ``Client.page`` and ``steadily`` do and besides (``endless``, ``too_many_rows``,
    ``query_refused``).
    """
    return await steadily(lambda: _with_limit(client, name, sink), sink.begin_again, name)


async def _with_limit(client: Client, name: str, sink: Sink) -> Walked:
    for rows in limits(client):
        try:
            return await _Walking(client, name, sink, rows).once()
        except (NotUnderstoodError, PageTooLargeError):
            await asyncio.to_thread(sink.begin_again)
    raise refused(name)


def limits(client: Client) -> tuple[int, ...]:
    """The sizes of pages to try, one after the other."""
    return (client.config.page_rows, *(lower for lower in _LOWER if lower < client.config.page_rows))


def refused(name: str) -> ConnectorError:
    """Clever does not take a plain request."""
    text = f"Clever does not understand a plain request for {name}. Check address and version."
    return ConnectorError("query_refused", text, intent=Intent.ASK_HUMAN)


@dataclass
class _Walking:
    """One walk under way."""

    client: Client
    name: str
    sink: Sink
    limit: int
    found: Walked = field(default_factory=Walked)
    asked: set[URL] = field(default_factory=set)
    last: str = ""
    keys: list[str | None] = field(default_factory=list)

    async def once(self) -> Walked:
        url: URL | None = self.client.config.collection(self.name).with_query({"limit": self.limit, "count": "true"})
        taking: asyncio.Task[None] | None = None
        try:
            while url is not None:
                if url in self.asked:
                    raise endless(self.name)
                self.asked.add(url)
                page = await self.client.page(url, self.name, self.limit)
                self._note(page)
                if taking is not None:
                    await taking
                # The next page is on its way while this one is mapped.
                taking = asyncio.create_task(asyncio.to_thread(self.sink.take, page.objects)) if page.objects else None
                url = page.following if page.objects else None
            if taking is not None:
                await taking
        finally:
            if taking is not None and not taking.done():
                await asyncio.gather(taking, return_exceptions=True)
        if self.found.total is None:
            self.found.steady = False  # only a second walk can show that this one saw everything
        return self.found

    def _note(self, page: Page) -> None:
        """Looks at the ids of a page. Raises ConnectorError."""
        found, most = self.found, self.client.context.limits.rows
        if page.total is not None:
            found.steady = found.steady and found.total in {None, page.total}
            found.total = page.total
        keys = [one.get("id") for one in page.objects]
        if keys and keys == self.keys:
            raise repeated(self.name)
        self.keys = keys
        named = [key for key in keys if isinstance(key, str)]
        ascending = all(a < b for a, b in zip([self.last, *named], named, strict=False))
        found.steady = found.steady and ascending and len(named) == len(keys)
        self.last = named[-1] if named else self.last
        found.note(keys)
        if found.count > most:
            raise too_many(most, self.name)
