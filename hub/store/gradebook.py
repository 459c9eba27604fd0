"""Gradebook objects that apps write: whose they are, what they refer to, and the rows that they become.

Everything here happens under the district's lock (``districts.lock``) unless it only reads.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from hub.store.database import Transaction
from hub.store.schema import of_rids, quoted, row_of, table_columns
from transforms.catalogue import CATALOGUE, Entity

#: The entities that apps may write.
WRITTEN = tuple(e.name for e in CATALOGUE.of_service("gradebook"))
#: What is looked up of objects that a written one refers to, as SQL over the row ``t``.
_FACTS: dict[str, dict[str, str]] = {
    "orgs": {"type": "t.type"},
    "classes": {
        "school": "(SELECT jsonb_build_array(o.rid, o.sourced_id) FROM orgs o "
        "WHERE o.district_id = t.district_id AND o.rid = t.school_rid)",
        "terms": "(SELECT jsonb_agg(jsonb_build_array(s.rid, s.sourced_id, s.start_date, s.end_date)) "
        "FROM academic_sessions s WHERE s.district_id = t.district_id AND s.rid = ANY(t.terms_rids))",
    },
    "lineItems": {
        "class": "(SELECT jsonb_build_array(c.rid, c.sourced_id) FROM classes c "
        "WHERE c.district_id = t.district_id AND c.rid = t.class_rid)",
        "academicSession": "t.academic_session_rid",
        "gradingPeriod": "t.grading_period_rid",
        "resultValueMax": "t.result_value_max",
        "scale": "(SELECT jsonb_build_array(s.score_scale_value_lhs, s.score_scale_value_rhs) FROM score_scales s "
        "WHERE s.district_id = t.district_id AND s.rid = t.score_scale_rid)",
    },
    "scoreScales": {"scale": "jsonb_build_array(t.score_scale_value_lhs, t.score_scale_value_rhs)"},
}


@dataclass(frozen=True, slots=True)
class Target:
    """An active record that a written one refers to, with what its checks need (see ``_FACTS``)."""

    rid: int
    sourced_id: str
    facts: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Stored:
    """A record that a request names. ``app_id``: whose it is, None for the SIS's."""

    rid: int
    sourced_id: str
    app_id: UUID | None
    active: bool
    doc: str
    doc_private: str
    class_rid: int | None


@dataclass(frozen=True, slots=True)
class Pair:
    """What is known of a student in a class: enrollments that count, and results that the line item has already."""

    enrollments: list[int]
    results: list[int]


async def own_ids(tx: Transaction, app_id: UUID, keys: Collection[tuple[str, str]]) -> dict[tuple[str, str], str]:
    """(entity, key) to sourcedId of the objects that an app calls so; those that are not its own are left out."""
    entities, names = [entity for entity, _ in keys], [key for _, key in keys]
    rows = await tx.fetch(
        "SELECT o.entity, o.key, o.sourced_id::text AS id FROM unnest($3::text[], $4::text[]) w(entity, key) "
        "JOIN gradebook_objects o ON o.district_id = $1 AND o.app_id = $2 AND o.entity = w.entity AND o.key = w.key",
        tx.district_id, app_id, entities, names,
    )  # fmt: skip
    return {(row["entity"], row["key"]): row["id"] for row in rows}


async def keys_of(tx: Transaction, app_id: UUID, sourced_ids: Collection[str]) -> dict[str, str]:
    """SourcedId to key of the objects that an app calls by ids of its own."""
    rows = await tx.fetch(
        "SELECT sourced_id::text AS id, key FROM gradebook_objects "
        "WHERE district_id = $1 AND app_id = $2 AND sourced_id = ANY($3::uuid[]) AND key IS NOT NULL",
        tx.district_id, app_id, list(sourced_ids),
    )  # fmt: skip
    return {row["id"]: row["key"] for row in rows}


async def keys_by_rid(tx: Transaction, app_id: UUID, entity: str) -> dict[int, str]:
    """Rid to key of all objects of an entity that an app calls by ids of its own."""
    rows = await tx.fetch(
        "SELECT rid, key FROM gradebook_objects "
        "WHERE district_id = $1 AND app_id = $2 AND entity = $3 AND key IS NOT NULL",
        tx.district_id, app_id, entity,
    )  # fmt: skip
    return {row["rid"]: row["key"] for row in rows}


