"""What 1.1 has no words for is found by indexes that hold nothing else."""

from __future__ import annotations

from uuid import uuid4

import asyncpg

from hub.store import conditions as sql
from hub.store.database import Database as Pool
from tests.services import Database
from transforms.catalogue import CATALOGUE

_FIXED = "(district_id, rid, sourced_id, active, date_last_modified, doc, doc_private, {column}) "
_ROWS = "SELECT $1, rid, gen_random_uuid(), true, now(), '', '', {value} FROM generate_series(1, 5000) rid"
_MADE = {
    "users": ("roles_role", "CASE WHEN rid % 500 = 0 THEN '{counselor}' ELSE '{student,teacher}' END::text[]"),
    "enrollments": ('"role"', "CASE WHEN rid % 500 = 0 THEN 'ext:coach' ELSE 'student' END"),
    "results": ("score", "NULLIF(rid % 500, 0)::float"),
}


async def test_conditions_of_1_1_are_answered_by_their_indexes(database: Database) -> None:
    district, owner = uuid4(), await asyncpg.connect(database.owner)
    for table, (column, value) in _MADE.items():
        rows = _FIXED.format(column=column) + _ROWS.format(value=value)
        await owner.execute(f"INSERT INTO hub.{table} {rows}", district)
        await owner.execute(f"ANALYZE hub.{table}")
    await owner.close()
    pool = await Pool.open(database.service, name="test")
    async with pool.district(district) as tx:
        for table, condition, index in (
            ("users", sql.WITH_UNSURE_ROLE, "users_unsure_role"),
            ("enrollments", sql.WITH_EXTENDED_ROLE, "enrollments_extended"),
            ("results", sql.there_is_none(sql.column(CATALOGUE["results"]["score"])), "results_unscored"),
        ):
            query = f"SELECT t.rid FROM {table} t WHERE t.district_id = $1 AND {condition.sql}"
            assert len(await tx.fetch(query, district)) == 10
            plan = "\n".join(row[0] for row in await tx.fetch(f"EXPLAIN {query}", district))
            assert index in plan, plan
    await pool.close()
