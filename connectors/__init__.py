"""Connectors fetch batches from a district's systems. Each kind of source is one folder; none imports the hub."""
