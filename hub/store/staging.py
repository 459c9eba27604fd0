"""Bringing a run's rows into the database: COPY into staging tables, then set statements into the record tables.

COPY is refused under row-level security, hence the detour. Rows are written in ascending rid, so that every index but
those on references is appended to.

Staged rows belong to one attempt: their column ``run_id`` holds the lease token of the claim, so that a worker that
wakes up late can neither add to the rows of the one that took over nor delete them.
"""

from __future__ import annotations

import io
from collections.abc import AsyncIterator, Sequence
from uuid import UUID

import asyncpg
import polars as pl

from hub.errors import Code, HubError, Intent
from hub.store.database import Database, Transaction
from hub.store.schema import (
    DISTRICT,
    DOCUMENTS,
    STAGING_PREFIX,
    lower_columns,
    of_rids,
    quoted,
    table_columns,
    value_columns,
)
from hub.store.table_text import table_text
from transforms.catalogue import CATALOGUE, Entity

#: Bytes that are sent at a time.
_PIECE = 512 << 10
#: Neither can occur in a value: normalisation strips control characters and JSON escapes them.
DELIMITER, QUOTE, NULL = "\x1f", "\x03", "\\N"


def as_text(frame: pl.DataFrame) -> io.BytesIO:
    """A frame as COPY text, with the three characters above."""
    buffer = io.BytesIO()
    frame.write_csv(
        buffer,
        include_header=False,
        separator=DELIMITER,
        quote_style="never",
        null_value=NULL,
        date_format="%Y-%m-%d",
        datetime_format="%Y-%m-%dT%H:%M:%S%.3fZ",
    )
    buffer.seek(0)
    return buffer


async def copy_in(tx: Transaction, table: str, columns: Sequence[str], text: io.BytesIO) -> None:
    """Copies ``as_text`` into a staging table."""
    await tx.connection.copy_to_table(
        table, source=_pieces(text), columns=list(columns), schema_name="hub", format="csv",
        delimiter=DELIMITER, quote=QUOTE, null=NULL,
    )  # fmt: skip


async def _pieces(text: io.BytesIO) -> AsyncIterator[bytes]:
    """A text as COPY sends it.

    Not the file itself: for each file the driver makes a class that reads it in threads, and as classes refer to
    themselves the text of a whole first load stayed in memory until Python next looked for garbage.
    """
    while piece := text.read(_PIECE):
        yield piece


#: What becomes of a staged row: a new record, a changed one, one of which only the source's hash went stale, or one
#: that changed though the run's source has said nothing new of it.
INSERT, UPDATE, REHASH, REMERGE = "i", "u", "h", "m"
#: Staging tables beside those of the entities. An older worker stages provenance too: it is swept.
PARTS = "staging_parts"
BESIDE = ("staging_statements", "staging_provenance", PARTS)
_NO_END = 1 << 31
_STAGED = (
    pl.col("key").alias("source_key"), pl.col("hash").reinterpret(signed=True).alias("source_hash"), pl.col("rid"),
    pl.col("sourcedId").alias("sourced_id"), pl.lit(value=True).alias("active"),
)  # fmt: skip
#: Bytes of a staging table up to which its rows are deleted: truncating makes and removes files, however little is in.
_SMALL = 4 << 20
_NEW = f"WHERE district_id = $1 AND run_id = $2 AND task = '{INSERT}' AND rid >= $3 AND rid < $4::bigint"


def staged_text(
    entity: Entity, district_id: UUID, run_id: UUID, task: str, frame: pl.DataFrame
) -> tuple[list[str], io.BytesIO]:
    """Columns and COPY text of resolved records. CPU-bound: call it in a thread.

    ``frame``: key, hash (UInt64), rid and sourcedId; unless ``task`` is REHASH also doc, doc_private and the entity's
    resolved fields (see ``table_text``).
    """
    # Constants cost less as text of each row than as column defaults, which COPY evaluates row by row.
    whole = [] if task == REHASH else [*table_text(entity, frame), *map(pl.col, DOCUMENTS)]
    out = frame.select(
        pl.lit(str(run_id)).alias("run_id"), pl.lit(task).alias("task"), pl.lit(str(district_id)).alias("district_id"),
        *_STAGED, *whole,
    )  # fmt: skip
    return out.columns, as_text(out)


async def stage(db: Database, entity: Entity, columns: list[str], text: io.BytesIO) -> None:
    """Copies one batch into an entity's staging table, in a transaction of its own.

    The rows say whose they are: staging tables have no policy.
    """
    async with db.statement(wait_seconds=60) as tx:
        await copy_in(tx, STAGING_PREFIX + entity.table, columns, text)


