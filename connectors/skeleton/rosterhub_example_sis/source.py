"""The source: a district's Example SIS, pulled whole."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path

from yarl import URL

from connectors import probing
from connectors.client import NotUnderstoodError
from connectors.http import Web
from connectors.protocol import ConnectorError, Found, Intent, Pull, SourceContext
from connectors.roster import Roster
from connectors.source import Cursor, SystemSource, configured
from rosterhub_example_sis.client import Client
from rosterhub_example_sis.config import ExampleSisConfig
from rosterhub_example_sis.mapping import COLLECTIONS, Rows


async def _pull(context: SourceContext, config: ExampleSisConfig, web: Web, folder: Path, _cursor: Cursor) -> Pull:
    """Everything there is. A source with ``changes`` gets a cursor, and brings what changed since."""
    client, roster = Client.of(context, config, web), Roster(folder)
    try:
        for collection in COLLECTIONS:
            rows = Rows(collection, roster)
            await client.walk(collection.name, rows)
            await asyncio.to_thread(rows.finish)
    except NotUnderstoodError:
        text = "The system does not understand a plain request (HTTP 400). Check its address and version."
        raise ConnectorError("query_refused", text, intent=Intent.ASK_HUMAN) from None
    return Pull(roster.package("Example SIS"))


async def _probe(context: SourceContext, config: ExampleSisConfig, web: Web) -> Sequence[Found]:
    """Reaches the server and asks for the first page of each collection; nothing is taken over."""
    found = await probing.greeted(web, [config.url], context.now())
    if not probing.works(found):
        return found
    try:
        client = Client.of(context, config, web)
        await client.login.headers("GET", URL(config.url))
    except ConnectorError as error:
        return [*found, Found("login", "bad", error.message)]
    found.append(Found("login", "good", "The system accepts the login."))
    client.tries = 1  # whoever waits for the answer tries again themselves
    return [*found, *[await _tried(client, collection.name) for collection in COLLECTIONS]]


async def _tried(client: Client, name: str) -> Found:
    try:
        page = await client.page(name, 1)
    except NotUnderstoodError:
        return Found(name, "bad", "The system does not understand the request (HTTP 400).")
    except ConnectorError as error:
        return Found(name, "bad", error.message)
    if not page.rows:
        return Found(name, "warning", "There are none. If the system has some, permit the client to read them.")
    return Found(name, "good", f"{page.total:,} in all; the first page came.")


def open_source(context: SourceContext) -> SystemSource[ExampleSisConfig]:
    """The source of one configuration. Raises ConnectorError (``wrong_config``) for a configuration of another kind."""
    return SystemSource(context, configured(context, ExampleSisConfig), _pull, _probe)
