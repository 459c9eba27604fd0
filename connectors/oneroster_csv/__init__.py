"""OneRoster CSV packages, versions 1.1 and 1.2, as a ZIP archive or a folder. README.md has the district's side."""

from connectors.oneroster_csv.reader import CsvPackage, open_package
from connectors.oneroster_csv.source import OneRosterCsvConfig, open_source
from connectors.oneroster_csv.table import Reading
from connectors.oneroster_csv.writer import write_folder, write_package
from connectors.places.place import SECRETS, TARGETS
from connectors.protocol import ConnectorSpec

SPEC = ConnectorSpec(
    kind="oneroster_csv",
    title="OneRoster CSV 1.1 and 1.2",
    config_model=OneRosterCsvConfig,
    open=open_source,
    secrets=SECRETS,
    places=TARGETS,
)

__all__ = ["SPEC", "CsvPackage", "Reading", "open_package", "write_folder", "write_package"]