async def find(tx: Transaction, entity: Entity, sourced_id: UUID) -> Stored | None:
    """A record in any state by its sourcedId."""
    class_rid = "t.class_rid" if "class" in entity else "NULL::integer AS class_rid"
    row = await tx.fetchrow(
        f"SELECT t.rid, t.sourced_id::text, o.app_id, t.active, t.doc, t.doc_private, {class_rid} "
        f"FROM {entity.table} t LEFT JOIN gradebook_objects o "
        "ON o.district_id = t.district_id AND o.entity = $3 AND o.rid = t.rid "
        "WHERE t.district_id = $1 AND t.sourced_id = $2",
        tx.district_id, sourced_id, entity.name,
    )  # fmt: skip
    return None if row is None else Stored(**row)


async def targets(tx: Transaction, wanted: Mapping[str, Collection[str]]) -> dict[tuple[str, str], Target]:
    """The active records with these sourcedIds, by entity and id, in one statement."""
    parts: list[str] = []
    values: list[object] = [tx.district_id]
    for name, ids in wanted.items():
        facts = ", ".join(f"'{fact}', {sql}" for fact, sql in _FACTS.get(name, {}).items())
        values.append(list(ids))
        parts.append(
            f"SELECT '{name}' AS entity, t.rid, t.sourced_id::text AS id, jsonb_build_object({facts}) AS facts "
            f"FROM {CATALOGUE[name].table} t "
            f"WHERE t.district_id = $1 AND t.active AND t.sourced_id = ANY(${len(values)}::uuid[])"
        )
    if not parts:
        return {}
    rows = await tx.fetch(" UNION ALL ".join(parts), *values)
    return {(row["entity"], row["id"]): Target(row["rid"], row["id"], row["facts"]) for row in rows}


async def students(tx: Transaction, triples: Sequence[tuple[int, int, int]]) -> list[Pair]:
    """For each (class, student, line item), as rids, what is known of the student there, in the same order."""
    rows = await tx.fetch(
        "SELECT ARRAY(SELECT e.rid FROM enrollments e WHERE e.district_id = $1 AND e.class_rid = w.class_rid "
        "AND e.user_rid = w.student_rid AND e.active AND e.role = 'student') AS enrollments, "
        "ARRAY(SELECT r.rid FROM results r WHERE r.district_id = $1 AND r.line_item_rid = w.line_item_rid "
        "AND r.student_rid = w.student_rid AND r.active) AS results "
        "FROM unnest($2::integer[], $3::integer[], $4::integer[]) "
        "WITH ORDINALITY w(class_rid, student_rid, line_item_rid, n) ORDER BY w.n",
        tx.district_id, *(list(column) for column in zip(*triples, strict=True)),
    )  # fmt: skip
    return [Pair(row["enrollments"], row["results"]) for row in rows]


async def referring(tx: Transaction, entity: str, field: str, target: int) -> list[int]:
    """The active records of an entity whose reference ``field`` is to a record, ascending."""
    which = CATALOGUE[entity]
    rows = await tx.fetch(
        f"SELECT rid FROM {which.table} "
        f'WHERE district_id = $1 AND "{which[field].table_column}" = $2 AND active ORDER BY rid',
        tx.district_id, target,
    )  # fmt: skip
    return [row["rid"] for row in rows]


async def followers(
    tx: Transaction, entity: str, field: str, targets: Collection[int]
) -> dict[int, dict[str, int | None]]:
    """The active records of an entity whose reference ``field`` is to some records, with all their references."""
    which = CATALOGUE[entity]
    columns = ", ".join(f'"{f.table_column}" AS "{f.name}"' for f in which.references)
    rows = await tx.fetch(
        f"SELECT rid, {columns} FROM {which.table} "
        f'WHERE district_id = $1 AND "{which[field].table_column}" = ANY($2::integer[]) AND active',
        tx.district_id, list(targets),
    )  # fmt: skip
    return {row["rid"]: {f.name: row[f.name] for f in which.references} for row in rows}


async def refers(tx: Transaction, entity: str, field: str, target: int) -> bool:
    """Whether any active record of an entity refers to a record by ``field``."""
    which = CATALOGUE[entity]
    found: bool = await tx.fetchval(
        f'SELECT EXISTS (SELECT FROM {which.table} WHERE district_id = $1 AND "{which[field].table_column}" = $2 '
        "AND active)",
        tx.district_id, target,
    )  # fmt: skip
    return found


