"""The source: a district's PowerSchool, pulled whole or from the version of its data that the last pull saw."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from connectors.http import Web
from connectors.powerschool.client import Client
from connectors.powerschool.config import PowerSchoolConfig
from connectors.powerschool.probe import probe
from connectors.powerschool.pulling import Pulling
from connectors.protocol import Capability, ConnectorError, Found, Intent, Pull, SourceContext
from connectors.roster import pulling


class PowerSchoolSource:
    """One district's PowerSchool."""

    def __init__(self, context: SourceContext, config: PowerSchoolConfig) -> None:
        self._context = context
        self._config = config

    @property
    def capabilities(self) -> frozenset[Capability]:
        """It is pulled, and knows what changed unless it is told not to ask."""
        pulled = frozenset({Capability.BULK, Capability.PULL})
        return pulled | {Capability.DELTA, Capability.CHANGES} if self._config.data_version else pulled

    def quiet_seconds(self, now: datetime) -> float:
        """For how long the district wants the system to be left alone."""
        return self._config.quiet_seconds(now)

    async def pull(self, cursor: Mapping[str, Any] | None) -> Pull:
        """Everything, or with a cursor what changed since. Raises ConnectorError (``quiet_hours`` and many more)."""
        context, config = self._context, self._config
        quiet = await asyncio.to_thread(self.quiet_seconds, context.now())
        async with pulling(context, quiet) as (web, folder):
            return await Pulling(Client.of(context, config, web), folder).run(cursor if config.data_version else None)

    async def probe(self) -> Sequence[Found]:
        """Asks for the clock, the plugin's permissions, and a little of everything."""
        async with Web(self._context.reachable, timeouts=self._context.timeouts) as web:
            return await probe(self._context, self._config, web)


def open_source(context: SourceContext) -> PowerSchoolSource:
    """The source of one configuration. Raises ConnectorError (``wrong_config``) for a configuration of another kind."""
    if not isinstance(context.config, PowerSchoolConfig):
        raise ConnectorError("wrong_config", "The configuration is of another connector.", intent=Intent.GIVE_UP)
    return PowerSchoolSource(context, context.config)
