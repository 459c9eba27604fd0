"""Bringing a run's rows into the database: COPY into staging tables, then set statements into the record tables.

COPY is refused under row-level security, hence the detour. Rows are written in ascending rid, so that every index but
those on references is appended to.
"""

from __future__ import annotations

import io
from uuid import UUID

import polars as pl

from hub.store.database import Database, Transaction
from hub.store.schema import DOCUMENTS, STAGING_PREFIX, quoted, table_columns, to_table, value_columns
from transforms.catalogue import CATALOGUE, Entity

#: Neither can occur in a value: normalisation strips control characters and JSON escapes them.
_DELIMITER, _QUOTE, _NULL = "\x1f", "\x02", "\\N"


def _text(frame: pl.DataFrame) -> io.BytesIO:
    buffer = io.BytesIO()
    frame.write_csv(
        buffer,
        include_header=False,
        separator=_DELIMITER,
        quote_style="never",
        null_value=_NULL,
        date_format="%Y-%m-%d",
    )
    buffer.seek(0)
    return buffer


def records_text(entity: Entity, frame: pl.DataFrame) -> tuple[list[str], io.BytesIO]:
    """Columns and COPY text of resolved records. CPU-bound: call it in a thread.

    ``frame``: rid, sourcedId, fresh, doc, doc_private and the entity's resolved fields (see ``schema.to_table``).
    """
    values = to_table(entity, frame)
    wide = frame.select("fresh", "rid", sourced_id="sourcedId", active=pl.lit(value=True))
    out = pl.concat([wide, values, frame.select(DOCUMENTS)], how="horizontal")
    return out.columns, _text(out)


def sources_text(entity: str, frame: pl.DataFrame) -> tuple[list[str], io.BytesIO]:
    """Columns and COPY text of source records: ``frame`` has fresh, key, rid and hash (UInt64)."""
    out = frame.select(
        "fresh",
        "key",
        "rid",
        entity=pl.lit(entity),
        hash=pl.col("hash").reinterpret(signed=True),
        active=pl.lit(value=True),
    )
    return out.columns, _text(out)


async def stage(
    db: Database, district_id: UUID, run_id: UUID, table: str, columns: list[str], text: io.BytesIO
) -> None:
    """Copies one batch into a staging table, in a transaction of its own."""
    async with db.district(district_id, wait_seconds=60) as tx:
        await tx.execute(f"SET LOCAL hub.run = '{UUID(str(run_id))}'")
        await tx.connection.copy_to_table(
            STAGING_PREFIX + table, source=text, columns=columns, schema_name="hub", format="csv",
            delimiter=_DELIMITER, quote=_QUOTE, null=_NULL,
        )  # fmt: skip


async def clear(db: Database, district_id: UUID, run_id: UUID) -> None:
    """Empties the staging tables of one run, also of what an earlier attempt left there."""
    async with db.district(district_id, wait_seconds=60) as tx:
        for table in (*(e.table for e in CATALOGUE.entities), "source_records"):
            await tx.execute(
                f"DELETE FROM {STAGING_PREFIX}{table} WHERE district_id = $1 AND run_id = $2", district_id, run_id
            )


async def write_records(tx: Transaction, entity: Entity, run_id: UUID, at: object) -> None:
    """Inserts the fresh staged records of an entity and updates the others. ``at`` becomes their dateLastModified."""
    columns = [c for c in table_columns(entity) if c != "date_last_modified"]
    names = quoted(columns)
    staged = f"{STAGING_PREFIX}{entity.table} s WHERE s.district_id = $1 AND s.run_id = $2"
    await tx.execute(
        f"INSERT INTO {entity.table} ({names}, date_last_modified) "
        f"SELECT {names}, $3::timestamptz FROM {staged} AND s.fresh",
        tx.district_id, run_id, at,
    )  # fmt: skip
    changed = ["active", *value_columns(entity), *DOCUMENTS]
    assignments = ", ".join(f'"{c}" = s."{c}"' for c in changed)
    await tx.execute(
        f"WITH s AS MATERIALIZED (SELECT * FROM {staged} AND NOT s.fresh) "
        f"UPDATE {entity.table} t SET {assignments}, date_last_modified = $3::timestamptz FROM s "
        "WHERE t.district_id = $1 AND t.rid = s.rid",
        tx.district_id, run_id, at,
    )  # fmt: skip


