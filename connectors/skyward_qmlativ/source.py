"""The source: a district's roster in Qmlativ, pulled whole."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from connectors.http import Web
from connectors.protocol import Capability, ConnectorError, Found, Intent, Pull, SourceContext
from connectors.roster import Roster, pulling
from connectors.skyward_qmlativ.client import Client
from connectors.skyward_qmlativ.config import QmlativConfig
from connectors.skyward_qmlativ.probe import REQUEST_SECONDS, probe
from connectors.skyward_qmlativ.pulling import Pulling


class QmlativSource:
    """One district's Qmlativ."""

    def __init__(self, context: SourceContext, config: QmlativConfig) -> None:
        self._context = context
        self._config = config

    @property
    def capabilities(self) -> frozenset[Capability]:
        """It is pulled, always whole."""
        return frozenset({Capability.BULK, Capability.PULL})

    def quiet_seconds(self, now: datetime) -> float:
        """For how long Qmlativ is left alone."""
        return self._config.quiet_seconds(now)

    async def pull(self, _cursor: Mapping[str, Any] | None) -> Pull:
        """Everything. Raises ConnectorError (``quiet_hours`` and many more)."""
        context, config = self._context, self._config
        quiet = await asyncio.to_thread(config.quiet_seconds, context.now())
        async with pulling(context, quiet) as (web, folder):
            return await Pulling(Client.of(context, config, web), Roster(folder)).run()

    async def probe(self) -> Sequence[Found]:
        """Asks for the fields and a few of each kind of objects."""
        async with Web.of(self._context, most_seconds=REQUEST_SECONDS) as web:
            return await probe(self._context, self._config, web)


def open_source(context: SourceContext) -> QmlativSource:
    """The source of one configuration. Raises ConnectorError (``wrong_config``) for a configuration of another kind."""
    if not isinstance(context.config, QmlativConfig):
        raise ConnectorError("wrong_config", "The configuration is of another connector.", intent=Intent.GIVE_UP)
    return QmlativSource(context, context.config)
