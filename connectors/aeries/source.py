"""The source: a district's roster in Aeries, pulled whole, or as far as it changed."""

from __future__ import annotations

from pathlib import Path

from connectors.aeries.client import Client
from connectors.aeries.config import AeriesConfig
from connectors.aeries.probe import probe
from connectors.aeries.pulling import Pulling
from connectors.http import Web
from connectors.protocol import Pull, SourceContext
from connectors.roster import Roster
from connectors.source import Cursor, SystemSource, configured


async def _pull(context: SourceContext, config: AeriesConfig, web: Web, folder: Path, cursor: Cursor) -> Pull:
    return await Pulling(Client.of(context, config, web), Roster(folder)).run(cursor)


def open_source(context: SourceContext) -> SystemSource[AeriesConfig]:
    """The source of one configuration. Raises ConnectorError (``wrong_config``) for a configuration of another kind."""
    config = configured(context, AeriesConfig)
    return SystemSource(context, config, _pull, probe, changes=config.changes)
