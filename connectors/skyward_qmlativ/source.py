"""The source: a district's roster in Qmlativ, pulled whole."""

from __future__ import annotations

from pathlib import Path

from connectors.http import Web
from connectors.protocol import Pull, SourceContext
from connectors.roster import Roster
from connectors.skyward_qmlativ.client import Client
from connectors.skyward_qmlativ.config import QmlativConfig
from connectors.skyward_qmlativ.probe import probe
from connectors.skyward_qmlativ.pulling import Pulling
from connectors.source import Cursor, SystemSource, configured


async def _pull(context: SourceContext, config: QmlativConfig, web: Web, folder: Path, _cursor: Cursor) -> Pull:
    return await Pulling(Client.of(context, config, web), Roster(folder)).run()


def open_source(context: SourceContext) -> SystemSource[QmlativConfig]:
    """The source of one configuration. Raises ConnectorError (``wrong_config``) for a configuration of another kind."""
    config = configured(context, QmlativConfig)
    return SystemSource(context, config, _pull, probe)
