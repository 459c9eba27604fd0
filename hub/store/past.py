"""What one position of a district did to its records, and bringing back what they said before it.

History keeps each record as it was before a position changed it. What a record said after that position is therefore
its next image in history, or the record itself.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple
from uuid import UUID

from pyroaring import BitMap

from hub.scope.sets import unpack
from hub.store.database import Transaction
from hub.store.people import USERS
from hub.store.schema import (
    DISTRICT,
    DOCUMENTS,
    STAGING_PREFIX,
    field_columns,
    kept_columns,
    of_rids,
    quoted,
    value_columns,
)
from hub.store.staging import UPDATE
from transforms.catalogue import CATALOGUE, Entity


class Image(NamedTuple):
    """A record at one moment: whether it was active, and its documents."""

    active: bool
    doc: str
    doc_private: str

    @property
    def documents(self) -> tuple[str, str]:
        """Both parts."""
        return self.doc, self.doc_private


@dataclass(frozen=True, slots=True)
class Versions:
    """A record before and after one position, and as it is now."""

    rid: int
    before: Image
    after: Image
    now: Image


@dataclass(frozen=True, slots=True)
class Part:
    """What a record becomes when some of its fields get back what they said."""

    rid: int
    fields: Sequence[str]
    image: Image


async def changes_at(tx: Transaction, position: int) -> dict[str, tuple[bytes, bytes, bytes]]:
    """Entity to the serialized sets of records that a position created, updated and ended."""
    rows = await tx.fetch(
        "SELECT entity, created, updated, deleted FROM changes WHERE district_id = $1 AND position = $2",
        tx.district_id, position,
    )  # fmt: skip
    return {row["entity"]: (row["created"], row["updated"], row["deleted"]) for row in rows}


async def versions(tx: Transaction, entity: Entity, position: int, rids: Collection[int]) -> list[Versions]:
    """Some records around a position that changed them; those of which nothing is kept from before it are left out."""
    rows = await tx.fetch(
        "SELECT b.rid, b.active, b.doc, b.doc_private, coalesce(a.active, n.active), coalesce(a.doc, n.doc), "
        "coalesce(a.doc_private, n.doc_private), n.active, n.doc, n.doc_private "
        f"FROM history b JOIN {entity.table} n ON n.district_id = {DISTRICT} AND n.rid = b.rid LEFT JOIN LATERAL ("
        "SELECT h.active, h.doc, h.doc_private FROM history h WHERE h.district_id = $1 AND h.entity = $2 "
        "AND h.rid = b.rid AND h.position > $3 ORDER BY h.position LIMIT 1) a ON true "
        "WHERE b.district_id = $1 AND b.entity = $2 AND b.position = $3 AND b.rid = ANY($4::integer[]) "
        "AND (b.was IS NOT NULL OR b.image IS NOT NULL) ORDER BY b.rid",
        tx.district_id, entity.name, position, list(rids),
    )  # fmt: skip
    return [Versions(row[0], Image(*row[1:4]), Image(*row[4:7]), Image(*row[7:10])) for row in map(tuple, rows)]


async def images(
    tx: Transaction, entity: Entity, rids: Collection[int], limit: int
) -> dict[int, list[tuple[str, str]]]:
    """The documents of some records as they were before each of their last changes, newest first."""
    rows = await tx.fetch(
        "SELECT r.rid, h.doc, h.doc_private FROM unnest($3::integer[]) r(rid) CROSS JOIN LATERAL ("
        "SELECT doc, doc_private, position FROM history WHERE district_id = $1 AND entity = $2 AND rid = r.rid "
        "ORDER BY position DESC LIMIT $4) h ORDER BY r.rid, h.position DESC",
        tx.district_id, entity.name, list(rids), limit,
    )  # fmt: skip
    found: dict[int, list[tuple[str, str]]] = {}
    for row in rows:
        found.setdefault(row["rid"], []).append((row["doc"], row["doc_private"]))
    return found


async def after(tx: Transaction, entity: Entity, position: int, rids: Collection[int]) -> dict[int, Image]:
    """Some records as a position left them."""
    rows = await tx.fetch(
        "SELECT n.rid, coalesce(a.active, n.active), coalesce(a.doc, n.doc), coalesce(a.doc_private, n.doc_private) "
        f"FROM {entity.table} n LEFT JOIN LATERAL (SELECT h.active, h.doc, h.doc_private FROM history h "
        "WHERE h.district_id = $1 AND h.entity = $2 AND h.rid = n.rid AND h.position > $3 ORDER BY h.position LIMIT 1) "
        f"a ON true WHERE {of_rids('$4', 'n')}",
        tx.district_id, entity.name, position, list(rids),
    )  # fmt: skip
    return {row[0]: Image(*row[1:]) for row in map(tuple, rows)}


async def active(tx: Transaction, entity: Entity, rids: Collection[int]) -> list[int]:
    """Those of some records that are active."""
    rows = await tx.fetch(f"SELECT rid FROM {entity.table} WHERE {of_rids()} AND active", tx.district_id, list(rids))
    return [row[0] for row in rows]


async def changed_since(tx: Transaction, entity: Entity, position: int, rids: Collection[int]) -> bool:
    """Whether anything between a position and the district's newest one, the caller's own, changed some records."""
    found: bool = await tx.fetchval(
        "SELECT EXISTS (SELECT FROM history WHERE district_id = $1 AND entity = $2 AND position > $3 AND position < "
        "(SELECT d.position FROM districts d WHERE d.district_id = $1) AND rid = ANY($4::integer[]))",
        tx.district_id, entity.name, position, list(rids),
    )  # fmt: skip
    return found


async def regrouped_since(tx: Transaction, position: int) -> bool:
    """Whether a run has merged or split people since a position at which something was done to one of them."""
    rows = await tx.fetch(
        "SELECT c.position, c.created, c.updated, c.deleted FROM changes c LEFT JOIN runs r "
        "ON r.district_id = c.district_id AND r.run_id = c.run_id WHERE c.district_id = $1 "
        "AND c.entity::text = ANY($3::text[]) AND (c.position = $2 OR (c.position > $2 AND r.kind = 'people'))",
        tx.district_id, position, [e.name for e in CATALOGUE.entities if USERS.name in {e.name, e.rid_of}],
    )  # fmt: skip
    then, later = BitMap(), BitMap()
    for row in rows:
        touched = then if row["position"] == position else later
        touched |= unpack(row["created"]) | unpack(row["updated"]) | unpack(row["deleted"])
    return bool(then & later)


async def count(tx: Transaction, entity: Entity) -> int:
    """How many active records there are."""
    found: int = await tx.fetchval(
        f"SELECT count(*) FROM {entity.table} WHERE district_id = $1 AND active", tx.district_id
    )
    return found


async def referrers(tx: Transaction, entity: str, fields: Sequence[str], rids: Mapping[str, list[int]]) -> list[int]:
    """The active records of an entity of which one of the single references ``fields`` is to one of ``rids``."""
    which = CATALOGUE[entity]
    tests, values = [], []
    for name in fields:
        values.append(rids[which[name].target or ""])
        tests.append(f'"{which[name].table_column}" = ANY(${len(values) + 1}::integer[])')
    rows = await tx.fetch(
        f"SELECT rid FROM {which.table} WHERE district_id = $1 AND active AND ({' OR '.join(tests)}) ORDER BY rid",
        tx.district_id, *values,
    )  # fmt: skip
    return [row[0] for row in rows]


def _staged(entity: Entity) -> str:
    """The columns of a staged row, as they are named and as ``o`` has them."""
    names = ["district_id", "rid", "sourced_id", "active", *value_columns(entity), *DOCUMENTS]
    return f"INSERT INTO {STAGING_PREFIX}{entity.table} (run_id, task, source_key, source_hash, {quoted(names)}) " + (
        f"SELECT $2, '{UPDATE}', '', 0, " + ", ".join(f'o."{name}"' for name in names)
    )


async def stage_whole(tx: Transaction, entity: Entity, run_id: UUID, position: int, rids: Mapping[int, bool]) -> None:
    """Stages records as they were before a position. ``rids``: whether each is to be active."""
    if not rids:
        return
    await tx.execute(
        f"{_staged(entity)} FROM unnest($5::integer[], $6::boolean[]) w(rid, active) JOIN history h "
        "ON h.district_id = $1 AND h.entity = $3 AND h.position = $4 AND h.rid = w.rid "
        f"CROSS JOIN LATERAL jsonb_populate_record(NULL::{entity.table}, {kept_columns('h')} || jsonb_build_object("
        "'doc', h.doc, 'doc_private', h.doc_private, 'active', w.active)) o",
        tx.district_id, run_id, entity.name, position, list(rids), list(rids.values()),
    )  # fmt: skip


async def stage_parts(tx: Transaction, entity: Entity, run_id: UUID, position: int, parts: Sequence[Part]) -> None:
    """Stages records as they are, but for the columns of some fields, which say what they said before a position."""
    await tx.executemany(
        f"{_staged(entity)} FROM {entity.table} n JOIN history h "
        "ON h.district_id = $1 AND h.entity = $3 AND h.position = $4 AND h.rid = n.rid "
        f"CROSS JOIN LATERAL jsonb_populate_record(NULL::{entity.table}, to_jsonb(n) || (SELECT "
        f"coalesce(jsonb_object_agg(m.key, m.value), '{{}}') FROM jsonb_each({kept_columns('h')}) m "
        "WHERE m.key = ANY($6::text[])) "
        "|| jsonb_build_object('doc', $7::text, 'doc_private', $8::text, 'active', $9::boolean)) o "
        "WHERE n.district_id = $1 AND n.rid = $5",
        [
            (tx.district_id, run_id, entity.name, position, p.rid, _columns(entity, p.fields), p.image.doc,
             p.image.doc_private, p.image.active)
            for p in parts
        ],
    )  # fmt: skip


def _columns(entity: Entity, fields: Sequence[str]) -> list[str]:
    return [column for name in fields for column in field_columns(entity[name])]


async def approve(tx: Transaction, run_id: UUID, actor: str) -> None:
    """Lets a run pass whatever the guard says: whoever asked for it is the one who approves it."""
    approved: dict[str, Any] = {"by": actor, "counts": {}, "waived": True}  # of who asks, whatever it comes to
    await tx.execute(
        "UPDATE runs SET approved = $3 WHERE district_id = $1 AND run_id = $2", tx.district_id, run_id, approved
    )
