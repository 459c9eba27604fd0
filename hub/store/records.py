"""Reading records for an app: pages, single objects, and the rids that conditions and orders select.

Every statement here looks through the same gate (hub.store.gate).
"""

from __future__ import annotations

from array import array
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache, lru_cache
from typing import Any, cast
from uuid import UUID

import numpy as np
import orjson

from hub.errors import Code, HubError
from hub.store.conditions import ALWAYS, Condition, Expression
from hub.store.database import ITS_DISTRICT, UNDECODED, StatementTimeoutError, Transaction
from hub.store.gate import PARAMETERS, ClosedError, Gate
from hub.store.schema import ROLE_COLUMNS, kept_columns
from transforms.catalogue import Entity, Field, Kind

_LONGEST_SECONDS = 5  # for what reads a whole entity at an app's word
_MANY = 1_000  # planning for them is little beside reading them
_FREE = PARAMETERS + 1  # the first parameter behind the gate's
_OF_DISTRICT = "t.district_id = its.district::uuid"
_APART = "\x1d"  # stands around records that are told apart, and behind their references; no JSON text has it
#: By rid and reference field, the rids of references in the order of the document.
References = dict[int, dict[str, list[int]]]


@dataclass(frozen=True, slots=True)
class Row:
    """One record's document. ``references``: the rids of its reference fields, where they were asked for."""

    rid: int
    sourced_id: str
    doc: str
    doc_private: str
    references: Mapping[str, list[int]] | None = None


@dataclass(frozen=True, slots=True)
class Found:
    """A record found by its sourcedId, and whether it meets the condition that was given."""

    row: Row
    fits: bool


async def page(
    tx: Transaction, gate: Gate, entity: Entity, rids: Sequence[int], *, private: bool,
    trimmed: Sequence[int] = (), fields: tuple[str, ...] = (),
) -> tuple[list[tuple[int, str, str]], References]:  # fmt: skip
    """(rid, sourcedId, document) of these records by rid; ``private``: with the members beside the directory's.

    Also the references ``fields`` of those that are ``trimmed``: they belong to the documents. ``rids`` exist and there
    is at least one, so no row means that the gate is closed. Raises ClosedError.
    """
    columns, more = "", tuple[str, ...]()
    if trimmed:
        is_trimmed, references = _references(entity, fields, _FREE + 1)
        columns, more = f"CASE WHEN {is_trimmed} THEN {references} END", (literal(trimmed),)
    rows = await tx.alone(
        f"SELECT r.* FROM {ITS_DISTRICT} CROSS JOIN LATERAL ("
        f"SELECT t.rid, t.sourced_id::text, t.doc{' || t.doc_private' if private else ''}"
        f"{columns and f', {columns}'} FROM {entity.table} t WHERE {_OF_DISTRICT} "
        f"AND t.rid = ANY(${_FREE}::text::integer[]) AND {gate.condition} ORDER BY t.rid) r",
        *gate.own_values, literal(rids), *more,
    )  # fmt: skip
    if not rows:
        raise ClosedError
    if not columns:
        return cast("list[tuple[int, str, str]]", rows), {}  # a Record is a tuple in all but name
    found = [orjson.loads(row[3]) for row in rows if row[3] is not None]
    return [row[:3] for row in rows], {rid: dict(zip(fields, map(as_list, refs), strict=True)) for rid, *refs in found}


@dataclass(frozen=True, slots=True)
class Joined:
    """Records in one text, but for those that were to stand apart.

    ``parts``: by turns the text up to such a record, that record alone (as bytes), and so on; ``references``: of each
    of these its rid, and the rids of each of its reference fields.
    """

    count: int
    parts: list[bytes | memoryview]
    references: list[tuple[int, list[list[int]]]]


