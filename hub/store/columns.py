"""Reading a district's small columns in bulk: what a source said last, and the integer columns that views are made of.

Everything comes through COPY TO as text and is parsed by Polars: a tenth of the time of fetching rows.
"""

from __future__ import annotations

import asyncio
import io
import re
from collections.abc import Mapping, Sequence
from typing import Any
from uuid import UUID

import polars as pl

from hub.errors import Code, HubError
from hub.store.database import Transaction
from hub.store.schema import of_entities, of_rids
from transforms.catalogue import Entity

#: Bytes of an answer up to which it is read on the spot: a fraction of a millisecond of the event loop.
_SHORT = 8_000
_WORD = re.compile(r"[A-Za-z_]+")
#: So many values are asked for by a prepared statement: to copy a small answer, to wake a thread for it and to parse it
#: takes many times as long as to fetch its rows.
FEW = 500


async def copied(tx: Transaction, query: str, schema: Mapping[str, Any], *values: object) -> pl.DataFrame:
    """What a query answers, as a frame with this schema."""
    buffer = io.BytesIO()
    statement, others = _inlined(query, values)
    await tx.connection.copy_from_query(statement, *others, output=buffer, format="csv", null="")
    if not buffer.tell():
        return pl.DataFrame(schema=dict(schema))
    wire = {name: _wire(dtype) for name, dtype in schema.items()}
    if buffer.tell() <= _SHORT and all(dtype == pl.String or dtype.is_integer() for dtype in wire.values()):
        text = buffer.getvalue().decode()
        if '"' not in text:
            return _parsed(text, wire)
    buffer.seek(0)
    return await asyncio.to_thread(pl.read_csv, buffer, has_header=False, schema=wire)


def _parsed(text: str, schema: Mapping[str, Any]) -> pl.DataFrame:
    """A short answer without quotes: sooner read than handed to a thread and to the reader of the column engine."""
    cells = zip(*(line.split(",") for line in text.split("\n")[:-1]), strict=True)
    columns = []
    for (name, dtype), values in zip(schema.items(), cells, strict=True):
        read = str if dtype == pl.String else int
        columns.append(pl.Series(name, [read(value) if value else None for value in values], dtype=dtype))
    return pl.DataFrame(columns)


async def fetched(tx: Transaction, query: str, schema: Mapping[str, Any], *values: object) -> pl.DataFrame:
    """The same of a small answer; whatever is no text or integer has to be cast to text by the query."""
    rows = await tx.fetch(query, *values)
    return pl.DataFrame(
        [pl.Series(name, [row[at] for row in rows], dtype) for at, (name, dtype) in enumerate(schema.items())]
    )


def _inlined(query: str, values: Sequence[object]) -> tuple[str, list[object]]:
    """The query with plain values in it, and the others for asyncpg, which asks the server to quote them.

    COPY takes no parameters. What needs no quoting needs no round trip, and the planner sees what it is: an entity's
    name as a literal of its type tells how many rows there are, and is not read anew for each of them.
    """
    texts, others = list[str](), list[object]()
    for value in values:
        if value is None:
            texts.append("NULL")
        elif _is_plain(value):
            texts.append(f"'{{{', '.join(map(str, value))}}}'" if isinstance(value, list) else f"'{value}'")
        else:
            others.append(value)
            texts.append(f"${len(others)}")
    return re.sub(r"\$(\d+)", lambda number: texts[int(number[1]) - 1], query), others


def _is_plain(value: object) -> bool:
    if isinstance(value, list):
        return all(type(item) is int or isinstance(item, UUID) for item in value)
    return isinstance(value, UUID) or (isinstance(value, str) and _WORD.fullmatch(value) is not None)


def _wire(dtype: Any) -> Any:
    return pl.String if dtype == pl.Boolean else dtype


_STORED = {"key": pl.String, "rid": pl.UInt32, "hash": pl.Int64, "active": pl.UInt8}


async def stored(tx: Transaction, source_id: UUID, entity: str) -> pl.DataFrame:
    """What one source said last of one entity: key (String), rid (UInt32), hash (UInt64), active (Boolean)."""
    frame = await copied(
        tx,
        "SELECT key, rid, hash, active::int FROM source_records "
        "WHERE district_id = $1 AND source_id = $2 AND entity = $3::entity_name AND superseded_at IS NULL",
        _STORED, tx.district_id, source_id, entity,
    )  # fmt: skip
    return _said(frame)