async def clear(db: Database, district_id: UUID, run_id: UUID) -> None:
    """Empties the staging tables of one attempt."""
    async with db.district(district_id, wait_seconds=60) as tx:
        sizes = await _sizes(tx)
        small = [table for table, size in sizes.items() if 0 < size <= _SMALL]
        await _delete(tx, small, "run_id = $2", district_id, run_id)
    for table in (table for table, size in sizes.items() if size > _SMALL):
        async with db.district(district_id, wait_seconds=60) as tx:
            if not await _truncated(tx, table, run_id):
                await _delete(tx, [table], "run_id = $2", district_id, run_id)


async def sweep(db: Database, district_id: UUID) -> None:
    """Deletes what attempts staged that are no longer under way: their workers were killed."""
    under_way = "SELECT lease_token FROM runs WHERE district_id = $1 AND state = 'running' AND lease_token IS NOT NULL"
    async with db.district(district_id, wait_seconds=60) as tx:
        tables = [table for table, size in (await _sizes(tx)).items() if size]
        await _delete(tx, tables, f"run_id NOT IN ({under_way})", district_id)


async def _sizes(tx: Transaction) -> dict[str, int]:
    """The staging tables with the bytes of their files: none for one that was not used since it was truncated."""
    tables = [*(STAGING_PREFIX + entity.table for entity in CATALOGUE.entities), *BESIDE]
    rows = await tx.fetch(
        "SELECT name, pg_relation_size(name::regclass) AS size FROM unnest($1::text[]) AS name", tables
    )
    return {row["name"]: row["size"] for row in rows}


async def _delete(tx: Transaction, tables: list[str], condition: str, *values: object) -> None:
    """Deletes a district's rows of several tables, in one statement: a small district's sync is mostly round trips."""
    if tables:
        parts = (f"d{n} AS (DELETE FROM {t} WHERE district_id = $1 AND {condition})" for n, t in enumerate(tables))
        await tx.execute(f"WITH {', '.join(parts)} SELECT", *values)


async def _truncated(tx: Transaction, table: str, run_id: UUID) -> bool:
    """Empties a staging table at once if nobody else uses it: no lock on it, no row of another run in it."""
    await tx.execute("SAVEPOINT unlocked")
    try:
        await tx.execute(f"LOCK TABLE {table} IN ACCESS EXCLUSIVE MODE NOWAIT")
    except asyncpg.LockNotAvailableError:
        await tx.execute("ROLLBACK TO SAVEPOINT unlocked")
        return False
    if await tx.fetchval(f"SELECT EXISTS (SELECT FROM {table} WHERE run_id <> $1)", run_id):
        await tx.execute("ROLLBACK TO SAVEPOINT unlocked")
        return False
    await tx.execute(f"TRUNCATE {table}")
    return True


async def insert_records(
    tx: Transaction, entity: Entity, run_id: UUID, at: object, *, first: int = 0, end: int = _NO_END
) -> int:
    """Inserts the new staged records of an entity with rids from ``first`` up to ``end``; how many.

    ``at`` becomes their dateLastModified. Raises HubError(FENCED) when another worker was there before us.
    """
    names = quoted([c for c in table_columns(entity) if c != "date_last_modified"])
    try:
        return await tx.execute(
            f"INSERT INTO {entity.table} ({names}, date_last_modified) "
            f"SELECT {names}, $5::timestamptz FROM {STAGING_PREFIX}{entity.table} {_NEW}",
            tx.district_id, run_id, first, end, at,
        )  # fmt: skip
    except asyncpg.UniqueViolationError as error:
        raise HubError(Code.FENCED, "Another worker has taken over this district.") from error


async def insert_sources(
    tx: Transaction, entity: Entity, run_id: UUID, source_id: UUID, *, first: int = 0, end: int = _NO_END
) -> None:
    """Writes down what the source said of the records that ``insert_records`` inserts."""
    # The name is read once: without the subquery PostgreSQL looks it up for each row.
    await tx.execute(
        "INSERT INTO source_records (district_id, source_id, entity, key, rid, hash, active) "
        "SELECT district_id, $5, (SELECT $6::text::entity_name), source_key, rid, source_hash, true "
        f"FROM {STAGING_PREFIX}{entity.table} {_NEW}",
        tx.district_id, run_id, first, end, source_id, entity.name,
    )  # fmt: skip


async def update_records(tx: Transaction, entity: Entity, run_id: UUID, at: object) -> int:
    """Updates the records that are staged as changed; how many. ``at`` becomes their dateLastModified."""
    assignments = ", ".join(f'"{c}" = s."{c}"' for c in ("active", *value_columns(entity), *DOCUMENTS))
    return await tx.execute(
        f"UPDATE {entity.table} t SET {assignments}, date_last_modified = $3::timestamptz "
        f"FROM {STAGING_PREFIX}{entity.table} s "
        f"WHERE s.district_id = $1 AND s.run_id = $2 AND s.task IN ('{UPDATE}', '{REMERGE}') "
        f"AND t.district_id = {DISTRICT} AND t.rid = s.rid",
        tx.district_id, run_id, at,
    )  # fmt: skip