async def joined(
    tx: Transaction, gate: Gate, entity: Entity, rids: Sequence[int], before_document: str, between: str, *,
    private: bool, apart: Sequence[int] = (), fields: tuple[str, ...] = (),
) -> Joined:  # fmt: skip
    """These records as one text in UTF-8, by rid with ``between`` between: sourcedId and document of each.

    ``rids`` ascend, and ``apart``, of which ``fields`` are, are some of them; ``private`` as in ``page``. Joining costs
    PostgreSQL less than rows cost whoever takes them apart. Each step of an expression copies the record once more, so
    what stands around all is in ``between``. Raises ClosedError.
    """
    await tx.keep_freed_memory()
    which, values = _listed(rids, _FREE + 2)
    query = _joined(gate.condition, entity, which, private, fields if apart else None, _FREE + 2 + len(values))
    more = (literal(apart),) if apart else ()
    ((count, text),) = await tx.alone(query, *gate.own_values, before_document, between, *values, *more)
    if text is None:
        raise ClosedError
    return _apart(count, text) if apart else Joined(count, [text], [])


@lru_cache(1_000)
def _joined(gate: str, entity: Entity, which: str, private: bool, fields: tuple[str, ...] | None, free: int) -> str:
    """The statement of ``joined``. ``fields``: of records apart, which are in the parameter ``free``."""
    record = f"t.sourced_id::text || ${_FREE}::text || t.doc{' || t.doc_private' if private else ''}"
    if fields is not None:
        is_apart, references = _references(entity, fields, free)
        mark = f"chr({ord(_APART)})"
        record = f"CASE WHEN {is_apart} THEN {mark} || {references} || {mark} || {record} || {mark} ELSE {record} END"
    return (
        f"SELECT count(*), string_agg(r.record, ${_FREE + 1}::text)::{UNDECODED} FROM {ITS_DISTRICT} "
        f"CROSS JOIN LATERAL (SELECT {record} AS record FROM {entity.table} t WHERE {_OF_DISTRICT} AND t.rid {which} "
        f"AND {gate} ORDER BY t.rid) r"
    )


def _apart(count: int, text: bytes) -> Joined:
    """The text at its marks. What is between the records apart is not copied, it is most of a page."""
    mark, whole, start, references = _APART.encode(), memoryview(text), 0, []
    parts: list[bytes | memoryview] = []
    while (told := text.find(mark, start)) >= 0:  # looks at many bytes at a time, ``bytes.split`` at each by itself
        end = text.index(mark, (begin := text.index(mark, told + 1)) + 1)
        rid, *found = orjson.loads(whole[told + 1 : begin])
        references.append((rid, [as_list(one) for one in found]))
        parts += whole[start:told], text[begin + 1 : end]
        start = end + 1
    return Joined(count, [*parts, whole[start:]], references)


def _references(entity: Entity, fields: tuple[str, ...], free: int) -> tuple[str, str]:
    """Expressions: whether a record is of those in the parameter ``free``, and its rid and references as JSON."""
    columns = "".join(f', t."{name}"' for name in reference_columns(entity, fields).values())
    return f"t.rid = ANY((SELECT ${free}::text::integer[])::integer[])", f"json_build_array(t.rid{columns})::text"


async def joined_bytes(
    tx: Transaction, gate: Gate, entity: Entity, rids: Sequence[int], between: str, *, private: bool
) -> bytes:
    """Like ``joined``, with nothing around the records, as UTF-8: sourcedId and document of each. Raises ClosedError.

    PostgreSQL makes a text for each step of an expression, so there are as few as can be.
    """
    await tx.keep_freed_memory()
    which, values = _listed(rids, _FREE + 1)
    doc = "CASE WHEN t.doc_private = '' THEN t.doc ELSE t.doc || t.doc_private END" if private else "t.doc"
    ((text,),) = await tx.alone(
        f"SELECT string_agg(t.sourced_id::text || {doc}, ${_FREE}::text)::{UNDECODED} "
        f"FROM {ITS_DISTRICT} CROSS JOIN LATERAL "
        f"(SELECT t.sourced_id, t.doc, t.doc_private FROM {entity.table} t WHERE {_OF_DISTRICT} AND t.rid {which} "
        f"AND {gate.condition} ORDER BY t.rid) t",
        *gate.own_values, between, *values,
    )  # fmt: skip
    if text is None:
        raise ClosedError
    return cast("bytes", text)


