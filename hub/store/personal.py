"""Where data about people stands, column by column, and how it goes when somebody is erased.

All columns of record tables are about people or may be; an erasure leaves them bare (``retention.strip``). Staging
tables hold a run's rows for as long as it goes on. Of the other tables every column that can hold words or bytes is
either in ``PERSONAL`` or in ``IMPERSONAL``; a test compares that with PostgreSQL's own catalogue, so that whoever adds
a column decides. Outside of PostgreSQL: a worker's private folder holds a package while it is read; Redis holds none.
"""

from __future__ import annotations

from typing import Final

#: Table to column to what becomes of it.
PERSONAL: Final[dict[str, dict[str, str]]] = {
    "history": dict.fromkeys(("doc", "doc_private", "was", "image"), "the record's rows are deleted"),
    "source_records": {"key": "the record's rows are deleted; a digest stays in erased_keys"},
    "shown_ids": {"key": "stays until retention takes it: the app is told by it whom to delete"},
    "statements": dict.fromkeys(("doc", "doc_private"), "the record's rows are deleted"),
    "statement_history": dict.fromkeys(("doc", "doc_private"), "the record's rows are deleted"),
    "source_parts": {"rows": "the record's rows are deleted"},
    "former_claims": {"key": "the record's rows are deleted"},
    "overrides": dict.fromkeys(("value", "reason"), "the record's rows are deleted"),
    "run_issues": dict.fromkeys(("key", "cause"), "findings about the records, and those they caused, are deleted"),
    "run_changes": dict.fromkeys(("key", "was", "becomes"), "the record's rows are deleted"),
    "agreement_tokens": {"token": "the person's rows are deleted, and those of the person's children"},
    "upload_parts": {"data": "deleted, but of uploads that a run waits for: they go when it ends"},
    "export_parts": {"data": "deleted"},
    "gradebook_objects": {"key": "set to NULL"},
    "gradebook_posts": {"supplied": "the records' rows are deleted"},
    "grade_deliveries": {"description": "the records' rows are deleted"},
    "attempts": {"excerpt": "set to NULL: a receiver may answer with anything"},
    "batches": {"body": "frozen batches with records are deleted and cut anew; delivered ones are empty"},
}

#: Table to the names of columns that hold nothing about pupils, parents or staff: codes, states, names that operators
#: give, secrets, numbers of records as bitmaps, ids that are random.
IMPERSONAL: Final[dict[str, str]] = {
    "access_tokens": "token_hash client_id scopes",
    "admin_tokens": "token_hash name role",
    "agreement_findings": "asked_by",
    "agreement_keys": "key",
    "agreement_sides": "schools",
    "agreements": "state roles identifiers ended_because",
    "apps": "name behaviour limits",
    "attempts": "batch_id error_class remote_ip",
    "audit": "actor action object details",
    "batches": "batch_id inside kind sole",
    "changes": "entity created updated deleted",
    "client_assertions": "client_id jti",
    "clients": "client_id secret_hash scopes state jwks oauth1_secret oauth1_old_secret",
    "departed_claims": "withdrawn handed",
    "departures": "state",
    "data_keys": "purpose wrapped",
    "districts": "name state retention survivorship guard rules matching",
    "drops": "username password_hash public_keys",
    "erased_keys": "digest",
    "erasures": "requested_by",
    "export_schedules": "version mode zone target secret state",
    "exports": "version mode entities state kind policy progress rows omitted sha256 error_code error_message "
    "requested_by",
    "extra_roles": "role people",
    "feed": "cause entity entered updated departed",
    "grade_deliveries": "entity operation state code field minor blocked_entity",
    "grade_targets": "version url login secret entities apps state last_error",
    "gradebook_objects": "entity",
    "match_exempt": "by",
    "matches": "state tier model evidence proposed_by decided_by seconded_by",
    "gradebook_posts": "target",
    "gradebook_writes": "entity operation notes",
    "grants": "definition state id_key",
    "heads": "entity",
    "history": "entity",
    "oauth1_nonces": "client_id nonce",
    "notices": "kind code batch_id",
    "recipients": "channel address kinds secret state batch_id last_error",  # of the district's staff, as they wish
    "run_changes": "entity kind fields schools",
    "run_issues": "code entity file field",
    "runs": "state stage progress counts guard approved report timings error_code error_message requested_by kind task "
    "cancelled_by",
    "sandboxes": "plan",
    "overrides": "field owner ended_by",
    "parked": "entity operation last_error superseded_by",
    "provenance": "fields",
    "source_hints": "secret_hash",
    "source_parts": "file",
    "source_schedules": "cron zone expected_days state",
    "source_traces": "what requested_by outcome data",  # the data are shapes: connectors.tracing
    "source_transforms": "definition note created_by",
    "source_troubles": "kind code",
    "said_references": "homes",  # numbers of records; a row goes with any of them
    "schema_steps": "name checksum",
    "sources": "name kind config state cursor digest archive files speaks_for key_space links guard joined parts "
    "secrets",
    "subscriptions": "url host state secret signatures public_keys certificate certificate_subject inside "
    "batch_id last_error mode types",
    "uploads": "filename sha256 state",
    "views": "entity present gone trimmed",
}