def missing() -> HubError:
    """Staging tables are not logged: PostgreSQL empties them when it crashes, and comes back before anyone notices."""
    return HubError(Code.UNAVAILABLE, "Staged rows are missing. The run is tried again.", intent=Intent.RETRY)


async def has_spoken(tx: Transaction, source_id: UUID) -> bool:
    """Whether a source has said anything that is kept."""
    found: bool = await tx.fetchval(
        "SELECT EXISTS (SELECT FROM source_records WHERE district_id = $1 AND source_id = $2)",
        tx.district_id, source_id,
    )  # fmt: skip
    return found


async def rehash(tx: Transaction, entity: Entity, run_id: UUID, source_id: UUID, *, spoken: bool) -> None:
    """Brings the source records of changed and stale staged rows up to date. ``spoken``: ``has_spoken``."""
    replacing = (
        "ON CONFLICT (district_id, source_id, entity, rid) "
        "DO UPDATE SET key = EXCLUDED.key, hash = EXCLUDED.hash, active = true, superseded_at = NULL"
    )
    await tx.execute(
        "INSERT INTO source_records (district_id, source_id, entity, key, rid, hash, active) "
        "SELECT district_id, $3, (SELECT $4::text::entity_name), source_key, rid, source_hash, true "
        f"FROM {STAGING_PREFIX}{entity.table} "
        f"WHERE district_id = $1 AND run_id = $2 AND task IN ('{UPDATE}', '{REHASH}') {replacing if spoken else ''}",
        tx.district_id, run_id, source_id, entity.name,
    )  # fmt: skip


async def end_records(tx: Transaction, entity: Entity, rids: list[int], at: object) -> None:
    """Marks records as tobedeleted; what they said stays until retention purges it."""
    await tx.execute(
        f"UPDATE {entity.table} SET active = false, date_last_modified = $3::timestamptz "
        f"WHERE {of_rids()}",
        tx.district_id, rids, at,
    )  # fmt: skip


async def withdraw(tx: Transaction, entity: Entity, source_id: UUID, rids: list[int]) -> None:
    """Notes that a source says nothing any more of some records."""
    await tx.execute(
        "UPDATE source_records SET active = false "
        "WHERE district_id = $1 AND source_id = $2 AND entity = $3::text::entity_name AND rid = ANY($4::int[])",
        tx.district_id, source_id, entity.name, rids,
    )  # fmt: skip


async def hand_over(tx: Transaction, entity: Entity, source_id: UUID, to: UUID | None, rids: list[int]) -> None:
    """Makes what one source said of some records another one's word: its next run compares them by their content."""
    await tx.execute(
        "INSERT INTO source_records (district_id, source_id, entity, key, rid, hash, active) "
        "SELECT district_id, $3, entity, key, rid, 0, true FROM source_records "
        "WHERE district_id = $1 AND source_id = $2 AND entity = $4::text::entity_name AND rid = ANY($5::int[]) "
        "ON CONFLICT (district_id, source_id, entity, rid) "
        "DO UPDATE SET key = EXCLUDED.key, hash = 0, active = true",
        tx.district_id, source_id, to, entity.name, rids,
    )  # fmt: skip


async def keep_history(tx: Transaction, entity: Entity, rids: list[int], position: int) -> None:
    """Keeps records as they are before ``position`` changes them: documents, and all other columns as JSON."""
    # Documents made part of the JSON, to be taken out again, cost a third of the statement.
    columns = (c for c in (*table_columns(entity), *lower_columns(entity)) if c not in DOCUMENTS)
    image = ", ".join(f't."{column}"' for column in columns)
    await tx.execute(
        "INSERT INTO history (district_id, entity, rid, position, active, date_last_modified, doc, doc_private, image) "
        "SELECT $1, $2, t.rid, $3, t.active, t.date_last_modified, t.doc, t.doc_private, row_to_json(w) "
        f"FROM {entity.table} t CROSS JOIN LATERAL (SELECT {image}) w "
        f"WHERE {of_rids('$4', 't')}",
        tx.district_id, entity.name, position, rids,
    )  # fmt: skip


async def move_history(tx: Transaction, before: int, position: int, entities: Sequence[str]) -> None:
    """Makes what was kept of some entities' records for a position that of another one."""
    await tx.execute(
        "UPDATE history SET position = $3 WHERE district_id = $1 AND position = $2 AND entity = ANY($4::text[])",
        tx.district_id, before, position, entities,
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
    """Rid to (active, doc, doc_private) of records as they are now."""
    rows = await tx.fetch(
        f"SELECT rid, active, doc, doc_private FROM {entity.table} WHERE {of_rids()}", tx.district_id, rids
    )
    return {row["rid"]: (row["active"], row["doc"], row["doc_private"]) for row in rows}
