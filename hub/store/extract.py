"""Reading many records as text, in the order of their sourcedIds: what files for apps are made from.

Everything comes through one COPY TO a pass, block by block, so that memory stays bounded however many records there
are. Values stay the text that PostgreSQL writes; only rids become numbers. A block ends where a row does.
"""

from __future__ import annotations

import asyncio
import io
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import polars as pl

from hub.store.database import Transaction
from hub.store.schema import entry_columns, kept_columns, of_rids
from transforms.catalogue import Entity, Field, Kind

#: Stands between the items of a list.
BETWEEN = "\x1f"
BLOCK_BYTES = 4 << 20
#: Blocks that wait while one is worked on.
_WAITING = 2


@dataclass(frozen=True, slots=True)
class Document:
    """One part of stored documents (``doc`` or ``doc_private``), for the records whose part has a certain member.

    ``unless`` names a column: records that have a value there need no document.
    """

    part: str
    member: str
    unless: Field | None = None


@dataclass(frozen=True, slots=True)
class Records:
    """Some records as a frame; whether any value needs quotes in CSV, and whether any holds a line break."""

    frame: pl.DataFrame
    quoted: bool = False
    broken: bool = False

    @classmethod
    def joined(cls, parts: Sequence[Records]) -> Records:
        """Several, one behind the other."""
        frame = pl.concat([part.frame for part in parts])
        return cls(frame, any(part.quoted for part in parts), any(part.broken for part in parts))


@dataclass(frozen=True, slots=True)
class Wanted:
    """What to read of each record beside its rid and sourcedId.

    ``fields`` become columns of their names: texts as they are, true and false in words, dates in ISO form, times as
    the day in UTC, single references as rids (Int32), lists and references to several as items with ``BETWEEN`` between
    them. Objects in lists become a column for each member, ``roles.org``. ``metadata``: names of members, which become
    columns ``metadata.<name>``; what is no scalar is left out. ``documents`` by the name of their column;
    ``only_documents`` passes over records without any.
    """

    entity: Entity
    fields: tuple[Field, ...]
    metadata: tuple[str, ...] = ()
    documents: tuple[tuple[str, Document], ...] = ()
    only_documents: bool = False

    @property
    def schema(self) -> dict[str, Any]:
        """The columns of the frames."""
        columns: dict[str, Any] = {"rid": pl.UInt32, "sourcedId": pl.String}
        for field in self.fields:
            single = field.kind is Kind.REF and not field.many
            columns |= dict.fromkeys(_columns(field), pl.Int32 if single else pl.String)
        columns |= dict.fromkeys((f"metadata.{name}" for name in self.metadata), pl.String)
        return columns | dict.fromkeys((name for name, _ in self.documents), pl.String)

    def parse(self, block: bytes) -> Records:
        """The records of a block. CPU-bound: call it in a thread."""
        frame = pl.read_csv(io.BytesIO(block), has_header=False, schema=self.schema)
        return Records(frame, b'"' in block, b"\r" in block or block.count(b"\n") != frame.height)

    @property
    def none(self) -> Records:
        """No records."""
        return Records(pl.DataFrame(schema=self.schema))

    def expressions(self, first: int) -> list[str]:
        """The SQL of the columns; the names in ``metadata`` are the parameters from ``$first`` on."""
        found = ["t.rid", "t.sourced_id"]
        for field in self.fields:
            found += _columns(field).values()
        for number in range(first, first + len(self.metadata)):
            value = f"t.metadata -> ${number}::text"
            found.append(
                f"CASE WHEN jsonb_typeof({value}) NOT IN ('object', 'array') THEN t.metadata ->> ${number}::text END"
            )
        return found + [_document(document) for _, document in self.documents]


@dataclass(frozen=True, slots=True)
class Which:
    """Which records: those with ``rids``, or all of the district. ``as_of``: as they were at that position of it.

    All of an earlier position have those among them that were made since, as they were made.
    """

    rids: Sequence[int] | None = None
    as_of: int | None = None


ALL = Which()


