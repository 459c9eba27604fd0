"""The ids of a source by which an app knows records, where its grant names one.

A row is made when a record first comes into the view (hub.sync.source_ids) and says for good by which id the app knows
it; a record without a row it knows by the hub's own. Demographics have the ids of their users, so they have no rows of
their own: wherever an entity is named here, demographics stand for users.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from hub.store.database import Transaction
from hub.store.gradebook import WRITTEN
from transforms.catalogue import CATALOGUE, Entity

#: The record, if any, whose sourcedId is what the source calls the record ``s``; a look into an index.
_NAMESAKE = (
    "(SELECT h.rid FROM {table} h WHERE h.district_id = $1 AND h.sourced_id = CASE "
    "WHEN s.key ~ '^[0-9a-f]{{8}}(-[0-9a-f]{{4}}){{3}}-[0-9a-f]{{12}}$' THEN s.key::uuid END)"
)
#: Whether the app ($5) calls an object that it wrote by the same id.
_CHOSEN = (
    "EXISTS (SELECT FROM gradebook_objects o WHERE o.district_id = $1 AND o.app_id = $5 "
    "AND o.entity = s.entity::text AND o.key = s.key)"
)


@dataclass(frozen=True, slots=True)
class Clash:
    """An active record that would be known by an id that another one has. ``other``: "source", "hub" or "app"."""

    entity: str
    sourced_id: UUID
    other: str


def naming(entity: Entity) -> Entity:
    """The entity whose ids the records of an entity have."""
    return CATALOGUE[entity.rid_of] if entity.rid_of else entity


async def add(
    tx: Transaction, grant_id: UUID, entity: Entity, rids: Sequence[int], *, source_id: UUID, app_id: UUID, never: str
) -> None:
    """Lets an app know some records, which it was not shown before, by what a source calls them.

    Not those that have such an id already, and none by an id that another record has, that the app chose for an object
    of its own, or that matches ``never``, a regular expression. Of two that could have one id, an active one gets it.
    """
    namesake = _NAMESAKE.format(table=entity.table)
    chosen = f"AND NOT {_CHOSEN}" if entity.name in WRITTEN else "AND $5::uuid IS NOT NULL"
    await tx.execute(
        "INSERT INTO shown_ids (district_id, grant_id, sourced_id, entity, key) "
        "SELECT $1, $2, t.sourced_id, s.entity, s.key FROM source_records s "
        f"JOIN {entity.table} t ON t.district_id = s.district_id AND t.rid = s.rid "
        "WHERE s.district_id = $1 AND s.source_id = $3 AND s.entity = $4::text::entity_name "
        f"AND s.rid = ANY($6::integer[]) AND s.key !~ $7 AND coalesce({namesake}, s.rid) = s.rid {chosen} "
        "ORDER BY NOT s.active, s.rid ON CONFLICT DO NOTHING",
        tx.district_id, grant_id, source_id, entity.name, app_id, rids, never,
    )  # fmt: skip


async def clashes(tx: Transaction, entity: Entity, *, source_id: UUID, app_id: UUID | None, most: int) -> list[Clash]:
    """Active records of an entity that cannot all be known by what a source calls them, the first of them.

    ``app_id``: None for an app that is not known yet.
    """
    namesake = _NAMESAKE.format(table=entity.table)
    chosen = _CHOSEN if entity.name in WRITTEN else "$5::uuid IS NULL AND false"
    rows = await tx.fetch(
        "SELECT c.sourced_id, c.other FROM (SELECT t.sourced_id, s.rid, CASE "
        "WHEN count(*) OVER (PARTITION BY s.key) > 1 THEN 'source' "
        f"WHEN coalesce({namesake}, s.rid) <> s.rid THEN 'hub' WHEN {chosen} THEN 'app' END AS other "
        f"FROM source_records s JOIN {entity.table} t ON t.district_id = s.district_id AND t.rid = s.rid AND t.active "
        "WHERE s.district_id = $1 AND s.source_id = $2 AND s.entity = $3::text::entity_name) c "
        "WHERE c.other IS NOT NULL ORDER BY c.rid LIMIT $4",
        tx.district_id, source_id, entity.name, most, app_id,
    )  # fmt: skip
    return [Clash(entity.name, row["sourced_id"], row["other"]) for row in rows]


async def keys_of(tx: Transaction, grant_id: UUID, sourced_ids: Collection[str]) -> dict[str, str]:
    """SourcedId to the source's id, of the records that the grant's app knows by one."""
    rows = await tx.fetch(
        "SELECT sourced_id::text AS id, key FROM shown_ids "
        "WHERE district_id = $1 AND grant_id = $2 AND sourced_id = ANY($3::uuid[])",
        tx.district_id, grant_id, list(sourced_ids),
    )  # fmt: skip
    return {row["id"]: row["key"] for row in rows}


async def keys_by_rid(tx: Transaction, grant_id: UUID, entity: Entity) -> dict[int, str]:
    """Rid to the source's id, of all records of an entity that the grant's app knows by one."""
    rows = await tx.fetch(
        f"SELECT t.rid, i.key FROM shown_ids i JOIN {entity.table} t "
        "ON t.district_id = i.district_id AND t.sourced_id = i.sourced_id "
        "WHERE i.district_id = $1 AND i.grant_id = $2 AND i.entity = $3::text::entity_name",
        tx.district_id, grant_id, naming(entity).name,
    )  # fmt: skip
    return {row["rid"]: row["key"] for row in rows}


async def meant(tx: Transaction, grant_id: UUID, keys: Iterable[tuple[str, str]]) -> dict[tuple[str, str], str]:
    """(Entity, id) to the sourcedId of the records that the grant's app knows by a source's id."""
    given = list(keys)
    names = [naming(CATALOGUE[name]).name for name, _ in given]
    rows = await tx.fetch(
        "SELECT w.n, i.sourced_id::text AS id FROM unnest($3::text[], $4::text[]) WITH ORDINALITY w(entity, key, n) "
        "JOIN shown_ids i ON i.district_id = $1 AND i.grant_id = $2 AND i.entity = w.entity::entity_name "
        "AND i.key = w.key",
        tx.district_id, grant_id, names, [key for _, key in given],
    )  # fmt: skip
    return {given[row["n"] - 1]: row["id"] for row in rows}


async def forget(tx: Transaction, grant_id: UUID) -> None:
    """Removes all ids of a grant."""
    await tx.execute("DELETE FROM shown_ids WHERE district_id = $1 AND grant_id = $2", tx.district_id, grant_id)


async def forget_ended(tx: Transaction, entity: Entity, before: datetime) -> None:
    """Removes the ids of records that ended before a time: their tombstones show the hub's own from then on."""
    await tx.execute(
        f"DELETE FROM shown_ids i USING {entity.table} t WHERE i.district_id = $1 "
        "AND i.entity = $2::text::entity_name AND t.district_id = $1 AND t.sourced_id = i.sourced_id "
        "AND NOT t.active AND t.date_last_modified < $3",
        tx.district_id, entity.name, before,
    )  # fmt: skip
