"""The source: a district's OneRoster server, pulled whole or from where the last pull began."""

from __future__ import annotations

from pathlib import Path

from connectors.http import Web
from connectors.oneroster_rest.client import Client
from connectors.oneroster_rest.config import OneRosterRestConfig
from connectors.oneroster_rest.probe import probe
from connectors.oneroster_rest.pulling import Pulling
from connectors.protocol import Pull, SourceContext
from connectors.source import Cursor, SystemSource, configured


async def _pull(context: SourceContext, config: OneRosterRestConfig, web: Web, folder: Path, cursor: Cursor) -> Pull:
    return await Pulling(await Client.of(context, config, web), folder).run(cursor)


def open_source(context: SourceContext) -> SystemSource[OneRosterRestConfig]:
    """The source of one configuration. Raises ConnectorError (``wrong_config``) for a configuration of another kind."""
    config = configured(context, OneRosterRestConfig)
    return SystemSource(context, config, _pull, probe, changes=config.changes, usual_quiet=config.vendor.quiet)
