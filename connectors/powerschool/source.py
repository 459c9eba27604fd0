"""The source: a district's PowerSchool, pulled whole or from the version of its data that the last pull saw."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path

from connectors.http import Web
from connectors.powerschool import subscription
from connectors.powerschool.client import Client
from connectors.powerschool.config import PowerSchoolConfig
from connectors.powerschool.probe import probe
from connectors.powerschool.pulling import Pulling
from connectors.probing import REQUEST_SECONDS
from connectors.protocol import Pull, SourceContext
from connectors.source import Cursor, SystemSource, configured


async def _pull(context: SourceContext, config: PowerSchoolConfig, web: Web, folder: Path, cursor: Cursor) -> Pull:
    return await Pulling(Client.of(context, config, web), folder).run(cursor)


class PowerSchool(SystemSource[PowerSchoolConfig]):
    """The same as all systems, and it can say when something changed."""

    async def subscribe(self, address: str) -> None:
        """Has events sent to ``address``. Raises ConnectorError."""
        await self._asked(lambda client: subscription.subscribe(client, address))

    async def unsubscribe(self) -> None:
        """Has none sent any more. Raises ConnectorError."""
        await self._asked(subscription.unsubscribe)

    async def _asked(self, ask: Callable[[Client], Awaitable[None]]) -> None:
        async with Web.of(self.context, most_seconds=REQUEST_SECONDS) as web:
            await ask(Client.of(self.context, self.config, web))


def open_source(context: SourceContext) -> PowerSchool:
    """The source of one configuration. Raises ConnectorError (``wrong_config``) for a configuration of another kind."""
    config = configured(context, PowerSchoolConfig)
    return PowerSchool(context, config, _pull, probe, changes=bool(config.data_version))
