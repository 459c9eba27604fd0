"""Sources that went: of what they spoke, and what became of it, so that an undo can bring them back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from uuid import UUID

from hub.store.database import Transaction


@dataclass(frozen=True, slots=True)
class Departed:
    """One departure. ``state``: of the source before; ``heir``: the source to which its records went.

    ``claims``, by entity: serialized sets of all records of which it spoke, and of those that went to the heir.
    """

    position: int
    source_id: UUID
    state: str
    heir: UUID | None
    claims: Mapping[str, tuple[bytes, bytes]]


async def note(tx: Transaction, departed: Departed, handed: Mapping[str, Sequence[int]]) -> None:
    """Notes a departure, before anything is done of it. ``handed``: the records that go to the heir, as rids."""
    await tx.execute(
        "INSERT INTO departures (district_id, position, source_id, state, heir) VALUES ($1, $2, $3, $4, $5)",
        tx.district_id, departed.position, departed.source_id, departed.state, departed.heir,
    )  # fmt: skip
    await tx.executemany(
        "INSERT INTO departed_claims (district_id, position, entity, withdrawn, handed) "
        "VALUES ($1, $2, $3::text::entity_name, $4, $5)",
        [(tx.district_id, departed.position, entity, *claims) for entity, claims in departed.claims.items()],
    )
    for entity, rids in handed.items():
        await tx.execute(
            "INSERT INTO former_claims (district_id, position, entity, rid, key, hash, active) "
            "SELECT district_id, $2, entity, rid, key, hash, active FROM source_records WHERE district_id = $1 "
            "AND source_id = $3 AND entity = $4::text::entity_name AND rid = ANY($5::integer[])",
            tx.district_id, departed.position, departed.heir, entity, list(rids),
        )  # fmt: skip


async def at(tx: Transaction, position: int) -> Departed | None:
    """The departure of a position, if it was one."""
    row = await tx.fetchrow(
        "SELECT source_id, state, heir FROM departures WHERE district_id = $1 AND position = $2",
        tx.district_id, position,
    )  # fmt: skip
    if row is None:
        return None
    claims = await tx.fetch(
        "SELECT entity::text AS entity, withdrawn, handed FROM departed_claims "
        "WHERE district_id = $1 AND position = $2",
        tx.district_id, position,
    )  # fmt: skip
    bitmaps = {each["entity"]: (each["withdrawn"], each["handed"]) for each in claims}
    return Departed(position, row["source_id"], row["state"], row["heir"], bitmaps)


async def silent(tx: Transaction, entity: str, heir: UUID, rids: Sequence[int]) -> list[int]:
    """Those of some records that went to an heir of which it has not spoken itself yet."""
    rows = await tx.fetch(f"SELECT rid {_INHERITED}", tx.district_id, heir, entity, list(rids))
    return [row[0] for row in rows]


#: What ``staging.hand_over`` wrote and no package has replaced.
_INHERITED = (
    "FROM source_records WHERE district_id = $1 AND source_id = $2 AND entity = $3::text::entity_name "
    "AND rid = ANY($4::integer[]) AND active AND hash = 0"
)


async def speaking(tx: Transaction, entity: str, source_id: UUID, rids: Sequence[int]) -> list[int]:
    """Those of some records of which a source speaks."""
    rows = await tx.fetch(
        "SELECT rid FROM source_records WHERE district_id = $1 AND source_id = $2 AND entity = $3::text::entity_name "
        "AND rid = ANY($4::integer[]) AND active",
        tx.district_id, source_id, entity, list(rids),
    )  # fmt: skip
    return [row[0] for row in rows]


async def take_back(tx: Transaction, entity: str, heir: UUID, rids: Sequence[int], position: int) -> None:
    """Takes from an heir what went to it at a position, where it has not spoken of it itself."""
    await tx.execute(f"DELETE {_INHERITED}", tx.district_id, heir, entity, list(rids))
    await tx.execute(
        "INSERT INTO source_records (district_id, source_id, entity, key, rid, hash, active) "
        "SELECT district_id, $2, entity, key, rid, hash, active FROM former_claims WHERE district_id = $1 "
        "AND position = $3 AND entity = $4::text::entity_name ON CONFLICT DO NOTHING",
        tx.district_id, heir, position, entity,
    )  # fmt: skip


async def give_back(
    tx: Transaction, entity: str, source_id: UUID, rids: Sequence[int], *, position: int, now: int
) -> None:
    """Lets a source speak again, from the position ``now`` on, of what it spoke of until ``position``.

    What nobody else speaks of and was changed meanwhile is compared with its next package, whatever the hash was.
    """
    await tx.execute(
        "UPDATE source_records c SET active = true, hash = CASE WHEN EXISTS (SELECT FROM history h "
        "WHERE h.district_id = $1 AND h.entity = $3::text AND h.rid = c.rid AND h.position > $5 AND h.position < $6) "
        "AND NOT EXISTS (SELECT FROM provenance p WHERE p.district_id = $1 AND p.entity = c.entity AND p.rid = c.rid) "
        "THEN 0 ELSE hash END "
        "WHERE c.district_id = $1 AND c.source_id = $2 AND c.entity = $3::text::entity_name "
        "AND c.rid = ANY($4::integer[]) AND NOT c.active",
        tx.district_id, source_id, entity, list(rids), position, now,
    )  # fmt: skip


async def inherit(tx: Transaction, entity: str, source_id: UUID, heir: UUID, rids: Sequence[int]) -> None:
    """Makes what a source said of merged records the word of its heir."""
    values = (tx.district_id, source_id, heir, entity, list(rids))
    await tx.execute(
        "INSERT INTO statements (district_id, entity, rid, source_id, said_at, doc, doc_private) "
        "SELECT district_id, entity, rid, $3, said_at, doc, doc_private FROM statements WHERE district_id = $1 "
        "AND source_id = $2 AND entity = $4::text::entity_name AND rid = ANY($5::integer[]) "
        "ON CONFLICT (district_id, entity, rid, source_id) DO NOTHING",
        *values,
    )
    await tx.execute(
        "UPDATE provenance SET fields = (SELECT coalesce(jsonb_object_agg(f.key, CASE f.value WHEN $2::uuid::text "
        "THEN $3::uuid::text ELSE f.value END), '{}') FROM jsonb_each_text(fields) f) "
        "WHERE district_id = $1 AND entity = $4::text::entity_name AND rid = ANY($5::integer[])",
        *values,
    )


async def forget(tx: Transaction, position: int) -> None:
    """Deletes what is known of departures up to a position."""
    for table in ("former_claims", "departed_claims", "departures"):
        await tx.execute(f"DELETE FROM {table} WHERE district_id = $1 AND position <= $2", tx.district_id, position)
