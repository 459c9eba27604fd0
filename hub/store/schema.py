"""What the tables look like from Python: which are shared, and which columns an entity's table has.

Columns derive from the catalogue; a test compares them with PostgreSQL's own catalogue.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any, Final

import orjson

from transforms.catalogue import BASE_NAMES, Entity, Field, Kind

#: Tables without a district, each with the reason. Every other table must force row-level security.
SHARED_TABLES = {
    "schema_steps": "which schema steps were applied",
    "apps": "an app may hold grants in many districts",
    "clients": "an app's OAuth credentials",
    "access_tokens": "looked up before the district is known",
    "admin_tokens": "looked up before the district is known",
    "sandboxes": "which made-up district is an app's own",
    "oauth1_nonces": "of clients, before the district is known",
    "client_assertions": "of clients, before the district is known",
    "agreement_keys": "of an agreement of two districts, and of neither",
}
#: Staging tables hold a run's rows for a moment; they have no policy and are reachable by the worker role alone.
STAGING_PREFIX = "staging_"
NIL_DISTRICT = "00000000-0000-0000-0000-000000000000"  # acts on the hub itself

FIXED = ("district_id", "rid", "sourced_id", "active", "date_last_modified")
DOCUMENTS = ("doc", "doc_private")
#: The members of roles[] that have columns of their own, as arrays in the order of the document.
ROLE_COLUMNS = {
    "roleType": ("roles_role_type", "text[]"),
    "role": ("roles_role", "text[]"),
    "beginDate": ("roles_begin_date", "date[]"),
    "endDate": ("roles_end_date", "date[]"),
    "org": ("roles_org_rids", "integer[]"),
}
USER_ID_COLUMNS = {"type": ("user_ids_type", "text[]"), "identifier": ("user_ids_identifier", "text[]")}
SCALE_VALUE_COLUMNS = {
    "itemValueLHS": ("score_scale_value_lhs", "text[]"), "itemValueRHS": ("score_scale_value_rhs", "text[]"),
}  # fmt: skip
#: What only the document holds.
_DOCUMENT_ONLY = frozenset({Kind.OBJECTIVES, Kind.OBJECTIVE_RESULTS})
#: Columns that PostgreSQL computes in lower case, with an index each: an index on ``lower(…)`` cannot serve under
#: row-level security, since that function is not leakproof.
LOWER_COLUMNS = {("users", "username"): "username_lower", ("users", "email"): "email_lower"}
_SQL_TYPE = {
    Kind.STRING: "text", Kind.ENUM: "text", Kind.YEAR: "text", Kind.BOOLEAN: "boolean", Kind.INTEGER: "bigint",
    Kind.FLOAT: "double precision", Kind.DATE: "date", Kind.DATETIME: "timestamp with time zone",
    Kind.REF: "integer", Kind.METADATA: "jsonb",
}  # fmt: skip


NESTED = _DOCUMENT_ONLY | {Kind.USER_ID, Kind.SCALE_VALUE, Kind.COMPONENT}


def entry_columns(field: Field) -> dict[str, tuple[str, str]]:
    """The columns of the members of a field that is a list of objects: member to (column, SQL type), side by side."""
    if field.kind is Kind.USER_ID:
        return USER_ID_COLUMNS
    if field.kind is Kind.SCALE_VALUE:
        return SCALE_VALUE_COLUMNS
    return ROLE_COLUMNS if field.kind is Kind.COMPONENT and field.name == "roles" else {}


def field_columns(field: Field) -> dict[str, str]:
    """The columns of one field, name to SQL type. Empty for what only the document holds (userProfiles)."""
    if field.kind in NESTED:
        return dict(entry_columns(field).values())
    return {field.table_column: _SQL_TYPE[field.kind] + ("[]" if field.many else "")}


@cache
def value_columns(entity: Entity) -> dict[str, str]:
    """The typed columns of an entity's table, in table order, name to SQL type."""
    columns: dict[str, str] = {}
    for field in entity.body:
        if field.name not in BASE_NAMES:
            columns |= field_columns(field)
    return columns


@cache
def table_columns(entity: Entity) -> tuple[str, ...]:
    """All columns of an entity's table that are written, in table order."""
    return (*FIXED, *value_columns(entity), *DOCUMENTS)


def lower_columns(entity: Entity) -> tuple[str, ...]:
    """The columns of an entity's table that PostgreSQL computes (``LOWER_COLUMNS``)."""
    return tuple(column for (name, _), column in LOWER_COLUMNS.items() if name == entity.name)


def row_of(entity: Entity, values: Mapping[str, Any]) -> list[Any]:
    """The values of an entity's ``value_columns`` from canonical ones by field, for a statement's parameters.

    Absent ones are null. References are rids; metadata is JSON text. ``table_text`` does the same to whole frames.
    """
    row: list[Any] = []
    for field in entity.body:
        if field.name in BASE_NAMES:
            continue
        value = values.get(field.name)
        if field.kind in NESTED:
            row += [value and [item[member] for item in value] for member in entry_columns(field)]
        elif field.kind is Kind.METADATA:
            row.append(value and orjson.Fragment(value))
        else:
            row.append(value)
    return row


def quoted(columns: tuple[str, ...] | list[str]) -> str:
    """Column names as a quoted SQL list."""
    return ", ".join(f'"{c}"' for c in columns)


#: The district ``$1``, where records of it are looked up one by one: a subquery, so that the plan is one for any
#: district. Told which one it is, PostgreSQL goes by its last look at the table. Of a district that came later it
#: expects a single row; any index that begins with the district is then as good as the primary key, and all of the
#: district is read for each few records of it, or for each of them.
DISTRICT: Final = "(SELECT $1::uuid)"


def kept_columns(history: str) -> str:
    """What a row of history says of a record's columns, as jsonb; NULL where it was not kept. ``history``: its alias.

    It is JSON text, which costs the half to write; ``was`` has it in rows of before step 0065.
    """
    return f"coalesce({history}.image::jsonb, {history}.was)"


def of_entities(parameter: str) -> str:
    """What an entity is compared with that is one of those in a parameter (text[]).

    The names are a subquery too: they are looked up once for each statement and not for each row.
    """
    return f"ANY((SELECT {parameter}::text[]::entity_name[])::entity_name[])"


def of_rids(rids: str = "$2", table: str = "") -> str:
    """The condition that records are of the district ``$1`` and among some numbers, as one that the primary key meets.

    The numbers are a subquery as well: PostgreSQL expects ten of them, however many there are.
    """
    of = f"{table}." if table else ""
    return f"{of}district_id = {DISTRICT} AND {of}rid = ANY((SELECT {rids}::integer[])::integer[])"
