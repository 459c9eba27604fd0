"""Example SIS as a source of RosterHub. README.md has the district's side."""

from connectors.protocol import ConnectorSpec
from rosterhub_example_sis.client import SECRET
from rosterhub_example_sis.config import ExampleSisConfig
from rosterhub_example_sis.source import open_source

SPEC = ConnectorSpec(
    kind="example_sis",
    title="Example SIS",
    config_model=ExampleSisConfig,
    open=open_source,
    secrets={SECRET: "The secret of the client, from Settings, API clients."},
    places=frozenset({"url"}),  # whoever changes the address enters the secret anew: it goes nowhere else
)

__all__ = ["SPEC"]
