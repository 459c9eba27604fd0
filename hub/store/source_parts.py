"""The rows of component files that a source sent last, by the object in which they nest: transforms/kept_rows.py."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from uuid import UUID

import polars as pl

from hub.store.columns import copied
from hub.store.database import Database, Transaction
from hub.store.schema import of_entities
from hub.store.staging import PARTS, as_text, copy_in

#: Columns of kept rows as they are read.
SCHEMA = {"rid": pl.UInt32, "file": pl.String, "rows": pl.String}
#: Of an object that has no rows any more.
NONE = "[]"


async def of_records(tx: Transaction, source_id: UUID, entity: str, rids: Sequence[int]) -> pl.DataFrame:
    """The rows that a source sent last of some objects (SCHEMA)."""
    return await copied(
        tx, "SELECT rid, file, rows FROM source_parts WHERE district_id = $1 AND source_id = $2 "
        "AND entity = $3::entity_name AND rid = ANY($4::integer[])",
        SCHEMA, tx.district_id, source_id, entity, list(rids),
    )  # fmt: skip


async def are_kept(tx: Transaction, source_id: UUID) -> bool:
    """Whether any rows are kept that a source sent."""
    found: bool = await tx.fetchval(
        "SELECT EXISTS (SELECT FROM source_parts WHERE district_id = $1 AND source_id = $2)", tx.district_id, source_id
    )
    return found


async def stage(db: Database, district_id: UUID, run_id: UUID, entity: str, rows: pl.DataFrame) -> None:
    """Stages the rows of some objects (SCHEMA) for a run, in a transaction of its own.

    The rows say whose they are: staging tables have no policy.
    """
    frame = rows.select(
        run_id=pl.lit(str(run_id)), district_id=pl.lit(str(district_id)), entity=pl.lit(entity), rid="rid", file="file",
        rows="rows",
    )  # fmt: skip
    text = await asyncio.to_thread(as_text, frame)
    async with db.statement(wait_seconds=60) as tx:
        await copy_in(tx, PARTS, frame.columns, text)


async def take_over(
    tx: Transaction, run_id: UUID, source_id: UUID, entities: Sequence[str], *, is_new: bool = False
) -> None:
    """Takes over what a run has staged of some entities: what its source sent of objects now.

    ``is_new``: nothing is known of any object yet.
    """
    if is_new:
        await tx.execute(
            "INSERT INTO source_parts (district_id, source_id, entity, rid, file, rows) "
            "SELECT district_id, $3, entity, rid, file, rows FROM "
            f"{PARTS} WHERE district_id = $1 AND run_id = $2 AND rows <> '{NONE}' "
            f"AND entity = {of_entities('$4')}",
            tx.district_id, run_id, source_id, entities,
        )  # fmt: skip
        return
    known, replacing = f"g.rows <> '{NONE}'", ""
    if await are_kept(tx, source_id):
        known += (
            " OR EXISTS (SELECT FROM source_parts s WHERE s.district_id = $1 AND s.source_id = $3 "
            "AND s.entity = g.entity AND s.rid = g.rid AND s.file = g.file)"
        )
        replacing = (
            "ON CONFLICT (district_id, source_id, entity, rid, file) DO UPDATE SET rows = EXCLUDED.rows "
            "WHERE source_parts.rows <> EXCLUDED.rows"
        )
    await tx.execute(
        "INSERT INTO source_parts (district_id, source_id, entity, rid, file, rows) "
        "SELECT DISTINCT ON (g.rid, g.file, g.entity) g.district_id, $3, g.entity, g.rid, g.file, g.rows "
        f"FROM {PARTS} g WHERE g.district_id = $1 AND g.run_id = $2 AND g.entity = {of_entities('$4')} "
        f"AND ({known}) ORDER BY g.rid, g.file {replacing}",
        tx.district_id, run_id, source_id, entities,
    )  # fmt: skip


async def hand_over(tx: Transaction, entity: str, source_id: UUID, to: UUID, rids: Sequence[int]) -> None:
    """Makes the rows of objects those of another source, which goes on with them."""
    await tx.execute(
        "INSERT INTO source_parts (district_id, source_id, entity, rid, file, rows) "
        "SELECT district_id, $3, entity, rid, file, rows FROM source_parts WHERE district_id = $1 AND source_id = $2 "
        "AND entity = $4::text::entity_name AND rid = ANY($5::integer[]) "
        "ON CONFLICT (district_id, source_id, entity, rid, file) DO UPDATE SET rows = EXCLUDED.rows",
        tx.district_id, source_id, to, entity, list(rids),
    )  # fmt: skip
    await tx.execute(
        "UPDATE sources SET parts = ARRAY(SELECT unnest(parts) INTERSECT SELECT unnest(o.parts) FROM sources o "
        "WHERE o.district_id = $1 AND o.source_id = $2) WHERE district_id = $1 AND source_id = $3",
        tx.district_id, source_id, to,
    )  # fmt: skip
