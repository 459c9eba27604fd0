"""Every column that could hold something about a person is known, with how it goes when somebody is erased."""

from __future__ import annotations

import asyncpg
import pytest

from hub.store.personal import IMPERSONAL, PERSONAL
from hub.store.schema import STAGING_PREFIX
from tests.services import Database
from transforms.catalogue import CATALOGUE

#: Numbers, times, truth values and random ids say nothing about anybody.
FREE = "('text', 'jsonb', 'json', 'bytea', 'ARRAY', 'character varying', 'character', 'xml', 'inet')"


@pytest.mark.threat("T51")
async def test_the_registry_is_what_the_catalogue_of_postgresql_has(database: Database) -> None:
    connection = await asyncpg.connect(database.owner)
    try:
        rows = await connection.fetch(
            "SELECT table_name, column_name FROM information_schema.columns "
            f"WHERE table_schema = 'hub' AND data_type IN {FREE}"
        )
    finally:
        await connection.close()
    records = {e.table for e in CATALOGUE.entities}
    found: dict[str, set[str]] = {}
    for row in rows:
        if row["table_name"] not in records and not row["table_name"].startswith(STAGING_PREFIX):
            found.setdefault(row["table_name"], set()).add(row["column_name"])
    known = {
        table: {*PERSONAL.get(table, {}), *IMPERSONAL.get(table, "").split()}
        for table in PERSONAL.keys() | IMPERSONAL.keys()
    }
    assert {t: sorted(c) for t, c in sorted(known.items())} == {t: sorted(c) for t, c in sorted(found.items())}


def test_each_column_is_said_once() -> None:
    for table, columns in PERSONAL.items():
        assert not columns.keys() & set(IMPERSONAL.get(table, "").split()), table