def _listed(rids: Sequence[int], free: int) -> tuple[str, tuple[object, ...]]:
    """What rids that ascend are compared with, in parameters from ``free`` on, and their values.

    Of a stretch whose ends it does not know PostgreSQL expects a two-hundredth of the table, so it plans for each pair
    of ends anew. Of a list it expects a few records, and keeps its plan: planning costs as much as reading a hundred.
    """
    if rids[-1] - rids[0] + 1 != len(rids):  # in a subquery an array is read once and not for every record
        return f"= ANY((SELECT ${free}::text::integer[])::integer[])", (literal(rids),)
    if len(rids) < _MANY:
        return f"= ANY(ARRAY(SELECT generate_series(${free}::integer, ${free + 1}::integer)))", (rids[0], rids[-1])
    return f"BETWEEN ${free} AND ${free + 1}", (rids[0], rids[-1])  # no look-up for each


def literal(items: Sequence[int]) -> str:
    """A PostgreSQL array of numbers as text: asyncpg takes longer to encode a list than PostgreSQL to read this."""
    numbers = np.frombuffer(items, np.uint32) if isinstance(items, array) else list(items)
    return f"{{{orjson.dumps(numbers, option=orjson.OPT_SERIALIZE_NUMPY)[1:-1].decode()}}}"


async def find(
    tx: Transaction, gate: Gate, entity: Entity, sourced_id: UUID, *, fits: Condition = ALWAYS, private: bool = False,
    fields: tuple[str, ...] = (),
) -> Found | None:  # fmt: skip
    """A record by its sourcedId, with everything that a single read may need. Raises ClosedError."""
    names = reference_columns(entity, fields)
    columns = "".join(f', t."{name}"' for name in names.values())
    row = await tx.fetchrow(
        f"SELECT gate.open, t.rid, t.sourced_id::text, t.doc, {_private(private)}, ({fits.numbered(_FREE + 1)}) AS fits"
        f"{columns} FROM (SELECT {gate.condition} AS open) gate "
        f"LEFT JOIN {entity.table} t ON t.district_id = $1 AND t.sourced_id = ${_FREE}",
        *gate.values(tx), sourced_id, *fits.values,
    )  # fmt: skip
    if row is None or not row["open"]:
        raise ClosedError
    if row["rid"] is None:
        return None
    return Found(_row(row, names, skip=1), bool(row["fits"]))


async def identify(
    tx: Transaction, gate: Gate, entity: Entity, sourced_id: UUID, fits: Condition, *, before: int | None = None
) -> tuple[int, bool] | None:
    """The rid of the record with a sourcedId, and whether it meets a condition; ``before`` as in ``matching``.

    Raises ClosedError.
    """
    table, free, values = table_at(entity, before)
    row = await tx.fetchrow(
        f"SELECT gate.open, t.rid, ({fits.numbered(free + 1)}) AS fits FROM (SELECT {gate.condition} AS open) gate "
        f"LEFT JOIN {table} t ON t.district_id = $1 AND t.sourced_id = ${free}",
        *gate.values(tx), *values, sourced_id, *fits.values,
    )  # fmt: skip
    if row is None or not row["open"]:
        raise ClosedError
    return None if row["rid"] is None else (row["rid"], bool(row["fits"]))


async def matching(
    tx: Transaction, gate: Gate, entity: Entity, condition: Condition, *, before: int | None = None
) -> bytes:
    """The rids of the records that meet the condition, ascending, as big-endian 32-bit integers.

    ``before`` looks at records as they were before this position of the district changed them. Raises ClosedError, and
    HubError(UNAVAILABLE) when it takes too long.
    """
    table, free, values = table_at(entity, before, documents=condition.reads_documents)
    return await _packed(
        tx, gate, f"SELECT string_agg(int4send(t.rid), '' ORDER BY t.rid) FROM {table} t "
        f"WHERE t.district_id = $1 AND ({condition.numbered(free)})", (*values, *condition.values),
    )  # fmt: skip


