"""What several sources say of one record, where its values come from, and what persons set in their place."""

from __future__ import annotations

import asyncio
import io
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

import polars as pl

from hub.errors import Code, HubError
from hub.store import statement_history
from hub.store.columns import copied
from hub.store.database import Database, Transaction
from hub.store.schema import of_entities, of_rids
from hub.store.staging import as_text, copy_in
from hub.store.statement_history import STAGED_STATEMENTS, Moment
from transforms.catalogue import CATALOGUE, Entity

#: Columns of statements as they are read: ``said_at`` in microseconds since 1970.
STATEMENTS = {
    "rid": pl.UInt32, "source": pl.String, "at": pl.Int64, "doc": pl.String, "doc_private": pl.String,
}  # fmt: skip
_SINCE_1970 = "(extract(epoch FROM {}) * 1000000)::bigint"


async def merged(tx: Transaction, entity: str) -> pl.Series:
    """The rids of the records that are merged from statements or were, ascending."""
    query = "SELECT rid FROM provenance WHERE district_id = $1 AND entity = $2::entity_name ORDER BY rid"
    return (await copied(tx, query, {"rid": pl.UInt32}, tx.district_id, entity))["rid"]


async def every_merged(tx: Transaction) -> dict[str, pl.Series]:
    """The same by entity, in one pass: the name of an entity is no condition of an index, as in ``columns``."""
    query = "SELECT entity, rid FROM provenance WHERE district_id = $1 ORDER BY rid"
    frame = await copied(tx, query, {"entity": pl.String, "rid": pl.UInt32}, tx.district_id)
    return {str(name): part["rid"] for (name,), part in frame.group_by("entity", maintain_order=True)}


async def any_said(tx: Transaction) -> bool:
    """Whether the district has a statement."""
    found: bool = await tx.fetchval("SELECT EXISTS (SELECT FROM statements WHERE district_id = $1)", tx.district_id)
    return found


async def any_merged(tx: Transaction) -> bool:
    """Whether the district has a merged record."""
    found: bool = await tx.fetchval("SELECT EXISTS (SELECT FROM provenance WHERE district_id = $1)", tx.district_id)
    return found


async def of_records(tx: Transaction, entity: str, rids: Sequence[int]) -> pl.DataFrame:
    """The statements of some records (STATEMENTS)."""
    query = (
        f"SELECT rid, source_id, {_SINCE_1970.format('said_at')}, doc, doc_private FROM statements "
        "WHERE district_id = $1 AND entity = $2::entity_name AND rid = ANY($3::integer[])"
    )
    return await copied(tx, query, STATEMENTS, tx.district_id, entity, list(rids))


async def merged_since(tx: Transaction, entity: str, rids: Sequence[int]) -> dict[int, int | None]:
    """Those of some records that are merged, with the first position at which they are, where that is known."""
    rows = await tx.fetch(
        "SELECT rid, since FROM provenance WHERE district_id = $1 AND entity = $2::text::entity_name "
        "AND rid = ANY($3::integer[])",
        tx.district_id, entity, list(rids),
    )  # fmt: skip
    return {row["rid"]: row["since"] for row in rows}


async def of_source(tx: Transaction, source_id: UUID, entity: str) -> pl.Series:
    """The rids of the records of an entity of which a source has a statement."""
    query = "SELECT rid FROM statements WHERE district_id = $1 AND entity = $2::entity_name AND source_id = $3"
    return (await copied(tx, query, {"rid": pl.UInt32}, tx.district_id, entity, source_id))["rid"]


class Sole(NamedTuple):
    """``said`` (STATEMENTS): what single sources say of records; ``living``: the rids of those that have not ended."""

    said: pl.DataFrame
    living: pl.Series


