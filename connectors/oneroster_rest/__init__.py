"""OneRoster over REST, versions 1.1 and 1.2, pulled from a district's system. README.md has the district's side."""

from connectors.oneroster_rest.config import OneRosterRestConfig
from connectors.oneroster_rest.login import SECRET
from connectors.oneroster_rest.source import open_source
from connectors.protocol import ConnectorSpec

SPEC = ConnectorSpec(
    kind="oneroster_rest",
    title="OneRoster REST 1.1 and 1.2",
    config_model=OneRosterRestConfig,
    open=open_source,
    secrets={SECRET: "The secret of the client, or the bearer token."},
    places=frozenset({"url", "login", "headers"}),
)

__all__ = ["SPEC"]
