"""The source: a district's Ed-Fi ODS, pulled whole or where it changed."""

from __future__ import annotations

from pathlib import Path

from connectors.edfi.client import Client
from connectors.edfi.config import EdFiConfig
from connectors.edfi.probe import probe
from connectors.edfi.pulling import Pulling
from connectors.http import Web
from connectors.protocol import Pull, SourceContext
from connectors.roster import Roster
from connectors.source import Cursor, SystemSource, configured


async def _pull(context: SourceContext, config: EdFiConfig, web: Web, folder: Path, cursor: Cursor) -> Pull:
    return await Pulling(await Client.of(context, config, web), Roster(folder)).run(cursor)


def open_source(context: SourceContext) -> SystemSource[EdFiConfig]:
    """The source of one configuration. Raises ConnectorError (``wrong_config``) for a configuration of another kind."""
    config = configured(context, EdFiConfig)
    return SystemSource(context, config, _pull, probe, changes=config.changes)