async def stored_of(
    tx: Transaction, source_id: UUID, keys: Sequence[str] | None, *, entities: Sequence[str] | None = None
) -> dict[str, pl.DataFrame]:
    """The same of the objects with these keys, or of all, for each entity that has some: in one pass over the table.

    ``entities``: of these alone.
    """
    some, given = ("", []) if keys is None else (" AND key = ANY($3::text[])", [list(keys)])
    if entities is not None:
        some += f" AND entity = {of_entities(f'${3 + len(given)}')}"
        given.append(list(entities))
    frame = await copied(
        tx,
        "SELECT entity, key, rid, hash, active::int FROM source_records "
        f"WHERE district_id = $1 AND source_id = $2 AND superseded_at IS NULL{some}",
        {"entity": pl.String, **_STORED}, tx.district_id, source_id, *given,
    )  # fmt: skip
    parts = _said(frame).partition_by("entity", include_key=False, as_dict=True)
    return {str(name): part for (name,), part in parts.items()}


async def stored_some(tx: Transaction, source_id: UUID, entity: str, keys: Sequence[str]) -> pl.DataFrame:
    """The same of the objects of one entity with these keys."""
    frame = await copied(
        tx,
        "SELECT key, rid, hash, active::int FROM source_records "
        "WHERE district_id = $1 AND source_id = $2 AND entity = $3::entity_name AND key = ANY($4::text[]) "
        "AND superseded_at IS NULL",
        _STORED, tx.district_id, source_id, entity, list(keys),
    )  # fmt: skip
    return _said(frame)


async def superseded(tx: Transaction, source_id: UUID, entity: str, keys: Sequence[str]) -> pl.DataFrame:
    """Key and rid of records that a source called by these keys, which are other records' now."""
    return await copied(
        tx,
        "SELECT key, rid FROM source_records WHERE district_id = $1 AND source_id = $2 AND entity = $3::entity_name "
        "AND key = ANY($4::text[]) AND superseded_at IS NOT NULL",
        {"key": pl.String, "rid": pl.UInt32}, tx.district_id, source_id, entity, list(keys),
    )  # fmt: skip


def _said(frame: pl.DataFrame) -> pl.DataFrame:
    return frame.with_columns(pl.col("hash").reinterpret(signed=False), pl.col("active").cast(pl.Boolean))


async def keys_of(tx: Transaction, source_ids: Sequence[UUID], entity: str, keys: Sequence[str] | None) -> pl.DataFrame:
    """Key and rid of the active records of which some sources speak, each key once: of the first source that has it.

    ``keys``: those that are asked for; None for all.
    """
    return (await every_key_of(tx, source_ids, [entity], keys))[entity]


async def every_key_of(
    tx: Transaction, source_ids: Sequence[UUID], entities: Sequence[str], keys: Sequence[str] | None
) -> dict[str, pl.DataFrame]:
    """The same of several entities, in one pass.

    Under row-level security the name of an entity is no condition of an index (the comparison of an enum is not
    leakproof), so that each question goes through all that the sources say.
    """
    frame = await copied(
        tx,
        "SELECT entity, key, rid, array_position($2::uuid[], source_id) FROM source_records WHERE district_id = $1 "
        f"AND source_id = ANY($2::uuid[]) AND entity = {of_entities('$3')} AND active "
        "AND ($4::text[] IS NULL OR key = ANY($4::text[]))",
        {"entity": pl.String, "key": pl.String, "rid": pl.UInt32, "place": pl.Int32},
        tx.district_id, list(source_ids), list(entities), None if keys is None else list(keys),
    )  # fmt: skip
    once = frame.sort("place", "rid").unique(["entity", "key"], keep="first", maintain_order=True)
    found = {str(name): part.select("key", "rid") for (name,), part in once.group_by("entity")}
    return {entity: found.get(entity, once.select("key", "rid").clear()) for entity in entities}


async def kept_up(tx: Transaction, source_id: UUID, entity: Entity) -> pl.Series:
    """The rids of active records of which a source spoke last, and nobody does now: an undo brought them back."""
    frame = await copied(
        tx,
        f"SELECT s.rid FROM source_records s JOIN {entity.table} t ON t.district_id = s.district_id AND t.rid = s.rid "
        "WHERE s.district_id = $1 AND s.source_id = $2 AND s.entity = $3::entity_name AND NOT s.active "
        "AND t.active AND NOT EXISTS (SELECT FROM source_records o WHERE o.district_id = $1 AND o.entity = s.entity "
        "AND o.rid = s.rid AND o.active)",
        {"rid": pl.UInt32}, tx.district_id, source_id, entity.name,
    )  # fmt: skip
    return frame["rid"]


