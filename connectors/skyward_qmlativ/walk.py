"""All objects of one kind, with the proof that none was lost between pages.

Qmlativ counts nothing, and pages go by their numbers, so what changes meanwhile moves objects from page to page. What
comes in one page is whole; of more pages two walks in a row have to see the same ids.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
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

    def url(self, client: Client, kind: Kind, year: str | None, rows: int) -> URL:
        """The first page."""
        query = {f"searchFields[{place}]": name for place, name in enumerate(self.fields)}
        if kind.yearly and year is not None:
            query["SchoolYearID"] = year
        return client.path(kind, 1, rows).with_query(query)


async def table(client: Client, kind: Kind, asked: Asked, year: str | None) -> pl.DataFrame:
    """All objects, one row each by their key in ascending order; all columns of ``kind`` as String.

    Raises ConnectorError as ``Client.page`` and ``steadily`` do and besides (``endless``, ``too_many_rows``).
    """
    walking = _Walking(client, kind, asked, year)
    await steadily(walking.once, walking.pages.clear, kind.path)
    return await asyncio.to_thread(walking.table)


@dataclass
class _Walking:
    """The pages of the last walk."""

    client: Client
    kind: Kind
    asked: Asked
    year: str | None
    pages: list[pl.DataFrame] = field(default_factory=list)

    async def once(self) -> Walked:
        """Goes through all pages."""
        found, condition = Walked(), self.asked.condition(self.kind)
        url: URL | None = self.asked.url(self.client, self.kind, self.year, self.client.config.page_rows)
        seen: set[URL] = set()
        while url is not None:
            if url in seen:
                raise endless(self.kind.path)
            seen.add(url)
            page = await self.client.page(self.kind, url, self.asked.fields, condition)
            found.note([one.get(self.kind.key) for one in page.objects])
            if found.count > self.client.context.limits.rows:
                raise too_many(self.client.context.limits.rows, self.kind.path)
            await asyncio.to_thread(self._take, page.objects)
            url = page.following if page.objects else None
        found.steady = len(seen) == 1 and found.count > 0
        return found

    def _take(self, objects: Any) -> None:
        columns = (*self.kind.needed, *self.kind.useful)
        self.pages.append(pl.DataFrame(
            {name: [_cell(one.get(name)) for one in objects] for name in columns},
            schema=dict.fromkeys(columns, pl.String),
        ))  # fmt: skip

    def table(self) -> pl.DataFrame:
        """The rows: of those with one key the last."""
        rows = pl.concat(self.pages).filter(pl.col(self.kind.key).is_not_null())
        order = pl.col(self.kind.key).cast(pl.Int64, strict=False)
        return rows.unique(self.kind.key, keep="last", maintain_order=True).sort(order, self.kind.key)


def _cell(value: Any) -> str | None:
    if isinstance(value, str):
        return value.strip() or None
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value) if isinstance(value, int) else None
