"""A try of the connection: what works, what does not, and what a person has to do about it, in plain words."""

from __future__ import annotations

import asyncio
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

import orjson
import polars as pl
from yarl import URL

from connectors import probing
from connectors.http import Web
from connectors.probing import FINAL, PATIENCE_SECONDS, Sample
from connectors.protocol import ConnectorError, Found, SourceContext
from connectors.skyward_qmlativ import mapping
from connectors.skyward_qmlativ.client import ACCESS, Client, Page
from connectors.skyward_qmlativ.config import BasicLogin, QmlativConfig
from connectors.skyward_qmlativ.objects import ENTITIES, YEARS, Kind
from connectors.skyward_qmlativ.pulling import current_year, wanted
from connectors.skyward_qmlativ.walk import Asked, table

SAMPLE_ROWS, LARGE_ROWS = 5, 200
_BASIC = "Key and secret go with each request. Skyward is ending this: make an Integration Access of the type Bearer."


async def probe(context: SourceContext, config: QmlativConfig, web: Web) -> list[Found]:
    """Reaches the servers, logs in and asks for a few of each kind of objects. Never raises ConnectorError."""
    basic = isinstance(config.login, BasicLogin)
    found = await probing.greeted(web, [config.url, *([] if basic else [config.tokens])], context.now())
    if not probing.works(found):
        return found
    try:
        client = Client.of(context, config, web)
        client.tries = 1  # whoever waits for the answer tries again themselves
        await client.login.headers("GET", URL(config.url))
        entities = await _table(client, ENTITIES)
    except ConnectorError as error:
        step = "connection" if error.code in FINAL - {"no_secret"} else "login"
        return [*found, Found(step, "bad", error.message), Found("where to look", "warning", ACCESS)]
    login = Found("login", "warning", _BASIC) if basic else Found("login", "good", "Qmlativ accepts the key.")
    clock = probing.clock(client.started, context.now(), "the hub's clock counts", "Pulls go by no clock.")
    own = mapping.orgs(mapping.entities(entities, str(config.entity)), str(config.entity))
    return [*found, login, clock, _entity(own["type"].to_list(), config), *await _objects(client)]


async def _table(client: Client, kind: Kind) -> pl.DataFrame:
    """All objects of a kind that has few. Raises ConnectorError."""
    with tempfile.TemporaryDirectory(dir=client.context.work_folder) as folder:
        found = await table(client, kind, await Asked.of(client, kind), None, Path(folder))
        return await asyncio.to_thread(found.read)


def _entity(types: list[str], config: QmlativConfig) -> Found:
    if "district" not in types:
        return Found("entity", "bad", f"Qmlativ lists no entity {config.entity}. {ACCESS}")
    schools = types.count("school")
    text = f"Entity {config.entity} is the district, with {schools} other entities as schools."
    return Found("entity", "good" if schools else "warning", text)


async def _objects(client: Client) -> list[Found]:
    """Fields and a few of each kind, as far as there is use in asking."""
    found: list[Found] = []
    try:
        year = current_year(await _table(client, YEARS), client)
    except ConnectorError as error:
        return [Found("school year", "bad", error.message)]
    found.append(Found("school year", "good", f"{year['Description'] or year['NumericYear']} is pulled."))
    trying = _Trying(client, year["SchoolYearID"])
    found += [probing.not_tried(one.path) if trying.late() else await trying.kind(one) for one in wanted(client)]
    if any(one.outcome == "bad" for one in found):
        return [*found, Found("where to look", "warning", ACCESS)]
    return [*found, *await trying.whole()]


@dataclass
class _Trying:
    """What is seen of the kinds of objects of one school year. ``more``: those of which there are more pages."""

    client: Client
    year: str | None
    samples: dict[Kind, Sample] = field(default_factory=dict)
    more: dict[Kind, Asked] = field(default_factory=dict)
    begun: float = field(default_factory=time.monotonic)

    def late(self) -> bool:
        """Whether whoever asked has waited long enough."""
        return time.monotonic() - self.begun > PATIENCE_SECONDS

    async def kind(self, kind: Kind) -> Found:
        """The fields and a few objects of one kind."""
        try:
            asked = await Asked.of(self.client, kind)
            page, sample = await self._page(kind, asked, SAMPLE_ROWS)
        except ConnectorError as error:
            return Found(kind.path, "bad", error.message)
        self.samples[kind] = sample
        if page.following:
            self.more[kind] = asked
        if asked.missing:
            text = (
                f"It has no {', '.join(asked.missing)}; the hub goes on without. Permit them if the district uses them."
            )
            return Found(kind.path, "warning", text)
        if not page.objects:
            return Found(kind.path, "warning", "There are none. If there should be some, permit the object.")
        more = " There are more pages: they are read twice to be sure." if page.following else ""
        return Found(kind.path, "good", f"{sample.rows} came in {sample.seconds:.1f} s.{more}")

    async def whole(self) -> list[Found]:
        """What a whole pull costs. Qmlativ counts nothing, so it is tried up to which page there is something."""
        rows, requests, size, seconds = 0, 0, 0.0, 0.0
        for kind, small in self.samples.items():
            count, large = small.rows, small
            if (asked := self.more.get(kind)) is not None:
                try:
                    count, large = await self._many(kind, asked)
                except ConnectorError:
                    return []  # it gave a page before: what is wrong now is no matter of the configuration
            if self.late():
                return [probing.not_tried("whole pull")]
            pages = max(1, -(-count // self.client.config.page_rows))
            reads = 1 if count and pages == 1 else 2  # what comes in one page is read once, unless there is nothing
            rows, requests = rows + count, requests + 1 + reads * pages
            size += reads * count * large.size / max(1, large.rows)
            seconds += small.seconds + reads * probing.taken(count, pages, small, large)
        return [probing.cost(rows, requests, size, seconds)]

    async def _many(self, kind: Kind, asked: Asked) -> tuple[int, Sample]:
        """About how many objects of a kind there are, and what a larger page of them costs."""

        async def there(number: int) -> bool:
            return not self.late() and bool((await self._page(kind, asked, 1, number))[0].objects)

        page, large = await self._page(kind, asked, LARGE_ROWS)
        return await probing.many(there, large.rows) if page.following else large.rows, large

    async def _page(self, kind: Kind, asked: Asked, rows: int, number: int = 1) -> tuple[Page, Sample]:
        begun = time.monotonic()
        url = asked.url(self.client, kind, self.year, rows, number)
        page = await self.client.page(kind, url, asked.fields, asked.condition(kind))
        seconds = time.monotonic() - begun
        return page, Sample(len(page.objects), len(orjson.dumps(page.objects)), seconds)