async def sole(tx: Transaction, entity: str, table: str, rids: Sequence[int]) -> Sole:
    """Active records of which one source speaks alone, as its statements: their documents are what it says.

    One that was merged is nobody's alone, though an undo may have left it without the words of a source.

    Two questions, joined here: of a district that is newer than PostgreSQL's last look at a table it expects one row,
    and a plan for one row reads all that sources say again for each of twenty thousand.
    """
    spoken = (
        "SELECT rid, source_id FROM source_records WHERE district_id = $1 AND entity = $2::entity_name "
        "AND rid = ANY($3::integer[]) AND active AND rid NOT IN "
        "(SELECT p.rid FROM provenance p WHERE p.district_id = $1 AND p.entity = $2::entity_name)"
    )
    speakers = await copied(tx, spoken, {"rid": pl.UInt32, "source": pl.String}, tx.district_id, entity, list(rids))
    texts = (
        f"SELECT rid, {_SINCE_1970.format('date_last_modified')}, doc, doc_private, active::int FROM {table} "
        f"WHERE {of_rids()}"
    )
    schema = {name: dtype for name, dtype in STATEMENTS.items() if name != "source"} | {"active": pl.UInt8}
    words = await copied(tx, texts, schema, tx.district_id, speakers["rid"].unique().to_list())
    said = speakers.join(words, on="rid", how="inner").select(list(STATEMENTS))
    return Sole(said, words["rid"].filter(words["active"] == 1))


class Origins(NamedTuple):
    """Where the values of records of an entity come from: those of ``rids[n]`` as ``fields[numbers[n]]`` says.

    ``fields``: field to source or override.
    """

    entity: str
    rids: Sequence[int]
    numbers: Sequence[int]
    fields: Sequence[Mapping[str, str]]


async def stage(db: Database, frame: pl.DataFrame) -> None:
    """Copies statements into staging, in a transaction of its own.

    The rows say whose they are: staging tables have no policy.
    """
    text: io.BytesIO = await asyncio.to_thread(as_text, frame)
    async with db.statement(wait_seconds=60) as tx:
        await copy_in(tx, STAGED_STATEMENTS, frame.columns, text)


async def take_over(
    tx: Transaction, run_id: UUID, moment: Moment, speakers: Collection[UUID], entities: Sequence[str]
) -> None:
    """Takes over what a run has staged of some entities: statements keep the time at which they were said first.

    ``speakers``: the sources that say something else from this moment on; of others it was only written down.
    """
    staged = await tx.fetch(
        f"SELECT DISTINCT source_id FROM {STAGED_STATEMENTS} "
        f"WHERE district_id = $1 AND run_id = $2 AND entity = {of_entities('$3')}",
        tx.district_id, run_id, entities,
    )  # fmt: skip
    known = await tx.fetchval(
        "SELECT EXISTS (SELECT FROM statements WHERE district_id = $1 AND source_id = ANY($2::uuid[]))",
        tx.district_id, [row[0] for row in staged],
    )  # fmt: skip
    await statement_history.keep_replaced(tx, run_id, moment, speakers, entities, known=known)
    # Where there is nothing to meet, nothing is looked for: up to half of what writing takes.
    replacing = (
        "ON CONFLICT (district_id, entity, rid, source_id) DO UPDATE SET said_at = EXCLUDED.said_at, "
        "doc = EXCLUDED.doc, doc_private = EXCLUDED.doc_private "
        "WHERE (statements.doc, statements.doc_private) IS DISTINCT FROM (EXCLUDED.doc, EXCLUDED.doc_private)"
    )
    await tx.execute(
        "INSERT INTO statements (district_id, entity, rid, source_id, said_at, doc, doc_private) "
        "SELECT district_id, entity, rid, source_id, said_at, doc, doc_private "
        f"FROM {STAGED_STATEMENTS} WHERE district_id = $1 AND run_id = $2 AND entity = {of_entities('$3')} "
        f"{replacing if known else ''}",
        tx.district_id, run_id, entities,
    )  # fmt: skip


async def take_documents(tx: Transaction, entity: Entity, source_id: UUID, rids: Sequence[int]) -> None:
    """Makes the documents of records, as they are, what a source says of them: it has spoken of them alone."""
    await tx.execute(
        "INSERT INTO statements (district_id, entity, rid, source_id, said_at, doc, doc_private) "
        "SELECT $1, (SELECT $2::text::entity_name), rid, $3, date_last_modified, doc, doc_private "
        f"FROM {entity.table} WHERE {of_rids('$4')} ORDER BY rid",
        tx.district_id, entity.name, source_id, list(rids),
    )  # fmt: skip


