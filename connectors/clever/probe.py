"""A try of the connection: what works, what does not, and what a person has to click at Clever, in plain words."""

from __future__ import annotations

import time
from dataclasses import dataclass, field

from yarl import URL

from connectors import probing
from connectors.clever import state
from connectors.clever.client import Client, Page, PageTooLargeError
from connectors.clever.config import Application, CleverConfig
from connectors.clever.events import last_event
from connectors.client import NotUnderstoodError
from connectors.http import Web
from connectors.probing import FINAL, PATIENCE_SECONDS, Sample
from connectors.protocol import ConnectorError, Found, SourceContext

SAMPLE_ROWS, LARGE_ROWS = 5, 200
COLLECTIONS = ("schools", "terms", "courses", "sections", "users")
_NEEDED = frozenset({"schools", "sections", "users"})
#: Errors of the district's state: the login works, and everything else may be tried.
_STATES = frozenset({"district_paused", "district_failed", "district_pending"})


async def probe(context: SourceContext, config: CleverConfig, web: Web) -> list[Found]:
    """Reaches Clever, logs in and asks for a few objects of each collection. Never raises ConnectorError."""
    tokens = [config.token_url] if isinstance(config.login, Application) else []
    found = await probing.greeted(web, [config.url, *tokens], context.now())
    if not probing.works(found):
        return found
    district = Found("district", "good", "The district's syncs run at Clever.")
    try:
        client = Client.of(context, config, web)
    except ConnectorError as error:
        return [*found, Found("login", "bad", error.message), _where(config)]
    client.tries = 1  # whoever waits for the answer tries again themselves
    try:
        await client.login.headers("GET", URL(config.url))
        await state.district(client)
    except ConnectorError as error:
        if error.code not in _STATES:
            step = "connection" if error.code in FINAL else "login"
            return [*found, Found(step, "bad", error.message), _where(config)]
        district = Found("district", "bad", error.message)
    trying = _Trying(client)
    collections = [await trying.collection(name) for name in COLLECTIONS]
    clock = probing.clock(client.started, context.now(), "the hub's clock counts", "Pulls go by its clock.")
    login = Found("login", "good", "Clever accepts the token.")
    found += [login, district, clock, *collections, await trying.events(), *await trying.whole()]
    return found if probing.works(found) else [*found, _where(config)]


def _where(config: CleverConfig) -> Found:
    """Where staff looks when something is refused or missing."""
    secret = (
        "its client id and secret stand in the developer dashboard"
        if isinstance(config.login, Application)
        else "the district's token stands there at the district's Overview"
    )
    text = (
        f"In Clever's developer dashboard, the application (Secure Sync): {secret}. A district administrator accepts "
        "it under Applications > Requests, and shares what is named above with it."
    )
    return Found("where to look", "warning", text)


@dataclass
class _Trying:
    """What is seen of the collections. ``counts``: of those that were counted."""

    client: Client
    counts: dict[str, int] = field(default_factory=dict)
    samples: dict[str, Sample] = field(default_factory=dict)
    begun: float = field(default_factory=time.monotonic)

    def late(self) -> bool:
        """Whether whoever asked has waited long enough."""
        return time.monotonic() - self.begun > PATIENCE_SECONDS

    async def collection(self, name: str) -> Found:
        """A few objects of one collection."""
        if self.late():
            return probing.not_tried(name)
        try:
            page = await self._page(name, SAMPLE_ROWS)
        except (NotUnderstoodError, PageTooLargeError):
            return Found(name, "bad", "Clever does not understand the request. Check the version.")
        except ConnectorError as error:
            return Found(name, "bad", error.message)
        if page.total is not None:
            self.counts[name] = page.total
        return self._told(name, page)

    async def _page(self, name: str, rows: int) -> Page:
        url = self.client.config.collection(name).with_query({"limit": str(rows), "count": "true"})
        begun = time.monotonic()
        page = await self.client.page(url, name, rows)
        self.samples[name] = Sample(len(page.objects), page.size, time.monotonic() - begun)
        return page

    def _told(self, name: str, page: Page) -> Found:
        if not page.objects:
            text = "There are none. If the district has some, share them with the application in Clever's dashboard."
            return Found(name, "warning" if name in _NEEDED else "good", text)
        if page.total is None:
            return Found(name, "warning", "Clever does not count them, so they are read twice to be sure.")
        text = f"{page.total:,} objects; {len(page.objects)} of them came in {self.samples[name].seconds:.1f} s."
        pages = -(-page.total // self.client.config.page_rows)
        return Found(name, "good", f"{text} A whole pull asks {pages:,} times." if pages > 1 else text)

    async def events(self) -> Found:
        """Whether what changed can be asked for."""
        if not self.client.config.changes:
            return Found("events", "good", "The source does not ask for events: everything is pulled each time.")
        if self.late():
            return probing.not_tried("events")
        try:
            last = await last_event(self.client)
        except ConnectorError as error:
            return Found("events", "bad" if error.code in FINAL else "warning", error.message)
        if last is None:
            text = "The application gets no events, so everything is pulled each time. Switch them on at Clever."
            return Found("events", "warning", text)
        return Found("events", "good", "Changes come as events.")

    async def whole(self) -> list[Found]:
        """What a pull of everything costs, by the users."""
        if self.counts.keys() != set(COLLECTIONS) or not self.counts["users"] or self.late():
            return []
        small, rows = self.samples["users"], min(LARGE_ROWS, self.client.config.page_rows)
        try:
            await self._page("users", rows)
        except (ConnectorError, NotUnderstoodError, PageTooLargeError):
            return []  # it gave a page before: what is wrong now is no matter of the configuration
        requests = sum(max(1, -(-count // self.client.config.page_rows)) for count in self.counts.values())
        return [probing.whole(sum(self.counts.values()), requests, small, self.samples["users"])]