def nothing_stored() -> pl.DataFrame:
    """What ``stored`` gives of a source that has said nothing."""
    return _NOTHING_STORED.clone()


_NOTHING_STORED = pl.DataFrame(schema={"key": pl.String, "rid": pl.UInt32, "hash": pl.UInt64, "active": pl.Boolean})


async def org_types(tx: Transaction, source_ids: Sequence[UUID]) -> pl.DataFrame:
    """Key and type of the active orgs of which some sources speak, each key once, as in ``keys_of``."""
    frame = await copied(
        tx,
        "SELECT s.key, o.type, array_position($2::uuid[], s.source_id) FROM source_records s "
        "JOIN orgs o ON o.district_id = s.district_id AND o.rid = s.rid WHERE s.district_id = $1 "
        "AND s.source_id = ANY($2::uuid[]) AND s.entity = 'orgs' AND s.active",
        {"key": pl.String, "type": pl.String, "place": pl.Int32}, tx.district_id, list(source_ids),
    )  # fmt: skip
    return frame.sort("place").unique("key", keep="first", maintain_order=True).select("key", "type")


async def passed_back(tx: Transaction, entities: Sequence[str]) -> dict[str, pl.DataFrame]:
    """The objects that apps wrote, by the id that a system is told of them by: key, rid, sourcedId by entity."""
    schema = {"entity": pl.String, "key": pl.String, "rid": pl.UInt32, "sourcedId": pl.String}
    frame = await copied(
        tx, "SELECT entity, sourced_id::text, rid, sourced_id::text FROM gradebook_objects WHERE district_id = $1",
        schema, tx.district_id,
    )  # fmt: skip
    return _by_entity(frame, entities)


def _by_entity(frame: pl.DataFrame, entities: Sequence[str]) -> dict[str, pl.DataFrame]:
    """The rows of each of some entities, without its name."""
    parts = frame.partition_by("entity", include_key=False, as_dict=True) if frame.height else {}
    none = frame.drop("entity").clear()
    return {entity: parts.get((entity,), none) for entity in entities}


async def spoken(tx: Transaction, source_id: UUID) -> dict[str, int]:
    """Of how many active records a source speaks, by entity."""
    rows = await tx.fetch(
        "SELECT entity::text AS entity, count(*) AS n FROM source_records "
        "WHERE district_id = $1 AND source_id = $2 AND active GROUP BY entity",
        tx.district_id, source_id,
    )  # fmt: skip
    return {row["entity"]: row["n"] for row in rows}


async def sourced_ids(tx: Transaction, entity: Entity, rids: Sequence[int] | None = None) -> pl.DataFrame:
    """Rid (UInt32) and sourcedId (String) of all records of an entity, or (``rids``) of some."""
    return await copied(
        tx, f"SELECT rid, sourced_id FROM {entity.table} WHERE {_which(rids)}",
        {"rid": pl.UInt32, "sourcedId": pl.String}, tx.district_id, *_given(rids),
    )  # fmt: skip


async def every_sourced_id(tx: Transaction, entities: Sequence[Entity]) -> dict[str, pl.DataFrame]:
    """The same of all records of several entities, by their names, at once."""
    parts = [f"SELECT '{e.name}', rid, sourced_id FROM {e.table} WHERE district_id = $1" for e in entities]
    schema = {"entity": pl.String, "rid": pl.UInt32, "sourcedId": pl.String}
    frame = await copied(tx, " UNION ALL ".join(parts), schema, tx.district_id)
    return _by_entity(frame, [e.name for e in entities])


async def small(
    tx: Transaction, entity: Entity, integers: tuple[str, ...], tokens: tuple[str, ...] = (), *,
    rids: Sequence[int] | None = None,
) -> pl.DataFrame:  # fmt: skip
    """The small columns of an entity, by rid: rid (UInt32), active (UInt8 0/1), integers (Int32), tokens (String).

    Tokens are short texts of few kinds: a role, a type. ``rids``: of these records alone.
    """
    names = "".join(f', "{c}"' for c in (*integers, *tokens))
    schema: dict[str, Any] = {"rid": pl.UInt32, "active": pl.UInt8}
    schema |= dict.fromkeys(integers, pl.Int32) | dict.fromkeys(tokens, pl.String)
    if rids is not None and not rids:
        return pl.DataFrame(schema=schema)
    query = f"SELECT rid, active::int{names} FROM {entity.table} WHERE {_which(rids)}"
    return _by_rid(await copied(tx, query, schema, tx.district_id, *_given(rids)))