async def write_provenance(tx: Transaction, provenance: Iterable[Origins], moment: Moment) -> None:
    """Notes where the values of merged records come from."""
    for entity, rids, numbers, fields in provenance:
        replacing = (
            "ON CONFLICT (district_id, entity, rid) DO UPDATE SET fields = EXCLUDED.fields "
            "WHERE provenance.fields <> EXCLUDED.fields"
        )
        await tx.execute(
            "INSERT INTO provenance (district_id, entity, rid, fields, since) "
            "SELECT $1, (SELECT $2::text::entity_name), g.rid, f.fields, $6 "
            "FROM unnest($3::integer[], $4::integer[]) AS g (rid, number) "
            "JOIN unnest($5::jsonb[]) WITH ORDINALITY AS f (fields, place) ON f.place = g.number + 1 ORDER BY g.rid "
            f"{replacing if await any_merged(tx) else ''}",
            tx.district_id, entity, rids, numbers, fields, moment.since,
        )  # fmt: skip


async def move_provenance(tx: Transaction, entity: str, rids: Sequence[int], before: int, position: int) -> None:
    """Makes some records, of those that are merged since one position, merged since another one."""
    await tx.execute(
        "UPDATE provenance SET since = $5 WHERE district_id = $1 AND entity = $2::text::entity_name "
        "AND rid = ANY($3::integer[]) AND since = $4",
        tx.district_id, entity, rids, before, position,
    )  # fmt: skip


async def provenance(tx: Transaction, entity: str, rid: int) -> dict[str, str] | None:
    """Where the values of a merged record come from, field to source or override; None for one that is not merged."""
    found: dict[str, str] | None = await tx.fetchval(
        "SELECT fields FROM provenance WHERE district_id = $1 AND entity = $2::text::entity_name AND rid = $3",
        tx.district_id, entity, rid,
    )  # fmt: skip
    return found


async def provenance_of(tx: Transaction, entity: str, rids: Sequence[int]) -> dict[int, dict[str, str]]:
    """Field to source of those of some records that are merged."""
    rows = await tx.fetch(
        "SELECT rid, fields FROM provenance WHERE district_id = $1 AND entity = $2::text::entity_name "
        "AND rid = ANY($3::integer[])",
        tx.district_id, entity, list(rids),
    )  # fmt: skip
    return {row["rid"]: row["fields"] for row in rows}


async def provenances(
    tx: Transaction, entity: Entity, *, sourced_id: UUID | None, after: int, limit: int
) -> list[tuple[int, UUID, dict[str, str]]]:
    """Merged records with rids above ``after``, or the one of a sourcedId: rid, sourcedId, field to source."""
    rows = await tx.fetch(
        f"SELECT p.rid, t.sourced_id, p.fields FROM provenance p JOIN {entity.table} t "
        "ON t.district_id = p.district_id AND t.rid = p.rid WHERE p.district_id = $1 "
        "AND p.entity = $2::text::entity_name AND p.rid > $3 AND ($4::uuid IS NULL OR t.sourced_id = $4) "
        "ORDER BY p.rid LIMIT $5",
        tx.district_id, entity.name, after, sourced_id, limit,
    )  # fmt: skip
    return [(row["rid"], row["sourced_id"], row["fields"]) for row in rows]


async def sourced_id(tx: Transaction, entity: Entity, rid: int) -> UUID | None:
    """The sourcedId of a record, where it is still there."""
    found: UUID | None = await tx.fetchval(
        f"SELECT sourced_id FROM {entity.table} WHERE district_id = $1 AND rid = $2", tx.district_id, rid
    )
    return found


@dataclass(frozen=True, slots=True)
class Override:
    """A value that a person set in place of what sources say. ``value`` None empties the field."""

    override_id: UUID
    entity: str
    rid: int
    field: str
    value: Any
    owner: str
    reason: str
    until: datetime | None
    created_at: datetime
    ended_at: datetime | None
    ended_by: str | None


_OF_PEOPLE = frozenset(e.name for e in CATALOGUE.entities if "users" in {e.name, e.rid_of})
_OVERRIDE = ", ".join(Override.__dataclass_fields__)