async def write_sources(tx: Transaction, source_id: UUID, run_id: UUID) -> None:
    """Inserts the fresh staged source records and updates the others."""
    await tx.execute(
        "INSERT INTO source_records (district_id, source_id, entity, key, rid, hash, active) "
        "SELECT district_id, $3, entity, key, rid, hash, true FROM staging_source_records "
        "WHERE district_id = $1 AND run_id = $2 AND fresh",
        tx.district_id, run_id, source_id,
    )  # fmt: skip
    # Materialised, so that the few staged rows lead and each finds its record by key: staging tables have no statistics,
    # and the planner would rather walk all source records.
    await tx.execute(
        "WITH s AS MATERIALIZED (SELECT entity, key, rid, hash FROM staging_source_records "
        "WHERE district_id = $1 AND run_id = $2 AND NOT fresh) "
        "UPDATE source_records t SET rid = s.rid, hash = s.hash, active = true FROM s "
        "WHERE t.district_id = $1 AND t.source_id = $3 AND t.entity = s.entity AND t.key = s.key",
        tx.district_id, run_id, source_id,
    )  # fmt: skip


async def end_records(tx: Transaction, entity: Entity, source_id: UUID, rids: list[int], at: object) -> None:
    """Marks records as tobedeleted; what they said stays until retention purges it."""
    await tx.execute(
        f"UPDATE {entity.table} SET active = false, date_last_modified = $3::timestamptz "
        "WHERE district_id = $1 AND rid = ANY($2::int[])",
        tx.district_id, rids, at,
    )  # fmt: skip
    await tx.execute(
        "UPDATE source_records SET active = false "
        "WHERE district_id = $1 AND source_id = $2 AND entity = $3 AND rid = ANY($4::int[])",
        tx.district_id, source_id, entity.name, rids,
    )  # fmt: skip


async def keep_history(tx: Transaction, entity: Entity, rids: list[int], position: int) -> None:
    """Keeps records as they are before ``position`` changes them."""
    await tx.execute(
        "INSERT INTO history (district_id, entity, rid, position, active, date_last_modified, doc, doc_private) "
        f"SELECT district_id, $2, rid, $3, active, date_last_modified, doc, doc_private FROM {entity.table} "
        "WHERE district_id = $1 AND rid = ANY($4::int[])",
        tx.district_id, entity.name, position, rids,
    )  # fmt: skip


async def keep_changes(
    tx: Transaction, position: int, run_id: UUID | None, at: object, rows: list[tuple[str, bytes, bytes, bytes]]
) -> None:
    """Writes the change log of one position: (entity, created, updated, deleted) as serialized bitmaps."""
    await tx.executemany(
        "INSERT INTO changes (district_id, position, entity, run_id, at, created, updated, deleted) "
        "VALUES ($1, $2, $3, $4, $5, $6, $7, $8)",
        [(tx.district_id, position, entity, run_id, at, *sets) for entity, *sets in rows],
    )


async def documents(tx: Transaction, entity: Entity, rids: list[int]) -> dict[int, tuple[bool, str, str]]:
    """rid to (active, doc, doc_private) of records as they are now."""
    rows = await tx.fetch(
        f"SELECT rid, active, doc, doc_private FROM {entity.table} WHERE district_id = $1 AND rid = ANY($2::int[])",
        tx.district_id, rids,
    )  # fmt: skip
    return {row["rid"]: (row["active"], row["doc"], row["doc_private"]) for row in rows}