def _which(rids: Sequence[int] | None, table: str = "") -> str:
    """All records of the district ``$1``, or (``$2``) some."""
    return of_rids(table=table) if rids is not None else f"{table}.district_id = $1" if table else "district_id = $1"


def _given(rids: Sequence[int] | None) -> tuple[object, ...]:
    return () if rids is None else (list(rids),)


async def pairs(
    tx: Transaction, entity: Entity, *columns: str, text: tuple[str, ...] = (), rids: Sequence[int] | None = None
) -> pl.DataFrame:
    """Array columns unnested side by side: rid (UInt32) and one column each (Int32; String for those in ``text``).

    ``rids``: of these records alone.
    """
    wanted = (*columns, *text)
    arrays = ", ".join(f't."{c}"' for c in wanted)
    names = ", ".join(f'u."{c}"' for c in wanted)
    aliases = ", ".join(f'"{c}"' for c in wanted)
    schema: dict[str, Any] = {"rid": pl.UInt32} | dict.fromkeys(columns, pl.Int32) | dict.fromkeys(text, pl.String)
    if rids is not None and not rids:
        return pl.DataFrame(schema=schema)
    query = (
        f"SELECT t.rid, {names} FROM {entity.table} t CROSS JOIN LATERAL unnest({arrays}) u({aliases}) "
        f'WHERE {_which(rids, "t")} AND t."{wanted[0]}" IS NOT NULL'
    )
    return _by_rid(await copied(tx, query, schema, tx.district_id, *_given(rids)))


async def few(tx: Transaction, entity: Entity, columns: Sequence[str], rids: Sequence[int]) -> list[dict[str, Any]]:
    """Rid, whether active, and some columns of a few records, by ascending rid."""
    names = "".join(f', "{column}"' for column in columns)
    query = f"SELECT rid, active{names} FROM {entity.table} WHERE {of_rids()} ORDER BY rid"
    return [dict(row) for row in await tx.fetch(query, tx.district_id, list(rids))]


def _by_rid(frame: pl.DataFrame) -> pl.DataFrame:
    """In ascending rid, and as it came within one rid. Here and not in the query: it mostly comes like that."""
    return frame if frame["rid"].is_sorted() else frame.sort("rid", maintain_order=True)


async def changed_since(tx: Transaction, position: int) -> tuple[int, dict[str, list[tuple[bytes, bytes, bytes]]]]:
    """The district's position, and what was created, updated and deleted after another one: bitmaps by entity.

    Raises HubError(NOT_FOUND).
    """
    rows = await tx.fetch(
        "SELECT d.position, c.entity, c.created, c.updated, c.deleted FROM districts d "
        "LEFT JOIN changes c ON c.district_id = d.district_id AND c.position > $2 WHERE d.district_id = $1",
        tx.district_id, position,
    )  # fmt: skip
    if not rows:
        raise HubError(Code.NOT_FOUND, "There is no such district.")
    found: dict[str, list[tuple[bytes, bytes, bytes]]] = {}
    for row in rows:
        if row["entity"] is not None:
            found.setdefault(row["entity"], []).append((row["created"], row["updated"], row["deleted"]))
    return rows[0]["position"], found


async def per_school(tx: Transaction, entity: Entity) -> dict[int, int]:
    """The number of active records (classes, enrollments) per school, by the school's rid."""
    rows = await tx.fetch(
        f"SELECT school_rid, count(*) AS n FROM {entity.table} WHERE district_id = $1 AND active GROUP BY school_rid",
        tx.district_id,
    )
    return {row["school_rid"]: row["n"] for row in rows}


async def rids_of(tx: Transaction, entity: Entity, sourced_ids: list[str]) -> dict[str, int]:
    """The rids of records by their sourcedId; ids that the district does not have are left out."""
    rows = await tx.fetch(
        f"SELECT sourced_id::text AS id, rid FROM {entity.table} "
        "WHERE district_id = $1 AND sourced_id = ANY($2::uuid[])",
        tx.district_id,
        sourced_ids,
    )
    return {row["id"]: row["rid"] for row in rows}
