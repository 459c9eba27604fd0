"""The source: a district's roster in Aeries, pulled whole, or as far as it changed."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from connectors.aeries.client import Client
from connectors.aeries.config import AeriesConfig
from connectors.aeries.probe import REQUEST_SECONDS, probe
from connectors.aeries.pulling import Pulling
from connectors.http import Web
from connectors.protocol import Capability, ConnectorError, Found, Intent, Pull, SourceContext
from connectors.roster import Roster, pulling


class AeriesSource:
    """One district's Aeries."""

    def __init__(self, context: SourceContext, config: AeriesConfig) -> None:
        self._context = context
        self._config = config

    @property
    def capabilities(self) -> frozenset[Capability]:
        """It is pulled, and asks what changed unless it is told not to."""
        pulled = frozenset({Capability.BULK, Capability.PULL})
        return pulled | {Capability.DELTA, Capability.CHANGES} if self._config.changes else pulled

    def quiet_seconds(self, now: datetime) -> float:
        """For how long Aeries is left alone."""
        return self._config.quiet_seconds(now)

    async def pull(self, cursor: Mapping[str, Any] | None) -> Pull:
        """Everything, or with a cursor what changed since. Raises ConnectorError (``quiet_hours`` and many more)."""
        context, config = self._context, self._config
        quiet = await asyncio.to_thread(config.quiet_seconds, context.now())
        async with pulling(context, quiet) as (web, folder):
            work = Pulling(Client.of(context, config, web), Roster(folder))
            return await work.run(cursor if config.changes else None)

    async def probe(self) -> Sequence[Found]:
        """Asks for a little of each list."""
        async with Web.of(self._context, most_seconds=REQUEST_SECONDS) as web:
            return await probe(self._context, self._config, web)


def open_source(context: SourceContext) -> AeriesSource:
    """The source of one configuration. Raises ConnectorError (``wrong_config``) for a configuration of another kind."""
    if not isinstance(context.config, AeriesConfig):
        raise ConnectorError("wrong_config", "The configuration is of another connector.", intent=Intent.GIVE_UP)
    return AeriesSource(context, context.config)
