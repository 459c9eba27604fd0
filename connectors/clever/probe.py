"""A try of the connection: what works, what does not, and what a person has to click at Clever, in plain words."""

from __future__ import annotations

import time

from yarl import URL

from connectors.clever import state
from connectors.clever.client import Client, Page, PageTooLargeError
from connectors.clever.config import CleverConfig
from connectors.clever.events import last_event
from connectors.client import NotUnderstoodError
from connectors.http import Web
from connectors.probing import FINAL, clock, not_logged_in, reached
from connectors.protocol import ConnectorError, Found, SourceContext

SAMPLE_ROWS = 5
COLLECTIONS = ("schools", "terms", "courses", "sections", "users")
_NEEDED = frozenset({"schools", "sections", "users"})
#: Errors of the district's state: the login works, and everything else may be tried.
_STATES = frozenset({"district_paused", "district_failed", "district_pending"})


async def probe(context: SourceContext, config: CleverConfig, web: Web) -> list[Found]:
    """Logs in and asks for a few objects of each collection. Never raises ConnectorError."""
    try:
        client = Client.of(context, config, web)
    except ConnectorError as error:
        return not_logged_in(error, config.url)
    try:
        client.tries = 1  # whoever waits for the answer tries again themselves
        await client.login.headers("GET", URL(config.url))
        await state.district(client)
        district = Found("district", "good", "The district's syncs run at Clever.")
    except ConnectorError as error:
        if error.code not in _STATES:
            return not_logged_in(error, config.url)
        district = Found("district", "bad", error.message)
    found = [await _collection(client, name) for name in COLLECTIONS]
    told = clock(client.started, context.now(), "the hub's clock counts", "Pulls go by its clock.")
    return [
        reached(config.url), Found("login", "good", "Clever accepts the token."), district, told, *found,
        await _events(client),
    ]  # fmt: skip


async def _collection(client: Client, name: str) -> Found:
    url = client.config.collection(name).with_query({"limit": str(SAMPLE_ROWS), "count": "true"})
    begun = time.monotonic()
    try:
        page = await client.page(url, name, SAMPLE_ROWS)
    except (NotUnderstoodError, PageTooLargeError):
        return Found(name, "bad", "Clever does not understand the request. Check the version.")
    except ConnectorError as error:
        return Found(name, "bad", error.message)
    return _told(client, name, page, time.monotonic() - begun)


def _told(client: Client, name: str, page: Page, seconds: float) -> Found:
    if not page.objects:
        text = "There are none. If the district has some, share them with the application in Clever's dashboard."
        return Found(name, "warning" if name in _NEEDED else "good", text)
    if page.total is None:
        text = "Clever does not count them, so they are read twice to be sure."
        return Found(name, "warning", text)
    pages = -(-page.total // client.config.page_rows)
    text = f"{page.total:,} objects; {len(page.objects)} of them came in {seconds:.1f} s."
    return Found(name, "good", f"{text} A whole pull asks {pages} times.")


async def _events(client: Client) -> Found:
    if not client.config.changes:
        return Found("events", "good", "The source does not ask for events: everything is pulled each time.")
    try:
        last = await last_event(client)
    except ConnectorError as error:
        return Found("events", "bad" if error.code in FINAL else "warning", error.message)
    if last is None:
        text = "Everything is pulled each time, since the application gets no events. Switch them on in the dashboard."
        return Found("events", "warning", text)
    return Found("events", "good", "Changes come as events.")
