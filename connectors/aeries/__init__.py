"""Aeries' own API, version 5, as a source, where its OneRoster is not licensed. README.md has the district's side."""

from connectors.aeries.client import SECRET
from connectors.aeries.config import AeriesConfig
from connectors.aeries.source import open_source
from connectors.protocol import ConnectorSpec

SPEC = ConnectorSpec(
    kind="aeries",
    title="Aeries API 5",
    config_model=AeriesConfig,
    open=open_source,
    secrets={SECRET: "The certificate that Aeries made for the hub: 32 characters."},
    places=frozenset({"url"}),
)

__all__ = ["SPEC"]
