"""Erased people: who was erased, digests of what sources called them, and removing what is left of one."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from hub.errors import Code, HubError
from hub.store import attempts, deliveries, retention
from hub.store.database import Transaction
from hub.store.schema import of_rids
from transforms.catalogue import CATALOGUE, Entity


@dataclass(frozen=True, slots=True)
class Erasure:
    """One person who was erased.

    ``sourced_id``: of the bare record that is left; ``position``: of the district when it came to that.
    """

    erasure_id: UUID
    sourced_id: UUID
    requested_by: str
    at: datetime
    position: int
    released_at: datetime | None


_COLUMNS = ", ".join(Erasure.__dataclass_fields__)


async def add(tx: Transaction, erasure: Erasure) -> bool:
    """Notes an erasure; whether it is new."""
    new: bool = await tx.fetchval(
        f"INSERT INTO erasures (district_id, {_COLUMNS}) VALUES ($1, $2, $3, $4, $5, $6, $7) "
        "ON CONFLICT (district_id, erasure_id) DO UPDATE SET "
        "position = greatest(erasures.position, EXCLUDED.position) RETURNING xmax = 0",
        tx.district_id, erasure.erasure_id, erasure.sourced_id, erasure.requested_by, erasure.at, erasure.position,
        erasure.released_at,
    )  # fmt: skip
    return new


async def add_keys(tx: Transaction, erasure_id: UUID, digests: Collection[tuple[UUID, bytes]]) -> None:
    """Notes digests of keys by (source, digest)."""
    await tx.executemany(
        "INSERT INTO erased_keys (district_id, erasure_id, source_id, digest) VALUES ($1, $2, $3, $4) "
        "ON CONFLICT DO NOTHING",
        [(tx.district_id, erasure_id, source_id, digest) for source_id, digest in digests],
    )


async def listing(tx: Transaction, *, after: UUID | None = None, limit: int = 100) -> list[Erasure]:
    """Erasures in the order of their ids, from ``after`` on (exclusive)."""
    rows = await tx.fetch(
        f"SELECT {_COLUMNS} FROM erasures WHERE district_id = $1 AND ($2::uuid IS NULL OR erasure_id > $2) "
        "ORDER BY erasure_id LIMIT $3",
        tx.district_id, after, limit,
    )  # fmt: skip
    return [Erasure(**row) for row in rows]


async def release(tx: Transaction, erasure_id: UUID, now: datetime) -> Erasure:
    """Lets sources bring a person again, as a new record; their next packages are read row by row.

    Raises HubError(NOT_FOUND).
    """
    row = await tx.fetchrow(
        "UPDATE erasures SET released_at = coalesce(released_at, $3) WHERE district_id = $1 AND erasure_id = $2 "
        f"RETURNING {_COLUMNS}",
        tx.district_id, erasure_id, now,
    )  # fmt: skip
    if row is None:
        raise HubError(Code.NOT_FOUND, "This district has no such erasure.")
    await tx.execute(
        "UPDATE sources SET digest = NULL, archive = NULL WHERE district_id = $1 AND source_id IN "
        "(SELECT source_id FROM erased_keys WHERE district_id = $1 AND erasure_id = $2)",
        tx.district_id, erasure_id,
    )  # fmt: skip
    await tx.execute("DELETE FROM erased_keys WHERE district_id = $1 AND erasure_id = $2", tx.district_id, erasure_id)
    return Erasure(**row)


async def digests(tx: Transaction, source_id: UUID) -> frozenset[bytes]:
    """The digests of the keys of people whom a source may not bring."""
    rows = await tx.fetch(
        "SELECT digest FROM erased_keys WHERE district_id = $1 AND source_id = $2", tx.district_id, source_id
    )
    return frozenset(row[0] for row in rows)


async def keys_of(tx: Transaction, erasure_id: UUID) -> list[tuple[UUID, bytes]]:
    """The digests of an erasure by (source, digest)."""
    rows = await tx.fetch(
        "SELECT source_id, digest FROM erased_keys WHERE district_id = $1 AND erasure_id = $2 ORDER BY 1, 2",
        tx.district_id, erasure_id,
    )  # fmt: skip
    return [(row[0], row[1]) for row in rows]


async def person(tx: Transaction, sourced_id: UUID) -> tuple[int, bool] | None:
    """The rid of a user, and whether the record is bare already; None when there is none."""
    row = await tx.fetchrow(
        "SELECT rid, NOT active AND doc = '' AND doc_private = '' AS bare FROM users "
        "WHERE district_id = $1 AND sourced_id = $2",
        tx.district_id, sourced_id,
    )  # fmt: skip
    return None if row is None else (row["rid"], row["bare"])


async def about(tx: Transaction, entity: Entity, field: str, rids: Sequence[int]) -> dict[int, bool]:
    """The records of an entity of which a single reference is to one of ``rids``: rid to whether it is active."""
    rows = await tx.fetch(
        f"SELECT rid, active FROM {entity.table} "
        f'WHERE district_id = $1 AND "{entity[field].table_column}" = ANY($2::integer[])',
        tx.district_id, list(rids),
    )  # fmt: skip
    return {row["rid"]: row["active"] for row in rows}


async def states(tx: Transaction, entity: Entity, rids: Sequence[int]) -> dict[int, bool]:
    """Rid to whether it is active, of those of some records that there are."""
    rows = await tx.fetch(f"SELECT rid, active FROM {entity.table} WHERE {of_rids()}", tx.district_id, list(rids))
    return {row["rid"]: row["active"] for row in rows}


async def source_keys(tx: Transaction, entity: Entity, rids: Sequence[int]) -> list[tuple[UUID, str]]:
    """What sources call some records: (source, key)."""
    rows = await tx.fetch(
        "SELECT source_id, key FROM source_records WHERE district_id = $1 AND entity = $2::text::entity_name "
        "AND rid = ANY($3::integer[])",
        tx.district_id, entity.name, list(rids),
    )  # fmt: skip
    return [(row["source_id"], row["key"]) for row in rows]


async def with_its_keys(tx: Transaction, source_id: UUID) -> list[UUID]:
    """A source and those that call objects by the same keys."""
    rows = await tx.fetch(
        "SELECT o.source_id FROM sources s JOIN sources o ON o.district_id = s.district_id "
        "AND (o.source_id = s.source_id OR o.key_space = s.key_space) WHERE s.district_id = $1 AND s.source_id = $2",
        tx.district_id, source_id,
    )  # fmt: skip
    return [row[0] for row in rows]


async def remove(tx: Transaction, records: Mapping[str, Sequence[int]], keys: Mapping[str, Collection[str]]) -> None:
    """Removes all that is left of ended records, by entity and rid, which sources call ``keys``."""
    for name, rids in records.items():
        entity = CATALOGUE[name]
        await _findings(tx, entity, list(keys[name]))
        await _differences(tx, entity, list(rids), list(keys[name]))
        await _gradebook(tx, entity, list(rids))
        await retention.strip(tx, entity, list(rids))
    await attempts.forget_answers(tx)
    await deliveries.discard_records(tx)
    # A package that was made before may hold the person.
    await tx.execute("DELETE FROM export_parts WHERE district_id = $1", tx.district_id)
    await tx.execute(
        "UPDATE exports SET state = 'expired', expires_at = NULL, finished_at = coalesce(finished_at, now()) "
        "WHERE district_id = $1 AND state = 'ready'",
        tx.district_id,
    )
    # One that is being made sees the person still: whoever makes it finds that it is not his any more, and begins anew.
    await tx.execute(
        "UPDATE exports SET state = 'queued', lease_token = NULL, lease_until = NULL "
        "WHERE district_id = $1 AND state IN ('running', 'delivering')",
        tx.district_id,
    )
    for upload in await retention.uploads(tx, None):
        await tx.execute("DELETE FROM upload_parts WHERE district_id = $1 AND upload_id = $2", tx.district_id, upload)
        await tx.execute(
            "UPDATE uploads SET state = 'deleted' WHERE district_id = $1 AND upload_id = $2", tx.district_id, upload
        )


async def _findings(tx: Transaction, entity: Entity, keys: list[str]) -> None:
    """Findings about records, those that they caused, and all about parts of such records, whose keys nobody knows."""
    await tx.execute(
        "DELETE FROM run_issues WHERE district_id = $1 AND (entity = $2 AND key = ANY($3::text[]) "
        "OR cause = ANY(SELECT $2 || ':' || k FROM unnest($3::text[]) k) OR entity = ANY($4::text[]))",
        tx.district_id, entity.name, keys, [component.name for component in CATALOGUE.components_of(entity.name)],
    )  # fmt: skip


async def _differences(tx: Transaction, entity: Entity, rids: list[int], keys: list[str]) -> None:
    """What runs that wait, or were looked at, would make of the records."""
    await tx.execute(
        "DELETE FROM run_changes c WHERE c.district_id = $1 AND c.entity = $2 AND (c.key = ANY($4::text[]) "
        f"OR c.sourced_id IN (SELECT sourced_id FROM {entity.table} WHERE district_id = $1 "
        "AND rid = ANY($3::integer[])))",
        tx.district_id, entity.name, rids, keys,
    )  # fmt: skip


async def _gradebook(tx: Transaction, entity: Entity, rids: list[int]) -> None:
    """What apps called records, and what was to go to the district's system of them."""
    await tx.execute(
        "DELETE FROM gradebook_posts WHERE district_id = $1 AND sourced_id IN (SELECT sourced_id "
        "FROM gradebook_objects WHERE district_id = $1 AND entity = $2 AND rid = ANY($3::integer[]))",
        tx.district_id, entity.name, rids,
    )  # fmt: skip
    await tx.execute(
        "UPDATE gradebook_objects SET key = NULL WHERE district_id = $1 AND entity = $2 AND rid = ANY($3::integer[])",
        tx.district_id, entity.name, rids,
    )  # fmt: skip
    await tx.execute(
        "DELETE FROM grade_deliveries WHERE district_id = $1 AND entity = $2 AND rid = ANY($3::integer[])",
        tx.district_id, entity.name, rids,
    )  # fmt: skip
