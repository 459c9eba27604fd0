"""A try of the connection: what works, what the plugin may read, and what a person has to click, in plain words."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from typing import Any

from connectors import probing
from connectors.client import NotUnderstoodError
from connectors.http import Web
from connectors.powerschool import mapping, queries
from connectors.powerschool.client import USUAL_PAGE_ROWS, Client
from connectors.powerschool.config import PowerSchoolConfig
from connectors.powerschool.pulling import first_year
from connectors.powerschool.queries import Query, pack
from connectors.powerschool.walk import table
from connectors.probing import FINAL, PATIENCE_SECONDS, Sample
from connectors.protocol import ConnectorError, Found, SourceContext
from connectors.walking import side_by_side

SAMPLE_ROWS, LARGE_ROWS = 5, 200
#: Where districts have been seen to keep the e-mail addresses of students.
_MAIL_TABLES = ("students", "u_studentsuserfields", "studentcorefields", "psm_studentcontact")
_INSTALL = (
    "Make the plugin anew for the source's options (hub source kit powerschool), then in PowerSchool open System > "
    "System Settings > Plugin Management Configuration, choose Update for RosterHub, and enable it again."
)
_WHERE = (
    "In PowerSchool: System > System Settings > Plugin Management Configuration > RosterHub. The plugin must be "
    "enabled; its Data Provider Configuration shows client id and secret."
)


async def probe(context: SourceContext, config: PowerSchoolConfig, web: Web) -> list[Found]:
    """Logs in, asks what the plugin may read, and for a few rows of each query. Never raises ConnectorError."""
    found = await probing.greeted(web, [config.url], context.now())
    if not probing.works(found):
        return found
    try:
        client = Client.of(context, config, web)
        client.tries = 1  # whoever waits for the answer tries again themselves
        await client.login.headers("GET", config.at("/"))
    except ConnectorError as error:
        step = "connection" if error.code in FINAL - {"no_secret"} else "login"
        return [*found, Found(step, "bad", error.message), Found("where to look", "warning", _WHERE)]
    found.append(Found("login", "good", "PowerSchool accepts the plugin's credentials."))
    try:
        now = await client.time()
        clock = probing.clock(now, context.now(), "the hub's clock counts", "School years go by its clock.")
        found += [clock, await _plugin(client)]
        found += await _permissions(client)
        trying = _Trying(client)
        found += await trying.queries(now)
        found.append(await _versions(client))
        found += await trying.whole()
        if config.student_email is None:
            found.append(await _mail(client))
    except ConnectorError as error:
        found.append(Found(error.code, "bad", error.message))
    return found


async def _plugin(client: Client) -> Found:
    rows = await client.rows()
    text = f"Pages have {rows:,} rows."
    if rows == client.ceiling and rows <= USUAL_PAGE_ROWS:
        text += (
            " A larger maximum makes pulls faster: Plugin Management Configuration > RosterHub > Data Configuration."
        )
    return Found("pages", "good", text)


async def _permissions(client: Client) -> list[Found]:
    """One finding for each table of which something may not be read, or one that all is well."""
    wanted: dict[str, set[str]] = {}
    for name, column in sorted({pair for query in pack(client.config.options()) for pair in query.fields}):
        wanted.setdefault(name, set()).add(column)
    asks = [partial(_permitted, client, name, fields) for name, fields in wanted.items()]
    found = [one async for one in side_by_side(asks, client.config.at_once) if one is not None]
    return found or [Found("permissions", "good", f"The plugin may read all that it needs of {len(wanted)} tables.")]


async def _permitted(client: Client, name: str, fields: set[str]) -> Found | None:
    step = f"permissions of {name.upper()}"
    try:
        access = await client.access(name)
    except NotUnderstoodError:
        return Found(step, "warning", "PowerSchool does not say what the plugin may read (HTTP 400).")
    except ConnectorError as error:
        if error.code == "not_found":
            return Found(step, "bad", f"PowerSchool has no table {name.upper()}. Mend student_email, if it names it.")
        if error.code == "not_permitted":
            return Found(step, "warning", f"PowerSchool does not say what the plugin may read of it. {_INSTALL}")
        raise
    missing = sorted(field.upper() for field in fields if not access.get(field, False))
    if not missing:
        return None
    return Found(step, "bad", f"The plugin may not read {', '.join(missing)}. {_INSTALL}")


@dataclass
class _Trying:
    """What is seen of the queries. ``counts``: rows by name; ``samples``: what a few of them cost."""

    client: Client
    arguments: dict[str, Any] = field(default_factory=dict)
    counts: dict[str, int] = field(default_factory=dict)
    samples: dict[str, Sample] = field(default_factory=dict)
    refused: bool = False
    begun: float = field(default_factory=time.monotonic)

    async def queries(self, now: datetime) -> list[Found]:
        """A count and a few rows of each query."""
        config, found = self.client.config, []
        self.arguments = {"statuses": list(config.enroll_status), "firstyear": first_year(now)}
        try:
            terms = await table(self.client, queries.TERMS, {"firstyear": first_year(now)})
            years = mapping.years(terms, now.date(), config.year_days)
            if not years.ids:
                found.append(Found("years", "bad", "There are no terms. Set up the years and terms of the schools."))
            self.arguments |= years.terms
        except ConnectorError as error:
            self.refused = True
            return [Found("terms", "bad", error.message)]
        asks = [partial(self._query, query) for query in pack(config.options())]
        return [*found, *[one async for one in side_by_side(asks, config.at_once)]]

    def _of(self, query: Query) -> Mapping[str, Any]:
        return {name: self.arguments[name] for name in query.arguments}

    async def _query(self, query: Query) -> Found:
        client, arguments = self.client, self._of(query)
        try:
            count = await client.count(query, arguments)
            await self._sample(query, SAMPLE_ROWS)
            await client.seal(query, arguments)
            await client.page(query.keys, arguments, 1, SAMPLE_ROWS)
        except ConnectorError as error:
            self.refused = True
            return Found(query.name, "bad", error.message)
        self.counts[query.name] = count
        if not count:
            return Found(query.name, "warning", "There are none.")
        sample, pages = self.samples[query.name], -(-count // await client.rows())
        text = f"{count:,} rows; {sample.rows} of them came in {sample.seconds:.1f} s. A whole pull asks "
        return Found(query.name, "good", f"{text}{pages + 2:,} times.")

    async def _sample(self, query: Query, rows: int) -> None:
        begun = time.monotonic()
        page = await self.client.page(query, self._of(query), 1, rows)
        self.samples[query.name] = Sample(page.rows.height, page.size, time.monotonic() - begun)

    async def whole(self) -> list[Found]:
        """What a pull of everything costs, by the query with the most rows."""
        if self.refused or not any(self.counts.values()) or time.monotonic() - self.begun > PATIENCE_SECONDS:
            return []
        rows = await self.client.rows()
        largest = max(pack(self.client.config.options()), key=lambda query: self.counts[query.name])
        small = self.samples[largest.name]
        try:
            await self._sample(largest, min(LARGE_ROWS, rows))
        except ConnectorError:
            return []  # it gave a page before: what is wrong now is no matter of the configuration
        # Each query is counted before it is read, and sealed afterwards.
        requests = sum(2 + -(-count // rows) for count in self.counts.values())
        return [probing.whole(sum(self.counts.values()), requests, small, self.samples[largest.name])]


async def _versions(client: Client) -> Found:
    name = client.config.data_version
    if name is None:
        return Found("changes", "good", "All is pulled each time, since the source has no data_version.")
    if await client.version(queries.SCHOOLS, {}) is not None:
        return Found("changes", "good", "PowerSchool tells what changed.")
    text = f"PowerSchool has no data version subscription of the name {name}, so all is pulled each time."
    return Found("changes", "warning", text)


async def _mail(client: Client) -> Found:
    """Where the e-mail addresses of students may be."""
    places = []
    for name in _MAIL_TABLES:
        try:
            fields = await client.access(name)
        except (NotUnderstoodError, ConnectorError):
            continue
        places += [f"{name}.{field}" for field in sorted(fields) if "mail" in field]
    where = f" Fields that may hold them: {', '.join(places)}." if places else ""
    text = f"Students have no e-mail addresses. Set student_email, and make the plugin anew.{where}"
    return Found("student_email", "warning", text)
