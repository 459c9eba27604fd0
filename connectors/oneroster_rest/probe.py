"""A try of the connection: what works, what does not, and what a person has to do about it, in plain words."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta

from yarl import URL

from connectors import probing
from connectors.client import NotUnderstoodError
from connectors.http import Web
from connectors.oneroster_rest.client import Client, Page
from connectors.oneroster_rest.config import ClassLink, OAuth2, OneRosterRestConfig
from connectors.oneroster_rest.mapping import Members
from connectors.probing import FINAL, PATIENCE_SECONDS, Sample
from connectors.protocol import ConnectorError, Found, SourceContext
from transforms.catalogue import BASE_NAMES, Entity, Need

SAMPLE_ROWS, LARGE_ROWS = 5, 200
_SILENT = "everything is pulled each time"
_WRONG = "Pulls go by its clock; signatures of OAuth 1 may fail."


async def probe(context: SourceContext, config: OneRosterRestConfig, web: Web) -> list[Found]:
    """Reaches the servers, logs in and asks for a few objects of each entity. Never raises ConnectorError."""
    tokens = [config.login.token_url] if isinstance(config.login, OAuth2) else []
    found = await probing.greeted(web, [config.url, *tokens], context.now())
    if not probing.works(found):
        return found
    try:
        client = await Client.of(context, config, web)
        client.tries = 1  # whoever waits for the answer tries again themselves
        await client.login.headers("GET", URL(config.url))
    except ConnectorError as error:
        step = "connection" if error.code in FINAL - {"no_secret"} else "login"
        return [*found, Found(step, "bad", error.message), *_where(config)]
    if URL(client.url).origin() != URL(config.url).origin():  # what a partner's key leads to
        found += await probing.greeted(web, [client.url], context.now())
    trying = _Trying(client)
    entities = await trying.entities()
    login = trying.login()
    clock = probing.clock(client.started, context.now(), _SILENT, _WRONG)
    found += [login, clock, *entities, *await trying.elsewhere(), *await trying.rest()]
    return found + (_where(config) if trying.codes or trying.none else [])


def _where(config: OneRosterRestConfig) -> list[Found]:
    """Where the district's staff looks when something is refused or missing."""
    note = config.vendor.note
    return [Found("where to look", "warning", note)] if note else []


