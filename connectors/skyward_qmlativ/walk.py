"""All objects of one kind, with the proof that none was lost between pages.

Qmlativ counts nothing, and pages go by their numbers, so what changes meanwhile moves objects from page to page. What
comes in one page is whole; of more pages two walks in a row have to see the same ids.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import polars as pl
from yarl import URL

from connectors.protocol import ConnectorError, Intent
from connectors.skyward_qmlativ.client import Client
from connectors.skyward_qmlativ.objects import Kind
from connectors.walking import Walked, endless, steadily, too_many


@dataclass
class Asked:
    """What is asked of a kind of objects. ``missing``: useful fields that it does not have."""

    fields: list[str]
    missing: list[str]
    only: bool

    @classmethod
    async def of(cls, client: Client, kind: Kind) -> Asked:
        """What a kind has of what is wanted. Raises ConnectorError (``no_field``)."""
        there = await client.fields(kind)
        if lacks := [name for name in kind.needed if name not in there]:
            text = (
                f"{kind.path} has no {', '.join(lacks)}. Permit the field to the Integration Access; if this Qmlativ "
                "calls it otherwise, the connector has to be changed."
            )
            raise ConnectorError("no_field", text, intent=Intent.ASK_HUMAN)
        useful = [name for name in kind.useful if name in there]
        missing = [name for name in kind.useful if name not in there]
        return cls([*kind.needed, *useful], missing, kind.only is not None and kind.only in there)

    def condition(self, kind: Kind) -> Mapping[str, Any] | None:
        """Which objects are asked for."""
        return {"ConditionType": "Equal", "FieldName": kind.only, "Value": 1} if self.only else None

    def url(self, client: Client, kind: Kind, year: str | None, rows: int, page: int = 1) -> URL:
        """A page, the first one unless said otherwise."""
        query = {f"searchFields[{place}]": name for place, name in enumerate(self.fields)}
        if kind.yearly and year is not None:
            query["SchoolYearID"] = year
        return client.path(kind, page, rows).with_query(query)


@dataclass
class Table:
    """All objects of one kind, on disk: one file for each page. ``rows``: how many there are."""

    kind: Kind
    folder: Path
    files: list[Path] = field(default_factory=list)
    rows: int = 0

    def begin_again(self) -> None:
        """Forgets everything."""
        for file in self.files:
            file.unlink()
        self.files, self.rows = [], 0

    def add(self, objects: Sequence[Mapping[str, Any]]) -> None:
        """Adds a page. Writes to disk: call it in a thread."""
        columns = (*self.kind.needed, *self.kind.useful)
        cells = {name: [_cell(one.get(name)) for one in objects] for name in columns}
        self.files.append(self.folder / f"{self.kind.module}-{self.kind.name}-{len(self.files)}.arrow")
        pl.DataFrame(cells, schema=dict.fromkeys(columns, pl.String)).write_ipc(self.files[-1])
        self.rows += len(objects)

    def read(self, *columns: str, part: Part | None = None) -> pl.DataFrame:
        """Rows by their key in ascending order, of those with one key the last; some columns, or all.

        Reads from disk, and takes processor time: call it in a thread.
        """
        wanted = [*dict.fromkeys((self.kind.key, *(columns or (*self.kind.needed, *self.kind.useful))))]
        empty = pl.DataFrame(schema=dict.fromkeys(wanted, pl.String))
        kept = pl.lit(value=True) if part is None else part.has()
        pages = (pl.read_ipc(file).filter(kept).select(wanted) for file in self.files)
        rows = pl.concat([empty, *pages]).filter(pl.col(self.kind.key).is_not_null())
        order = pl.col(self.kind.key).cast(pl.Int64, strict=False)
        return rows.unique(self.kind.key, keep="last", maintain_order=True).sort(order, self.kind.key)


@dataclass(frozen=True, slots=True)
class Part:
    """A part of all rows, by an id in them, so that no more than these stand in memory while tables are joined."""

    by: str
    number: int
    of: int

    def has(self) -> pl.Expr:
        """Which rows are in the part; ids that are no numbers are all in the first."""
        return pl.col(self.by).cast(pl.Int64, strict=False).fill_null(0) % self.of == self.number


async def table(client: Client, kind: Kind, asked: Asked, year: str | None, folder: Path) -> Table:
    """All objects, with all columns of ``kind`` as String.

    Raises ConnectorError as ``Client.page`` and ``steadily`` do and besides (``endless``, ``too_many_rows``).
    """
    found = Table(kind, folder)
    await steadily(lambda: _walked(client, asked, year, found), found.begin_again, kind.path)
    return found


async def _walked(client: Client, asked: Asked, year: str | None, into: Table) -> Walked:
    """Goes through all pages."""
    kind, found, condition = into.kind, Walked(), asked.condition(into.kind)
    url: URL | None = asked.url(client, kind, year, client.config.page_rows)
    seen: set[URL] = set()
    while url is not None:
        if url in seen:
            raise endless(kind.path)
        seen.add(url)
        page = await client.page(kind, url, asked.fields, condition)
        found.note([one.get(kind.key) for one in page.objects])
        if found.count > client.context.limits.rows:
            raise too_many(client.context.limits.rows, kind.path)
        await asyncio.to_thread(into.add, page.objects)
        url = page.following if page.objects else None
    found.steady = len(seen) == 1 and found.count > 0
    return found


def _cell(value: Any) -> str | None:
    if isinstance(value, str):
        return value.strip() or None
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value) if isinstance(value, int) else None
