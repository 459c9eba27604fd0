"""The source: a district's OneRoster server, pulled whole or from where the last pull began."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from connectors.http import Web
from connectors.oneroster_rest.client import Client
from connectors.oneroster_rest.config import OneRosterRestConfig
from connectors.oneroster_rest.probe import probe
from connectors.oneroster_rest.pulling import Pulling
from connectors.probing import REQUEST_SECONDS
from connectors.protocol import Capability, ConnectorError, Found, Intent, Pull, SourceContext
from connectors.roster import pulling


class OneRosterRestSource:
    """One district's OneRoster server."""

    def __init__(self, context: SourceContext, config: OneRosterRestConfig) -> None:
        self._context = context
        self._config = config

    @property
    def capabilities(self) -> frozenset[Capability]:
        """It is pulled, and knows what changed unless it is told not to ask."""
        pulled = frozenset({Capability.BULK, Capability.PULL})
        return pulled | {Capability.DELTA, Capability.CHANGES} if self._config.changes else pulled

    def quiet_seconds(self, now: datetime) -> float:
        """For how long the vendor or the district wants the system to be left alone."""
        return self._config.quiet_seconds(now, self._config.vendor.quiet)

    async def pull(self, cursor: Mapping[str, Any] | None) -> Pull:
        """Everything, or with a cursor what changed since. Raises ConnectorError (``quiet_hours`` and many more)."""
        context, config = self._context, self._config
        quiet = await asyncio.to_thread(self.quiet_seconds, context.now())
        async with pulling(context, quiet) as (web, folder):
            client = await Client.of(context, config, web)
            return await Pulling(client, folder).run(cursor if config.changes else None)

    async def probe(self) -> Sequence[Found]:
        """Asks for a few objects of each entity."""
        async with Web.of(self._context, most_seconds=REQUEST_SECONDS) as web:
            return await probe(self._context, self._config, web)


def open_source(context: SourceContext) -> OneRosterRestSource:
    """The source of one configuration. Raises ConnectorError (``wrong_config``) for a configuration of another kind."""
    if not isinstance(context.config, OneRosterRestConfig):
        raise ConnectorError("wrong_config", "The configuration is of another connector.", intent=Intent.GIVE_UP)
    return OneRosterRestSource(context, context.config)