@dataclass
class _Trying:
    """What is seen of the entities. ``codes``: of those that failed. ``none``: whether one of them has no objects."""

    client: Client
    counts: dict[str, int | None] = field(default_factory=dict)
    samples: dict[str, Sample] = field(default_factory=dict)
    codes: list[str] = field(default_factory=list)
    none: bool = False
    begun: float = field(default_factory=time.monotonic)

    async def entities(self) -> list[Found]:
        """A few objects of each entity, as far as there is use in asking."""
        found: list[Found] = []
        for entity in self.client.config.pulled():
            if self.late():
                found.append(probing.not_tried(entity.name))
                continue
            found.append(await self._entity(entity))
            if self.codes and self.codes[-1] in FINAL:
                break
        return found

    def late(self) -> bool:
        """Whether whoever asked has waited long enough."""
        return time.monotonic() - self.begun > PATIENCE_SECONDS

    def login(self) -> Found:
        """Whether the login is accepted, by what became of the entities."""
        refused = self.codes.count("login_refused")
        if refused and not self.counts and refused == len(self.codes):
            text = "The system does not accept the login (HTTP 401). Check credentials and scopes."
            return Found("login", "bad", text)
        if not self.counts and not isinstance(self.client.config.login, OAuth2 | ClassLink):
            return Found("login", "warning", "Nothing can be said of the login, since nothing could be read.")
        return Found("login", "good", "The system accepts the login.")

    async def _entity(self, entity: Entity) -> Found:
        url = self.client.collection(entity).with_query({"limit": str(SAMPLE_ROWS), "offset": "0"})
        try:
            page = await self._page(url, entity.name, SAMPLE_ROWS)
        except NotUnderstoodError:
            self.codes.append("query_refused")
            return Found(entity.name, "bad", "The system does not understand the request (HTTP 400).")
        except ConnectorError as error:
            self.codes.append(error.code)
            return Found(entity.name, "bad", error.message)
        config = self.client.config
        self.counts[entity.name] = page.total if config.totals == "trusted" else None
        self.none = self.none or not page.objects
        return _told(entity, page, config, self.samples[entity.name].seconds)

    async def elsewhere(self) -> list[Found]:
        """Where the collections are, when there are none at the address that was tried."""
        if not self.codes or set(self.codes) != {"not_found"} or self.counts or self.late():
            return []
        entity = self.client.config.pulled()[0]
        for url in self.client.config.elsewhere(entity):
            try:
                await self._page(url.with_query({"limit": "2", "offset": "0"}), entity.name, 2)
            except (ConnectorError, NotUnderstoodError):
                continue
            return [Found("address", "bad", f"The system has them at another address: set url to {url.parent}.")]
        return []

    async def _page(self, url: URL, name: str, rows: int) -> Page:
        begun = time.monotonic()
        self.client.revision = None  # one page need not be of the same state of the data as another
        page = await self.client.page(url, name, rows)
        self.samples[name] = Sample(len(page.objects), page.size, time.monotonic() - begun)
        return page

    async def rest(self) -> list[Found]:
        """Whether changes can be asked for, and what a whole pull costs: both by the largest entity."""
        known = {name: count for name, count in self.counts.items() if count}
        if not known or self.late() or any(code in FINAL for code in self.codes):
            return []
        largest = max(self.client.config.pulled(), key=lambda entity: known.get(entity.name, 0))
        try:
            found = [await self._changes(largest)] if self.client.config.changes else []
            return [*found, *await self._whole(largest, known)]
        except (ConnectorError, NotUnderstoodError):
            return []  # it gave a page before: what is wrong now is no matter of the configuration

    async def _changes(self, entity: Entity) -> Found:
        """Nothing can have changed in two days' time: what comes all the same was not filtered."""
        later = (self.client.started or self.client.context.now()) + timedelta(days=2)
        asked = {"limit": "2", "offset": "0", "filter": f"dateLastModified>'{later:%Y-%m-%dT%H:%M:%S}.000Z'"}
        self.client.revision = None
        try:
            page = await self.client.page(self.client.collection(entity).with_query(asked), entity.name, 2)
        except NotUnderstoodError:
            text = "The system refuses to say what changed (no filter by dateLastModified): all is pulled each time."
            return Found("changes", "warning", text)
        if page.objects:
            text = "The system ignores the question what changed (filter by dateLastModified): all is pulled each time."
            return Found("changes", "warning", text)
        return Found("changes", "good", "The system can say what changed: nothing new costs a request for each entity.")

    async def _whole(self, entity: Entity, known: Mapping[str, int]) -> list[Found]:
        if set(known) | {name for name, count in self.counts.items() if count == 0} < set(self.counts):
            return []  # not all are counted
        config, small = self.client.config, self.samples[entity.name]
        rows = min(LARGE_ROWS, config.rows)
        url = self.client.collection(entity).with_query({"limit": str(rows), "offset": "0"})
        await self._page(url, entity.name, rows)
        requests = sum(-(-count // config.rows) for count in known.values())
        return [probing.whole(sum(known.values()), requests, small, self.samples[entity.name])]


def _told(entity: Entity, page: Page, config: OneRosterRestConfig, seconds: float) -> Found:
    if not page.objects:
        text = "There are none. If the system has some, permit the credentials to read them (schools, terms, years)."
        return Found(entity.name, "warning", text)
    known = config.totals == "trusted" and page.total is not None
    count = f"{page.total:,} objects" if known else "An unknown number of objects, since the system does not count them"
    texts = [f"{count}; {len(page.objects)} of them came in {seconds:.1f} s."]
    if known and (pages := -(-(page.total or 0) // config.rows)) > 1:
        texts.append(f"A whole pull asks {pages:,} times.")
    members, good = Members(page.objects), known
    undated = sum(value is None for value in members.of("dateLastModified"))
    if undated and config.changes:
        texts.append("They have no dateLastModified, so all of them are pulled each time.")
        good = False
    if missing := _missing(entity, config, members):
        texts.append(f"None of these has {', '.join(missing)}, which OneRoster requires.")
        good = False
    return Found(entity.name, "good" if good else "warning", " ".join(texts))


def _missing(entity: Entity, config: OneRosterRestConfig, members: Members) -> list[str]:
    """The members that the standard requires and that no object of a sample has."""
    required = [
        item.name for item in entity.csv_columns(config.version)
        if item.stored and item.name not in BASE_NAMES and item.rest_need(config.version) is Need.REQUIRED
    ]  # fmt: skip
    return [name for name in required if all(value in (None, "", []) for value in members.of(name))]
