"""The difference of a run, row by row, and which schools its records belong to.

Values are kept only as long as somebody has to decide on a run; the history has those of what was applied.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final
from uuid import UUID

import orjson

from hub.store.database import Transaction
from hub.store.schema import DISTRICT, STAGING_PREFIX, of_rids
from hub.store.staging import PARTS
from hub.store.statement_history import STAGED_STATEMENTS
from transforms.catalogue import CATALOGUE, Entity

#: The rids of the orgs that a record ``t`` belongs to, as an array; entities without any belong to the district.
_ONE_ORG: Final = {
    "orgs": "t.rid", "courses": "t.org_rid", "classes": "t.school_rid", "enrollments": "t.school_rid",
    "lineItems": "t.school_rid",
}  # fmt: skip
_ORGS: Final = {entity: f"ARRAY[{column}]" for entity, column in _ONE_ORG.items()} | {
    "users": "t.roles_org_rids || t.primary_org_rid",
    "demographics": "(SELECT u.roles_org_rids || u.primary_org_rid FROM users u "
    f"WHERE u.district_id = {DISTRICT} AND u.rid = t.rid)",
    "results": f"ARRAY[(SELECT l.school_rid FROM line_items l WHERE l.district_id = {DISTRICT} "
    "AND l.rid = t.line_item_rid)]",
}
#: Of how many runs of a district the rows are kept, and how many older ones are looked at each time.
KEPT_RUNS: Final = 100
_FORGOTTEN: Final = 10
_VALUES: Final = "was, becomes"


@dataclass(frozen=True, slots=True)
class School:
    """A school of the district. ``rid`` is that of its org."""

    rid: int
    sourced_id: str
    name: str


@dataclass(frozen=True, slots=True)
class Change:
    """One record that a run creates, updates or deletes. ``was`` and ``becomes`` are values by field."""

    seq: int
    entity: str
    kind: str
    sourced_id: UUID
    key: str
    schools: list[UUID]
    fields: list[str]
    was: dict[str, Any] | None = None
    becomes: dict[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class Described:
    """What tells people which record is meant. ``orgs``: rids of what it belongs to."""

    sourced_id: str
    key: str
    orgs: list[int]


async def schools(tx: Transaction) -> dict[int, School]:
    """All schools that the district ever had, by rid."""
    rows = await tx.fetch(
        "SELECT rid, sourced_id::text, coalesce(name, '') AS name FROM orgs WHERE district_id = $1 AND type = 'school'",
        tx.district_id,
    )
    return {row["rid"]: School(**row) for row in rows}


async def per_org(tx: Transaction, entity: Entity, rids: Mapping[str, list[int]]) -> dict[str, dict[int, int]]:
    """The number of records by org, as they are now, of each of some groups; a record may belong to several orgs."""
    found: dict[str, dict[int, int]] = {group: {} for group in rids}
    groups = [group for group, some in rids.items() if some] if entity.name in _ORGS else []
    if not groups:
        return found
    org, number, unnested = _of_orgs(entity)
    # One after another and no join: each goes by its primary key.
    parts = (
        f"SELECT {place} AS place, {org} AS org, {number} AS n FROM {entity.table} t {unnested}"
        f"WHERE {of_rids(f'${place + 2}', 't')} AND {org} IS NOT NULL GROUP BY {org}"
        for place in range(len(groups))
    )
    for row in await tx.fetch(" UNION ALL ".join(parts), tx.district_id, *(rids[group] for group in groups)):
        found[groups[row["place"]]][row["org"]] = row["n"]
    return found


async def totals(tx: Transaction, entity: Entity) -> dict[int, int]:
    """The number of active records by org. Reads the whole table."""
    if entity.name not in _ORGS:
        return {}
    org, number, unnested = _of_orgs(entity)
    rows = await tx.fetch(
        f"SELECT {org} AS org, {number} AS n FROM {entity.table} t {unnested}"
        f"WHERE t.district_id = $1 AND t.active AND {org} IS NOT NULL GROUP BY {org}",
        tx.district_id,
    )  # fmt: skip
    return {row["org"]: row["n"] for row in rows}


def _of_orgs(entity: Entity) -> tuple[str, str, str]:
    """The org of a record ``t``, how records of an org are counted, and what has to be joined for that."""
    if entity.name in _ONE_ORG:  # no detour over arrays where the tables are large
        return _ONE_ORG[entity.name], "count(*)", ""
    return "o.rid", "count(DISTINCT t.rid)", f"CROSS JOIN LATERAL unnest({_ORGS[entity.name]}) o(rid) "


async def described(tx: Transaction, entity: Entity, rids: list[int], source_id: UUID | None) -> dict[int, Described]:
    """Ids, the source's keys and orgs of records, by rid."""
    # One after the other and no join: each goes by its primary key.
    orgs = _ORGS.get(entity.name, "NULL::int[]")
    rows = await tx.fetch(
        f"SELECT t.rid, t.sourced_id::text AS id, {orgs} AS orgs, NULL AS key "
        f"FROM {entity.table} t WHERE {of_rids(table='t')} "
        "UNION ALL SELECT rid, NULL, NULL, key FROM source_records WHERE district_id = $1 AND source_id = $3 "
        "AND entity = $4::text::entity_name AND rid = ANY($2::int[])",
        tx.district_id, rids, source_id, entity.name,
    )  # fmt: skip
    known = {row["rid"]: row["key"] for row in rows if row["id"] is None}
    return {
        r["rid"]: Described(r["id"], known.get(r["rid"], ""), _rids(r["orgs"])) for r in rows if r["id"] is not None
    }


