"""Clever's Data API 3.0 and 3.1 as a source. README.md has the district's side."""

from connectors.clever.client import SECRET
from connectors.clever.config import CleverConfig
from connectors.clever.source import open_source
from connectors.protocol import ConnectorSpec

SPEC = ConnectorSpec(
    kind="clever",
    title="Clever Data API 3",
    config_model=CleverConfig,
    open=open_source,
    secrets={SECRET: "The district's token, or the secret of the application."},
    places=frozenset({"url", "token_url", "login", "district"}),
)

__all__ = ["SPEC"]
