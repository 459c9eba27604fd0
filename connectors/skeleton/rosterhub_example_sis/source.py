"""The source: a district's Example SIS, pulled whole."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from yarl import URL

from connectors import probing
from connectors.client import NotUnderstoodError
from connectors.http import Web
from connectors.protocol import Capability, ConnectorError, Found, Intent, Pull, SourceContext
from connectors.roster import Roster, pulling
from rosterhub_example_sis.client import Client
from rosterhub_example_sis.config import ExampleSisConfig
from rosterhub_example_sis.mapping import COLLECTIONS, Rows


class ExampleSisSource:
    """One district's Example SIS."""

    def __init__(self, context: SourceContext, config: ExampleSisConfig) -> None:
        self._context = context
        self._config = config

    @property
    def capabilities(self) -> frozenset[Capability]:
        """It is pulled, whole each time. ``CHANGES`` would say that a cursor brings what changed alone."""
        return frozenset({Capability.BULK, Capability.PULL})

    def quiet_seconds(self, now: datetime) -> float:
        """For how long the district wants the system to be left alone."""
        return self._config.quiet_seconds(now)

    async def pull(self, _cursor: Mapping[str, Any] | None) -> Pull:
        """Everything there is. Raises ConnectorError."""
        quiet = await asyncio.to_thread(self.quiet_seconds, self._context.now())
        async with pulling(self._context, quiet) as (web, folder):
            client, roster = Client.of(self._context, self._config, web), Roster(folder)
            try:
                for collection in COLLECTIONS:
                    rows = Rows(collection, roster)
                    await client.walk(collection.name, rows)
                    await asyncio.to_thread(rows.finish)
            except NotUnderstoodError:
                text = "The system does not understand a plain request (HTTP 400). Check its address and version."
                raise ConnectorError("query_refused", text, intent=Intent.ASK_HUMAN) from None
            return Pull(roster.package("Example SIS"))

    async def probe(self) -> Sequence[Found]:
        """Reaches the server and asks for the first page of each collection; nothing is taken over."""
        async with Web.of(self._context) as web:
            found = await probing.greeted(web, [self._config.url], self._context.now())
            if not probing.works(found):
                return found
            try:
                client = Client.of(self._context, self._config, web)
                await client.login.headers("GET", URL(self._config.url))
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


def open_source(context: SourceContext) -> ExampleSisSource:
    """The source of one configuration. Raises ConnectorError (``wrong_config``) for a configuration of another kind."""
    if not isinstance(context.config, ExampleSisConfig):
        raise ConnectorError("wrong_config", "The configuration is of another connector.", intent=Intent.GIVE_UP)
    return ExampleSisSource(context, context.config)