async def before(tx: Transaction, entity: Entity, position: int, rids: list[int]) -> dict[int, tuple[str, str]]:
    """The documents of records as they were before ``position`` changed them."""
    rows = await tx.fetch(
        "SELECT rid, doc, doc_private FROM history WHERE district_id = $1 AND entity = $2 AND position = $3 "
        "AND rid = ANY($4::int[])",
        tx.district_id, entity.name, position, rids,
    )  # fmt: skip
    return {row["rid"]: (row["doc"], row["doc_private"]) for row in rows}


async def keep(tx: Transaction, run_id: UUID, rows: Iterable[Mapping[str, Any]]) -> None:
    """Replaces the kept difference of a run, and forgets those of runs that are long over.

    ``rows``: the members of ``Change``, without ``seq``.
    """
    await tx.execute(
        "WITH own AS (DELETE FROM run_changes WHERE district_id = $1 AND run_id = $4) "
        "DELETE FROM run_changes WHERE district_id = $1 AND run_id IN (SELECT run_id FROM runs WHERE district_id = $1 "
        "AND state <> 'held' ORDER BY requested_at DESC OFFSET $2 LIMIT $3)",
        tx.district_id, KEPT_RUNS, _FORGOTTEN, run_id,
    )  # fmt: skip
    numbered = [{"seq": seq, **row} for seq, row in enumerate(rows)]
    if numbered:
        await tx.execute(
            "INSERT INTO run_changes (district_id, run_id, seq, entity, kind, sourced_id, key, schools, fields, was, "
            "becomes) SELECT $1, $2, x.* FROM jsonb_to_recordset($3::text::jsonb) AS x(seq int, entity text, "
            "kind text, sourced_id uuid, key text, schools uuid[], fields text[], was jsonb, becomes jsonb)",
            tx.district_id, run_id, orjson.dumps(numbered).decode(),
        )  # fmt: skip


async def forget_values(tx: Transaction, run_id: UUID) -> None:
    """Forgets the values of a run on which nobody has to decide any more."""
    await tx.execute(
        "UPDATE run_changes SET was = NULL, becomes = NULL WHERE district_id = $1 AND run_id = $2 "
        "AND (was IS NOT NULL OR becomes IS NOT NULL)",
        tx.district_id, run_id,
    )  # fmt: skip


async def listing(
    tx: Transaction, run_id: UUID, *, entity: str | None = None, kind: str | None = None, school: UUID | None = None,
    with_values: bool = False, after: int = -1, limit: int = 100,
) -> list[Change]:  # fmt: skip
    """Kept rows of a run in order, from ``seq`` ``after`` on (exclusive)."""
    names = "seq, entity, kind, sourced_id, key, schools, fields" + (f", {_VALUES}" if with_values else "")
    rows = await tx.fetch(
        f"SELECT {names} FROM run_changes WHERE district_id = $1 AND run_id = $2 AND seq > $3 "
        "AND ($4::text IS NULL OR entity = $4) AND ($5::text IS NULL OR kind = $5) "
        "AND ($6::uuid IS NULL OR $6 = ANY(schools)) ORDER BY seq LIMIT $7",
        tx.district_id, run_id, after, entity, kind, school, limit,
    )  # fmt: skip
    return [Change(**row) for row in rows]


