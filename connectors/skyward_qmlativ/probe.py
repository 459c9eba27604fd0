"""A try of the connection: what works, what does not, and what a person has to do about it, in plain words."""

from __future__ import annotations

import asyncio
import tempfile
import time
from pathlib import Path

import polars as pl
from yarl import URL

from connectors import probing
from connectors.http import Web
from connectors.probing import FINAL
from connectors.protocol import ConnectorError, Found, SourceContext
from connectors.skyward_qmlativ import mapping
from connectors.skyward_qmlativ.client import ACCESS, Client
from connectors.skyward_qmlativ.config import BasicLogin, QmlativConfig
from connectors.skyward_qmlativ.objects import ENTITIES, YEARS, Kind
from connectors.skyward_qmlativ.pulling import current_year, wanted
from connectors.skyward_qmlativ.walk import Asked, table

SAMPLE_ROWS = 5
#: After so long no more is asked for: whoever waits for the answer gets what is known by then.
PATIENCE_SECONDS, REQUEST_SECONDS = 35.0, 15.0
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
    begun, refused = time.monotonic(), False
    for kind in wanted(client):
        if time.monotonic() - begun > PATIENCE_SECONDS:
            found.append(Found(kind.path, "warning", "Not tried, since Qmlativ is slow. Try it later."))
            continue
        found.append(await _kind(client, kind, year["SchoolYearID"]))
        refused = refused or found[-1].outcome == "bad"
    return [*found, Found("where to look", "warning", ACCESS)] if refused else found


async def _kind(client: Client, kind: Kind, year: str | None) -> Found:
    begun = time.monotonic()
    try:
        asked = await Asked.of(client, kind)
        url = asked.url(client, kind, year, SAMPLE_ROWS)
        page = await client.page(kind, url, asked.fields, asked.condition(kind))
    except ConnectorError as error:
        return Found(kind.path, "bad", error.message)
    seconds = time.monotonic() - begun
    if asked.missing:
        text = f"It has no {', '.join(asked.missing)}; the hub goes on without. Permit them if the district uses them."
        return Found(kind.path, "warning", text)
    if not page.objects:
        return Found(kind.path, "warning", "There are none. If there should be some, permit the object.")
    more = " There are more pages: they are read twice to be sure." if page.following else ""
    return Found(kind.path, "good", f"{len(page.objects)} came in {seconds:.1f} s.{more}")