async def references(
    tx: Transaction, gate: Gate, entity: Entity, condition: Condition, field: Field, *, before: int | None = None
) -> bytes:
    """Pairs of the rid of a record that meets the condition and a rid that its reference ``field`` names.

    Packed as in ``matching``, with the same ``before``. Raises ClosedError, and HubError(UNAVAILABLE) when it takes too
    long.
    """
    table, free, values = table_at(entity, before)
    column = f't."{field.table_column}"'
    source, target = f"{table} t", column
    if field.many:
        source, target = f"{source} CROSS JOIN LATERAL unnest({column}) AS f(rid)", "f.rid"
    return await _packed(
        tx, gate, f"SELECT string_agg(int4send(t.rid) || int4send({target}), '') FROM {source} "
        f"WHERE t.district_id = $1 AND {target} IS NOT NULL AND ({condition.numbered(free)})",
        (*values, *condition.values),
    )  # fmt: skip


async def ordered(
    tx: Transaction, gate: Gate, entity: Entity, by: Expression, *, descending: bool, before: int | None = None
) -> bytes:
    """The rids of the records with a value in the order of an expression, then by rid.

    Packed as in ``matching``, with the same ``before``; texts are ordered by code point. Raises ClosedError, and
    HubError(UNAVAILABLE) when it takes too long.
    """
    table, free, values = table_at(entity, before)
    direction = "DESC" if descending else "ASC"
    key = by.numbered(free)
    return await _packed(
        tx, gate, f"SELECT string_agg(int4send(t.rid), '' ORDER BY {key} {direction}, t.rid) "
        f"FROM {table} t WHERE t.district_id = $1 AND {key} IS NOT NULL", (*values, *by.values),
    )  # fmt: skip


async def ranked(tx: Transaction, gate: Gate, entity: Entity, by: Expression, *, before: int | None = None) -> bytes:
    """Pairs of the rid of a record with a value and its rank among them, ascending by rid; equal values rank alike.

    Otherwise as ``ordered``.
    """
    table, free, values = table_at(entity, before)
    key = by.numbered(free)
    ranks = f"SELECT t.rid, dense_rank() OVER (ORDER BY {key}) AS place FROM {table} t"
    return await _packed(
        tx, gate, "SELECT string_agg(int4send(r.rid) || int4send(r.place::integer), '' ORDER BY r.rid) "
        f"FROM ({ranks} WHERE t.district_id = $1 AND {key} IS NOT NULL) r", (*values, *by.values),
    )  # fmt: skip


async def ids(tx: Transaction, gate: Gate, entity: Entity) -> bytes:
    """Pairs of a rid, packed as in ``matching``, and the 16 bytes of its sourcedId, of all records, ascending by rid.

    Raises ClosedError, and HubError(UNAVAILABLE) when it takes too long.
    """
    return await _packed(
        tx, gate, "SELECT string_agg(int4send(t.rid) || uuid_send(t.sourced_id), '' ORDER BY t.rid) "
        f"FROM {entity.table} t WHERE t.district_id = $1", (),
    )  # fmt: skip


async def keys(
    tx: Transaction, gate: Gate, entity: Entity, by: Expression, rids: Sequence[int], *, before: int | None = None
) -> dict[int, Any]:
    """What these records sort by, by rid; those without a value are left out. ``before`` as in ``matching``.

    Raises ClosedError.
    """
    table, free, values = table_at(entity, before)
    rows = await tx.fetch(
        f"SELECT gate.open, t.rid, t.key FROM (SELECT {gate.condition} AS open) gate LEFT JOIN (SELECT t.rid, "
        f"{by.numbered(free + 1)} AS key FROM {table} t WHERE t.district_id = $1 "
        f"AND t.rid = ANY(${free}::text::integer[])) t ON t.key IS NOT NULL",
        *gate.values(tx), *values, literal(rids), *by.values,
    )  # fmt: skip
    if not rows[0]["open"]:
        raise ClosedError
    return {row["rid"]: row["key"] for row in rows if row["rid"] is not None}