@dataclass(frozen=True, slots=True)
class Link:
    """A record's orgs and what it refers to: (entity, rid) of each."""

    orgs: frozenset[int]
    targets: frozenset[tuple[str, int]]


async def staged_links(tx: Transaction, entity: Entity, run_id: UUID) -> dict[int, Link]:
    """The staged new and changed records of one attempt, by rid."""
    return await _links(
        tx, entity, STAGING_PREFIX + entity.table, "t.district_id = $1 AND t.run_id = $2 AND t.task <> 'h'", run_id
    )


async def stored_links(tx: Transaction, entity: Entity, rids: list[int]) -> dict[int, Link]:
    """Records as they are now, by rid."""
    return await _links(tx, entity, entity.table, of_rids(table="t"), rids) if rids else {}


async def _links(tx: Transaction, entity: Entity, table: str, which: str, value: object) -> dict[int, Link]:
    targets = {f.table_column: f.target for f in entity.references if f.target is not None}
    if entity.name == "users":
        targets["roles_org_rids"] = "orgs"
    columns = "".join(f', t."{name}"' for name in targets)
    rows = await tx.fetch(
        f"SELECT t.rid, {_ORGS.get(entity.name, 'NULL::int[]')} AS orgs{columns} FROM {table} t "
        f"WHERE {which}",
        tx.district_id, value,
    )  # fmt: skip
    found = {}
    for row in rows:
        linked = {(target, rid) for name, target in targets.items() for rid in _rids(row[name])}
        if entity.rid_of:
            linked.add((entity.rid_of, row["rid"]))
        found[row["rid"]] = Link(frozenset(_rids(row["orgs"])), frozenset(linked))
    return found


def _rids(value: int | list[int | None] | None) -> list[int]:
    items = value if isinstance(value, list) else [value]
    return [rid for rid in items if rid is not None]


async def staged_schools(tx: Transaction, run_id: UUID) -> set[int]:
    """The rids of schools that one attempt is about to create or change."""
    rows = await tx.fetch(
        f"SELECT rid FROM {STAGING_PREFIX}orgs WHERE district_id = $1 AND run_id = $2 AND task <> 'h' "
        "AND type = 'school'",
        tx.district_id, run_id,
    )  # fmt: skip
    return {row["rid"] for row in rows}


async def staged_documents(
    tx: Transaction, entity: Entity, run_id: UUID, rids: list[int]
) -> dict[int, tuple[str, str]]:
    """The documents (doc, doc_private) that one attempt staged of some records, by rid."""
    rows = await tx.fetch(
        f"SELECT rid, doc, doc_private FROM {STAGING_PREFIX}{entity.table} "
        "WHERE district_id = $1 AND run_id = $2 AND rid = ANY($3::int[]) AND doc IS NOT NULL",
        tx.district_id, run_id, rids,
    )  # fmt: skip
    return {row["rid"]: (row["doc"], row["doc_private"]) for row in rows}


async def keys(tx: Transaction, source_id: UUID | None, entity: Entity, rids: list[int]) -> list[str]:
    """What a source calls some records, ascending."""
    rows = await tx.fetch(
        "SELECT key FROM source_records WHERE district_id = $1 AND source_id = $2 "
        "AND entity = $3::text::entity_name AND rid = ANY($4::int[]) ORDER BY key",
        tx.district_id, source_id, entity.name, rids,
    )  # fmt: skip
    return [row["key"] for row in rows]


async def unstage(tx: Transaction, entity: Entity, run_id: UUID, rids: list[int]) -> None:
    """Takes rows out of what one attempt staged, and what sources say of them."""
    await tx.execute(
        f"DELETE FROM {STAGING_PREFIX}{entity.table} WHERE district_id = $1 AND run_id = $2 AND rid = ANY($3::int[])",
        tx.district_id, run_id, rids,
    )  # fmt: skip
    for table in (STAGED_STATEMENTS, PARTS):
        await tx.execute(
            f"DELETE FROM {table} WHERE district_id = $1 AND run_id = $2 AND entity = $3::text::entity_name "
            "AND rid = ANY($4::int[])",
            tx.district_id, run_id, entity.name, rids,
        )  # fmt: skip


assert set(_ORGS) <= {entity.name for entity in CATALOGUE.entities}
