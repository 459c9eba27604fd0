"""The source: a district's roster at Clever, pulled whole or from the last event on."""

from __future__ import annotations

from pathlib import Path

from connectors.clever.client import Client
from connectors.clever.config import CleverConfig
from connectors.clever.probe import probe
from connectors.clever.pulling import Pulling
from connectors.http import Web
from connectors.protocol import Pull, SourceContext
from connectors.roster import Roster
from connectors.source import Cursor, SystemSource, configured


async def _pull(context: SourceContext, config: CleverConfig, web: Web, folder: Path, cursor: Cursor) -> Pull:
    return await Pulling(Client.of(context, config, web), Roster(folder)).run(cursor)


def open_source(context: SourceContext) -> SystemSource[CleverConfig]:
    """The source of one configuration. Raises ConnectorError (``wrong_config``) for a configuration of another kind."""
    config = configured(context, CleverConfig)
    return SystemSource(context, config, _pull, probe, changes=config.changes)
