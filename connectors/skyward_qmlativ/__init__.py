"""Skyward Qmlativ's own API as a source, where its OneRoster is not licensed. README.md has the district's side."""

from connectors.protocol import ConnectorSpec
from connectors.skyward_qmlativ.client import SECRET
from connectors.skyward_qmlativ.config import QmlativConfig
from connectors.skyward_qmlativ.source import open_source

SPEC = ConnectorSpec(
    kind="skyward_qmlativ",
    title="Skyward Qmlativ API",
    config_model=QmlativConfig,
    open=open_source,
    secrets={SECRET: "The secret of the Integration Access."},
    places=frozenset({"url", "token_url", "login"}),
)

__all__ = ["SPEC"]
