"""A try of the connection: what works, what does not, and what a person has to do about it, in plain words."""

from __future__ import annotations

import time
from datetime import timedelta

from yarl import URL

from connectors.client import NotUnderstoodError
from connectors.http import Web
from connectors.oneroster_rest.client import Client, Page
from connectors.oneroster_rest.config import OneRosterRestConfig
from connectors.oneroster_rest.mapping import Members
from connectors.protocol import ConnectorError, Found, SourceContext
from transforms.catalogue import Entity

SAMPLE_ROWS = 5
_SKEW = timedelta(minutes=5)
#: Errors after which nothing else can work.
_FINAL = frozenset({"address_blocked", "host_unknown", "not_connected", "tls_failed", "timed_out", "no_secret"})


async def probe(context: SourceContext, config: OneRosterRestConfig, web: Web) -> list[Found]:
    """Logs in and asks for a few objects of each entity. Never raises ConnectorError."""
    found: list[Found] = []
    try:
        client = await Client.of(context, config, web)
        client.tries = 1  # whoever waits for the answer tries again themselves
        await client.login.headers("GET", URL(config.url))
    except ConnectorError as error:
        reached = [] if error.code in _FINAL else [Found("connection", "good", "The system can be reached.")]
        step = "connection" if error.code in _FINAL else "login"
        return [*reached, Found(step, "bad", error.message)]
    for entity in config.pulled():
        one, final = await _entity(client, entity)
        found.append(one)
        if final:
            return found
    how = "encrypted" if config.url.startswith("https:") else "not encrypted"
    outcome = "good" if config.url.startswith("https:") else "warning"
    return [
        Found("connection", "good" if outcome == "good" else "warning", f"The system can be reached, {how}."),
        Found("login", "good", "The system accepts the login."), _clock(client), *found,
    ]  # fmt: skip


async def _entity(client: Client, entity: Entity) -> tuple[Found, bool]:
    """What one entity gives, and whether there is no use in asking for others."""
    config = client.config
    url = client.collection(entity).with_query({"limit": str(SAMPLE_ROWS), "offset": "0"})
    begun = time.monotonic()
    try:
        page = await client.page(url, entity.name, SAMPLE_ROWS)
    except NotUnderstoodError:
        return Found(entity.name, "bad", "The system does not understand the request (HTTP 400)."), False
    except ConnectorError as error:
        return Found(entity.name, "bad", error.message), error.code in _FINAL
    return _told(entity, page, config, time.monotonic() - begun), False


def _told(entity: Entity, page: Page, config: OneRosterRestConfig, seconds: float) -> Found:
    if not page.objects:
        text = "There are none. If the system has some, permit the credentials to read them (schools, terms, years)."
        return Found(entity.name, "warning", text)
    known = config.totals == "trusted" and page.total is not None
    count = f"{page.total:,} objects" if known else "An unknown number of objects, since the system does not count them"
    text = f"{count}; {len(page.objects)} of them came in {seconds:.1f} s."
    if known:
        pages = -(-(page.total or 0) // config.rows)
        text += f" A whole pull asks {max(pages, 1)} times."
    undated = sum(value is None for value in Members(page.objects).of("dateLastModified"))
    if undated and config.changes:
        text += " They have no dateLastModified, so all of them are pulled each time."
    return Found(entity.name, "warning" if (undated and config.changes) or not known else "good", text)


def _clock(client: Client) -> Found:
    if client.started is None:
        text = "The system does not tell the time (no Date header), so everything is pulled each time."
        return Found("clock", "warning", text)
    skew = client.started - client.context.now()
    if abs(skew) < _SKEW:
        return Found("clock", "good", "The system's clock is right.")
    minutes = round(abs(skew).total_seconds() / 60)
    side = "ahead" if skew > timedelta(0) else "behind"
    text = f"The system's clock is {minutes} minutes {side}. Pulls go by its clock; signatures of OAuth 1 may fail."
    return Found("clock", "warning", text)
