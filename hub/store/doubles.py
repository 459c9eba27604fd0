"""Sources that have several records of one person: whose words stand where, and whom such a source means.

Of one source's words about a person the one about the oldest record stands with the person. The others stay at the
records to which they led, the *doubles*: ``aliases`` says of which person each is.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from uuid import UUID

import polars as pl

from hub.store.columns import copied
from hub.store.database import Transaction
from hub.store.people import USERS
from transforms.catalogue import Entity

#: A record, and the one that speaks of its person.
PLACES = {"rid": pl.UInt32, "place": pl.UInt32}


async def places(tx: Transaction) -> pl.DataFrame:
    """The users of which another record speaks (PLACES)."""
    return await copied(tx, "SELECT rid, into_rid FROM aliases WHERE district_id = $1", PLACES, tx.district_id)


async def around(tx: Transaction, rids: Collection[int]) -> dict[int, int]:
    """To which records those of some users, and those that belong to one of them, belong."""
    rows = await tx.fetch(
        "SELECT rid, into_rid FROM aliases WHERE district_id = $1 "
        "AND (rid = ANY($2::integer[]) OR into_rid = ANY($2::integer[]))",
        tx.district_id, list(rids),
    )  # fmt: skip
    return {row["rid"]: row["into_rid"] for row in rows}


async def homes_of_keys(tx: Transaction, source_id: UUID, keys: Collection[str]) -> dict[str, int]:
    """To which users some keys of a source led by themselves."""
    rows = await tx.fetch(
        "SELECT key, coalesce(home_rid, rid) AS home FROM source_records WHERE district_id = $1 AND source_id = $2 "
        "AND entity = 'users' AND key = ANY($3::text[]) AND superseded_at IS NULL",
        tx.district_id, source_id, list(keys),
    )  # fmt: skip
    return {row["key"]: row["home"] for row in rows}


async def homes_at(tx: Transaction, rids: Collection[int]) -> dict[tuple[UUID, int], int]:
    """By source and the user at whom its word stands: to whom it led by itself."""
    rows = await tx.fetch(
        "SELECT source_id, rid, coalesce(home_rid, rid) AS home FROM source_records WHERE district_id = $1 "
        "AND entity = 'users' AND rid = ANY($2::integer[])",
        tx.district_id, list(rids),
    )  # fmt: skip
    return {(row["source_id"], row["rid"]): row["home"] for row in rows}


async def said(tx: Transaction, entity: Entity, rids: Collection[int]) -> dict[tuple[int, UUID], list[int]]:
    """Whom sources mean by their references, where that was noted: by record and source, the users as they came."""
    rows = await tx.fetch(
        "SELECT rid, source_id, homes FROM said_references WHERE district_id = $1 "
        "AND entity = $2::text::entity_name AND rid = ANY($3::integer[])",
        tx.district_id, entity.name, list(rids),
    )  # fmt: skip
    return {(row["rid"], row["source_id"]): list(row["homes"]) for row in rows}


async def note(tx: Transaction, entity: Entity, noted: Mapping[tuple[int, UUID], Sequence[int] | None]) -> None:
    """Notes that; None: the references lead where they say."""
    gone = [key for key, homes in noted.items() if homes is None]
    await tx.executemany(
        "DELETE FROM said_references WHERE district_id = $1 AND entity = $2::text::entity_name AND rid = $3 "
        "AND source_id = $4",
        [(tx.district_id, entity.name, *key) for key in gone],
    )
    await tx.executemany(
        "INSERT INTO said_references (district_id, entity, rid, source_id, homes) "
        "VALUES ($1, $2::text::entity_name, $3, $4, $5) "
        "ON CONFLICT (district_id, entity, rid, source_id) DO UPDATE SET homes = EXCLUDED.homes",
        [(tx.district_id, entity.name, *key, list(homes)) for key, homes in noted.items() if homes is not None],
    )


async def of_several(tx: Transaction, rids: Collection[int]) -> set[int]:
    """Those of some users of whom a source has several records."""
    rows = await tx.fetch(
        "SELECT DISTINCT a.into_rid FROM aliases a JOIN statements s ON s.district_id = a.district_id "
        "AND s.entity = 'users' AND s.rid = a.rid WHERE a.district_id = $1 AND a.into_rid = ANY($2::integer[])",
        tx.district_id, list(rids),
    )  # fmt: skip
    return {row[0] for row in rows}


async def staged(tx: Transaction, entity: Entity, run_id: UUID, source_id: UUID) -> list[int]:
    """The records of which one attempt has staged what a source says."""
    rows = await tx.fetch(
        "SELECT rid FROM staging_statements WHERE district_id = $1 AND run_id = $2 "
        "AND entity = $3::text::entity_name AND source_id = $4",
        tx.district_id, run_id, entity.name, source_id,
    )  # fmt: skip
    return [row[0] for row in rows]


async def words(
    tx: Transaction, entity: Entity, run_id: UUID, source_id: UUID, rids: Collection[int]
) -> dict[int, tuple[tuple[str, str] | None, tuple[str, str] | None]]:
    """What a source said of some records, and says in one attempt that has staged it; None: nothing that is kept."""
    rows = await tx.fetch(
        "SELECT rid, s.doc, s.doc_private, g.doc, g.doc_private FROM (SELECT rid, doc, doc_private FROM statements "
        "WHERE district_id = $1 AND entity = $2::text::entity_name AND source_id = $4 AND rid = ANY($5::integer[])) s "
        "FULL JOIN (SELECT rid, doc, doc_private FROM staging_statements WHERE district_id = $1 AND run_id = $3 "
        "AND entity = $2::text::entity_name AND source_id = $4 AND rid = ANY($5::integer[])) g USING (rid)",
        tx.district_id, entity.name, run_id, source_id, list(rids),
    )  # fmt: skip
    return {
        rid: (None if was is None else (was, was_private), None if now is None else (now, now_private))
        for rid, was, was_private, now, now_private in map(tuple, rows)
    }


async def lead_back(tx: Transaction, source_id: UUID, homes: Mapping[str, int]) -> None:
    """Notes to which user demographics led by themselves that were made for the person: by key of the source."""
    await tx.executemany(
        "UPDATE source_records SET home_rid = $4 WHERE district_id = $1 AND source_id = $2 "
        "AND entity = 'demographics' AND key = $3 AND rid <> $4 AND NOT EXISTS (SELECT FROM source_records o "
        "WHERE o.district_id = $1 AND o.source_id = $2 AND o.entity = 'demographics' AND o.rid = $4)",
        [(tx.district_id, source_id, key, home) for key, home in homes.items()],
    )


def is_person(entity: Entity) -> bool:
    """Whether records of an entity are of people, and share their numbers."""
    return USERS.name in {entity.name, entity.rid_of}