async def blocks(tx: Transaction, wanted: Wanted, which: Which = ALL) -> AsyncIterator[bytes]:
    """The records as blocks of CSV for ``wanted.parse``, ascending by sourcedId.

    With ``as_of``, a record whose past is not kept any more comes without a rid.
    """
    source, values = _source(tx, wanted.entity, which)
    columns = ", ".join(wanted.expressions(len(values) + 1))
    some = " OR ".join(_has(document) for _, document in wanted.documents) if wanted.only_documents else "true"
    query = f"SELECT {columns} FROM {source} WHERE {some} ORDER BY t.sourced_id"
    async for block in _copied(tx, query, *values, *wanted.metadata):
        yield block


async def metadata_names(tx: Transaction, entity: Entity, which: Which = ALL) -> AsyncIterator[pl.DataFrame]:
    """The names of scalar members in the records' metadata, frame by frame: rid (UInt32) and name (String)."""
    source, values = _source(tx, entity, which)
    query = (
        f"SELECT t.rid, m.key FROM {source} CROSS JOIN LATERAL jsonb_each("
        "CASE WHEN jsonb_typeof(t.metadata) = 'object' THEN t.metadata ELSE '{}' END) m "
        "WHERE t.metadata IS NOT NULL AND jsonb_typeof(m.value) NOT IN ('object', 'array')"
    )
    schema: dict[str, Any] = {"rid": pl.UInt32, "name": pl.String}
    async for block in _copied(tx, query, *values):
        yield await asyncio.to_thread(pl.read_csv, io.BytesIO(block), has_header=False, schema=schema)


async def _copied(tx: Transaction, query: str, *values: object) -> AsyncIterator[bytes]:
    """What a query answers, as CSV in blocks of whole rows; the next ones come while one is worked on."""
    waiting: asyncio.Queue[bytes] = asyncio.Queue(_WAITING)
    copying = asyncio.create_task(_copy(tx, query, values, waiting))
    try:
        while block := await waiting.get():
            yield block
        await copying
    finally:
        copying.cancel()
        await asyncio.wait([copying])


async def _copy(tx: Transaction, query: str, values: Sequence[object], waiting: asyncio.Queue[bytes]) -> None:
    """Puts the blocks into ``waiting``, and an empty one behind them."""
    held: list[bytes] = []
    size = 0

    async def take(data: bytes) -> None:  # whole rows: the protocol has a message for each (COPY Operations)
        nonlocal size
        held.append(data)
        size += len(data)
        if size >= BLOCK_BYTES:
            await waiting.put(b"".join(held))
            held.clear()
            size = 0

    try:
        await tx.connection.copy_from_query(query, *values, output=take, format="csv", null="")
        if held:
            await waiting.put(b"".join(held))
        await waiting.put(b"")
    except BaseException:
        # Nobody may be there to take anything: what waits is of no use any more, and the end must find a place.
        while not waiting.empty():
            waiting.get_nowait()
        waiting.put_nowait(b"")
        raise


def _source(tx: Transaction, entity: Entity, which: Which) -> tuple[str, tuple[object, ...]]:
    """What to select from, as ``t``, and its parameters."""
    values: tuple[object, ...] = (tx.district_id,) if which.rids is None else (tx.district_id, list(which.rids))
    chosen = "district_id = $1" if which.rids is None else of_rids()
    if which.as_of is None:
        return f"(SELECT * FROM {entity.table} WHERE {chosen}) t", values
    some = "" if which.rids is None else " AND rid = ANY($2::integer[])"
    since = f"h.district_id = $1 AND h.entity = '{entity.name}' AND h.position > ${len(values) + 1}::bigint"
    documents = "jsonb_build_object('doc', h.doc, 'doc_private', h.doc_private)"
    return (
        f"(SELECT n.* FROM {entity.table} n WHERE {chosen} "
        f"AND NOT EXISTS (SELECT FROM history h WHERE {since} AND h.rid = n.rid) UNION ALL "
        f"SELECT o.* FROM (SELECT DISTINCT ON (h.rid) {kept_columns('h')} AS was, h.doc, h.doc_private FROM history h "
        f"WHERE {since}{some} ORDER BY h.rid, h.position) h "
        f"CROSS JOIN LATERAL jsonb_populate_record(NULL::{entity.table}, h.was || {documents}) o) t"
    ), (*values, which.as_of)


