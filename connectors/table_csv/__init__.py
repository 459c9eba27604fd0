"""Tables with headers of their own: School Data Sync, dumps of databases. README.md has the district's side."""

from connectors.places.place import SECRETS, TARGETS
from connectors.protocol import ConnectorSpec
from connectors.table_csv.opening import headers, open_tables
from connectors.table_csv.package import TablePackage
from connectors.table_csv.source import TableCsvConfig, open_source

SPEC = ConnectorSpec(
    kind="table_csv",
    title="Tables as CSV: School Data Sync, dumps of databases",
    config_model=TableCsvConfig,
    open=open_source,
    secrets=SECRETS,
    places=TARGETS,
    mapped=True,
)

__all__ = ["SPEC", "TablePackage", "headers", "open_tables"]
