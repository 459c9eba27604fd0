"""The Ed-Fi ODS / API as a source. README.md has the district's side."""

from connectors.edfi.client import SECRET
from connectors.edfi.config import EdFiConfig
from connectors.edfi.source import open_source
from connectors.protocol import ConnectorSpec

SPEC = ConnectorSpec(
    kind="edfi",
    title="Ed-Fi ODS / API",
    config_model=EdFiConfig,
    open=open_source,
    secrets={SECRET: "The secret of the API client."},
    places=frozenset({"url", "key", "headers"}),
)

__all__ = ["SPEC"]
