"""A district that is newer than PostgreSQL's last look at its tables: a change reads what changed, and not all of it.

Of such a district the planner expects a single row, whatever is asked. On a hub of many districts that lasts until a
tenth of all rows changed.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from random import Random
from typing import Any

import asyncpg
import orjson
import pytest

from hub.store.connection import Connection
from hub.store.database import Transaction
from tests.api.oneroster.edits import edited
from tests.districts import District, sandbox
from tests.services import Database
from transforms.catalogue import CATALOGUE

Statement = tuple[str, tuple[object, ...]]
RECORDS = {entity.table for entity in CATALOGUE.entities}


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[Statement]:
    """The statements of syncs that name records by their numbers, with their values."""
    found: list[Statement] = []

    def note(query: str, values: tuple[object, ...]) -> None:
        if "rid = ANY" in query:
            found.append((query, values))

    def record(name: str) -> None:
        real = getattr(Transaction, name)

        async def wrapped(self: Transaction, query: str, *values: object) -> Any:
            note(query, values)
            return await real(self, query, *values)

        monkeypatch.setattr(Transaction, name, wrapped)

    for name in ("fetch", "fetchrow", "fetchval", "execute"):
        record(name)
    copy = Connection.copy_from_query

    async def copied(self: Connection, query: str, *values: object, **names: Any) -> str:
        note(query, values)
        return await copy(self, query, *values, **names)

    monkeypatch.setattr(Connection, "copy_from_query", copied)
    return found


def scans(plan: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """The tables of records that a plan reads, each with what is looked up in an index of it."""
    below = plan.get("Plans", ())
    if plan.get("Relation Name") in RECORDS and plan["Node Type"] != "ModifyTable":
        conditions = [node.get("Index Cond", "") for node in (plan, *below)]
        yield plan["Relation Name"], " ".join(conditions)
    for node in below:
        yield from scans(node)


async def test_a_change_finds_its_records_by_their_numbers(
    database: Database, district: District, other_district: District, asked: list[Statement]
) -> None:
    frames = sandbox(200, 7).frames
    assert (await district.sync(frames)).state == "applied"
    owner = await asyncpg.connect(database.owner)
    await owner.execute("ANALYZE")
    await owner.close()
    await other_district.grant()
    assert (await other_district.sync(frames)).state == "applied"
    asked.clear()
    assert (await other_district.sync(edited(frames, frames, Random(2), 60))).state == "applied"

    found: dict[str, set[str]] = {}
    async with other_district.db.district(other_district.district_id) as tx:
        await tx.execute("SET LOCAL enable_seqscan = off")  # these tables are small
        for query, values in list(asked):
            plan = await tx.connection.fetchval(f"EXPLAIN (FORMAT JSON) {query}", *values)
            for table, condition in scans(orjson.loads(plan)[0]["Plan"]):
                assert re.search(r"\brid = ", condition), (table, query, condition)
                found.setdefault(table, set()).add(query)
    assert {"users", "enrollments"} <= set(found)
    assert sum(len(queries) for queries in found.values()) > 10
