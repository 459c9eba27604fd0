"""Records as they were at an earlier position of their district, from what history kept since.

A record's state at a position is its oldest image that a later position kept, or the record itself where nothing
changed it since. Records that were made later are among the rows: callers pass the rids of those.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from hub.store.database import Transaction
from hub.store.gate import PARAMETERS, ClosedError, Gate
from hub.store.records import as_list, reference_columns
from hub.store.schema import kept_columns, of_rids
from transforms.catalogue import Entity


@dataclass(frozen=True, slots=True)
class Row:
    """A record at one moment."""

    rid: int
    sourced_id: str
    active: bool
    date_last_modified: datetime
    doc: str
    doc_private: str


@dataclass(frozen=True, slots=True)
class Moment:
    """The district's position at a time, and the earliest position at which its records are known still."""

    position: int
    kept_from: int


async def moment(tx: Transaction, at: datetime) -> Moment:
    """What was the last position that changed records at a time."""
    row = await tx.fetchrow(
        "SELECT (SELECT coalesce(max(c.position), 0) FROM changes c WHERE c.district_id = $1 AND c.at <= $2) "
        "AS position, d.history_from AS kept_from FROM districts d WHERE d.district_id = $1",
        tx.district_id, at,
    )  # fmt: skip
    return Moment(row["position"], row["kept_from"]) if row else Moment(0, 0)


async def created_after(tx: Transaction, entity: Entity, position: int) -> list[bytes]:
    """The serialized sets of records that later positions made."""
    rows = await tx.fetch(
        "SELECT created FROM changes WHERE district_id = $1 AND entity = $2 AND position > $3",
        tx.district_id, entity.name, position,
    )  # fmt: skip
    return [row["created"] for row in rows]


_IMAGE = (
    "n.rid, n.sourced_id::text AS sourced_id, coalesce(h.active, n.active) AS active, "
    "coalesce(h.date_last_modified, n.date_last_modified) AS date_last_modified, coalesce(h.doc, n.doc) AS doc, "
    "coalesce(h.doc_private, n.doc_private) AS doc_private"
)


def _from(entity: Entity) -> str:
    return (
        f"FROM {entity.table} n LEFT JOIN LATERAL (SELECT o.active, o.date_last_modified, o.doc, o.doc_private "
        f"FROM history o WHERE o.district_id = $1 AND o.entity = '{entity.name}' AND o.rid = n.rid AND o.position > $2 "
        "ORDER BY o.position LIMIT 1) h ON true WHERE n.district_id = $1"
    )


async def page(
    tx: Transaction, entity: Entity, position: int, *, later: Sequence[int], after: int, limit: int
) -> list[Row]:
    """Records that were active at a position, by rid, from ``after`` on (exclusive); ``later``: those made since."""
    rows = await tx.fetch(
        f"SELECT {_IMAGE} {_from(entity)} AND n.rid > $3 AND n.rid <> ALL($4::integer[]) "
        "AND coalesce(h.active, n.active) ORDER BY n.rid LIMIT $5",
        tx.district_id, position, after, list(later), limit,
    )  # fmt: skip
    return [Row(**row) for row in rows]


async def one(tx: Transaction, entity: Entity, position: int, sourced_id: UUID) -> Row | None:
    """A record at a position, made later or not; None when there never was one."""
    row = await tx.fetchrow(
        f"SELECT {_IMAGE} {_from(entity)} AND n.sourced_id = $3", tx.district_id, position, sourced_id
    )
    return None if row is None else Row(**row)


@dataclass(frozen=True, slots=True)
class Former:
    """A record as it was. ``references``: the rids of its reference fields, where they were asked for."""

    rid: int
    sourced_id: str
    active: bool
    doc: str
    doc_private: str
    references: Mapping[str, list[int]]


async def former(
    tx: Transaction, gate: Gate, entity: Entity, before: int, rids: Sequence[int], fields: Sequence[str]
) -> list[Former]:
    """Some records as they were before a position, with the rids of these reference fields, where that is known.

    Raises ClosedError.
    """
    names = reference_columns(entity, fields)
    free = PARAMETERS + 1
    columns = "".join(f', CASE WHEN h.rid IS NULL THEN n."{name}" ELSE o."{name}" END' for name in names.values())
    rows = await tx.fetch(
        "SELECT h.rid IS NULL OR h.was IS NOT NULL, n.rid, n.sourced_id::text, coalesce(h.active, n.active), "
        f"coalesce(h.doc, n.doc), coalesce(h.doc_private, n.doc_private){columns} "
        f"FROM {entity.table} n LEFT JOIN LATERAL ("
        f"SELECT i.rid, i.active, i.doc, i.doc_private, {kept_columns('i')} AS was FROM history i "
        f"WHERE i.district_id = $1 AND i.entity = '{entity.name}' AND i.rid = n.rid AND i.position >= ${free} "
        f"ORDER BY i.position LIMIT 1) h ON true "
        f"LEFT JOIN LATERAL jsonb_populate_record(NULL::{entity.table}, h.was) o ON true "
        f"WHERE {of_rids(f'${free + 1}', 'n')} AND {gate.condition}",
        *gate.values(tx), before, list(rids),
    )  # fmt: skip
    if not rows:
        raise ClosedError
    found = []
    for known, *told in map(tuple, rows):
        if known:  # else the image is older than what was kept of it then
            rid, sourced_id, active, doc, doc_private, *references = told
            rids_of = dict(zip(names, map(as_list, references), strict=True))
            found.append(Former(rid, sourced_id, active, doc, doc_private, rids_of))
    return found


async def active_sets(tx: Transaction, entity: Entity, position: int) -> tuple[list[int], list[int], list[int]]:
    """The rids of the active records, of those that changed after a position, and of those of them active before."""
    now = await tx.fetch(f"SELECT rid FROM {entity.table} WHERE district_id = $1 AND active", tx.district_id)
    changed = await tx.fetch(
        "SELECT DISTINCT ON (rid) rid, active FROM history WHERE district_id = $1 AND entity = $2 AND position > $3 "
        "ORDER BY rid, position",
        tx.district_id, entity.name, position,
    )  # fmt: skip
    return [r[0] for r in now], [r[0] for r in changed], [r[0] for r in changed if r[1]]