async def lies_below(tx: Transaction, rid: int, ancestor: int) -> bool:
    """Whether an assessment line item is another one or lies below it."""
    found: bool = await tx.fetchval(
        "WITH RECURSIVE up(rid) AS (SELECT $2::integer UNION "  # UNION drops what was seen, so a cycle ends too
        "SELECT a.parent_assessment_line_item_rid FROM up JOIN assessment_line_items a "
        "ON a.district_id = $1 AND a.rid = up.rid WHERE a.parent_assessment_line_item_rid IS NOT NULL) "
        "SELECT EXISTS (SELECT FROM up WHERE rid = $3)",
        tx.district_id, rid, ancestor,
    )  # fmt: skip
    return found


@dataclass(frozen=True, slots=True)
class Row:
    """A record as it is to be stored. ``values``: canonical values by field, references as rids."""

    rid: int
    sourced_id: str
    values: Mapping[str, Any]
    doc: str
    doc_private: str


async def write(tx: Transaction, entity: Entity, rows: Sequence[Row], at: datetime) -> None:
    """Inserts active records, or replaces those that have these rids."""
    columns = table_columns(entity)
    places = ", ".join(f"${n}" for n in range(1, len(columns) + 1))
    changed = ", ".join(f'"{c}" = EXCLUDED."{c}"' for c in columns if c not in {"district_id", "rid", "sourced_id"})
    await tx.executemany(
        f"INSERT INTO {entity.table} ({quoted(columns)}) VALUES ({places}) "
        f"ON CONFLICT (district_id, rid) DO UPDATE SET {changed}",
        [
            (tx.district_id, r.rid, UUID(r.sourced_id), True, at, *row_of(entity, r.values), r.doc, r.doc_private)
            for r in rows
        ],
    )


async def end(tx: Transaction, entity: Entity, rids: Sequence[int], at: datetime) -> None:
    """Marks records as tobedeleted."""
    await tx.execute(
        f"UPDATE {entity.table} SET active = false, date_last_modified = $3 WHERE {of_rids()}",
        tx.district_id, list(rids), at,
    )  # fmt: skip


async def claim(
    tx: Transaction, app_id: UUID, entity: str, objects: Iterable[tuple[int, str, str | None]], at: datetime
) -> None:
    """Notes new objects (rid, sourcedId, key or None) as an app's own."""
    await tx.executemany(
        "INSERT INTO gradebook_objects (district_id, entity, rid, app_id, sourced_id, key, created_at) "
        "VALUES ($1, $2, $3, $4, $5, $6, $7)",
        [(tx.district_id, entity, rid, app_id, UUID(sourced_id), key, at) for rid, sourced_id, key in objects],
    )


async def log(
    tx: Transaction, app_id: UUID, position: int, writes: Sequence[tuple[str, int, str, list[str]]], at: datetime
) -> None:
    """Notes what was accepted: (entity, rid, "put" or "delete", notes), in the order in which others are to take it."""
    await tx.executemany(
        "INSERT INTO gradebook_writes (district_id, position, place, entity, rid, operation, app_id, at, notes) "
        "VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)",
        [
            (tx.district_id, position, place, entity, rid, operation, app_id, at, notes)
            for place, (entity, rid, operation, notes) in enumerate(writes)
        ],
    )


async def answered(
    tx: Transaction, app_id: UUID, target: str, supplied: Collection[str], since: datetime
) -> dict[str, str]:
    """SuppliedSourcedId to sourcedId of what the app posted to the same place since a time."""
    rows = await tx.fetch(
        "SELECT supplied, sourced_id::text AS id FROM gradebook_posts WHERE district_id = $1 AND app_id = $2 "
        "AND target = $3 AND supplied = ANY($4::text[]) AND at > $5",
        tx.district_id, app_id, target, list(supplied), since,
    )  # fmt: skip
    return {row["supplied"]: row["id"] for row in rows}


async def remember(
    tx: Transaction, app_id: UUID, target: str, pairs: Mapping[str, str], at: datetime, since: datetime
) -> None:
    """Keeps how a POST was answered, and forgets answers from before ``since``."""
    await tx.execute("DELETE FROM gradebook_posts WHERE district_id = $1 AND at <= $2", tx.district_id, since)
    await tx.executemany(
        "INSERT INTO gradebook_posts (district_id, app_id, target, supplied, sourced_id, at) "
        "VALUES ($1, $2, $3, $4, $5, $6)",
        [(tx.district_id, app_id, target, supplied, UUID(id_), at) for supplied, id_ in pairs.items()],
    )
