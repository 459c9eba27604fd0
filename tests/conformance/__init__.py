"""``make conformance OPENAPI=<folder>``: official OpenAPI documents against the catalogue and against live answers."""
