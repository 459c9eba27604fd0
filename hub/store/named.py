"""Which records some ids are of: for whoever helps an app's developers, who know nothing but an id."""

from __future__ import annotations

from collections.abc import Collection

from hub.store.database import Transaction
from transforms.catalogue import CATALOGUE

#: Those that have ids of their own.
_ENTITIES = tuple(e for e in CATALOGUE.entities if e.rid_of is None)


async def entities_of(tx: Transaction, sourced_ids: Collection[str]) -> dict[str, str]:
    """SourcedId to entity of the district's records with these ids, whatever has become of them."""
    parts = [
        f"SELECT '{e.name}' AS entity, t.sourced_id::text AS id FROM {e.table} t "
        "WHERE t.district_id = $1 AND t.sourced_id = ANY($2::uuid[])"
        for e in _ENTITIES
    ]
    rows = await tx.fetch(" UNION ALL ".join(parts), tx.district_id, list(sourced_ids))
    return {row["id"]: row["entity"] for row in rows}
