"""Claims of which the key is another record's now: a source gave the id of one person to another one."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from uuid import UUID

from pyroaring import BitMap

from hub.store.database import Transaction
from transforms.catalogue import Entity


async def supersede(
    tx: Transaction, entity: Entity, source_id: UUID, rids: Collection[int], position: int
) -> None:  # fmt: skip
    """Notes that what a source called some records is another record's key from a position on."""
    await tx.execute(
        "UPDATE source_records SET active = false, superseded_at = $5 "
        "WHERE district_id = $1 AND source_id = $2 AND entity = $3::text::entity_name AND rid = ANY($4::int[])",
        tx.district_id, source_id, entity.name, list(rids), position,
    )  # fmt: skip


async def superseded(tx: Transaction, entity: Entity, source_ids: Sequence[UUID], rids: Sequence[int]) -> set[int]:
    """Those of some records whose keys some sources have given to others."""
    rows = await tx.fetch(
        "SELECT DISTINCT rid FROM source_records WHERE district_id = $1 AND source_id = ANY($2::uuid[]) "
        "AND entity = $3::text::entity_name AND rid = ANY($4::integer[]) AND superseded_at IS NOT NULL",
        tx.district_id, list(source_ids), entity.name, list(rids),
    )  # fmt: skip
    return {row["rid"] for row in rows}


async def turn_back(tx: Transaction, undone: int, touched: Mapping[str, BitMap], position: int) -> None:
    """Gives keys back that became other records' at the position ``undone``, and takes them from these.

    ``touched``, by entity: the records that the undone run changed. A key that was given away once more since stays
    there. What the source said last by a key is taken for what it says of the record that has it back.
    """
    passed = await tx.fetch(
        "SELECT o.source_id, o.entity::text AS entity, o.rid, n.rid AS holder, n.hash FROM source_records o "
        "LEFT JOIN source_records n ON n.district_id = $1 AND n.source_id = o.source_id AND n.entity = o.entity "
        "AND n.key = o.key AND n.superseded_at IS NULL WHERE o.district_id = $1 AND o.superseded_at = $2",
        tx.district_id, undone,
    )  # fmt: skip
    given = [row for row in passed if row["holder"] is None or row["holder"] in touched.get(row["entity"], BitMap())]
    if not given:
        return
    names = ("source_id", "entity", "rid", "holder", "hash")
    arrays = [[row[name] for row in given] for name in names]
    claims = (
        "unnest($2::uuid[], $3::text[], $4::integer[], $5::integer[], $6::bigint[]) "
        "AS c(source_id, entity, rid, holder, hash)"
    )
    which = "s.district_id = $1 AND s.source_id = c.source_id AND s.entity = c.entity::entity_name"
    await tx.execute(
        f"UPDATE source_records s SET active = false, superseded_at = $7 FROM {claims} "
        f"WHERE {which} AND s.rid = c.holder",
        tx.district_id,
        *arrays,
        position,
    )
    await tx.execute(
        "UPDATE source_records s SET superseded_at = NULL, active = c.holder IS NOT NULL, "
        f"hash = coalesce(c.hash, s.hash) FROM {claims} WHERE {which} AND s.rid = c.rid",
        tx.district_id,
        *arrays,
    )