async def override(
    tx: Transaction, override_id: UUID, *, entity: str, rid: int, field: str, value: Any, owner: str, reason: str,
    until: datetime | None,
) -> Override:  # fmt: skip
    """Sets one field of one record. Raises HubError(CONFLICT) where it is set already."""
    row = await tx.fetchrow(
        "INSERT INTO overrides (district_id, override_id, entity, rid, field, value, owner, reason, until) "
        "VALUES ($1, $2, $3::text::entity_name, $4, $5, $6, $7, $8, $9) "
        "ON CONFLICT (district_id, entity, rid, field) WHERE ended_at IS NULL DO NOTHING "
        f"RETURNING {_OVERRIDE}",
        tx.district_id, override_id, entity, rid, field, value, owner, reason, until,
    )  # fmt: skip
    if row is None:
        raise HubError(Code.CONFLICT, "This field is overridden already. End that override first.")
    return Override(**row)


async def end_override(tx: Transaction, override_id: UUID, *, by: str) -> Override:
    """Ends an override. Raises HubError(NOT_FOUND) where there is none that lives."""
    row = await tx.fetchrow(
        "UPDATE overrides SET ended_at = now(), ended_by = $3 "
        f"WHERE district_id = $1 AND override_id = $2 AND ended_at IS NULL RETURNING {_OVERRIDE}",
        tx.district_id, override_id, by,
    )  # fmt: skip
    if row is None:
        raise HubError(Code.NOT_FOUND, "This district has no such override, or it has ended.")
    return Override(**row)


async def overrides(
    tx: Transaction, *, entity: str | None = None, rids: Sequence[int] | None = None, ended: bool = False,
    limit: int | None = None,
) -> list[Override]:  # fmt: skip
    """The living overrides (``ended``: those that ended too), of an entity and of some records of it, oldest first."""
    rows = await tx.fetch(
        f"SELECT {_OVERRIDE} FROM overrides WHERE district_id = $1 AND ($2::text IS NULL OR entity::text = $2) "
        "AND ($3::integer[] IS NULL OR rid = ANY($3)) AND ($4 OR ended_at IS NULL) "
        "ORDER BY created_at, override_id LIMIT $5",
        tx.district_id, entity, None if rids is None else list(rids), ended, limit,
    )  # fmt: skip
    return [Override(**row) for row in rows]


def in_force(overrides: Sequence[Override], places: Mapping[int, int]) -> tuple[list[Override], frozenset[UUID]]:
    """Living overrides as those of the records that speak of merged people (their ``rid``), and which of them rest.

    ``places``: by a record that ended in a merge, the one that speaks of the person. Of each field that of the oldest
    record is in force, which is the one that stays if it has one.
    """
    found: dict[tuple[str, int, str], Override] = {}
    rest = []
    for one in sorted(overrides, key=lambda one: one.rid):
        mine = replace(one, rid=places.get(one.rid, one.rid)) if one.entity in _OF_PEOPLE else one
        if found.setdefault((mine.entity, mine.rid, mine.field), mine) is not mine:
            rest.append(one.override_id)
    return list(found.values()), frozenset(rest)


async def by_people(tx: Transaction) -> tuple[bool, bool]:
    """What people have decided that runs look at: whether the district has a living override, and merged users."""
    row = await tx.fetchrow(
        "SELECT EXISTS (SELECT FROM overrides WHERE district_id = $1 AND ended_at IS NULL) AS overridden, "
        "EXISTS (SELECT FROM aliases WHERE district_id = $1) AS merged",
        tx.district_id,
    )  # fmt: skip
    assert row is not None, "it has no condition"
    return row["overridden"], row["merged"]


async def note_next_end(tx: Transaction) -> None:
    """Notes with the district when the next of its overrides ends: workers look there, in all districts."""
    await tx.execute(
        "UPDATE districts SET overrides_until = (SELECT min(until) FROM overrides "
        "WHERE district_id = $1 AND ended_at IS NULL) WHERE district_id = $1",
        tx.district_id,
    )


async def ending(db: Database) -> list[UUID]:
    """Districts with overrides whose time is over."""
    async with db.statement() as tx:
        rows = await tx.fetch("SELECT district_id FROM districts WHERE overrides_until <= now() LIMIT 100")
    return [row["district_id"] for row in rows]


async def end_due(tx: Transaction) -> list[Override]:
    """Ends the district's overrides whose time is over."""
    rows = await tx.fetch(
        "UPDATE overrides SET ended_at = now(), ended_by = 'its time' "
        f"WHERE district_id = $1 AND ended_at IS NULL AND until <= now() RETURNING {_OVERRIDE}",
        tx.district_id,
    )
    await note_next_end(tx)
    return [Override(**row) for row in rows]
