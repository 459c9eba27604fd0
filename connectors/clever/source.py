"""The source: a district's roster at Clever, pulled whole or from the last event on."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from connectors.clever.client import Client
from connectors.clever.config import CleverConfig
from connectors.clever.probe import probe
from connectors.clever.pulling import Pulling
from connectors.http import Web
from connectors.probing import REQUEST_SECONDS
from connectors.protocol import Capability, ConnectorError, Found, Intent, Pull, SourceContext
from connectors.roster import Roster, pulling


class CleverSource:
    """One district at Clever."""

    def __init__(self, context: SourceContext, config: CleverConfig) -> None:
        self._context = context
        self._config = config

    @property
    def capabilities(self) -> frozenset[Capability]:
        """It is pulled, and knows what changed unless it is told not to ask."""
        pulled = frozenset({Capability.BULK, Capability.PULL})
        return pulled | {Capability.DELTA, Capability.CHANGES} if self._config.changes else pulled

    def quiet_seconds(self, now: datetime) -> float:
        """For how long the district wants the system to be left alone."""
        return self._config.quiet_seconds(now)

    async def pull(self, cursor: Mapping[str, Any] | None) -> Pull:
        """Everything, or with a cursor what changed since. Raises ConnectorError (``quiet_hours`` and many more)."""
        context, config = self._context, self._config
        quiet = await asyncio.to_thread(self.quiet_seconds, context.now())
        async with pulling(context, quiet) as (web, folder):
            work = Pulling(Client.of(context, config, web), Roster(folder))
            return await work.run(cursor if config.changes else None)

    async def probe(self) -> Sequence[Found]:
        """Asks for a few objects of each collection."""
        async with Web.of(self._context, most_seconds=REQUEST_SECONDS) as web:
            return await probe(self._context, self._config, web)


def open_source(context: SourceContext) -> CleverSource:
    """The source of one configuration. Raises ConnectorError (``wrong_config``) for a configuration of another kind."""
    if not isinstance(context.config, CleverConfig):
        raise ConnectorError("wrong_config", "The configuration is of another connector.", intent=Intent.GIVE_UP)
    return CleverSource(context, context.config)
