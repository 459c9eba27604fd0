"""PowerSchool SIS by its own API and a plugin of PowerQueries. README.md has the district's side."""

from connectors.powerschool.client import SECRET
from connectors.powerschool.config import KitOptions, PowerSchoolConfig
from connectors.powerschool.kit import make
from connectors.powerschool.source import open_source
from connectors.protocol import ConnectorSpec, Kit

SPEC = ConnectorSpec(
    kind="powerschool",
    title="PowerSchool SIS",
    config_model=PowerSchoolConfig,
    open=open_source,
    secrets={SECRET: "The client secret that the plugin's Data Provider Configuration shows."},
    places=frozenset({"url"}),
    kit=Kit(KitOptions, make, "rosterhub-powerschool.zip"),
)

__all__ = ["SPEC"]
