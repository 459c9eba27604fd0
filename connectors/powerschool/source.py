"""The source: a district's PowerSchool, pulled whole or from the version of its data that the last pull saw."""

from __future__ import annotations

from pathlib import Path

from connectors.http import Web
from connectors.powerschool.client import Client
from connectors.powerschool.config import PowerSchoolConfig
from connectors.powerschool.probe import probe
from connectors.powerschool.pulling import Pulling
from connectors.protocol import Pull, SourceContext
from connectors.source import Cursor, SystemSource, configured


async def _pull(context: SourceContext, config: PowerSchoolConfig, web: Web, folder: Path, cursor: Cursor) -> Pull:
    return await Pulling(Client.of(context, config, web), folder).run(cursor)


def open_source(context: SourceContext) -> SystemSource[PowerSchoolConfig]:
    """The source of one configuration. Raises ConnectorError (``wrong_config``) for a configuration of another kind."""
    config = configured(context, PowerSchoolConfig)
    return SystemSource(context, config, _pull, probe, changes=bool(config.data_version))