def _columns(field: Field) -> dict[str, str]:
    """The columns of a frame that a field becomes, with their SQL."""
    if entries := entry_columns(field):
        return {f"{field.name}.{member}": _list(column) for member, (column, _) in entries.items()}
    column = f't."{field.table_column}"'
    if field.many:
        return {field.name: _list(field.table_column)}
    match field.kind:
        case Kind.BOOLEAN:
            return {field.name: f"{column}::text"}
        case Kind.DATETIME:
            return {field.name: f"{column}::date"}
        case _:
            return {field.name: column}


def _list(column: str) -> str:
    return f"array_to_string(t.\"{column}\", E'\\x1f', '')"


def _document(document: Document) -> str:
    return f"CASE WHEN {_has(document)} THEN t.{document.part} END"


def _has(document: Document) -> str:
    """Whether a document has a member. Inside JSON strings quotes are escaped, so this finds names alone."""
    has = f"strpos(t.{document.part}, '\"{document.member}\":') > 0"
    return has if document.unless is None else f't."{document.unless.table_column}" IS NULL AND {has}'


async def sourced_ids(tx: Transaction, entity: Entity, rids: Sequence[int] | None = None) -> pl.DataFrame:
    """Rid (UInt32) and sourcedId (String) of these records, or of all, ascending by rid."""
    chosen = "district_id = $1" if rids is None else of_rids()
    values = (tx.district_id,) if rids is None else (tx.district_id, list(rids))
    query = f"SELECT rid, sourced_id FROM {entity.table} WHERE {chosen} ORDER BY rid"
    return await _frame(tx, query, {"rid": pl.UInt32, "sourcedId": pl.String}, *values)


async def own_ids(tx: Transaction, app_id: UUID, entity: str) -> pl.DataFrame:
    """The objects that an app calls by ids of its own: sourcedId and key (String), ascending by sourcedId."""
    query = (
        "SELECT sourced_id, key FROM gradebook_objects "
        "WHERE district_id = $1 AND app_id = $2 AND entity = $3::text AND key IS NOT NULL ORDER BY sourced_id"
    )
    return await _frame(tx, query, {"sourcedId": pl.String, "key": pl.String}, tx.district_id, app_id, entity)


async def source_ids(tx: Transaction, grant_id: UUID, entity: str) -> pl.DataFrame:
    """The records that a grant's app knows by a source's ids, in columns as ``own_ids``."""
    query = (
        "SELECT sourced_id, key FROM shown_ids "
        "WHERE district_id = $1 AND grant_id = $2 AND entity = $3::text::entity_name ORDER BY sourced_id"
    )
    return await _frame(tx, query, {"sourcedId": pl.String, "key": pl.String}, tx.district_id, grant_id, entity)


async def _frame(tx: Transaction, query: str, schema: dict[str, Any], *values: object) -> pl.DataFrame:
    buffer = io.BytesIO()

    async def take(data: bytes) -> None:
        buffer.write(data)

    await tx.connection.copy_from_query(query, *values, output=take, format="csv")
    if not buffer.tell():
        return pl.DataFrame(schema=schema)
    buffer.seek(0)
    return await asyncio.to_thread(pl.read_csv, buffer, has_header=False, schema=schema)


async def referring(tx: Transaction, entity: Entity, field: Field, rids: Sequence[int]) -> list[int]:
    """The rids of the records whose reference ``field`` is to one of ``rids``."""
    column = f'"{field.table_column}"'
    test = f"{column} && $2::integer[]" if field.many else f"{column} = ANY($2::integer[])"
    rows = await tx.fetch(f"SELECT rid FROM {entity.table} WHERE district_id = $1 AND {test}", tx.district_id, rids)
    return [row[0] for row in rows]


async def past_is_kept(tx: Transaction, position: int) -> bool:
    """Whether records can be read as they were at a position of the district."""
    kept: bool = await tx.fetchval(
        "SELECT $2 >= d.history_from "
        "AND NOT EXISTS (SELECT FROM erasures e WHERE e.district_id = $1 AND e.position > $2) "
        "AND NOT EXISTS (SELECT FROM history h WHERE h.district_id = $1 AND h.position > $2 "
        "AND h.was IS NULL AND h.image IS NULL) FROM districts d WHERE d.district_id = $1",
        tx.district_id, position,
    )  # fmt: skip
    return kept
