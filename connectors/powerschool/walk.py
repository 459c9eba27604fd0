"""Walks through the pages of PowerQueries, with the proof that nothing was lost on the way.

All rows: the server counts them, pages come side by side, and at the end a seal is asked for: how many rows there are
now, and the sum of their keys. A row that moved from one page to another, or came and went meanwhile, shows in one of
the two. Changes: one page is one answer and so whole; several count where the count stayed, no row came twice, and
nothing else changed since the first page.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import polars as pl

from connectors.powerschool.client import Client, Page
from connectors.powerschool.queries import Query
from connectors.walking import WALKS, Walked, side_by_side, steadily, too_many

#: Of more rows that changed all are pulled instead: they are not kept in memory.
MOST_CHANGES = 50_000
Arguments = Mapping[str, Any]
Take = Callable[[pl.DataFrame], None]


class NoVersionsError(Exception):
    """The server does not say what changed."""


@dataclass(frozen=True)
class Leg:
    """One query of a walk. ``take`` gets its pages, in a thread. ``keys``: those alone, and what decides about rows."""

    query: Query
    arguments: Arguments
    take: Take
    keys: bool = False


async def whole(client: Client, legs: Sequence[Leg], begin_again: Callable[[], None], what: str) -> Walked:
    """All rows of some queries, one after the other, which begin again together. Raises ConnectorError."""

    async def once() -> Walked:
        found = Walked(total=0)
        for leg in legs:
            await _leg(client, leg, found)
        return found

    return await steadily(once, begin_again, what)


async def table(client: Client, query: Query, arguments: Arguments) -> pl.DataFrame:
    """All rows of a query that has few. Raises ConnectorError."""
    frames: list[pl.DataFrame] = []
    await whole(client, [Leg(query, arguments, frames.append)], frames.clear, query.name)
    rows = pl.concat([pl.DataFrame(schema=dict.fromkeys(query.columns, pl.String)), *frames])
    return rows.unique(list(query.key), keep="last", maintain_order=True)


async def _leg(client: Client, leg: Leg, found: Walked) -> None:
    query, arguments = leg.query, leg.arguments
    before, count = await client.count(query, arguments), 0
    checksum = 0
    async for page in _pages(client, query.keys if leg.keys else query, arguments, before):
        checksum += await asyncio.to_thread(_note, page.rows, query, found)
        count += page.rows.height
        if found.count > client.context.limits.rows:
            raise too_many(client.context.limits.rows, query.name)
        await asyncio.to_thread(leg.take, page.rows)
    total, seal = await client.seal(query, arguments)
    found.total = (found.total or 0) + total
    found.steady = found.steady and before == total == count and checksum == seal


def _note(rows: pl.DataFrame, query: Query, found: Walked) -> int:
    """Remembers the keys of a page; their sum."""
    key = rows.select(pl.concat_str(pl.lit(query.name), *query.key, separator=" "), *query.key[:1])
    found.note(key.to_series(0).to_list())
    return int(key.to_series(1).cast(pl.Int64, strict=False).sum())


async def _pages(client: Client, query: Query, arguments: Arguments, count: int) -> AsyncIterator[Page]:
    """All pages. The first one shows how many rows a page really has, should the server give fewer than asked for."""
    size = await client.rows()
    first = await client.page(query, arguments, 1, size)
    yield first
    size = min(size, first.rows.height) or size
    more = range(2, -(-count // size) + 1)
    asks = ((lambda number=number: client.page(query, arguments, number, size)) for number in more)
    async for page in side_by_side(asks, client.config.at_once):
        yield page


@dataclass
class Changes:
    """What a walk through changes brought. ``version``: that of the data when it began."""

    version: int
    frames: list[pl.DataFrame] = field(default_factory=list)

    def rows(self, query: Query) -> pl.DataFrame:
        """All of it, each row once."""
        rows = pl.concat([pl.DataFrame(schema=dict.fromkeys(query.columns, pl.String)), *self.frames])
        return rows.unique(list(query.key), keep="last", maintain_order=True)


async def changed(client: Client, query: Query, arguments: Arguments, since: int) -> Changes | None:
    """The rows that changed since a version; None where they are so many, or move so much, that all are better pulled.

    Raises ConnectorError, and NoVersionsError.
    """
    asked = {**arguments, **client.since(since)}
    for _ in range(WALKS):
        found, moved = await _changed(client, query, asked, arguments)
        if not moved:
            return found
    return None


async def _changed(client: Client, query: Query, asked: Arguments, arguments: Arguments) -> tuple[Changes | None, bool]:
    """One walk, and whether something moved meanwhile."""
    size = await client.rows()
    first = await client.page(query, asked, 1, size)
    if first.version is None:
        raise NoVersionsError
    found = Changes(first.version, [first.rows])
    if not first.rows.height:
        return found, False
    count = await client.count(query, asked)
    if count > MOST_CHANGES:
        return None, False
    if first.rows.height == count:
        return found, False
    size = first.rows.height
    for number in range(2, -(-count // size) + 1):
        found.frames.append((await client.page(query, asked, number, size)).rows)
    again = await client.count(query, asked)
    joined = await client.count(query, {**arguments, **client.since(found.version)})
    seen = sum(one.height for one in found.frames)
    return found, not (again == count == seen == found.rows(query).height and not joined)