async def ordered_by_reference(
    tx: Transaction, gate: Gate, entity: Entity, field: Field, target: Entity, *, descending: bool,
    before: int | None = None,
) -> bytes:  # fmt: skip
    """Pairs of a record's rid and the rid that its reference names, in the order of the target's sourcedId.

    Otherwise as ``ordered``.
    """
    table, _, values = table_at(entity, before)
    direction = "DESC" if descending else "ASC"
    column = f't."{field.table_column}"'
    pairs = f"string_agg(int4send(t.rid) || int4send({column}), '' ORDER BY r.sourced_id {direction}, t.rid)"
    return await _packed(
        tx, gate, f"SELECT {pairs} FROM {table} t JOIN {target.table} r ON r.district_id = $1 AND r.rid = {column} "
        "WHERE t.district_id = $1", values,
    )  # fmt: skip


def table_at(
    entity: Entity, before: int | None, *, documents: bool = False
) -> tuple[str, int, tuple[object, ...]]:  # fmt: skip
    """What to read an entity from, the first free parameter behind it, and its values; ``documents``: with these.

    Records as they were ``before`` a position are those that nothing changed since, and of the others the oldest row
    that history kept since. Records that were made since are among them: who reads this knows which were there.
    """
    if before is None:
        return entity.table, _FREE, ()
    since = f"h.district_id = $1 AND h.entity = '{entity.name}' AND h.position >= ${_FREE}"
    unchanged = (
        f"SELECT n.* FROM {entity.table} n WHERE n.district_id = $1 "
        f"AND NOT EXISTS (SELECT FROM history h WHERE {since} AND h.rid = n.rid)"
    )
    parts = "jsonb_build_object('doc', h.doc, 'doc_private', h.doc_private)" if documents else "'{}'"
    changed = (
        f"SELECT o.* FROM (SELECT DISTINCT ON (h.rid) {kept_columns('h')} || {parts} AS was "
        f"FROM history h WHERE {since} ORDER BY h.rid, h.position) h "
        f"CROSS JOIN LATERAL jsonb_populate_record(NULL::{entity.table}, h.was) o"
    )
    return f"({unchanged} UNION ALL {changed})", _FREE + 1, (before,)


async def _packed(tx: Transaction, gate: Gate, query: str, values: Sequence[object]) -> bytes:
    try:
        await tx.execute(f"SET LOCAL statement_timeout = '{_LONGEST_SECONDS}s'")
        packed: bytes | None = await tx.fetchval(
            f"SELECT CASE WHEN {gate.condition} THEN coalesce(({query}), ''::bytea) END", *gate.values(tx), *values
        )
    except StatementTimeoutError:
        raise HubError(Code.UNAVAILABLE, "This question takes too long. Ask for less at once.") from None
    if packed is None:
        raise ClosedError
    return packed


def _private(wanted: bool) -> str:
    return "t.doc_private" if wanted else "''::text"


@cache
def reference_columns(entity: Entity, fields: tuple[str, ...]) -> Mapping[str, str]:
    """Reference fields to columns; ``roles`` stands for its orgs."""
    return {
        name: ROLE_COLUMNS["org"][0] if entity[name].kind is Kind.COMPONENT else entity[name].table_column
        for name in fields
    }


def _row(row: Any, names: Mapping[str, str], *, skip: int = 0) -> Row:
    references = {name: as_list(row[column]) for name, column in names.items()} if names else None
    return Row(row[skip], row[skip + 1], row[skip + 2], row[skip + 3], references)


def as_list(value: list[int] | int | None) -> list[int]:
    """The rids of a reference, single or not."""
    if value is None:
        return []
    return value if isinstance(value, list) else [value]
